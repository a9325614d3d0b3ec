//! Descriptors in the event loop.

use std::io;
use std::os::fd::AsRawFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What can be watched: values that own one descriptor from their beginning to their end.
pub(super) trait OwnsDescriptor: AsRawFd {}

impl OwnsDescriptor for std::os::fd::OwnedFd {}
impl OwnsDescriptor for std::sync::Arc<crate::link::HostLink> {}
impl OwnsDescriptor for crate::link::Socket {}

/// Puts a descriptor into the event loop of the current thread.
pub(super) fn watched<T: OwnsDescriptor>(value: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    step!("system::epoll_ctl", errno => errno);
    // SAFETY: `OwnsDescriptor` is only implemented above, for types that hold one `OwnedFd` which they neither replace nor close while they live; the
    // `AsyncFd` owns the value and takes the descriptor out of the loop before it drops it.
    unsafe { AsyncFd::register_with_interest(value, interest) }.map_err(io::Error::from)
}
