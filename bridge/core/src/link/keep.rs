//! What must stay alive while somebody else reads it.

use std::panic::AssertUnwindSafe;
use std::ptr::NonNull;
use std::sync::Arc;

use arrow_array::{Array, RecordBatch};
use arrow_buffer::Buffer;
use arrow_data::ArrayData;

use super::worker::InputLease;
use crate::exchange::Mapped;
use crate::failure::{Code, Error, Result};
use crate::memory::{Block, Claim, Extent, Segment, Space};

/// The memory of one lease: what lay in shared memory already, and the block into which the rest was copied. Nothing else of the batch is kept: what its
/// other buffers need for their release may be an interpreter, and a lease may end on any thread.
#[derive(Default)]
pub(crate) struct Keep {
    /// In the host: buffers, whose owners hold leases of their own.
    _buffers: Vec<Buffer>,
    /// In a worker: pieces of its heap, and inputs.
    _claims: Vec<Claim>,
    _inputs: Vec<Arc<InputLease>>,
    _blocks: Vec<Block>,
}

impl Keep {
    pub(crate) fn of_block(block: Block) -> Self {
        Self { _blocks: vec![block], ..Self::default() }
    }

    /// Keeps what a worker's answer names.
    pub(super) fn of_answer(blocks: Vec<Block>, claims: Vec<Claim>, inputs: Vec<Arc<InputLease>>) -> Self {
        Self { _blocks: blocks, _claims: claims, _inputs: inputs, ..Self::default() }
    }

    /// Keeps what an export of `batch` into `space` names.
    pub(crate) fn of_export(batch: &RecordBatch, space: &dyn Space, blocks: Vec<Block>, extents: &[Extent]) -> Self {
        let mut buffers = Vec::new();
        let copied = extents.iter().all(|extent| blocks.iter().any(|block| block.extent().contains(extent)));
        if !copied {
            batch.columns().iter().for_each(|column| shared_buffers(&column.to_data(), space, &mut buffers));
        }
        Self { _buffers: buffers, _blocks: blocks, ..Self::default() }
    }
}

fn shared_buffers(data: &ArrayData, space: &dyn Space, found: &mut Vec<Buffer>) {
    let validity = data.nulls().map(|nulls| nulls.inner().inner());
    found.extend(data.buffers().iter().chain(validity).filter(|buffer| space.locate(buffer.as_ptr(), buffer.len()).is_some()).cloned());
    data.child_data().iter().for_each(|child| shared_buffers(child, space, found));
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
