//! Deaths: each is an error for the batch that was being worked on, and nothing for anybody else.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use support::invariants::assert_healthy;
use support::kills::{Load, under_load};
use support::{Belongings, Random, function, native, numbers, values};
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

/// The claim of the README: kills at random moments, every batch answered once or failed with its code, nothing left behind. `make soak` does a
/// hundred times as many.
#[test]
fn a_thousand_kills_at_random_moments() {
    let _turn = turn();
    let before = Belongings::now();
    let pool = Arc::new(pool(2));
    let work = Load { function: function("plus_one"), added: 1, rows: 5000 };
    pool.call_blocking(&work.function, numbers(0, 1)).unwrap();
    let outcome = under_load(&pool, &work, 1000, Duration::from_millis(3), &mut Random::of_this_run(), &AtomicBool::new(false));
    println!("{outcome:?}");
    assert!(outcome.answered > 0 && outcome.failed > 0);
    assert_healthy(&pool, &work);
    drop(pool);
    before.assert_unchanged();
}
