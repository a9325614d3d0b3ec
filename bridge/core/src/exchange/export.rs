//! From a batch to its descriptor: plan first, then one allocation, then the copying.

use arrow_array::{Array, RecordBatch};
use arrow_data::ArrayData;

use super::MAX_BUFFERS;
use super::copy::Source;
use super::descriptor::{Descriptor, check_rows};
use super::ledger::{Direction, Ledger, Reason};
use super::plan::Plan;
use super::schema::check_schema;
use crate::failure::{Code, Error, Result};
use crate::memory::{Arena, Block, Extent, Space};

/// Every copied buffer begins at a multiple of this, for processors and for libraries that ask for it.
pub(super) const ALIGNMENT: usize = 64;

/// So many bytes are copied past the caches. Below, another core takes a batch from a cache sooner than from memory; above, most of it is in none any
/// more (measured at 1 to 8 MiB, with three batches under way: even at 2 MiB, a tenth faster at 4, a fifth at 8).
const LARGE: usize = 4 << 20;
/// Smaller buffers are too little to wait for at the end of such a copy.
const LEAST: usize = 4 << 10;

/// A batch that the other side can read, for as long as the batch and the blocks are kept.
#[derive(Debug)]
pub struct Export {
    /// What is sent.
    pub descriptor: Descriptor,
    /// The memory that was written for this batch: none where all of it was in shared memory already, else one block.
    pub blocks: Vec<Block>,
    /// Every range that the descriptor names, in blocks and in what was shared already.
    pub extents: Vec<Extent>,
}

/// Describes `batch` for another process. Buffers that lie in `space` are named where they are; the bytes of the slice (never of its parent)
/// of all others are copied there, in one block. The caller keeps `batch` and the result until the other side has given both up.
///
/// # Errors
/// `BAD_SCHEMA` or `BATCH_TOO_LARGE` where the batch is over a limit; `INVALID_DATA` where an array points outside its own buffers, as arrays
/// of other languages can; whatever `space` says when there is no room.
pub fn export(batch: &RecordBatch, space: &dyn Space, ledger: &Ledger, direction: Direction) -> Result<Export> {
    check_rows(batch.num_rows() as u64)?;
    check_schema(batch.schema_ref())?;
    let columns: Vec<ArrayData> = batch.columns().iter().map(|column| column.to_data()).collect();
    let mut plan = Plan::new(space, direction, columns.len());
    for (index, (field, column)) in batch.schema_ref().fields().iter().zip(&columns).enumerate() {
        plan.array(field.data_type(), column, 0, batch.num_rows()).map_err(|stop| stop.in_column(index, field.name()))?;
    }
    let Plan { nodes, mut buffers, copies, size, tally, .. } = plan;
    if buffers.len() > MAX_BUFFERS {
        let message = format!("the batch has {} buffers, more than the {MAX_BUFFERS} that it may have", buffers.len());
        return Err(Error::new(Code::BatchTooLarge, message).with_hint("pack the data buffers of its views"));
    }
    let mut blocks = Vec::new();
    if size > 0 {
        blocks.push(filled(space.allocate(size)?, size, &copies, &mut buffers)?);
    }
    ledger.record(direction, &tally);
    let descriptor = Descriptor { rows: batch.num_rows() as u64, nodes, buffers };
    let extents = descriptor.extents().collect();
    Ok(Export { descriptor, blocks, extents })
}

impl Export {
    /// Copies into the arena those buffers, named where they lay so far, for which `bytes` has the content, and names the copies instead.
    ///
    /// # Errors
    /// Whatever the arena says when there is no room.
    pub(crate) fn move_out<'a>(&mut self, arena: &Arena, ledger: &Ledger, reason: Reason, bytes: impl Fn(&Extent) -> Option<&'a [u8]>) -> Result<()> {
        let mut copies = Vec::new();
        let mut size: usize = 0;
        for (buffer, extent) in self.descriptor.buffers.iter().enumerate() {
            if let Some(content) = extent.as_ref().and_then(&bytes) {
                let offset = size.next_multiple_of(ALIGNMENT);
                copies.push(Copy { buffer, offset, source: Source::Bytes(content) });
                size = offset + content.len();
                ledger.moved(Direction::Result, reason, content.len() as u64);
            }
        }
        if size > 0 {
            self.blocks.push(filled(arena.allocate(size)?, size, &copies, &mut self.descriptor.buffers)?);
            self.extents = self.descriptor.extents().collect();
        }
        Ok(())
    }
}

/// A new block with all copies in it, under whose extents the buffers go from now on.
fn filled(mut block: Block, size: usize, copies: &[Copy<'_>], buffers: &mut [Option<Extent>]) -> Result<Block> {
    let at = block.extent();
    if block.len() < size || block.as_mut_slice().as_ptr().align_offset(ALIGNMENT) != 0 {
        return Err(Error::new(Code::Internal, "a block is too small or not aligned"));
    }
    write(copies, block.as_mut_slice());
    for copy in copies {
        let extent = Extent { segment: at.segment, offset: at.offset + copy.offset as u64, len: copy.source.len() as u64 };
        buffers[copy.buffer] = Some(extent);
    }
    Ok(block)
}

/// One buffer to be written.
#[derive(Debug)]
pub(super) struct Copy<'a> {
    /// Its number in the descriptor.
    pub(super) buffer: usize,
    /// Where it goes in the block.
    pub(super) offset: usize,
    pub(super) source: Source<'a>,
}

/// Copies stand in the order of their offsets. What lies between two buffers is cleared: the other side can read it, and it may hold an
/// earlier batch.
fn write(copies: &[Copy<'_>], block: &mut [u8]) {
    let mut end = 0;
    let large = block.len() >= LARGE;
    for copy in copies {
        let len = copy.source.len();
        block[end..copy.offset].fill(0);
        copy.source.write(&mut block[copy.offset..copy.offset + len], large && len >= LEAST);
        end = copy.offset + len;
    }
    block[end..].fill(0);
}
