//! A peer that goes on writing what it has answered with, while the host checks it and reads it. What was checked must be what is read: memory
//! outside of the batch is never reached, and what can still change under a reader are plain values.
//!
//! Ends by counts: `TEST_IMPORTS` sets how many batches are received for each type and mode. Under AddressSanitizer every private copy has its
//! red zones.

mod support;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arrow_schema::{DataType, Field, Fields, UnionMode};
use support::generate::{Nulls, Recipe, Slices, leaves, nestings};
use support::memory::{Host, Image};
use support::{memory::Peer, show};
use transom::Code;
use transom::exchange::{Descriptor, Direction, Ledger, Mode, export, import};
use transom::memory::{Budget, Extent, Role, Segment, Segments};

/// What the peer writes: its own memory, which it may write for as long as it likes.
struct Shared {
    segment: Arc<Segment>,
    file: File,
    descriptor: Descriptor,
    extents: Vec<Extent>,
    image: Vec<u8>,
}

impl Shared {
    fn new(recipe: &Recipe) -> Self {
        let host = Host::new();
        let sent = export(&recipe.batch(), &host, &Ledger::default(), Direction::Result).unwrap();
        let image = Image::of_extents(&host, &sent.extents).segments.remove(&1).unwrap_or_default();
        let reserved = Budget::new(1 << 24).reserve((image.len() + 1).next_multiple_of(4096)).unwrap();
        let segment = Arc::new(Segment::create(1, Role::Output, reserved).unwrap());
        let file = File::from(segment.descriptor().try_clone_to_owned().unwrap());
        let extents = sent.descriptor.extents().filter(|extent| extent.len > 0).collect();
        let shared = Self { segment, file, descriptor: sent.descriptor, extents, image };
        shared.file.write_all_at(&shared.image, 0).unwrap();
        shared
    }

    /// Changes a byte somewhere, and puts it right: most of what the host copies is nearly whole.
    fn flip(&self, number: u64) {
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let extent = self.extents[(mixed >> 32) as usize % self.extents.len()];
        let at = extent.offset + (mixed & 0xffff_ffff) % extent.len;
        let whole = self.image[at as usize];
        self.file.write_all_at(&[whole ^ 1 << (number % 8) as u8], at).unwrap();
        self.file.write_all_at(&[whole], at).unwrap();
    }
}

/// How often batches were taken, and how often refused.
#[derive(Default)]
struct Counts {
    taken: u64,
    refused: u64,
    flips: u64,
}

fn receive_while_it_flips(data_type: &DataType, mode: Mode, imports: u64, counts: &mut Counts) {
    let recipe = Recipe { rows: 60, columns: vec![data_type.clone()], nulls: Nulls::Some, slices: Slices::default(), seed: 7 };
    let (shared, schema) = (Shared::new(&recipe), recipe.batch().schema());
    if shared.extents.is_empty() {
        return;
    }
    let segments = Segments::default();
    segments.insert(shared.segment.clone());
    let peer = Peer { segments: Arc::new(segments), peer_writes: true };
    let (over, flips) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                shared.flip(flips.fetch_add(1, Ordering::Relaxed));
            }
        });
        let mut done = 0;
        // A flip for each import at least, however the threads are scheduled.
        while done < imports || flips.load(Ordering::Relaxed) < imports {
            match import(&shared.descriptor, &schema, &peer, mode, &Ledger::default(), Direction::Result) {
                Ok(batch) => {
                    let (first, again) = (show::batch(&batch), show::batch(&batch));
                    assert!(mode == Mode::Guarded || first == again, "{data_type}: what was copied has changed");
                    counts.taken += 1;
                }
                Err(error) => {
                    assert_eq!(error.code(), Code::InvalidData, "{data_type}, {mode:?}: {error}");
                    counts.refused += 1;
                }
            }
            done += 1;
        }
        over.store(true, Ordering::Relaxed);
    });
    counts.flips += flips.into_inner();
}

fn types() -> Vec<DataType> {
    let mut all = leaves();
    all.extend(nestings(&DataType::Binary));
    all.extend(nestings(&DataType::Boolean));
    // Unions and maps as they are nested elsewhere have text in them.
    let fields = [(5, Arc::new(Field::new("n", DataType::Int32, true))), (0, Arc::new(Field::new("b", DataType::BinaryView, true)))];
    all.extend([UnionMode::Dense, UnionMode::Sparse].map(|mode| DataType::Union(fields.clone().into_iter().collect(), mode)));
    let entry = Fields::from(vec![Field::new("key", DataType::Int64, false), Field::new("value", DataType::Binary, true)]);
    all.push(DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entry), false)), false));
    all
}

/// Guarded mode says of text that a peer may still change it, and make it no text; so it has no place in that mode's trial.
fn has_text(data_type: &DataType) -> bool {
    use DataType::*;
    match data_type {
        Utf8 | LargeUtf8 | Utf8View => true,
        Union(fields, _) => fields.iter().any(|(_, field)| has_text(field.data_type())),
        Map(item, _) | List(item) | LargeList(item) | ListView(item) | LargeListView(item) | FixedSizeList(item, _) => has_text(item.data_type()),
        Struct(fields) => fields.iter().any(|field| has_text(field.data_type())),
        Dictionary(_, values) => has_text(values),
        RunEndEncoded(_, values) => has_text(values.data_type()),
        _ => false,
    }
}

#[test]
fn what_was_checked_is_what_is_read() {
    let imports = std::env::var("TEST_IMPORTS").map_or(30, |count| count.parse().unwrap());
    for mode in [Mode::Guarded, Mode::Strict] {
        let mut counts = Counts::default();
        for data_type in types().iter().filter(|data_type| mode == Mode::Strict || !has_text(data_type)) {
            receive_while_it_flips(data_type, mode, imports, &mut counts);
        }
        let Counts { taken, refused, flips } = counts;
        println!("{mode:?}: {taken} batches taken and {refused} refused during {flips} flips");
        assert!(taken > 0 && refused > 0, "{mode:?}: the flips were never seen, or never missed");
    }
}
