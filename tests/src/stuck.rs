//! Workers that do not go on, and how soon the host says so.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use transom::{Code, Error, Pool};

use crate::{Gate, function, native, numbers};

/// Calls a function with a deadline that it does not keep; says by how much the error came later than that, and the error.
pub fn overdue(pool: &Pool, name: &str, deadline: Duration) -> (Duration, Error) {
    let work = function(name).with_deadline(deadline);
    // Loaded already, so that the clock is that of the call.
    pool.describe_blocking(&work).expect("the function is there");
    let begun = Instant::now();
    let error = pool.call_blocking(&work, numbers(0, 3)).expect_err("the function never ends");
    (begun.elapsed().saturating_sub(deadline), error)
}

/// Kills a worker in the middle of a call to a function that waits at the gate; says how long it took until the caller knew.
pub fn detection(worker: &str, name: &'static str) -> Duration {
    let gate = Gate::new();
    let pool = Arc::new(native(worker, 1).env("TEST_GATE", gate.path()).build().expect("a pool can be made"));
    let other = pool.clone();
    pool.describe_blocking(&function(name)).expect("the function is there");
    let caller = thread::spawn(move || {
        let died = other.call_blocking(&function(name), numbers(0, 1)).expect_err("its worker is killed");
        (Instant::now(), died)
    });
    gate.let_through();
    let pid = pool.stats().workers[0].pid.expect("the worker runs the function");
    let killed = Instant::now();
    kill_process(Pid::from_raw(pid as i32).expect("a number of a process"), Signal::KILL).expect("the worker runs");
    let (known, error) = caller.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    assert_eq!(error.code(), Code::WorkerSignalled, "{error}");
    known - killed
}
