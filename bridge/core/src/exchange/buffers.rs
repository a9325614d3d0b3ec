//! Foreign memory as Arrow buffers: left where it is or copied to private memory, as the mode asks.

use std::panic::RefUnwindSafe;
use std::ptr::NonNull;
use std::sync::Arc;

use arrow_buffer::alloc::Allocation;
use arrow_buffer::{Buffer, MutableBuffer};

use super::Mode;
use super::fault::Fault;
use super::ledger::{Reason, Tally};
use crate::failure::{Code, Error, Result};
use crate::memory::Extent;

/// Finds the memory that a descriptor names.
pub trait Resolve {
    /// The bytes of an extent in this process. The implementor checks that the segment is one of the sender's and that the extent lies in it.
    ///
    /// # Errors
    /// `BAD_DESCRIPTOR` where it is not.
    fn resolve(&self, extent: Extent) -> Result<Mapped>;
}

/// Bytes of another process, mapped here.
#[derive(Clone)]
pub struct Mapped {
    /// The first byte. The range can be read for as long as `owner` lives.
    pub ptr: NonNull<u8>,
    /// The number of bytes.
    pub len: usize,
    /// Keeps the range mapped, and leased from its owner.
    pub owner: Arc<dyn Allocation>,
    /// Whether another process can still change the bytes.
    pub peer_writes: bool,
}

impl Mapped {
    /// A copy in this process's own memory, each byte read once. No reference to the foreign bytes is made: their owner may be writing them.
    pub fn private_copy(&self) -> Buffer {
        let mut copy = MutableBuffer::new(self.len);
        // SAFETY: the source can be read (see the fields), the destination was just made with that capacity and is nobody else's, and after
        // the copy all `len` bytes of it are initialised.
        unsafe {
            std::ptr::copy_nonoverlapping(self.ptr.as_ptr().cast_const(), copy.as_mut_ptr(), self.len);
            copy.set_len(self.len);
        }
        copy.into()
    }
}

impl std::fmt::Debug for Mapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mapped").field("ptr", &self.ptr).field("len", &self.len).field("peer_writes", &self.peer_writes).finish_non_exhaustive()
    }
}

// Nothing in it changes: a panic that crosses it leaves it as it was.
impl RefUnwindSafe for Mapped {}

/// What a buffer is for, which says whether it may stay in memory that its sender can write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It decides which memory is read: validity, offsets, sizes, views, type ids, run ends, dictionary keys.
    Structure,
    /// Plain values and the bytes of text.
    Values,
}

/// The buffers of a descriptor, taken one by one in its order.
pub(super) struct Buffers<'a> {
    rest: std::slice::Iter<'a, Option<Extent>>,
    resolve: &'a dyn Resolve,
    mode: Mode,
    pub(super) tally: Tally,
}

impl<'a> Buffers<'a> {
    pub(super) fn new(buffers: &'a [Option<Extent>], resolve: &'a dyn Resolve, mode: Mode) -> Self {
        Self { rest: buffers.iter(), resolve, mode, tally: Tally::default() }
    }

    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next buffer, if it is there at all.
    pub(super) fn next(&mut self) -> std::result::Result<Option<Extent>, Fault> {
        self.rest.next().copied().ok_or_else(|| Fault::descriptor("its last buffers are missing"))
    }

    /// The next buffer, which must have at least `needed` bytes; no more than those are taken.
    pub(super) fn exactly(&mut self, name: &str, needed: Option<usize>, align: usize, kind: Kind) -> std::result::Result<Buffer, Fault> {
        let extent = self.next()?;
        let given = extent.map_or(0, |extent| extent.len);
        match (needed, extent) {
            (Some(0), _) => Ok(Buffer::default()),
            (Some(needed), Some(extent)) if needed as u64 <= given => self.fetch(Extent { len: needed as u64, ..extent }, align, kind),
            (Some(needed), _) => Err(Fault::descriptor(format!("the buffer `{name}` has {given} bytes and needs {needed}"))),
            (None, _) => Err(Fault::descriptor(format!("the buffer `{name}` would have to be larger than memory"))),
        }
    }

    /// The next buffer, whatever its length.
    pub(super) fn whole(&mut self, kind: Kind) -> std::result::Result<Buffer, Fault> {
        match self.next()? {
            Some(extent) if extent.len > 0 => self.fetch(extent, 1, kind),
            _ => Ok(Buffer::default()),
        }
    }

    /// The bytes of an extent, in place where that is allowed.
    pub(super) fn fetch(&mut self, extent: Extent, align: usize, kind: Kind) -> std::result::Result<Buffer, Fault> {
        let mapped = self.resolve.resolve(extent)?;
        if mapped.len as u64 != extent.len {
            return Err(Error::new(Code::Internal, format!("{extent:?} was mapped with {} bytes", mapped.len)).into());
        }
        let reason = match self.mode {
            Mode::Strict => Some(Reason::StrictMode),
            Mode::Guarded if kind == Kind::Structure && mapped.peer_writes => Some(Reason::StructureChecked),
            _ if mapped.ptr.as_ptr().align_offset(align) != 0 => Some(Reason::Aligned),
            _ => None,
        };
        match reason {
            Some(reason) => {
                self.tally.copy(reason, mapped.len);
                Ok(mapped.private_copy())
            }
            None => {
                self.tally.shared += extent.len;
                // SAFETY: the resolver promises that the range can be read for as long as the owner lives, and the buffer holds the owner.
                Ok(unsafe { Buffer::from_custom_allocation(mapped.ptr, mapped.len, mapped.owner) })
            }
        }
    }
}
