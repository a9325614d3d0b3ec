//! A capsule's arguments as an Arrow file: exactly the rows that the function was given, and read back as they were.

use std::fs::File;
use std::io::{BufReader, BufWriter, Seek, SeekFrom, Write};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arrow_array::RecordBatch;
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_ipc::writer::{FileWriter, StreamWriter};
use arrow_schema::{ArrowError, Schema};

use crate::exchange::{self, Direction, Ledger, Mapped, Mode, Resolve};
use crate::failure::{Code, Error, Result};
use crate::link::within;
use crate::memory::{Arena, Block, Budget, Extent, Role, Segment, Segments, Source, Space};

/// The least room that a copy is made in.
const LEAST: usize = 1 << 16;

/// The rows of `batch` that fit `limit` bytes: all of them, or those around `focus`. Their copy names nothing of the batch: slices are cut and
/// offsets begin at 0, which Arrow's IPC writer relies on.
///
/// # Errors
/// Why not even a batch without rows can be copied.
pub(crate) fn packed(batch: &RecordBatch, limit: u64, focus: usize) -> Result<(RecordBatch, Range<usize>)> {
    let rows = batch.num_rows();
    let mut count = rows;
    loop {
        // The row in the middle of what is kept, as far as there are rows on both sides.
        let first = focus.saturating_sub(count / 2).min(rows - count);
        match copied(&batch.slice(first, count), limit) {
            Err(error) if error.code() == Code::MemoryLimit && count > 0 => count /= 2,
            outcome => return outcome.map(|batch| (batch, first..first + count)),
        }
    }
}

/// A batch of its own, made by what makes batches for workers: there every type is known, and every slice.
fn copied(batch: &RecordBatch, limit: u64) -> Result<RecordBatch> {
    let segments = Arc::new(Segments::default());
    let room = usize::try_from(limit).unwrap_or(usize::MAX).max(LEAST).checked_next_multiple_of(LEAST).unwrap_or(usize::MAX);
    let desk = Desk { arena: Arena::new(Room { budget: Budget::new(room as u64), segments: segments.clone(), made: 0.into() }), segments };
    let export = exchange::export(batch, &desk, &Ledger::default(), Direction::Input)?;
    let memory = Kept { segments: desk.segments, blocks: Arc::new(export.blocks) };
    exchange::import(&export.descriptor, &batch.schema(), &memory, Mode::Trusted, &Ledger::default(), Direction::Input)
}

/// Memory for one copy, within a limit.
struct Room {
    budget: Budget,
    segments: Arc<Segments>,
    made: AtomicU32,
}

impl Source for Room {
    fn segment(&self, len: usize) -> Result<Option<Arc<Segment>>> {
        let id = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        let segment = Segment::create(id, Role::Input, self.budget.reserve(len.max(1).next_multiple_of(LEAST))?)?;
        let segment = Arc::new(segment);
        self.segments.insert(segment.clone());
        Ok(Some(segment))
    }

    fn discard(&self, segment: Arc<Segment>) {
        self.segments.remove(segment.id());
    }
}

/// A space in which nothing lies yet, so that all is copied.
struct Desk {
    arena: Arena,
    segments: Arc<Segments>,
}

impl Space for Desk {
    fn allocate(&self, len: usize) -> Result<Block> {
        self.arena.allocate(len)
    }

    fn locate(&self, _: *const u8, _: usize) -> Option<Extent> {
        None
    }
}

struct Kept {
    segments: Arc<Segments>,
    blocks: Arc<Vec<Block>>,
}

impl Resolve for Kept {
    fn resolve(&self, extent: Extent) -> Result<Mapped> {
        let segment = self.segments.get(extent.segment).ok_or_else(|| Error::new(Code::Internal, "a copy's segment is not there"))?;
        within(&segment, extent, self.blocks.clone(), false)
    }
}

/// Writes one batch as an Arrow file.
pub(crate) fn write_file(file: File, batch: &RecordBatch) -> std::result::Result<(), ArrowError> {
    let batch = exchange::to_ipc(batch)?;
    let mut writer = FileWriter::try_new(BufWriter::new(file), batch.schema_ref())?;
    writer.write(&batch)?;
    writer.finish()?;
    writer.into_inner()?.flush().map_err(ArrowError::from)
}

/// Writes batches as an Arrow stream, in which dictionaries may change from batch to batch.
pub(crate) fn write_stream(file: File, batches: &[RecordBatch]) -> std::result::Result<(), ArrowError> {
    let batches = batches.iter().map(exchange::to_ipc).collect::<std::result::Result<Vec<_>, _>>()?;
    // A function that was given no batch was told of a schema without columns.
    let schema = batches.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
    let mut writer = StreamWriter::try_new(BufWriter::new(file), &schema)?;
    for batch in &batches {
        writer.write(batch)?;
    }
    writer.finish()?;
    writer.into_inner()?.flush().map_err(ArrowError::from)
}

/// Reads what [`write_file`] or [`write_stream`] wrote, and checks it.
///
/// # Errors
/// A sentence on what is wrong with it.
pub(crate) fn read(mut file: File, stream: bool) -> std::result::Result<Vec<RecordBatch>, String> {
    let mut read = || -> std::result::Result<Vec<RecordBatch>, ArrowError> {
        file.seek(SeekFrom::Start(0))?;
        let file = BufReader::new(&file);
        let batches: Vec<RecordBatch> = if stream {
            StreamReader::try_new(file, None)?.collect::<std::result::Result<_, _>>()?
        } else {
            FileReader::try_new(file, None)?.collect::<std::result::Result<_, _>>()?
        };
        batches.iter().map(exchange::from_ipc).collect()
    };
    // Arrow's readers panic over some bad data.
    let outcome = catch_unwind(AssertUnwindSafe(&mut read)).unwrap_or_else(|_| Err(ArrowError::IpcError("it is damaged".to_owned())));
    outcome.map_err(|error| error.to_string())
}
