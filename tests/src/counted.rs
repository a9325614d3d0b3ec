//! How much memory a program has in use, to the byte. What it has in RAM says less: allocators keep what is given back, in each thread and in each
//! of their arenas, and over thousands of pools that grows though nothing is lost.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, Ordering};

/// The system's allocator, counted. A program that asks for its memory has it as its `#[global_allocator]`.
pub struct Counted;

static BYTES: AtomicI64 = AtomicI64::new(0);

/// Bytes that were allocated and not given back.
pub fn bytes_in_use() -> i64 {
    BYTES.load(Ordering::Relaxed)
}

// SAFETY: every call goes on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: the caller keeps what this asks for, since the trait asks for the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(ptr, layout) }
    }
}
