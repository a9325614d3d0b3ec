//! How a worker ended, in words.

use std::time::Duration;

use crate::failure::{Code, Error};

/// Exit status of the bootstrap where pyarrow cannot be imported.
const NO_PYARROW: i32 = 81;
/// Exit status of the bootstrap where transom cannot be imported.
const NO_TRANSOM: i32 = 82;

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

/// The same error with what to do, where only the reader of all such errors needs it said.
pub(super) fn explained(error: Error) -> Error {
    if error.code() == Code::ProtocolViolation && error.hint().is_none() {
        return error
            .with_hint("see that the function closes and writes to only such descriptors as it opened; else report this as a defect of Transom");
    }
    error
}

/// A fault handler's stack, cut to what a user can use: without the bridge's own frames, the list of loaded extensions, and the signal, which the
/// error names itself (to end a worker at its deadline the host sends one, which is no fault of the function's).
pub(super) fn users_stack(text: &str) -> String {
    const SIGNALS: [&str; 5] = ["Aborted", "Segmentation fault", "Bus error", "Illegal instruction", "Floating-point exception"];
    let signal = |line: &str| line.strip_prefix("Fatal Python error: ").is_some_and(|what| SIGNALS.contains(&what.trim_end()));
    let own =
        |line: &str| line.contains("/transom/_") || line.trim_start().starts_with("File \"<string>\"") || line.starts_with("Extension modules:");
    let lines: Vec<&str> = text.lines().filter(|line| !own(line) && !signal(line)).collect();
    lines.join("\n").trim().to_owned()
}

fn killed(signal: i32, phase: &str) -> Error {
    let error = Error::new(Code::WorkerSignalled, format!("the worker was killed by {} {phase}", signal_name(signal)));
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

    #[test]
    fn a_stack_is_cut_to_the_users_frames() {
        let text = "Fatal Python error: Aborted\n\nCurrent thread (most recent call first):\n  File \"udfs.py\", line 3 in f\n  File \"/x/transom/_plans.py\", \
                    line 8 in run\n  File \"<string>\", line 20 in <module>\n\nExtension modules: a, b (total: 2)\n";
        assert_eq!(users_stack(text), "Current thread (most recent call first):\n  File \"udfs.py\", line 3 in f");
        assert!(users_stack("Fatal Python error: no GIL\n").contains("no GIL"));
    }
}
