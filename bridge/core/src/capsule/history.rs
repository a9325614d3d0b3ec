//! What a batches function was given so far, as far as it fits a capsule.

use std::collections::VecDeque;

use arrow_array::{Array, RecordBatch};

/// The last inputs of a stream, within a limit; the last one always.
pub(crate) struct History {
    limit: u64,
    batches: VecDeque<(RecordBatch, u64)>,
    bytes: u64,
    /// Batches that were let go of, and their rows.
    pub(crate) gone: (u64, u64),
}

impl History {
    /// An empty history that keeps up to `limit` bytes, behind what was left out of one before.
    pub(crate) fn new(limit: u64, gone: (u64, u64)) -> Self {
        Self { limit, batches: VecDeque::new(), bytes: 0, gone }
    }

    /// Notes an input that was sent.
    pub(crate) fn push(&mut self, batch: &RecordBatch) {
        let bytes = bytes(batch);
        self.bytes += bytes;
        self.batches.push_back((batch.clone(), bytes));
        while self.bytes > self.limit && self.batches.len() > 1 {
            if let Some((batch, bytes)) = self.batches.pop_front() {
                self.bytes -= bytes;
                self.gone = (self.gone.0 + 1, self.gone.1 + batch.num_rows() as u64);
            }
        }
    }

    /// The inputs that are kept, the last one first.
    pub(crate) fn newest_first(&self) -> impl Iterator<Item = &RecordBatch> {
        self.batches.iter().rev().map(|(batch, _)| batch)
    }
}

/// The bytes of a batch's rows; of a slice, not its parent's.
pub(super) fn bytes(batch: &RecordBatch) -> u64 {
    let of = |column: &dyn Array| column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_buffer_memory_size());
    batch.columns().iter().map(|column| of(column) as u64).sum()
}
