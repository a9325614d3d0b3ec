//! The part of a worker's heap that lies in its own segments, so that what a function builds can go to the host where it is.
//!
//! A library that is loaded with the worker (crate `transom-malloc`) asks here for large pieces. The books are in private memory, one set for the
//! process, since `malloc` is one for the process.
//!
//! A piece is *claimed* when a result lies in it. Then everything of the result is let go of, and only if that was the last that anybody had of the piece,
//! so that `free` is called, the piece goes as it is: it stays taken until the claim is dropped, and nobody is left who could write to it. That is a
//! count of references that every library keeps anyway, and needs to know none of them.

mod books;
mod fork;
mod gate;

use std::sync::Arc;

use super::Segment;
use books::books;

pub use gate::join;

/// A worker's heap in shared memory, where there is one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heap(());

impl Heap {
    /// The process's heap, if a library that asks for pieces was loaded and has been joined.
    pub(crate) fn get() -> Option<Self> {
        gate::joined().then_some(Self(()))
    }

    /// Whether pieces are handed out now. Only while a function runs: what lies in a segment for ever is best nothing.
    pub(crate) fn open(self, open: bool) {
        gate::open(open);
    }

    /// Hands out pieces of this segment from now on.
    pub(super) fn adopt(self, segment: Arc<Segment>) -> Share {
        let id = segment.id();
        let first = segment.as_ptr() as usize;
        let end = first + segment.len();
        if let Some(mut books) = books() {
            books.adopt(segment);
            // Before anybody can have a piece of it.
            gate::note(first, end);
        }
        Share { segment: id }
    }

    /// The bytes of the smallest piece since the last question for which there was no room.
    pub(crate) fn missed(self) -> Option<usize> {
        books()?.missed.take()
    }
}

/// One segment in the heap, as the arena sees it: blocks of its own come out of the same free ranges.
#[derive(Debug)]
pub(super) struct Share {
    segment: u32,
}

impl Share {
    fn with<T>(&self, act: impl FnOnce(&mut books::Region) -> T) -> Option<T> {
        Some(act(books()?.region(self.segment)?))
    }

    pub(super) fn take(&self, len: usize) -> Option<usize> {
        self.with(|region| region.free.take(len)).flatten()
    }

    pub(super) fn give(&self, offset: usize, len: usize) {
        self.with(|region| region.free.give(offset, len));
    }

    pub(super) fn free(&self) -> usize {
        self.with(|region| region.free.free()).unwrap_or(0)
    }

    pub(super) fn is_whole(&self) -> bool {
        self.with(|region| region.free.is_whole()).unwrap_or(false)
    }

    /// Takes the segment out of the heap, if nothing of it is in use.
    pub(super) fn retire(&self) -> bool {
        let retired = books().and_then(|mut books| books.retire(self.segment));
        retired.is_some()
    }
}

/// A piece in which a result lies. While it is there, nobody gets the piece.
#[derive(Debug)]
pub(crate) struct Claim {
    segment: Arc<Segment>,
    offset: usize,
    len: usize,
}

impl Claim {
    /// Claims the piece in which these bytes lie, if it is one that somebody has and that is not claimed.
    pub(crate) fn of(ptr: *const u8, len: usize) -> Option<Self> {
        Heap::get()?;
        let (segment, offset, len) = books()?.claim(ptr as usize, len)?;
        Some(Self { segment, offset, len })
    }

    /// Whether everybody else has let go of the piece.
    pub(crate) fn is_last(&self) -> bool {
        books().is_some_and(|mut books| books.is_freed(self.segment.id(), self.offset))
    }

    /// Where the piece is.
    pub(crate) fn extent(&self) -> super::Extent {
        super::Extent { segment: self.segment.id(), offset: self.offset as u64, len: self.len as u64 }
    }

    /// The bytes of an extent in the piece.
    pub(crate) fn bytes(&self, extent: &super::Extent) -> Option<&[u8]> {
        let offset = usize::try_from(extent.offset).ok().filter(|_| self.extent().contains(extent))?;
        // SAFETY: the extent lies in the piece, which lies in the mapping that `self.segment` keeps and which nobody else is given while `self` is there.
        // Whoever else still has it is code of the function, as for every array that a function returns.
        Some(unsafe { std::slice::from_raw_parts(self.segment.as_ptr().add(offset), extent.len as usize) })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(mut books) = books() {
            books.unclaim(self.segment.id(), self.offset);
        }
    }
}
