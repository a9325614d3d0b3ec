//! A pipe by which the kernel itself ends a worker's process group when its host is gone, whatever state the group is in.
//!
//! The host has the writing end and never writes. The worker has the reading end, set so that the kernel sends a signal to a process group where
//! others wait for something to read (`O_ASYNC`, `F_SETOWN` and `F_SETSIG` of `fcntl(2)`). All that ever happens on such a pipe is that its last writer
//! closes it, which a process does by dying, and the signal is SIGKILL: it needs no thread of the worker, and reaches what is stopped.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, getpid};

/// `F_SETSIG` of Linux's `fcntl.h`, which the crate libc lacks.
const F_SETSIG: libc::c_int = 10;

/// Ties a worker's process group to this process; its drop ends what is left of the group.
#[derive(Debug)]
pub(super) struct Lifeline {
    _held: OwnedFd,
}

impl Lifeline {
    /// A line and its other end, for the process that is to be tied.
    pub(super) fn new() -> Result<(Self, OwnedFd), Errno> {
        let (other, held) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok((Self { _held: held }, other))
    }
}

/// Ties the process group that this process leads, or is about to lead, to whoever holds the line. For the time between fork and exec: it only makes
/// system calls.
pub(super) fn tie(other: BorrowedFd<'_>) -> io::Result<()> {
    let group = -Pid::as_raw(Some(getpid()));
    set(other, libc::F_SETOWN, group)?;
    set(other, F_SETSIG, Signal::KILL.as_raw())?;
    // Last, since from here on the signal may come.
    rustix::fs::fcntl_setfl(other.as_fd(), OFlags::from_bits_retain(libc::O_ASYNC.cast_unsigned()))?;
    Ok(())
}

/// Closes what a forked process has of the lines of the one that it was forked from, which are not its own.
pub(super) fn let_go() {
    let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers: Vec<libc::c_int> = open.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in numbers {
        // SAFETY: the first asks and changes nothing. No other descriptor of a worker that has loaded no function is asynchronous, and nobody uses a line.
        unsafe {
            let flags = libc::fcntl(number, libc::F_GETFL);
            if flags != -1 && flags & libc::O_ASYNC != 0 {
                libc::close(number);
            }
        }
    }
}

fn set(descriptor: BorrowedFd<'_>, what: libc::c_int, number: libc::c_int) -> io::Result<()> {
    // SAFETY: both commands take a number and change what the kernel notes of an open descriptor.
    match unsafe { libc::fcntl(descriptor.as_raw_fd(), what, number) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
