//! A function that forks: the child gets what its parent has in segments as memory of its own, at the same addresses.
//!
//! Segments are not handed down (`MADV_DONTFORK`), since a child that writes to its arrays would write to its parent's results. The copy is made before the
//! fork, while the thread that forks has the books, and the child moves it into place. Sources: `pthread_atfork(3)`, `mremap(2)`.

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::ptr::{copy_nonoverlapping, null_mut};

use super::books::{Locked, Region, books};
use super::gate;

/// What lives from before a fork until behind it: the books, locked, and a copy of each segment in use.
struct Fork {
    books: Locked,
    copies: Vec<Copy>,
}

struct Copy {
    of: *mut c_void,
    at: *mut c_void,
    len: usize,
}

/// Only the thread that has the books looks at it.
struct Pending(UnsafeCell<Option<Fork>>);

// SAFETY: it is filled, read and emptied by the thread that forks, or by its copy in the child, and only while that thread has the lock of the books.
unsafe impl Sync for Pending {}

static PENDING: Pending = Pending(UnsafeCell::new(None));

/// From now on forks are seen to.
pub(super) fn watch() {
    // SAFETY: the three functions are there for as long as this code, which is never unloaded. Where there is no memory to note them, a child has no
    // segments, as it had none before.
    _ = unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
}

fn pending() -> &'static mut Option<Fork> {
    // SAFETY: see `Pending`.
    unsafe { &mut *PENDING.0.get() }
}

unsafe extern "C" fn before() {
    let Some(books) = books() else { return };
    let copies = books.regions().iter().filter_map(copy).collect();
    *pending() = Some(Fork { books, copies });
}

/// The ranges of a segment that are in use, in private memory. Where there is none left, the child does without, as it does without the segment.
fn copy(region: &Region) -> Option<Copy> {
    if region.free.is_whole() {
        return None;
    }
    let (of, len) = (region.segment().as_ptr(), region.segment().len());
    // SAFETY: a new mapping, which touches no other.
    let at = unsafe {
        let (rights, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);
        libc::mmap(null_mut(), len, rights, kind, -1, 0)
    };
    if at == libc::MAP_FAILED {
        return None;
    }
    for (offset, used) in region.free.in_use() {
        // SAFETY: both mappings have `len` bytes, the ranges lie in them, and they are apart.
        unsafe { copy_nonoverlapping(of.add(offset), at.cast::<u8>().add(offset), used) };
    }
    Some(Copy { of: of.cast_mut().cast(), at, len })
}

unsafe extern "C" fn in_parent() {
    for copy in pending().take().into_iter().flat_map(|fork| fork.copies) {
        // SAFETY: the mapping was made above, and nobody has its address.
        _ = unsafe { libc::munmap(copy.at, copy.len) };
    }
}

unsafe extern "C" fn in_child() {
    let Some(mut fork) = pending().take() else { return };
    fork.books.forked = true;
    gate::open(false);
    for copy in &fork.copies {
        // SAFETY: where the copy goes there is nothing in the child: the segment is not handed down, and this thread, the only one, has mapped nothing
        // since.
        _ = unsafe { libc::mremap(copy.at, copy.len, copy.len, libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED, copy.of) };
    }
}
