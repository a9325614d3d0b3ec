//! System calls that fail, one at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use transom::{Code, Error};

use crate::faults::{assert_service, load};
use crate::invariants::{Belongings, Tally, assert_healthy, assert_settled};
use crate::steps::{self, ARMED, ARMED_ONCE};
use crate::{native, scratch};

/// How often the host makes a system call in a run through all steps, from the pool's beginning to its end.
pub fn host_calls(worker: &str, call: &str) -> u64 {
    let before = Belongings::now();
    let calls = Arc::new(AtomicU64::new(0));
    let counter = calls.clone();
    fail::cfg_callback(call, move || _ = counter.fetch_add(1, Ordering::Relaxed)).expect("a name");
    drop(steps::run(&native(worker, 1).build().expect("a pool can be made")));
    fail::remove(call);
    before.assert_unchanged();
    calls.load(Ordering::Relaxed)
}

/// The host's `nth` call fails: what fails says why, nothing is left, and the next pool is as good as any.
pub fn host_without(worker: &str, call: &str, errno: i32, nth: u64) {
    let before = Belongings::now();
    fail::cfg(call, &actions(errno, nth)).expect("actions of the crate fail");
    let errors = match native(worker, 1).build() {
        Ok(pool) => {
            let run = steps::run(&pool);
            assert_eq!(run.panics, 0, "{call} {nth}");
            run.errors
        }
        Err(error) => vec![error],
    };
    judge(call, nth, &errors);
    drop(errors);
    fail::remove(call);
    assert_service(worker);
    before.assert_unchanged();
}

/// The same for the first worker of a pool: the pool itself goes on.
pub fn worker_without(worker: &str, call: &str, errno: i32, nth: u64) {
    let before = Belongings::now();
    let mark = scratch("armed");
    let pool = native(worker, 1).env(ARMED, format!("{call}={}", actions(errno, nth))).env(ARMED_ONCE, &mark).build().expect("a pool can be made");
    let run = steps::run(&pool);
    judge(call, nth, &run.errors);
    // A place behind the run is met by the next call, and by none after that.
    let work = load();
    let mut tally = Tally::new(0, work.added);
    let (first, batch) = tally.batch(work.rows);
    let answer = pool.call_blocking(&work.function, batch);
    tally.note(first, &answer, &SAID);
    match answer.is_ok() {
        true => drop(answer),
        false => assert_healthy(&pool, &work),
    }
    assert_settled(&pool);
    drop((run, pool));
    std::fs::remove_file(mark).expect("the first worker armed itself");
    before.assert_unchanged();
}

fn actions(errno: i32, nth: u64) -> String {
    let fails = format!("1*return({errno})->off");
    if nth > 1 { format!("{}*off->{fails}", nth - 1) } else { fails }
}

/// What the system refuses is said as such; where a worker ended for it, by its exit status. What it was told of first may come before.
const SAID: [Code; 6] = [Code::System, Code::SharedMemoryFull, Code::DescriptorLimit, Code::SealsMissing, Code::StartFailed, Code::WorkerExited];

fn judge(call: &str, nth: u64, errors: &[Error]) {
    assert!(errors.len() <= 2 && errors.iter().all(|error| SAID.contains(&error.code())), "{call} {nth}: {errors:#?}");
}
