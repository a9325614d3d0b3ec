//! Steps at which a test makes a process die, fail or wait. They are there only with the feature `failpoints`, which no product is built with.
//!
//! A step is one line, `step!("worker::call")`: `worker::` is a step of a worker, `host::` one of a host, `system::` a system call of either. What
//! happens there is said in the language of the crate `fail`, such as `worker::call=2*off->1*return(kill)`.

/// A step with an error of its own where it is made to fail; or, with `only`, one at which nothing can fail.
#[cfg(feature = "failpoints")]
macro_rules! step {
    (only $name:literal) => {
        _ = crate::failpoints::reached($name)
    };
    ($name:literal, $errno:ident => $error:expr) => {
        if let Some($errno) = crate::failpoints::reached($name) {
            return Err($error.into());
        }
    };
    ($name:literal) => {
        step!($name, errno => crate::failure::Error::system(crate::failure::Code::System, $name, errno))
    };
}

#[cfg(not(feature = "failpoints"))]
macro_rules! step {
    ($($step:tt)*) => {};
}

/// Does what was set for a step: `return(abort)`, `return(kill)`, `return(stop)`, or `return(N)` for the system's error number N. Delays and panics
/// are the crate's own.
#[cfg(feature = "failpoints")]
pub(crate) fn reached(name: &str) -> Option<rustix::io::Errno> {
    fail::fail_point!(name, |action| act(action.as_deref()));
    None
}

#[cfg(feature = "failpoints")]
fn act(action: Option<&str>) -> Option<rustix::io::Errno> {
    use rustix::io::Errno;
    use rustix::process::{Signal, getpid, kill_process};
    match action {
        Some("abort") => std::process::abort(),
        Some("kill") => {
            _ = kill_process(getpid(), Signal::KILL);
            // A signal to oneself may take a moment; nothing happens after the step.
            loop {
                std::thread::park();
            }
        }
        Some("stop") => {
            _ = kill_process(getpid(), Signal::STOP);
            None
        }
        Some(number) => Some(number.parse().map_or(Errno::IO, Errno::from_raw_os_error)),
        None => Some(Errno::IO),
    }
}
