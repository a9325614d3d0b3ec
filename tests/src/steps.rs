//! The steps at which processes are made to die or fail (`step!` in the core), and what becomes of a run through all of them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use transom::{Code, Error, MapOptions, Pool};

use crate::invariants::Tally;
use crate::{function, numbers, values};

/// The steps for the first native worker, or the host program, that reads it: `NAME=ACTIONS`, in the language of the crate `fail`, with `;` between.
pub const ARMED: &str = "TEST_STEPS";
/// A file that the first process makes which arms itself; those that find it do not.
pub const ARMED_ONCE: &str = "TEST_STEPS_ONCE";

/// Has native workers leave a zygote behind, from which their pool forks others.
pub const ZYGOTE: &str = "TEST_ZYGOTE";

/// What happens at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The process aborts itself.
    Abort,
    /// The process is killed.
    Kill,
    /// The thread panics.
    Panic,
    /// The step fails.
    Error,
    /// The step takes its time.
    Delay,
}

impl Action {
    /// All of them.
    pub const ALL: [Action; 5] = [Action::Abort, Action::Kill, Action::Panic, Action::Error, Action::Delay];

    /// Its name in the language of the crate `fail`; it happens once.
    pub fn text(self) -> &'static str {
        match self {
            Action::Abort => "1*return(abort)->off",
            Action::Kill => "1*return(kill)->off",
            Action::Panic => "1*panic(as asked)->off",
            Action::Error => "1*return(5)->off",
            Action::Delay => "1*sleep(20)->off",
        }
    }
}

/// Who hears of a worker's end at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nobody: the next process takes its place before it has work, or after the last.
    Nobody,
    /// The call, or stream, that it works on.
    Call,
    /// The next call, if it was sent already; what was told of an error before the end is heard by the one before.
    Perhaps,
}

/// A step of a worker.
pub struct WorkerStep {
    /// Its name.
    pub name: &'static str,
    /// Who hears of its end.
    pub heard: Heard,
    /// The code where the step fails: `SYSTEM` where the call is told, `WORKER_EXITED` where the worker ends; `None` where nothing can fail.
    pub error: Option<Code>,
    /// The code where the step panics: `INTERNAL` where the call is told, `WORKER_EXITED` where the worker ends.
    pub panic: Code,
}

const fn worker(name: &'static str, heard: Heard, error: Option<Code>, panic: Code) -> WorkerStep {
    WorkerStep { name, heard, error, panic }
}

use Code::{Internal, System, WorkerExited};

/// All steps of a worker, in the order of the life of a call.
pub const WORKER_STEPS: &[WorkerStep] = &[
    worker("worker::hello", Heard::Nobody, Some(WorkerExited), WorkerExited),
    worker("worker::ready", Heard::Perhaps, Some(WorkerExited), WorkerExited),
    worker("worker::segment", Heard::Perhaps, Some(WorkerExited), WorkerExited),
    worker("worker::map", Heard::Perhaps, Some(WorkerExited), WorkerExited),
    worker("worker::mapped", Heard::Perhaps, Some(WorkerExited), WorkerExited),
    worker("worker::define", Heard::Call, Some(WorkerExited), WorkerExited),
    worker("worker::defined", Heard::Call, Some(WorkerExited), WorkerExited),
    worker("worker::schema", Heard::Call, Some(WorkerExited), WorkerExited),
    worker("worker::call", Heard::Call, Some(WorkerExited), WorkerExited),
    worker("worker::arguments", Heard::Call, Some(System), WorkerExited),
    worker("worker::returned", Heard::Call, Some(System), WorkerExited),
    worker("worker::release", Heard::Call, None, Internal),
    worker("worker::exported", Heard::Call, Some(System), WorkerExited),
    worker("worker::wish", Heard::Call, Some(System), WorkerExited),
    worker("worker::sent", Heard::Perhaps, None, WorkerExited),
    worker("worker::answered", Heard::Perhaps, Some(WorkerExited), WorkerExited),
    worker("worker::freed", Heard::Perhaps, Some(WorkerExited), WorkerExited),
    worker("worker::open", Heard::Call, Some(WorkerExited), WorkerExited),
    worker("worker::ask", Heard::Call, Some(System), Internal),
    worker("worker::yielded", Heard::Call, Some(System), WorkerExited),
    worker("worker::end", Heard::Call, Some(WorkerExited), WorkerExited),
    worker("worker::bye", Heard::Nobody, Some(WorkerExited), WorkerExited),
];

/// On which of the host's threads a step is: what a panic there does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thread {
    /// The caller's, who gets the panic.
    Caller,
    /// The pool's: the place is given up, and its callers are told.
    Pool,
}

/// A step of a host.
pub struct HostStep {
    /// Its name.
    pub name: &'static str,
    /// On which thread it is.
    pub thread: Thread,
    /// Who hears of an error there; `None` where nothing can fail.
    pub error: Option<Heard>,
}

const fn host(name: &'static str, thread: Thread, error: Option<Heard>) -> HostStep {
    HostStep { name, thread, error }
}

/// All steps of a host.
pub const HOST_STEPS: &[HostStep] = &[
    host("host::started", Thread::Pool, None),
    host("host::welcome", Thread::Pool, Some(Heard::Nobody)),
    host("host::ready", Thread::Pool, None),
    host("host::grant", Thread::Pool, None),
    host("host::mapped", Thread::Pool, Some(Heard::Perhaps)),
    host("host::define", Thread::Caller, Some(Heard::Call)),
    host("host::room", Thread::Caller, Some(Heard::Call)),
    host("host::exported", Thread::Caller, Some(Heard::Call)),
    host("host::post", Thread::Caller, Some(Heard::Call)),
    host("host::prepare", Thread::Caller, Some(Heard::Call)),
    host("host::released", Thread::Pool, None),
    host("host::result", Thread::Pool, Some(Heard::Call)),
    host("host::answered", Thread::Pool, Some(Heard::Call)),
    host("host::import", Thread::Caller, Some(Heard::Call)),
    host("host::give_back", Thread::Caller, None),
    host("host::open", Thread::Caller, Some(Heard::Call)),
    host("host::died", Thread::Pool, None),
    host("host::ended", Thread::Pool, None),
    host("host::close", Thread::Pool, None),
];

/// The steps of starting a worker by fork: of the first worker, of the zygote, of a worker that was forked, and of the host.
pub const ZYGOTE_STEPS: &[&str] = &["zygote::split", "zygote::born", "zygote::order", "zygote::forked", "zygote::child", "host::zygote"];

/// The system calls that are made to fail, with the error that each fails with: of the host or a worker, or of both.
pub const SYSTEM_STEPS: &[(&str, i32)] = &[
    ("system::close_to_writers", libc::EBUSY),
    ("system::epoll_ctl", libc::ENOSPC),
    ("system::fallocate", libc::ENOSPC),
    ("system::fork", libc::EAGAIN),
    ("system::ftruncate", libc::ENOMEM),
    ("system::futex_waitv", libc::ENOMEM),
    ("system::memfd_create", libc::EMFILE),
    ("system::mmap", libc::ENOMEM),
    ("system::pipe", libc::EMFILE),
    ("system::recvmsg", libc::ENOMEM),
    ("system::seal", libc::EPERM),
    ("system::sendmsg", libc::ENOMEM),
    ("system::socketpair", libc::EMFILE),
];

/// Arms this process as the environment says.
pub fn arm() {
    let Ok(steps) = std::env::var(ARMED) else { return };
    if let Ok(mark) = std::env::var(ARMED_ONCE)
        && std::fs::OpenOptions::new().write(true).create_new(true).open(mark).is_err()
    {
        return;
    }
    for step in steps.split(';') {
        let (name, actions) = step.split_once('=').expect("NAME=ACTIONS");
        fail::cfg(name, actions).expect("actions of the crate fail");
    }
}

/// What a run through all steps gave: the errors, and how many calls of the host panicked. Everything else was right, which is checked here.
#[derive(Debug, Default)]
pub struct Run {
    /// What failed.
    pub errors: Vec<Error>,
    /// Calls that panicked in this process.
    pub panics: usize,
}

impl Run {
    fn note(&mut self, call: impl FnOnce() -> Result<(), Error>) {
        match catch_unwind(AssertUnwindSafe(call)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.errors.push(error),
            Err(_) => self.panics += 1,
        }
    }

    /// The errors' codes.
    pub fn codes(&self) -> Vec<Code> {
        self.errors.iter().map(Error::code).collect()
    }
}

/// Goes through every step of a pool's life but its end: small calls, one whose result needs another segment, a stream, and a wait.
pub fn run(pool: &Pool) -> Run {
    let mut run = Run::default();
    let plus_one = function("plus_one");
    let mut tally = Tally::new(0, 1);
    let mut call = |run: &mut Run, rows| {
        let (first, batch) = tally.batch(rows);
        // Dropping the answer is a step, too.
        run.note(|| pool.call_blocking(&plus_one, batch).map(|answer| tally.note(first, &Ok(answer), &[])));
    };
    for rows in [5000, 5000, 700_000, 5000] {
        call(&mut run, rows);
    }
    run.note(|| twice(pool));
    // Its caller ceases to look for the answer, and sleeps.
    run.note(|| pool.call_blocking(&function("sleep_2"), numbers(0, 1)).map(drop));
    call(&mut run, 10);
    run
}

/// A stream that gives each of three batches twice, or fails on the way: what came until then is right.
fn twice(pool: &Pool) -> Result<(), Error> {
    let source = (0..3).map(|index| Ok(numbers(index * 100, 100)));
    let mut given = 0;
    for result in pool.map_blocking(&function("stream_twice"), source, MapOptions::default())? {
        assert_eq!(values(&result?)[0], given / 2 * 100, "the stream gives its batches in order");
        given += 1;
    }
    assert_eq!(given, 6, "a stream that ends without an error gives all");
    Ok(())
}
