//! Shared memory: sealed segments made by the host, and the arena that hands out pieces of them. Knows bytes, no Arrow types.
//!
//! The rules (measured on Linux; `memfd_create(2)`, `fcntl(2)` on seals, `fallocate(2)`, `madvise(2)`):
//!
//! * Only the host makes segments. Their pages are reserved when they are made, so a shortage is an error there and never a
//!   SIGBUS later. They can neither shrink nor grow.
//! * Each segment has one writer. An input segment is sealed against every later writable mapping before any worker sees it; an
//!   output segment as soon as its worker has mapped it.
//! * Who receives a segment checks its seals and its size before mapping it.
//! * All books are private memory of the process that allocates; shared memory holds nothing but the bytes of batches.

mod arena;
mod budget;
mod free_list;
mod futex;
mod heap;
mod process;
mod segment;
mod segments;
mod shared;
mod streaming;
mod words;

pub use arena::{Arena, Block, Source, Space};
pub use budget::{Budget, available_memory, out_of_memory_kills};
pub(crate) use budget::{SMALLEST, count_in};
pub(crate) use futex::{Sleep, can_sleep_on, sleep, wake};
pub use heap::join;
pub(crate) use heap::{Claim, Heap};
pub(crate) use process::process_id;
pub use segment::{Role, Segment};
pub use segments::Segments;
pub use shared::SharedAlloc;
pub(crate) use shared::{Keeper, heap_locate, heap_segment};
pub(crate) use streaming::copy_past_caches;
pub(crate) use words::{OwnWords, Words};

/// A portable pointer: bytes in a segment, by number instead of by address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Extent {
    /// The segment's number, unique in a pool and never used again.
    pub segment: u32,
    /// Bytes from the segment's beginning.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
}

impl Extent {
    /// Whether `other` lies wholly in this extent.
    pub fn contains(&self, other: &Extent) -> bool {
        self.segment == other.segment
            && self.offset <= other.offset
            && other.offset.checked_add(other.len).is_some_and(|end| end <= self.offset.saturating_add(self.len))
    }
}
