//! SIGKILL at random moments, under load: every batch is answered once or fails with its code.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use transom::{Code, Error, Function, MapOptions, Pool};

use crate::invariants::Tally;
use crate::{Random, function, numbers, values};

/// Batches of one stream of the load.
const BATCHES: usize = 20;

/// What is sent while workers are killed: batches of `rows` numbers, to a function that adds `added` to each.
#[derive(Clone)]
pub struct Load {
    /// The function.
    pub function: Function,
    /// What it adds.
    pub added: i64,
    /// Rows of a batch.
    pub rows: usize,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Workers that were killed.
    pub kills: u64,
    /// Batches that were answered, and rightly.
    pub answered: u64,
    /// Batches that failed with `WORKER_SIGNALLED`.
    pub failed: u64,
    /// Workers that took the place of one that was killed.
    pub restarts: u64,
}

/// Has a function end its worker, gives the error, and calls the function once more, of the worker that is then started.
pub fn restart(pool: &Pool) -> Error {
    // An answer between two deaths: a function that only ends workers is suspended.
    let careful = function("careful");
    let error = pool.call_blocking(&careful, numbers(-3, 1)).expect_err("the function ends its worker");
    assert_eq!(values(&pool.call_blocking(&careful, numbers(0, 1)).expect("a worker is started anew")), [1]);
    error
}

/// Streams batches from two threads; meanwhile kills workers, each within `pause` of the last, until so many are killed or `over` is true.
pub fn under_load(pool: &Arc<Pool>, work: &Load, kills: u64, pause: Duration, random: &mut Random, over: &AtomicBool) -> Outcome {
    let enough = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..2).map(|caller| load(pool.clone(), work.clone(), enough.clone(), caller)).collect();
    let mut outcome = Outcome::default();
    let mut dead = HashSet::new();
    while outcome.kills < kills && !over.load(Ordering::Relaxed) && !callers.iter().any(thread::JoinHandle::is_finished) {
        thread::sleep(Duration::from_micros(random.below(pause.as_micros() as u64)));
        let pids: Vec<u32> = pool.stats().workers.iter().filter(|worker| worker.state != "starting").filter_map(|worker| worker.pid).collect();
        if !pids.is_empty() {
            let pid = pids[random.below(pids.len() as u64) as usize];
            // One that was killed before and is not reaped yet takes the signal again, which is no kill.
            let killed = kill_process(Pid::from_raw(pid as i32).expect("a number of a process"), Signal::KILL).is_ok();
            outcome.kills += u64::from(killed && dead.insert(pid));
        }
    }
    enough.store(true, Ordering::Relaxed);
    for caller in callers {
        let tally = caller.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        outcome.answered += tally.answered;
        outcome.failed += tally.failures();
    }
    outcome.restarts = pool.stats().workers.iter().map(|worker| worker.restarts).sum();
    outcome
}

/// Streams batches until it is enough.
fn load(pool: Arc<Pool>, work: Load, enough: Arc<AtomicBool>, caller: i64) -> thread::JoinHandle<Tally> {
    thread::spawn(move || {
        let mut tally = Tally::new(caller << 60, work.added);
        while !enough.load(Ordering::Relaxed) {
            let (names, batches): (Vec<i64>, Vec<_>) = (0..BATCHES).map(|_| tally.batch(work.rows)).unzip();
            let results = pool.map_blocking(&work.function, batches.into_iter().map(Ok), MapOptions::default()).expect("a stream can be begun");
            let mut given = 0;
            for (index, (result, name)) in results.zip(&names).enumerate() {
                given += 1;
                if let Err(error) = &result {
                    assert_eq!(error.batch(), Some(index as u64), "{error}");
                }
                tally.note(*name, &result, &[Code::WorkerSignalled]);
            }
            assert_eq!(given, BATCHES, "each batch is answered once");
        }
        tally.settle();
        tally
    })
}
