//! Faults at steps: what is done, and what must hold then. The tests do each once, the soak many times.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use transom::Code;

use crate::hosts::{Host, Task};
use crate::invariants::{Belongings, assert_healthy};
use crate::kills::Load;
use crate::steps::{self, ARMED, ARMED_ONCE, Action, Heard, HostStep, Run, Thread, WorkerStep};
use crate::{function, native, scratch};

/// The programs that tests start.
#[derive(Clone, Copy, Debug)]
pub struct Programs<'a> {
    /// The native worker.
    pub worker: &'a str,
    /// The host.
    pub host: &'a str,
}

/// A small call to the native worker.
pub fn load() -> Load {
    Load { function: function("plus_one"), added: 1, rows: 100 }
}

/// The first worker of a pool meets this at a step. Whoever hears of it hears the right code, and the pool goes on.
pub fn worker_at(programs: Programs<'_>, step: &WorkerStep, action: Action) {
    let before = Belongings::now();
    let mark = scratch("armed");
    let pool = native(programs.worker, 1).env(ARMED, format!("{}={}", step.name, action.text())).env(ARMED_ONCE, &mark).build().expect("a pool");
    let run = steps::run(&pool);
    judge_worker(step, action, &run);
    assert_healthy(&pool, &load());
    drop((run, pool));
    std::fs::remove_file(mark).expect("the first worker armed itself");
    before.assert_unchanged();
}

fn judge_worker(step: &WorkerStep, action: Action, run: &Run) {
    let ended = match action {
        Action::Abort | Action::Kill => Some(Code::WorkerSignalled),
        Action::Panic => Some(step.panic),
        Action::Error => step.error,
        Action::Delay => None,
    };
    let errors = &run.errors;
    let as_it_should = match (step.heard, ended) {
        (_, None) | (Heard::Nobody, _) => errors.is_empty(),
        (Heard::Call, Some(code)) => run.codes() == [code],
        // A call that waited for the message that failed was told of the error itself.
        (Heard::Perhaps, Some(code)) => errors.len() <= 2 && errors.iter().all(|error| [code, Code::System].contains(&error.code())),
    };
    assert!(as_it_should && run.panics == 0, "{} {action:?}: {:?} was heard by {:?}, and {errors:#?} are the errors", step.name, ended, step.heard);
    let signal = if action == Action::Abort { "SIGABRT" } else { "SIGKILL" };
    let told = |error: &&transom::Error| error.code() == Code::WorkerSignalled;
    assert!(errors.iter().filter(told).all(|error| error.message().contains(signal)), "{errors:#?}");
}

/// This host meets this at a step. A call that fails says so, a panic is the caller's own, and nothing is left.
pub fn host_fails_at(programs: Programs<'_>, step: &HostStep, action: Action) {
    let before = Belongings::now();
    fail::cfg(step.name, action.text()).expect("actions of the crate fail");
    let pool = native(programs.worker, 1).build().expect("a pool");
    let run = steps::run(&pool);
    judge_host(step, action, &run);
    if may_lose_place(step, action) {
        // Its only place may be given up; then every call says so.
        let answer = pool.call_blocking(&function("plus_one"), crate::numbers(0, 1));
        assert!(answer.as_ref().err().is_none_or(|error| error.code() == Code::Internal), "{answer:?}");
    } else {
        assert_healthy(&pool, &load());
    }
    drop((run, pool));
    fail::remove(step.name);
    assert_service(programs.worker);
    before.assert_unchanged();
}

/// Fails unless a new pool in this process works.
pub fn assert_service(worker: &str) {
    let pool = native(worker, 1).build().expect("a pool can be made");
    assert_healthy(&pool, &load());
}

fn may_lose_place(step: &HostStep, action: Action) -> bool {
    action == Action::Panic && step.thread == Thread::Pool
}

fn judge_host(step: &HostStep, action: Action, run: &Run) {
    let errors = &run.errors;
    let as_it_should = match action {
        Action::Panic if step.thread == Thread::Caller => run.panics == 1 && errors.len() <= 1,
        Action::Panic => run.panics == 0 && errors.iter().all(|error| error.code() == Code::Internal),
        Action::Error => match step.error {
            None | Some(Heard::Nobody) => errors.is_empty(),
            Some(Heard::Call) => run.codes() == [Code::System],
            Some(Heard::Perhaps) => errors.len() <= 1 && errors.iter().all(|error| error.code() == Code::System),
        },
        _ => errors.is_empty() && run.panics == 0,
    };
    assert!(as_it_should, "{} {action:?}: {} panics, and {errors:#?}", step.name, run.panics);
}

/// A host dies at a step: what it started dies with it. Says how long that took.
pub fn host_dies_at(programs: Programs<'_>, step: &str, action: Action) -> Duration {
    let before = Belongings::now();
    let mark = scratch("armed");
    let mut host = Host::new(programs.host, programs.worker, &Task::Steps);
    // The host reads the variables first, and its workers find the mark.
    host.env(ARMED, format!("{step}={}", action.text())).env(ARMED_ONCE, &mark);
    let (status, outlived) = host.run();
    std::fs::remove_file(mark).expect("the host armed itself");
    before.assert_unchanged();
    let signal = if action == Action::Abort { libc::SIGABRT } else { libc::SIGKILL };
    assert_eq!(status.signal(), Some(signal), "the host dies at {step}");
    outlived
}
