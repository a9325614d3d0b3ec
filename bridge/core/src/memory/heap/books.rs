//! Which pieces of which segments are whose. One lock, never held while anything waits or while other code runs.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::memory::Segment;
use crate::memory::free_list::{ALIGNMENT, FreeList};

/// No piece is smaller, so that no two begin in the same stretch of this length, and a table finds each by where it begins.
pub(super) const STRETCH: usize = 32 << 10;

static BOOKS: Mutex<Books> = Mutex::new(Books::new());
/// The thread that has the lock, as a number. What the books themselves need comes of the C library.
static HOLDER: AtomicUsize = AtomicUsize::new(0);

/// The heap's books.
pub(super) struct Books {
    regions: Vec<Region>,
    /// The smallest piece for which there was no room.
    pub(super) missed: Option<usize>,
    /// This is a forked child, whose segments are copies that no host reads.
    pub(super) forked: bool,
}

/// One segment: what is free of it, and its pieces by the stretch in which they begin.
pub(in crate::memory) struct Region {
    segment: Arc<Segment>,
    pub(in crate::memory) free: FreeList,
    pieces: Vec<Option<Piece>>,
}

#[derive(Clone, Copy)]
struct Piece {
    offset: usize,
    len: usize,
    claimed: bool,
    /// It was freed while it was claimed.
    freed: bool,
}

/// The books, locked.
pub(super) struct Locked(MutexGuard<'static, Books>);

/// Locks the books; `None` where this thread has them already, and now asks the allocator for memory.
pub(super) fn books() -> Option<Locked> {
    let me = this_thread();
    if HOLDER.load(Ordering::Relaxed) == me {
        return None;
    }
    let guard = BOOKS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    HOLDER.store(me, Ordering::Relaxed);
    Some(Locked(guard))
}

fn this_thread() -> usize {
    // SAFETY: the function cannot fail; its answer is used as a number that no other living thread has.
    unsafe { libc::pthread_self() as usize }
}

impl Drop for Locked {
    fn drop(&mut self) {
        HOLDER.store(0, Ordering::Relaxed);
    }
}

impl Deref for Locked {
    type Target = Books;
    fn deref(&self) -> &Books {
        &self.0
    }
}

impl DerefMut for Locked {
    fn deref_mut(&mut self) -> &mut Books {
        &mut self.0
    }
}

impl Books {
    const fn new() -> Self {
        Self { regions: Vec::new(), missed: None, forked: false }
    }

    pub(super) fn adopt(&mut self, segment: Arc<Segment>) {
        let (free, pieces) = (FreeList::new(segment.len()), vec![None; segment.len().div_ceil(STRETCH)]);
        self.regions.push(Region { segment, free, pieces });
    }

    pub(super) fn region(&mut self, segment: u32) -> Option<&mut Region> {
        self.regions.iter_mut().find(|region| region.segment.id() == segment)
    }

    pub(super) fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// Takes out a segment of which nothing is in use.
    pub(super) fn retire(&mut self, segment: u32) -> Option<Region> {
        let index = self.regions.iter().position(|region| region.segment.id() == segment && region.free.is_whole())?;
        Some(self.regions.remove(index))
    }

    /// The address of a new piece of at least `len` bytes.
    pub(super) fn take(&mut self, len: usize) -> Option<usize> {
        let size = len.max(STRETCH).checked_next_multiple_of(ALIGNMENT)?;
        if self.forked {
            return None;
        }
        let found = self.regions.iter_mut().find_map(|region| region.take(size));
        if found.is_none() {
            self.missed = Some(self.missed.map_or(size, |missed| missed.min(size)));
        }
        found
    }

    /// Gives a piece back; false for what is none.
    pub(super) fn give(&mut self, address: usize) -> bool {
        let Some((region, offset)) = self.at(address) else { return false };
        let Some(piece) = region.piece(offset) else { return false };
        if piece.claimed {
            return !std::mem::replace(&mut piece.freed, true);
        }
        region.end(offset);
        true
    }

    /// The bytes of the piece that begins here.
    pub(super) fn len(&mut self, address: usize) -> Option<usize> {
        let (region, offset) = self.at(address)?;
        Some(region.piece(offset)?.len)
    }

    pub(super) fn claim(&mut self, address: usize, len: usize) -> Option<(Arc<Segment>, usize, usize)> {
        let (region, offset) = self.at(address)?;
        let piece = region.covering(offset, len).filter(|piece| !piece.claimed)?;
        piece.claimed = true;
        let (offset, len) = (piece.offset, piece.len);
        Some((region.segment.clone(), offset, len))
    }

    pub(super) fn is_freed(&mut self, segment: u32, offset: usize) -> bool {
        self.region(segment).and_then(|region| region.piece(offset)).is_some_and(|piece| piece.freed)
    }

    pub(super) fn unclaim(&mut self, segment: u32, offset: usize) {
        let Some(region) = self.region(segment) else { return };
        let Some(piece) = region.piece(offset) else { return };
        piece.claimed = false;
        if piece.freed {
            region.end(offset);
        }
    }

    /// The region of an address, and the offset in it.
    fn at(&mut self, address: usize) -> Option<(&mut Region, usize)> {
        self.regions.iter_mut().find_map(|region| {
            let offset = address.checked_sub(region.segment.as_ptr() as usize)?;
            (offset < region.segment.len()).then_some((region, offset))
        })
    }
}

impl Region {
    pub(super) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    fn take(&mut self, size: usize) -> Option<usize> {
        let offset = self.free.take(size)?;
        self.pieces[offset / STRETCH] = Some(Piece { offset, len: size, claimed: false, freed: false });
        Some(self.segment.as_ptr() as usize + offset)
    }

    fn piece(&mut self, offset: usize) -> Option<&mut Piece> {
        self.pieces.get_mut(offset / STRETCH)?.as_mut().filter(|piece| piece.offset == offset)
    }

    /// The piece in which these bytes lie wholly.
    fn covering(&mut self, offset: usize, len: usize) -> Option<&mut Piece> {
        let up_to = &mut self.pieces[..=offset / STRETCH];
        let piece = up_to.iter_mut().rev().flatten().find(|piece| piece.offset <= offset)?;
        offset.checked_add(len).is_some_and(|end| end <= piece.offset + piece.len).then_some(piece)
    }

    fn end(&mut self, offset: usize) {
        if let Some(piece) = self.pieces[offset / STRETCH].take() {
            self.free.give(piece.offset, piece.len);
        }
    }
}
