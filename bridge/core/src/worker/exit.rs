//! How a worker ended, in words.

use std::time::Duration;

use super::limits::{Shortage, mib};
use crate::failure::{Code, Error};

/// Exit status of the bootstrap where pyarrow cannot be imported.
const NO_PYARROW: i32 = 81;
/// Exit status of the bootstrap where transom cannot be imported.
const NO_TRANSOM: i32 = 82;
/// Exit status of a worker whose link is no link any more.
pub(super) const LINK_LOST: i32 = 83;

const MEMORY_HINT: &str = "send smaller batches, or raise the pool's worker_memory; the stack, where there is one, shows where the function was";

/// How a process ended, as `waitid(2)` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with this status.
    Exited(i32),
    /// By this signal.
    Killed(i32),
    /// Somebody else took the answer: the host ignores `SIGCHLD` or waits for all children.
    Unknown,
}

/// The error for a worker that ended by itself: what happened, and what that usually means.
pub fn decode(ending: Ending, ready: bool, age: Duration) -> Error {
    let phase = if ready { format!("{:.1} s after its start", age.as_secs_f64()) } else { "before it was ready".to_owned() };
    match ending {
        Ending::Exited(NO_PYARROW) if !ready => Error::new(Code::PyarrowMissing, "the worker's interpreter cannot import pyarrow")
            .with_hint("install pyarrow in that interpreter: `PYTHON -m pip install pyarrow`"),
        Ending::Exited(NO_TRANSOM) if !ready => Error::new(Code::TransomMissing, "the worker's interpreter cannot import transom")
            .with_hint("install transom in that interpreter, in the version of this host: `PYTHON -m pip install transom`"),
        Ending::Exited(status) if !ready => Error::new(Code::StartFailed, format!("the worker ended with exit status {status} {phase}"))
            .with_hint("start its program by hand, in the same environment and working directory: `PYTHON -c \"import pyarrow, transom\"`"),
        Ending::Exited(LINK_LOST) => Error::new(Code::WorkerExited, format!("the worker found its link to the host closed under it, and ended {phase}"))
            .with_hint("the function, or a library that it calls, closed or replaced descriptors that it had not opened, such as by `os.closerange`, `os.dup2` or becoming a daemon"),
        Ending::Exited(status) => Error::new(Code::WorkerExited, format!("the worker ended with exit status {status} {phase}"))
            .with_hint("the function, or a library that it calls, ended the process (`os._exit`, `System.exit`, or `exit()` in native code)"),
        Ending::Killed(signal) => killed(signal, &phase),
        Ending::Unknown => Error::new(Code::WorkerExited, format!("the worker ended {phase}, and how it ended cannot be told"))
            .with_hint("let SIGCHLD have its default action in this process, and wait for no child that is not yours"),
    }
}

/// The error for a worker that the kernel killed since memory ran out.
pub(super) fn out_of_memory(age: Duration) -> Error {
    let left = crate::memory::available_memory().map_or_else(String::new, |bytes| format!("; {} MiB are available now", bytes >> 20));
    let message = format!("the worker was killed by the kernel since memory ran out, {:.1} s after its start{left}", age.as_secs_f64());
    Error::new(Code::WorkerOutOfMemory, message).with_hint("send smaller batches, use fewer workers, or give the control group more memory")
}

/// The error for a worker that the kernel killed since its control group came to its limit.
pub(super) fn over_the_groups_limit(shortage: Shortage, limit: u64) -> Error {
    let message = format!(
        "out of memory: limit {}, used {}, with its children and what the kernel keeps for them; the kernel killed the worker at {}",
        mib(limit),
        mib(shortage.used),
        mib(shortage.limit)
    );
    Error::new(Code::WorkerOutOfMemory, message).with_hint(MEMORY_HINT)
}

/// The error for a worker that took more memory than its pool allows.
pub(super) fn over_the_limit(used: u64, limit: u64) -> Error {
    let message = format!("out of memory: limit {}, used {}, which shared memory is no part of; the worker was ended", mib(limit), mib(used));
    Error::new(Code::WorkerOutOfMemory, message).with_hint(MEMORY_HINT)
}

/// The error for a worker that somebody stopped, and that was ended when its time was up.
pub(crate) fn stopped(signal: i32, limit: Duration) -> Error {
    let message = format!("the worker was stopped by {}, and was ended when its {} s were up", signal_name(signal), limit.as_secs_f64());
    Error::new(Code::WorkerStopped, message)
        .with_hint("nothing is wrong with the function: somebody stopped its process; a batch may be tried again (`retries`)")
}

/// A worker in words, as it was when it ended.
pub(super) fn worker_in_words(worker: usize, pid: u32, age: Duration, batches: u64, memory: Option<(u64, u64)>) -> String {
    let memory = memory.map_or_else(String::new, |(used, limit)| format!(", {} of {}", mib(used), mib(limit)));
    format!("worker {worker} (process {pid}), up {:.1} s, {batches} batches{memory}", age.as_secs_f64())
}

/// The same error with what to do, where only the reader of all such errors needs it said.
pub(super) fn explained(error: Error) -> Error {
    if error.code() == Code::ProtocolViolation && error.hint().is_none() {
        return error
            .with_hint("see that the function closes and writes to only such descriptors as it opened; else report this as a defect of Transom");
    }
    error
}

fn killed(signal: i32, phase: &str) -> Error {
    let error = Error::new(Code::WorkerSignalled, format!("the worker was killed by {} {phase}", signal_name(signal))).with_signal(signal);
    match signal {
        libc::SIGKILL => error.with_hint("somebody sent SIGKILL, or the kernel did since memory ran out (`dmesg` tells)"),
        libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE => {
            error.with_hint("the fault is in native code that the function called, or the function wrote to its input, which is read-only")
        }
        libc::SIGABRT => error.with_hint("native code that the function called gave up; its last words are in the worker's output"),
        _ => error,
    }
}

/// The name of a signal, such as `SIGSEGV`.
fn signal_name(signal: i32) -> String {
    let name = match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGSTOP => "SIGSTOP",
        libc::SIGTSTP => "SIGTSTP",
        libc::SIGTTIN => "SIGTTIN",
        libc::SIGTTOU => "SIGTTOU",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGSYS => "SIGSYS",
        _ => return format!("signal {signal}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ending_has_its_code() {
        let second = Duration::from_secs(1);
        let code = |ending, ready| decode(ending, ready, second).code();
        assert_eq!(code(Ending::Exited(NO_PYARROW), false), Code::PyarrowMissing);
        assert_eq!(code(Ending::Exited(NO_PYARROW), true), Code::WorkerExited);
        assert_eq!(code(Ending::Exited(NO_TRANSOM), false), Code::TransomMissing);
        assert_eq!(code(Ending::Exited(3), false), Code::StartFailed);
        assert_eq!(code(Ending::Killed(libc::SIGSEGV), true), Code::WorkerSignalled);
        assert!(decode(Ending::Killed(libc::SIGSEGV), true, second).message().contains("SIGSEGV"));
        assert!(decode(Ending::Killed(40), true, second).message().contains("signal 40"));
    }
}
