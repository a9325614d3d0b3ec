//! What a forked child has of the heap. Its parent's segments are not inherited, since a child that wrote there would write its parent's memory; in
//! their place it gets private mappings of the same bytes.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};

use std::os::fd::AsRawFd;

use super::super::Segment;
use crate::failure::{Code, Error, Result};

/// One segment, where a child can find it without a lock and without memory: another thread may have held either at the fork.
struct Place {
    /// 0 where nothing is.
    address: AtomicUsize,
    len: AtomicUsize,
    descriptor: AtomicI32,
}

/// So many segments may be; they have 64 MiB each where memory is plenty, and each has a descriptor of the process.
const MOST: usize = 512;

static PLACES: [Place; MOST] = [const { Place { address: AtomicUsize::new(0), len: AtomicUsize::new(0), descriptor: AtomicI32::new(-1) } }; MOST];
/// Places from here on were never used.
static USED: AtomicUsize = AtomicUsize::new(0);
static CHILD: AtomicBool = AtomicBool::new(false);

/// Notes a segment. One at a time: the arena grows under a lock.
pub(super) fn add(segment: &Segment) -> Result<()> {
    let free = PLACES.iter().position(|place| place.address.load(Ordering::Relaxed) == 0);
    let full = || Error::new(Code::SharedMemoryFull, format!("the heap has {MOST} segments already"));
    let index = free.ok_or_else(full)?;
    let place = &PLACES[index];
    place.len.store(segment.len(), Ordering::Relaxed);
    place.descriptor.store(segment.descriptor().as_raw_fd(), Ordering::Relaxed);
    place.address.store(segment.as_ptr() as usize, Ordering::Release);
    USED.fetch_max(index + 1, Ordering::Release);
    Ok(())
}

/// Forgets a segment, before it is unmapped.
pub(super) fn remove(segment: &Segment) {
    for place in places().filter(|place| place.address.load(Ordering::Relaxed) == segment.as_ptr() as usize) {
        place.address.store(0, Ordering::Release);
    }
}

fn places() -> impl Iterator<Item = &'static Place> {
    PLACES[..USED.load(Ordering::Acquire)].iter()
}

/// Whether a block lies in one of the segments.
pub(super) fn holds(block: NonNull<u8>) -> bool {
    let address = block.as_ptr() as usize;
    places().any(|place| {
        let begin = place.address.load(Ordering::Acquire);
        begin != 0 && address.wrapping_sub(begin) < place.len.load(Ordering::Relaxed)
    })
}

/// Whether this process was forked from the heap's.
pub(super) fn is_child() -> bool {
    CHILD.load(Ordering::Relaxed)
}

/// Has every forked child of this process told what it is.
pub(super) fn watch() {
    // SAFETY: the function does in a child what may be done there: atomics and mmap. Without memory for one more handler the system refuses, and a
    // child has holes where the segments were.
    _ = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
}

unsafe extern "C" fn in_child() {
    // A child's child inherits the private mappings, and what was written there.
    if CHILD.swap(true, Ordering::Relaxed) {
        return;
    }
    for place in places() {
        let address = place.address.load(Ordering::Acquire);
        if address != 0 {
            let (len, descriptor) = (place.len.load(Ordering::Relaxed), place.descriptor.load(Ordering::Relaxed));
            let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_FIXED);
            // SAFETY: the range is the parent's mapping of this segment, which the child did not inherit (`MADV_DONTFORK`), so nothing of the child's
            // lies there yet. The child has one thread, and has mapped nothing since the fork. Where mapping fails the hole stays.
            _ = unsafe { libc::mmap(address as *mut libc::c_void, len, access, kind, descriptor, 0) };
        }
    }
}
