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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Budget, Role};

    /// Books over segments of their own, with the address of each. Not those of the process.
    fn books_over(sizes: &[usize]) -> (Books, Vec<usize>) {
        let mut books = Books::new();
        let budget = Budget::new(1 << 30);
        for (id, &size) in sizes.iter().enumerate() {
            books.adopt(Arc::new(Segment::create(id as u32, Role::Input, budget.reserve(size).unwrap()).unwrap()));
        }
        let addresses = books.regions().iter().map(|region| region.segment().as_ptr() as usize).collect();
        (books, addresses)
    }

    #[test]
    fn pieces_come_of_whatever_segment_has_room_and_go_back_to_it() {
        let (mut books, at) = books_over(&[64 << 10, 256 << 10]);
        let small = books.take(40_000).unwrap();
        let large = books.take(250_000).unwrap();
        assert_eq!((small, large), (at[0], at[1]));
        assert_eq!((books.len(small), books.len(small + 64), books.len(1)), (Some(40_000), None, None));
        assert_eq!((books.take(100_000), books.take(60_000)), (None, None));
        assert_eq!(books.missed.take(), Some(60_032), "the smaller of the two");
        assert!(books.retire(0).is_none(), "something of it is in use");
        assert!(books.give(small) && books.give(large));
        assert!(!books.give(small), "what nobody has cannot be given back");
        assert!(!books.give(1));
        assert!(books.retire(0).is_some() && books.retire(1).is_some());
        assert_eq!(books.take(40_000), None);
    }

    #[test]
    fn a_claimed_piece_stays_taken_when_it_is_freed_and_says_so() {
        let (mut books, at) = books_over(&[STRETCH]);
        let piece = books.take(STRETCH).unwrap();
        assert!(books.claim(piece + 100, STRETCH - 99).is_none(), "the bytes reach beyond the piece");
        let (segment, offset, len) = books.claim(piece + 100, STRETCH - 100).unwrap();
        assert_eq!((segment.as_ptr() as usize + offset, len), (at[0], STRETCH));
        assert!(books.claim(piece, 1).is_none(), "one claim at a time");
        assert!(!books.is_freed(0, offset), "its owner still has it");
        assert!(books.give(piece));
        assert!(books.is_freed(0, offset));
        assert!(!books.give(piece), "freed once");
        assert_eq!(books.take(STRETCH), None, "nobody gets it while it is claimed");
        books.unclaim(0, offset);
        assert_eq!(books.take(STRETCH), Some(piece));
    }

    #[test]
    fn a_claim_that_is_given_up_changes_nothing_for_the_owner() {
        let (mut books, _) = books_over(&[STRETCH]);
        let piece = books.take(1).unwrap();
        let (_, offset, _) = books.claim(piece, 1).unwrap();
        books.unclaim(0, offset);
        assert_eq!(books.len(piece), Some(STRETCH));
        assert!(books.give(piece));
        assert!(books.claim(piece, 1).is_none(), "nobody has it any more");
    }

    #[test]
    fn a_forked_child_gets_nothing_and_may_give_back() {
        let (mut books, _) = books_over(&[STRETCH * 2]);
        let piece = books.take(STRETCH).unwrap();
        books.forked = true;
        assert_eq!(books.take(STRETCH), None);
        assert!(books.give(piece));
    }

    #[test]
    fn the_thread_that_has_the_books_is_turned_away() {
        let held = books().unwrap();
        assert!(books().is_none());
        let other = std::thread::spawn(|| books().is_some());
        drop(held);
        assert!(other.join().unwrap(), "another thread waits");
        assert!(books().is_some());
    }
}
