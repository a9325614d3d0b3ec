//! A memory allocator for hosts in Rust: what they build with it can be sent without a copy.

mod forked;
mod heap;

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::NonNull;

use super::free_list::ALIGNMENT;
pub(crate) use heap::{Keeper, locate as heap_locate, segment as heap_segment};

/// Blocks from this size on lie in shared memory. A smaller one is copied in a few microseconds where it is an argument, and small blocks are where
/// a program has what is nobody's business: buffers of files and of TLS have 8 to 20 KiB.
const LARGE: usize = 32 << 10;

/// A memory allocator whose large blocks, of 32 KiB or more, lie in segments that workers can be sent. What a Rust host builds with it (by arrow-rs,
/// the Parquet reader, DataFusion) is an argument without a copy. All other blocks, and those for which there is no room, come from `A`.
///
/// A program says once that it wants it:
///
/// ```
/// use std::sync::Arc;
/// use arrow_array::{Int64Array, RecordBatch};
///
/// #[global_allocator]
/// static ALLOCATOR: transom::SharedAlloc = transom::SharedAlloc::new();
///
/// let column = Int64Array::from_iter_values(0..65_536);
/// let batch = RecordBatch::try_from_iter([("x", Arc::new(column) as _)])?;
/// assert!(transom::SharedAlloc::bytes() >= 8 * 65_536);
/// // `pool.call(&function, batch)` now sends a descriptor, and copies nothing.
/// # drop(batch);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// *What workers see.* A worker that is sent a batch maps the whole segments that the batch lies in, for reading only, and so can read whatever other
/// large blocks the program has there, now and later. `SECURITY.md` says what that means. Whoever does not install the allocator shares nothing.
///
/// *Memory.* Segments are limited by half of what the machine has left when the first is made, or by a limit that is given. They count against no
/// pool's limit: they are the program's own memory, in another place. Beyond the limit blocks come from `A`, and are copied where they are arguments.
/// A segment in which nothing is in use goes back to the system after five seconds.
///
/// *Forks.* A forked child has its large blocks as private copies, and gets new ones from `A`. Where the parent goes on while the child does, a block
/// that the child has not written may change under it: as POSIX says, such a child should do no more than `exec`.
///
/// Sources: `memfd_create(2)`, `fcntl(2)` on seals, `pthread_atfork(3)`, `madvise(2)` on `MADV_DONTFORK`.
#[derive(Debug)]
pub struct SharedAlloc<A = System> {
    rest: A,
    limit: Option<u64>,
}

impl SharedAlloc {
    /// With the system's allocator for all that is not shared, and the default limit.
    pub const fn new() -> Self {
        Self::with(System, None)
    }

    /// The bytes of all segments that the allocator has now: those of blocks in use, and free room.
    pub fn bytes() -> u64 {
        heap::bytes()
    }
}

impl Default for SharedAlloc {
    fn default() -> Self {
        Self::new()
    }
}

impl<A> SharedAlloc<A> {
    /// With another allocator for all that is not shared, and a limit in bytes on all that is.
    ///
    /// ```
    /// # use std::alloc::System;
    /// # struct Jemalloc;
    /// # unsafe impl std::alloc::GlobalAlloc for Jemalloc {
    /// #     unsafe fn alloc(&self, layout: std::alloc::Layout) -> *mut u8 { unsafe { System.alloc(layout) } }
    /// #     unsafe fn dealloc(&self, ptr: *mut u8, layout: std::alloc::Layout) { unsafe { System.dealloc(ptr, layout) } }
    /// # }
    /// #[global_allocator]
    /// static ALLOCATOR: transom::SharedAlloc<Jemalloc> = transom::SharedAlloc::with(Jemalloc, Some(4 << 30));
    /// ```
    pub const fn with(rest: A, limit: Option<u64>) -> Self {
        Self { rest, limit }
    }

    /// A block in shared memory, if it is to lie there and can.
    fn shared(&self, layout: Layout) -> Option<NonNull<u8>> {
        if is_large(layout) { heap::take(layout.size(), self.limit) } else { None }
    }
}

fn is_large(layout: Layout) -> bool {
    layout.size() >= LARGE && layout.align() <= ALIGNMENT
}

// SAFETY: a block is either the heap's, which gives each to one holder, aligned to 64 and with at least the bytes that were asked for, or `rest`'s, under
// whose contract it is. Which of the two is told by size and address: below `LARGE` every block is `rest`'s, and the heap knows its own addresses.
// Nothing here unwinds: the heap answers every failure with `None`.
unsafe impl<A: GlobalAlloc> GlobalAlloc for SharedAlloc<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match self.shared(layout) {
            Some(block) => block.as_ptr(),
            // SAFETY: the caller's promise.
            None => unsafe { self.rest.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match self.shared(layout) {
            Some(block) => {
                // SAFETY: the block has so many bytes and is nobody else's.
                unsafe { block.as_ptr().write_bytes(0, layout.size()) };
                block.as_ptr()
            }
            // SAFETY: the caller's promise.
            None => unsafe { self.rest.alloc_zeroed(layout) },
        }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        let given = is_large(layout) && NonNull::new(ptr).is_some_and(|block| heap::give(block, layout.size()));
        if !given {
            // SAFETY: the caller's promise, and the block is none of the heap's.
            unsafe { self.rest.dealloc(ptr, layout) }
        }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the new size, rounded up to the alignment, does not overflow.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        let ours = NonNull::new(ptr).filter(|&block| is_large(layout) && heap::holds(block));
        if let Some(block) = ours
            && is_large(new_layout)
            && heap::resize(block, layout.size(), new_size)
        {
            return ptr;
        }
        let new = match self.shared(new_layout) {
            Some(block) => block.as_ptr(),
            // SAFETY: the caller's promise, and the block is none of the heap's.
            None if ours.is_none() => return unsafe { self.rest.realloc(ptr, layout, new_size) },
            // SAFETY: the caller promises that the new size is not 0.
            None => unsafe { self.rest.alloc(new_layout) },
        };
        if !new.is_null() {
            // SAFETY: both blocks have so many bytes, they are two, and the old one goes back to where it came from, once.
            unsafe {
                std::ptr::copy_nonoverlapping(ptr, new, layout.size().min(new_size));
                self.dealloc(ptr, layout);
            }
        }
        new
    }
}
