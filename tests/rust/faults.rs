//! Deaths: each is an error for the batch that was being worked on, and nothing for anybody else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use support::{Belongings, function, native, numbers, values};
use transom::{Code, MapOptions, Pool};

const WORKER: &str = env!("CARGO_BIN_EXE_native-worker");

fn pool(workers: usize) -> Pool {
    native(WORKER, workers).build().unwrap()
}

fn turn() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Calls a function that kills its worker; the next call must work.
fn death_by(name: &str) -> transom::Error {
    let pool = pool(1);
    let error = pool.call_blocking(&function(name), numbers(0, 10)).unwrap_err();
    assert_eq!(values(&pool.call_blocking(&function("plus_one"), numbers(0, 2)).unwrap()), [1, 2]);
    assert_eq!(pool.stats().workers[0].restarts, 1);
    assert_eq!((error.function(), error.batch(), error.rows()), (Some(name), Some(0), Some(0..10)), "{error}");
    error
}

#[test]
fn each_death_is_told_apart() {
    let _turn = turn();
    let before = Belongings::now();
    let aborted = death_by("abort");
    assert_eq!(aborted.code(), Code::WorkerSignalled);
    assert!(aborted.message().contains("SIGABRT"), "{aborted}");
    let left = death_by("exit");
    assert_eq!(left.code(), Code::WorkerExited);
    assert!(left.message().contains("exit status 3"), "{left}");
    let mute = death_by("hang_up");
    assert_eq!(mute.code().family(), 2, "it could not answer any more, and ended: {mute}");
    let talker = death_by("print");
    assert_eq!(talker.output(), ["a line to stdout", "a line to stderr"]);
    before.assert_unchanged();
}

#[test]
fn a_function_that_dies_when_loaded_is_an_error_for_its_callers_only() {
    let _turn = turn();
    let before = Belongings::now();
    let pool = pool(2);
    let error = pool.call_blocking(&function("die_when_loaded"), numbers(0, 1)).unwrap_err();
    assert_eq!((error.code(), error.function()), (Code::WorkerSignalled, Some("die_when_loaded")));
    pool.call_blocking(&function("identity"), numbers(0, 1)).unwrap();
    drop(pool);
    before.assert_unchanged();
}

#[test]
fn a_deadline_ends_a_function_that_does_not() {
    let _turn = turn();
    let before = Belongings::now();
    let begun = Instant::now();
    let error = death_by("spin_with_deadline");
    assert_eq!(error.code(), Code::DeadlineExceeded);
    let pool = native(WORKER, 1).deadline(Duration::from_millis(100)).build().unwrap();
    assert_eq!(pool.call_blocking(&function("spin"), numbers(0, 1)).unwrap_err().code(), Code::DeadlineExceeded);
    pool.call_blocking(&function("identity"), numbers(0, 1)).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(30));
    drop(pool);
    before.assert_unchanged();
}

#[test]
fn calls_behind_a_deadly_one_are_sent_again() {
    let _turn = turn();
    let before = Belongings::now();
    let pool = pool(1);
    let [sleep, abort, add] = ["sleep_20", "abort", "plus_one"].map(function);
    let calls = futures::future::join3(pool.call(&sleep, numbers(0, 1)), pool.call(&abort, numbers(0, 1)), pool.call(&add, numbers(0, 1)));
    let (slept, aborted, added) = transom::pool::wait(calls);
    slept.unwrap();
    assert_eq!(aborted.unwrap_err().code(), Code::WorkerSignalled);
    assert_eq!(values(&added.unwrap()), [1]);
    drop(pool);
    before.assert_unchanged();
}

#[test]
fn a_batch_may_be_tried_again_where_the_function_allows_it() {
    let _turn = turn();
    let before = Belongings::now();
    let mark = std::env::temp_dir().join(format!("transom-test-{}", std::process::id()));
    let pool = native(WORKER, 1).env("TEST_MARK", &mark).build().unwrap();
    let result = pool.call_blocking(&function("die_once"), numbers(0, 3)).unwrap();
    assert_eq!(values(&result), [0, 1, 2]);
    std::fs::remove_file(&mark).unwrap();
    drop((pool, result));
    before.assert_unchanged();
}

#[test]
fn a_death_in_a_stream_ends_the_stream() {
    let _turn = turn();
    let before = Belongings::now();
    let pool = pool(1);
    let source = (0..10).map(|i| Ok(numbers(i, 10)));
    let results: Vec<_> = pool.map_blocking(&function("stream_die"), source, MapOptions::default()).unwrap().collect();
    assert_eq!(results.len(), 1);
    assert_eq!(results[0].as_ref().unwrap_err().code(), Code::WorkerSignalled);
    pool.call_blocking(&function("identity"), numbers(0, 1)).unwrap();
    drop(pool);
    before.assert_unchanged();
}

#[test]
fn a_result_outlives_its_worker() {
    let _turn = turn();
    let before = Belongings::now();
    let pool = pool(1);
    let result = pool.call_blocking(&function("plus_one"), numbers(0, 100_000)).unwrap();
    pool.call_blocking(&function("abort"), numbers(0, 1)).unwrap_err();
    assert_eq!(values(&result).iter().sum::<i64>(), (1..=100_000).sum::<i64>());
    drop((pool, result));
    before.assert_unchanged();
}

#[test]
fn closing_does_not_wait_for_a_function_that_never_ends() {
    let _turn = turn();
    let before = Belongings::now();
    let pool = Arc::new(pool(1));
    let other = pool.clone();
    let caller = std::thread::spawn(move || other.call_blocking(&function("spin"), numbers(0, 1)));
    while pool.stats().workers[0].state != "busy" {
        std::thread::yield_now();
    }
    let begun = Instant::now();
    pool.close();
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(caller.join().unwrap().unwrap_err().code(), Code::PoolClosed);
    drop(pool);
    before.assert_unchanged();
}

/// The claim of the README: kills at random moments, every batch answered once or failed with its code, nothing left behind.
#[test]
fn a_thousand_kills_at_random_moments() {
    let _turn = turn();
    let kills: u32 = std::env::var("TRANSOM_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(1000);
    let seed = std::env::var("TRANSOM_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| u64::from(std::process::id()));
    println!("seed {seed} (set TRANSOM_SEED to repeat)");
    let before = Belongings::now();
    let pool = Arc::new(pool(2));
    pool.call_blocking(&function("plus_one"), numbers(0, 1)).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..2).map(|caller| load(pool.clone(), over.clone(), caller)).collect();
    let mut random = Random(seed | 1);
    let mut killed = 0;
    while killed < kills {
        std::thread::sleep(Duration::from_micros(random.below(3000)));
        let pids: Vec<u32> = pool.stats().workers.iter().filter(|worker| worker.state != "starting").filter_map(|worker| worker.pid).collect();
        if !pids.is_empty() {
            let pid = pids[random.below(pids.len() as u64) as usize];
            // A worker that has just died of the last kill is not reaped yet, or is: either way this is no kill.
            killed += u32::from(kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).is_ok());
        }
    }
    over.store(true, Ordering::Relaxed);
    let (answered, failed) = callers.into_iter().map(|caller| caller.join().unwrap()).fold((0, 0), |sum, (a, f)| (sum.0 + a, sum.1 + f));
    println!("{killed} kills, {answered} batches answered, {failed} failed with WORKER_SIGNALLED, {} restarts", restarts(&pool));
    assert!(answered > 0 && failed > 0);
    assert_eq!(values(&pool.call_blocking(&function("plus_one"), numbers(0, 2)).unwrap()), [1, 2]);
    drop(pool);
    before.assert_unchanged();
}

fn restarts(pool: &Pool) -> u64 {
    pool.stats().workers.iter().map(|worker| worker.restarts).sum()
}

/// Streams batches until told otherwise; checks each answer, counts answers and deaths.
fn load(pool: Arc<Pool>, over: Arc<AtomicBool>, caller: i64) -> std::thread::JoinHandle<(u64, u64)> {
    std::thread::spawn(move || {
        let (mut answered, mut failed) = (0, 0);
        while !over.load(Ordering::Relaxed) {
            let first = caller * 1_000_000_000 + answered as i64;
            let source = (0..20).map(move |i| Ok(numbers(first + i * 5000, 5000)));
            let results = pool.map_blocking(&function("plus_one"), source, MapOptions::default()).unwrap();
            let mut given = 0;
            for (i, result) in results.enumerate() {
                given += 1;
                match result {
                    Ok(batch) => {
                        let expected = first + i as i64 * 5000;
                        assert!(values(&batch).into_iter().eq(expected + 1..=expected + 5000), "a wrong batch");
                        answered += 1;
                    }
                    Err(error) => {
                        assert_eq!((error.code(), error.batch()), (Code::WorkerSignalled, Some(i as u64)), "{error}");
                        failed += 1;
                    }
                }
            }
            assert_eq!(given, 20, "each batch is answered once");
        }
        (answered, failed)
    })
}

/// xorshift64: good enough to pick moments.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
