//! What must stay alive while somebody else reads it.

use std::panic::AssertUnwindSafe;
use std::ptr::NonNull;
use std::sync::Arc;

use arrow_array::RecordBatch;

use crate::exchange::Mapped;
use crate::failure::{Code, Error, Result};
use crate::memory::{Block, Extent, Segment};

/// The memory of one lease: a batch whose buffers may themselves be leased, and the block into which the rest was copied.
#[derive(Debug)]
pub(crate) struct Keep {
    _batch: Option<RecordBatch>,
    _blocks: Vec<Block>,
}

impl Keep {
    pub(crate) fn of_block(block: Block) -> Self {
        Self { _batch: None, _blocks: vec![block] }
    }

    /// Keeps what an export names. A batch that was copied whole need not live on.
    pub(crate) fn of_export(batch: RecordBatch, blocks: Vec<Block>, extents: &[Extent]) -> Self {
        let copied = extents.iter().all(|extent| blocks.iter().any(|block| block.extent().contains(extent)));
        Self { _batch: (!copied).then_some(batch), _blocks: blocks }
    }
}

/// The bytes of `extent` in this process, if they lie in `segment`; `owner` keeps them, and the mapping is kept beside it.
pub(crate) fn within<O: Send + Sync + 'static>(segment: &Arc<Segment>, extent: Extent, owner: O, peer_writes: bool) -> Result<Mapped> {
    let offset = usize::try_from(extent.offset).ok();
    let len = usize::try_from(extent.len).ok();
    let (Some(offset), Some(len)) = (offset, len) else { return Err(bad(extent, "does not fit the address space")) };
    if segment.id() != extent.segment || offset.checked_add(len).is_none_or(|end| end > segment.len()) {
        return Err(bad(extent, &format!("does not lie in the segment's {} bytes", segment.len())));
    }
    let ptr = NonNull::new(segment.as_ptr().wrapping_add(offset).cast_mut()).expect("a mapping is not at address 0");
    // Arrow asks owners to be safe to unwind past; these are only ever dropped.
    Ok(Mapped { ptr, len, owner: Arc::new(AssertUnwindSafe((owner, segment.clone()))), peer_writes })
}

/// A descriptor that names what it may not.
pub(crate) fn bad(extent: Extent, what: &str) -> Error {
    Error::new(Code::BadDescriptor, format!("a buffer of {} bytes at {} of segment {} {what}", extent.len, extent.offset, extent.segment))
}
