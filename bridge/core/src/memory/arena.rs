//! The growing set of segments that one process writes, and the allocator in it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use super::free_list::{ALIGNMENT, FreeList};
use super::heap::{Heap, Share};
use super::{Extent, Segment};
use crate::failure::{Code, Error, Result};

/// Where a process puts what another process shall read.
pub trait Space: Send + Sync {
    /// A piece of shared memory of `len` bytes, aligned to 64. Its content is whatever was there before.
    ///
    /// # Errors
    /// `MEMORY_LIMIT` or `SHARED_MEMORY_FULL` where there is no room.
    fn allocate(&self, len: usize) -> Result<Block>;

    /// The portable form of an address range that the other side can already read where it is, if it can.
    fn locate(&self, ptr: *const u8, len: usize) -> Option<Extent>;
}

/// Where an arena gets segments from: the host makes them, a worker asks the host.
pub trait Source: Send + Sync {
    /// A new segment of at least `len` bytes that this process can write; `None` where memory came back meanwhile, so that the arena is to be
    /// looked at again.
    ///
    /// # Errors
    /// `MEMORY_LIMIT` or `SHARED_MEMORY_FULL` where there is no room.
    fn segment(&self, len: usize) -> Result<Option<Arc<Segment>>>;

    /// Takes back a segment of which nothing is in use any more.
    fn discard(&self, segment: Arc<Segment>);

    /// Hears that a piece came back.
    fn freed(&self) {}
}

/// An allocator over the segments that this process writes. Cloning gives another handle to the same arena.
///
/// ```
/// # use std::sync::Arc;
/// use transom::memory::{Arena, Budget, Role, Segment, Source};
/// struct Host(Budget);
/// impl Source for Host {
///     fn segment(&self, len: usize) -> transom::Result<Option<Arc<Segment>>> {
///         Ok(Some(Arc::new(Segment::create(1, Role::Input, self.0.reserve(len.max(1 << 20))?)?)))
///     }
///     fn discard(&self, _: Arc<Segment>) {}
/// }
/// let arena = Arena::new(Host(Budget::new(1 << 30)));
/// let mut block = arena.allocate(5)?;
/// block.as_mut_slice().copy_from_slice(b"hello");
/// assert_eq!(block.extent().len, 5);
/// # Ok::<(), transom::Error>(())
/// ```
#[derive(Clone)]
pub struct Arena {
    inner: Arc<Inner>,
}

struct Inner {
    source: Box<dyn Source>,
    /// Where its segments are the process's heap too.
    heap: Option<Heap>,
    segments: Mutex<Vec<Pieces>>,
    // One thread at a time grows: two that find the arena full at once should share what the first one gets.
    growing: Mutex<()>,
}

struct Pieces {
    segment: Arc<Segment>,
    free: Free,
}

/// The free ranges of a segment: the arena's own affair, or one with the heap of the process.
enum Free {
    Own(FreeList),
    Shared(Share),
}

impl Free {
    fn take(&mut self, len: usize) -> Option<usize> {
        match self {
            Free::Own(list) => list.take(len),
            Free::Shared(share) => share.take(len),
        }
    }

    fn give(&mut self, offset: usize, len: usize) {
        match self {
            Free::Own(list) => list.give(offset, len),
            Free::Shared(share) => share.give(offset, len),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Free::Own(list) => list.free(),
            Free::Shared(share) => share.free(),
        }
    }

    /// Nothing of the segment is in use, and nothing of it will be any more.
    fn retire(&self) -> bool {
        match self {
            Free::Own(list) => list.is_whole(),
            Free::Shared(share) => share.retire(),
        }
    }
}

impl Arena {
    /// An empty arena; it asks `source` when it first needs memory.
    pub fn new(source: impl Source + 'static) -> Self {
        Self::with_heap(source, None)
    }

    /// An empty arena whose segments are the process's heap too, where there is one.
    pub(crate) fn with_heap(source: impl Source + 'static, heap: Option<Heap>) -> Self {
        Self { inner: Arc::new(Inner { source: Box::new(source), heap, segments: Mutex::default(), growing: Mutex::default() }) }
    }

    /// A piece of `len` bytes, from a segment that is there or from a new one.
    ///
    /// # Errors
    /// `MEMORY_LIMIT` or `SHARED_MEMORY_FULL` where there is no room, even after idle segments were given back.
    pub fn allocate(&self, len: usize) -> Result<Block> {
        let size = rounded(len)?;
        if let Some(block) = self.inner.take(len, size) {
            return Ok(block);
        }
        let _one_at_a_time = self.inner.growing.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        loop {
            if let Some(block) = self.inner.take(len, size) {
                return Ok(block);
            }
            let segment = match self.inner.source.segment(size) {
                Err(error) if error.code() == Code::MemoryLimit && self.discard_idle() > 0 => self.inner.source.segment(size)?,
                other => other?,
            };
            if let Some(segment) = segment {
                self.adopt(segment);
            }
        }
    }

    /// Adds a segment that this process can write.
    pub fn adopt(&self, segment: Arc<Segment>) {
        let free = match self.inner.heap {
            Some(heap) => Free::Shared(heap.adopt(segment.clone())),
            None => Free::Own(FreeList::new(segment.len())),
        };
        self.inner.segments().push(Pieces { segment, free });
    }

    /// Bytes that are free in each segment, by its number.
    pub fn free_bytes(&self) -> BTreeMap<u32, usize> {
        self.inner.segments().iter().map(|pieces| (pieces.segment.id(), pieces.free.bytes())).collect()
    }

    /// Gives back every segment of which nothing is in use, and says how many there were.
    pub fn discard_idle(&self) -> usize {
        let mut segments = self.inner.segments();
        let (idle, kept): (Vec<Pieces>, Vec<Pieces>) = std::mem::take(&mut *segments).into_iter().partition(|pieces| pieces.free.retire());
        *segments = kept;
        drop(segments);
        let count = idle.len();
        for pieces in idle {
            self.inner.source.discard(pieces.segment);
        }
        count
    }
}

impl Inner {
    fn segments(&self) -> MutexGuard<'_, Vec<Pieces>> {
        self.segments.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn take(self: &Arc<Self>, len: usize, size: usize) -> Option<Block> {
        let mut segments = self.segments();
        let (segment, offset) = segments.iter_mut().find_map(|pieces| Some((pieces.segment.clone(), pieces.free.take(size)?)))?;
        Some(Block { arena: self.clone(), segment, offset, len, size })
    }

    fn give(&self, segment: u32, offset: usize, size: usize) {
        if let Some(pieces) = self.segments().iter_mut().find(|pieces| pieces.segment.id() == segment) {
            pieces.free.give(offset, size);
        }
        self.source.freed();
    }
}

fn rounded(len: usize) -> Result<usize> {
    len.max(1).checked_next_multiple_of(ALIGNMENT).ok_or_else(|| Error::new(Code::BatchTooLarge, format!("{len} bytes cannot be allocated")))
}

/// A piece of a segment that belongs to its holder alone; dropping it gives the bytes back to the arena.
pub struct Block {
    arena: Arc<Inner>,
    segment: Arc<Segment>,
    offset: usize,
    len: usize,
    size: usize,
}

impl Block {
    /// Where the block is, in a form that another process understands.
    pub fn extent(&self) -> Extent {
        Extent { segment: self.segment.id(), offset: self.offset as u64, len: self.len as u64 }
    }

    /// The segment that the block lies in.
    pub fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// The length in bytes, as asked for.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the block has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The address of the first byte in this process.
    pub fn as_ptr(&self) -> *const u8 {
        self.segment.as_ptr().wrapping_add(self.offset)
    }

    /// The bytes, for writing.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        let base = self.segment.as_mut_ptr().expect("an arena holds only segments that this process writes");
        // SAFETY: the free list gave `offset..offset + size` of this mapping to this block and to nobody else, `len <= size`, and the mapping
        // lives as long as `self.segment`. This process is the segment's one writer; others map it read-only (seals) and read a block only after
        // it was sent, when no `&mut` to it exists any more.
        unsafe { std::slice::from_raw_parts_mut(base.add(self.offset), self.len) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.arena.give(self.segment.id(), self.offset, self.size);
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({:?})", self.extent())
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Arena({} segments)", self.inner.segments().len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::memory::{Budget, Role};

    struct Host {
        budget: Budget,
        made: AtomicU32,
    }

    impl Source for Arc<Host> {
        fn segment(&self, len: usize) -> Result<Option<Arc<Segment>>> {
            let id = self.made.fetch_add(1, Ordering::Relaxed);
            Ok(Some(Arc::new(Segment::create(id, Role::Input, self.budget.reserve(len.next_multiple_of(4096))?)?)))
        }
        fn discard(&self, _segment: Arc<Segment>) {}
    }

    fn arena(limit: u64) -> (Arena, Arc<Host>) {
        let host = Arc::new(Host { budget: Budget::new(limit), made: AtomicU32::new(0) });
        (Arena::new(host.clone()), host)
    }

    #[test]
    fn blocks_are_aligned_apart_and_recycled() {
        let (arena, host) = arena(1 << 20);
        let mut blocks: Vec<Block> = (0..10).map(|i| arena.allocate(100 + i).unwrap()).collect();
        for (i, block) in blocks.iter_mut().enumerate() {
            assert_eq!(block.as_ptr() as usize % ALIGNMENT, 0);
            block.as_mut_slice().fill(i as u8);
        }
        for (i, block) in blocks.iter_mut().enumerate() {
            assert!(block.as_mut_slice().iter().all(|&byte| byte == i as u8));
        }
        let first = blocks[0].extent();
        drop(blocks);
        assert_eq!(arena.allocate(100).unwrap().extent(), first);
        assert_eq!(host.made.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_full_arena_grows_and_then_says_so() {
        let (arena, _host) = arena(16384);
        let first = arena.allocate(4096).unwrap();
        let second = arena.allocate(8192).unwrap();
        assert_ne!(first.extent().segment, second.extent().segment);
        assert_eq!(arena.allocate(8192).unwrap_err().code(), Code::MemoryLimit);
        drop(second);
        arena.allocate(8192).unwrap();
    }

    #[test]
    fn idle_segments_make_room_for_a_larger_one() {
        let (arena, host) = arena(16384);
        drop(arena.allocate(4096).unwrap());
        drop(arena.allocate(8192).unwrap());
        arena.allocate(16384).unwrap();
        assert_eq!(host.budget.used(), 16384);
    }

    #[test]
    fn a_block_of_no_bytes_is_a_block() {
        let (arena, _host) = arena(1 << 16);
        let mut block = arena.allocate(0).unwrap();
        assert!(block.is_empty() && block.as_mut_slice().is_empty());
        assert_eq!(arena.allocate(usize::MAX).unwrap_err().code(), Code::BatchTooLarge);
    }
}
