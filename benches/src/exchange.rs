//! What describing a batch and taking it in cost, beside a copy of the same bytes: with everything in shared memory already, in one process, without
//! the two messages.

use std::error::Error;
use std::hint::black_box;
use std::io::{Write, stdout};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Instant;

use arrow_array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use serde::Serialize;
use transom::Result as TransomResult;
use transom::exchange::{Direction, Ledger, Mapped, Mode, Resolve, export, import};
use transom::memory::{Arena, Block, Budget, Extent, Role, Segment, Segments, Source, Space};

use crate::statistics::median;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const ROUNDS: usize = 15;

/// One batch; all times in nanoseconds, the middle of several rounds.
#[derive(Serialize)]
struct Crossing {
    column: &'static str,
    rows: usize,
    bytes: usize,
    /// Describing it: what the sender does.
    export: f64,
    /// Checking it and making arrays of it: what the host does with a result.
    import: f64,
    /// Copying the same bytes to memory that is warm.
    copy: f64,
}

/// Measures, and prints one line of JSON for each batch.
pub(crate) fn print() -> Result<(), Box<dyn Error>> {
    for (column, rows, array) in columns() {
        writeln!(stdout(), "{}", serde_json::to_string(&measure(column, rows, array)?)?)?;
    }
    Ok(())
}

fn columns() -> Vec<(&'static str, usize, ArrayRef)> {
    let numbers = |rows: usize| Arc::new(Int64Array::from_iter_values(0..rows as i64)) as ArrayRef;
    let holes = |rows: usize| Arc::new((0..rows as i64).map(|row| (row % 3 > 0).then_some(row)).collect::<Int64Array>()) as ArrayRef;
    let flags = |rows: usize| Arc::new((0..rows).map(|row| Some(row % 5 == 0)).collect::<BooleanArray>()) as ArrayRef;
    let texts = |rows: usize, text: &str| Arc::new(StringArray::from_iter_values((0..rows).map(|row| format!("{text}{row:08}")))) as ArrayRef;
    vec![
        ("int64", 64 * KIB / 8, numbers(64 * KIB / 8)),
        ("int64", 64 * MIB / 8, numbers(64 * MIB / 8)),
        ("int64 with nulls", 64 * MIB / 8, holes(64 * MIB / 8)),
        ("bool", 64 * MIB, flags(64 * MIB)),
        ("utf8, ASCII", MIB, texts(MIB, "transoms ")),
        ("utf8, Latin", MIB, texts(MIB, "Türen öffn ")),
        ("utf8, ASCII, 64 Ki rows", 64 * KIB, texts(64 * KIB, "transoms ")),
        ("utf8, Latin, 64 Ki rows", 64 * KIB, texts(64 * KIB, "Türen öffn ")),
    ]
}

fn measure(column: &'static str, rows: usize, array: ArrayRef) -> Result<Crossing, Box<dyn Error>> {
    let desk = Desk::new();
    let ledger = Ledger::default();
    let batch = RecordBatch::try_from_iter([("x", array)])?;
    // The first export copies; what it describes is then in shared memory.
    let first = export(&batch, &desk, &ledger, Direction::Input)?;
    let shared = import(&first.descriptor, &batch.schema(), &desk, Mode::Trusted, &ledger, Direction::Input)?;
    let bytes = first.blocks.iter().map(Block::len).sum();
    let (source, mut target) = (vec![1u8; bytes], vec![0u8; bytes]);
    let [mut exports, mut imports, mut copies]: [Vec<f64>; 3] = Default::default();
    // Apart, since a copy of many bytes leaves nothing in the caches that a small thing needs.
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let sent = export(black_box(&shared), &desk, &ledger, Direction::Input)?;
        exports.push(start.elapsed().as_nanos() as f64);
        assert!(sent.blocks.is_empty(), "nothing had to be copied");
        let start = Instant::now();
        black_box(import(&sent.descriptor, &batch.schema(), &desk, Mode::Guarded, &ledger, Direction::Result)?);
        imports.push(start.elapsed().as_nanos() as f64);
    }
    for _ in 0..ROUNDS {
        let start = Instant::now();
        black_box(&mut target).copy_from_slice(black_box(&source));
        copies.push(start.elapsed().as_nanos() as f64);
    }
    Ok(Crossing { column, rows, bytes, export: median(exports), import: median(imports), copy: median(copies) })
}

/// A pool's memory without a pool.
struct Desk {
    arena: Arena,
    segments: Arc<Segments>,
}

impl Desk {
    fn new() -> Self {
        let segments: Arc<Segments> = Arc::default();
        Self { arena: Arena::new(Shelf { budget: Budget::new(1 << 30), segments: segments.clone() }), segments }
    }
}

struct Shelf {
    budget: Budget,
    segments: Arc<Segments>,
}

impl Source for Shelf {
    fn segment(&self, len: usize) -> TransomResult<Option<Arc<Segment>>> {
        let segment = Arc::new(Segment::create(1, Role::Input, self.budget.reserve(len.next_multiple_of(MIB))?)?);
        self.segments.insert(segment.clone());
        Ok(Some(segment))
    }

    fn discard(&self, _: Arc<Segment>) {}
}

impl Space for Desk {
    fn allocate(&self, len: usize) -> TransomResult<Block> {
        self.arena.allocate(len)
    }

    fn locate(&self, ptr: *const u8, len: usize) -> Option<Extent> {
        self.segments.locate(ptr, len)
    }
}

impl Resolve for Desk {
    fn resolve(&self, extent: Extent) -> TransomResult<Mapped> {
        let segment = self.segments.get(extent.segment).expect("there is one segment");
        let ptr = NonNull::new(segment.as_ptr().wrapping_add(extent.offset as usize).cast_mut()).expect("a mapping is not at address 0");
        // As a result of a worker's.
        Ok(Mapped { ptr, len: extent.len as usize, owner: segment, peer_writes: true })
    }
}
