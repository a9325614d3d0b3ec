//! Workers that are threads of one process, as those of a JVM are: at the same time, each blamed for its own, and together in death.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use support::{Gate, checked, numbers, values, wait_until_idle};
use transom::{Code, Function, Language, MapOptions, Pool};

const WORKER: &str = env!("CARGO_BIN_EXE_native-worker");

/// Two threads of one native worker, which is started as a JVM would be.
fn pool(gate: &Gate) -> Arc<Pool> {
    let builder = Pool::builder().workers(2).java(WORKER).java_class_path([WORKER]).prestart([Language::Java]);
    let pool = builder.env("TEST_GATE", gate.path()).build().unwrap();
    // Both, so that none of them has to wait behind a call that stands at the gate.
    wait_until_idle(&pool);
    Arc::new(pool)
}

fn function(name: &str) -> Function {
    Function::java(&format!("native.{name}")).unwrap()
}

/// Calls a function that waits at the gate, on a thread of its own, and waits until a worker has begun with it.
fn held(pool: &Arc<Pool>) -> thread::JoinHandle<transom::Result<Vec<i64>>> {
    pool.describe_blocking(&function("held")).unwrap();
    let other = pool.clone();
    let call = thread::spawn(move || other.call_blocking(&function("held"), numbers(7, 1)).map(|batch| values(&batch)));
    while pool.stats().workers.iter().all(|worker| worker.state != "busy") {
        thread::yield_now();
    }
    call
}

#[test]
fn they_run_at_the_same_time_in_one_process() {
    checked(|| {
        let gate = Gate::new();
        let pool = pool(&gate);
        let waiting = held(&pool);
        let pids: Vec<i64> = (0..4).map(|_| values(&pool.call_blocking(&function("pid"), numbers(0, 1)).unwrap())[0]).collect();
        let stats = pool.stats();
        assert!(pids.iter().all(|&pid| stats.workers.iter().all(|worker| worker.pid == Some(pid as u32))), "{pids:?} {stats:?}");
        assert!(stats.workers.iter().all(|worker| worker.language == Language::Java));
        gate.let_through();
        assert_eq!(waiting.join().unwrap().unwrap(), [7]);
    });
}

#[test]
fn the_deadline_of_one_is_not_the_failure_of_another() {
    checked(|| {
        let gate = Gate::new();
        let pool = pool(&gate);
        let waiting = held(&pool);
        let error = pool.call_blocking(&function("spin").with_deadline(Duration::from_millis(50)), numbers(0, 3)).unwrap_err();
        assert_eq!((error.code(), error.function()), (Code::DeadlineExceeded, Some("spin")));
        // Its process is gone, and it was sent again to the next.
        gate.let_through();
        assert_eq!(waiting.join().unwrap().unwrap(), [7]);
        assert!(pool.stats().workers.iter().all(|worker| worker.restarts == 1));
    });
}

#[test]
fn a_crash_is_told_to_all_that_ran_and_the_next_call_works() {
    checked(|| {
        let gate = Gate::new();
        let pool = pool(&gate);
        let waiting = held(&pool);
        let error = pool.call_blocking(&function("abort"), numbers(0, 3)).unwrap_err();
        assert_eq!((error.code(), error.function()), (Code::WorkerSignalled, Some("abort")));
        // Nobody can say which of the two did it.
        assert_eq!(waiting.join().unwrap().unwrap_err().code(), Code::WorkerSignalled);
        assert_eq!(values(&pool.call_blocking(&function("plus_one"), numbers(0, 2)).unwrap()), [1, 2]);
    });
}

#[test]
fn a_pool_has_workers_for_each_language_that_is_used() {
    checked(|| {
        let gate = Gate::new();
        let pool = Pool::builder().workers(1).python(WORKER).native_worker(WORKER).java(WORKER).java_class_path([WORKER]);
        let pool = pool.env("TEST_GATE", gate.path()).build().unwrap();
        assert_eq!(pool.stats().workers.iter().map(|worker| worker.language).collect::<Vec<_>>(), [Language::Python]);
        let python = Function::python("native:plus_one").unwrap();
        assert_eq!(values(&pool.call_blocking(&function("plus_one"), numbers(0, 2)).unwrap()), [1, 2]);
        assert_eq!(values(&pool.call_blocking(&python, numbers(1, 2)).unwrap()), [2, 3]);
        // This worker has no functions in files, and says so.
        let missing = pool.call_blocking(&Function::native("lib.so", "f").unwrap(), numbers(0, 1)).unwrap_err();
        assert_eq!(missing.code(), Code::FunctionNotFound);
        let languages: Vec<Language> = pool.stats().workers.iter().map(|worker| worker.language).collect();
        assert_eq!(languages, [Language::Python, Language::Java, Language::Native]);
    });
}

#[test]
fn a_kill_costs_no_more_than_one_batch_a_thread() {
    checked(|| {
        let gate = Gate::new();
        let pool = pool(&gate);
        for kill in 0..40_u64 {
            let source = (0..20).map(|i| Ok(numbers(i, 1)));
            let results = pool.map_blocking(&function("identity"), source, MapOptions::default()).unwrap();
            let mut failed = Vec::new();
            for (number, result) in results.enumerate() {
                match result {
                    Ok(batch) => assert_eq!(values(&batch), [number as i64]),
                    Err(error) => failed.push(error),
                }
                if number as u64 == kill % 20 {
                    let pid = pool.stats().workers.iter().find(|worker| worker.state != "starting").and_then(|worker| worker.pid);
                    let pid = pid.and_then(|pid| Pid::from_raw(pid as i32)).expect("a worker has just answered");
                    _ = kill_process(pid, Signal::KILL);
                }
            }
            // So that the next kill does not come before this one is told.
            while pool.stats().workers.iter().any(|worker| worker.restarts <= kill) {
                thread::yield_now();
            }
            assert!(failed.len() <= 2 && failed.iter().all(|error| error.code() == Code::WorkerSignalled), "{failed:?}");
        }
    });
}
