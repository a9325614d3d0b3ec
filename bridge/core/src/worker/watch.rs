//! The thread of a worker that sees the host's end.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{PidfdFlags, Signal, getpgrp, getpid, getppid, kill_current_process_group, pidfd_open, set_parent_process_death_signal};

use super::exit::LINK_LOST;
use crate::failure::{Code, Error, Result};
use crate::link::WorkerLink;

/// Ends this process, and what it started, when the host is gone: when its end of the link is closed, or the process itself has ended, of which a
/// forked child may keep the link open. It needs nothing of the interpreter, whose lock native code may hold for ever.
pub(super) fn watch(link: &Arc<WorkerLink>) -> Result<()> {
    let socket = link.as_fd().try_clone_to_owned().map_err(|error| Error::system(Code::DescriptorLimit, "cannot watch the link", error))?;
    let host = getppid().and_then(|host| pidfd_open(host, PidfdFlags::empty()).ok().filter(|_| getppid() == Some(host)));
    let sees_host = host.is_some();
    let run = move || {
        while !is_over(&socket, host.as_ref()) {}
        end_group();
    };
    let builder = std::thread::Builder::new().name("transom-watch".to_owned()).stack_size(64 * 1024);
    builder.spawn(run).map_err(|error| Error::system(Code::System, "cannot start a thread", error))?;
    if sees_host && rustix::thread::gettid() == getpid() {
        // The host had this process killed at its own end, which would leave nobody to end what the function started. From here on the thread above
        // does both; a process that was stopped has to be woken for it. The kernel notes the signal for each thread, and set it for the first.
        _ = set_parent_process_death_signal(Some(Signal::CONT));
    }
    Ok(())
}

/// Waits for something to happen, and says whether it is the host's end.
fn is_over(socket: &OwnedFd, host: Option<&OwnedFd>) -> bool {
    let mut watched = vec![PollFd::new(socket, PollFlags::RDHUP)];
    watched.extend(host.map(|host| PollFd::new(host, PollFlags::IN)));
    match poll(&mut watched, None) {
        Ok(_) => watched.iter().any(|one| !one.revents().is_empty()),
        Err(error) => error != rustix::io::Errno::INTR,
    }
}

/// Ends this process, whose function has closed the link or put another file in its place, in a way that tells the host so. Nothing may be dropped
/// first: the descriptor's number may be another file's by now.
pub(super) fn end_without_link() -> ! {
    // SAFETY: as in `end_group`.
    unsafe { libc::_exit(LINK_LOST) }
}

/// Ends this process at once, and the group of processes that the host made for it and what it starts.
fn end_group() -> ! {
    // Where it has no group of its own, as when it was started by hand, the group is somebody else's.
    if getpgrp() == getpid() {
        _ = kill_current_process_group(Signal::KILL);
    }
    // SAFETY: `_exit` ends the process and runs nothing of it: no destructor, no handler, no interpreter.
    unsafe { libc::_exit(0) }
}
