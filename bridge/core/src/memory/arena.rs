//! The growing set of segments that one process writes, and the allocator in it.

use std::collections::BTreeMap;
use std::fmt;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

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

    /// Hears that nothing of a segment is in use any more.
    fn idle(&self) {}
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
    /// Since when nothing of it is in use.
    idle: Option<Instant>,
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

    /// Takes `len` bytes at this offset, if they are free.
    fn extend(&mut self, offset: usize, len: usize) -> bool {
        match self {
            Free::Own(list) => list.extend(offset, len),
            Free::Shared(_) => false,
        }
    }

    fn is_whole(&self) -> bool {
        match self {
            Free::Own(list) => list.is_whole(),
            Free::Shared(share) => share.is_whole(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Free::Own(list) => list.free(),
            Free::Shared(share) => share.free(),
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
        let (segment, offset) = self.obtain(size)?;
        Ok(Block { arena: self.inner.clone(), segment, offset, len, size })
    }

    fn obtain(&self, size: usize) -> Result<Piece> {
        if let Some(piece) = self.inner.take(size) {
            return Ok(piece);
        }
        let _one_at_a_time = self.inner.growing.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        loop {
            if let Some(piece) = self.inner.take(size) {
                return Ok(piece);
            }
            let segment = match self.inner.source.segment(size) {
                Err(error) if error.code() == Code::MemoryLimit && self.discard_idle() > 0 => self.inner.source.segment(size)?,
                // Something may have come back while there was none.
                Err(error) => return self.inner.take(size).ok_or(error),
                Ok(segment) => segment,
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
        self.inner.segments().push(Pieces { segment, free, idle: Some(Instant::now()) });
    }

    /// Bytes that are free in each segment, by its number.
    pub fn free_bytes(&self) -> BTreeMap<u32, usize> {
        self.inner.segments().iter().map(|pieces| (pieces.segment.id(), pieces.free.bytes())).collect()
    }

    /// Gives back every segment of which nothing is in use, and says how many there were.
    pub fn discard_idle(&self) -> usize {
        self.discard_idle_for(Duration::ZERO).0
    }

    /// Gives back every segment of which nothing has been in use for so long; says how many there were, and how many are not idle long enough yet.
    pub(super) fn discard_idle_for(&self, rest: Duration) -> (usize, usize) {
        let mut segments = self.inner.segments();
        let is_over = |pieces: &Pieces| match &pieces.free {
            Free::Own(_) => pieces.idle.is_some_and(|since| since.elapsed() >= rest),
            // What the heap has of it is not seen here.
            Free::Shared(share) => share.retire(),
        };
        let (idle, kept): (Vec<Pieces>, Vec<Pieces>) = std::mem::take(&mut *segments).into_iter().partition(is_over);
        let waiting = kept.iter().filter(|pieces| pieces.idle.is_some()).count();
        *segments = kept;
        drop(segments);
        let count = idle.len();
        for pieces in idle {
            self.inner.source.discard(pieces.segment);
        }
        (count, waiting)
    }
}

/// By address instead of by [`Block`]: for a memory allocator, which has no place to keep one.
impl Arena {
    /// A piece of `len` bytes; where it `may_grow`, from a new segment if need be.
    pub(super) fn take(&self, len: usize, may_grow: bool) -> Option<NonNull<u8>> {
        let size = rounded(len).ok()?;
        let (segment, offset) = if may_grow { self.obtain(size).ok()? } else { self.inner.take(size)? };
        NonNull::new(segment.as_mut_ptr()?.wrapping_add(offset))
    }

    /// Takes back a piece of `len` bytes; `false` where it is none of this arena's.
    pub(super) fn give(&self, piece: NonNull<u8>, len: usize) -> bool {
        let at = |pieces: &mut Pieces| pieces.segment.offset_of(piece.as_ptr());
        rounded(len).is_ok_and(|size| self.inner.give(at, size))
    }

    /// Makes a piece longer or shorter where it lies, if that can be done.
    pub(super) fn resize(&self, piece: NonNull<u8>, len: usize, new_len: usize) -> bool {
        let (Ok(size), Ok(new_size)) = (rounded(len), rounded(new_len)) else { return false };
        let mut segments = self.inner.segments();
        let found = segments.iter_mut().find_map(|pieces| Some((pieces.segment.offset_of(piece.as_ptr())?, &mut pieces.free)));
        let Some((offset, free)) = found else { return false };
        if new_size > size {
            return free.extend(offset + size, new_size - size);
        }
        if new_size < size {
            free.give(offset + new_size, size - new_size);
        }
        true
    }
}

impl Inner {
    fn segments(&self) -> MutexGuard<'_, Vec<Pieces>> {
        self.segments.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn take(&self, size: usize) -> Option<Piece> {
        let mut segments = self.segments();
        let (pieces, offset) = segments.iter_mut().find_map(|pieces| pieces.free.take(size).map(|offset| (pieces, offset)))?;
        pieces.idle = None;
        Some((pieces.segment.clone(), offset))
    }

    /// Takes back `size` bytes at the offset that `at` finds in one of the segments; says whether it did.
    fn give(&self, at: impl Fn(&mut Pieces) -> Option<usize>, size: usize) -> bool {
        let mut segments = self.segments();
        let Some((offset, pieces)) = segments.iter_mut().find_map(|pieces| Some((at(pieces)?, pieces))) else { return false };
        pieces.free.give(offset, size);
        let idle = pieces.free.is_whole();
        if idle {
            pieces.idle = Some(Instant::now());
        }
        drop(segments);
        self.source.freed();
        if idle {
            self.source.idle();
        }
        true
    }
}

/// Where a piece begins: its segment, and the bytes before it.
type Piece = (Arc<Segment>, usize);

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
        let (id, offset) = (self.segment.id(), self.offset);
        self.arena.give(|pieces| (pieces.segment.id() == id).then_some(offset), self.size);
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
    fn pieces_by_address_grow_in_place_and_come_back() {
        let (arena, _host) = arena(16384);
        let piece = arena.take(100, true).unwrap();
        assert!(arena.resize(piece, 100, 4000), "all behind it is free");
        let neighbour = arena.take(64, false).unwrap();
        assert!(!arena.resize(piece, 4000, 4200));
        assert!(arena.resize(piece, 4000, 10));
        assert!(arena.take(8192, false).is_none() && arena.take(usize::MAX, true).is_none());
        assert_eq!(arena.discard_idle(), 0);
        assert!(!arena.give(NonNull::dangling(), 64), "none of this arena's");
        assert!(arena.give(neighbour, 64) && arena.give(piece, 10));
        assert_eq!(arena.discard_idle_for(Duration::MAX), (0, 1));
        assert_eq!(arena.discard_idle_for(Duration::ZERO), (1, 0));
    }

    #[test]
    fn a_block_of_no_bytes_is_a_block() {
        let (arena, _host) = arena(1 << 16);
        let mut block = arena.allocate(0).unwrap();
        assert!(block.is_empty() && block.as_mut_slice().is_empty());
        assert_eq!(arena.allocate(usize::MAX).unwrap_err().code(), Code::BatchTooLarge);
    }
}
