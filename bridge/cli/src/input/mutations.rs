//! Damaged Arrow and Parquet files, some thousands of them, the same each time: each is read or refused as what it is. A damaged length that was
//! believed would end this very process.

use std::fs;
use std::sync::Arc;

use arrow_array::builder::StringDictionaryBuilder;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{ArrayRef, Int64Array, ListArray, NullArray, RecordBatch, StringArray};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use parquet::arrow::ArrowWriter;
use transom::Code;

use super::Inputs;

/// Damaged files for each whole one, where `TEST_MUTATIONS` says no other number.
const MUTATIONS: u64 = 600;

/// Numbers at which lengths and limits turn.
const INTERESTING: [u64; 8] = [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 40, i64::MAX as u64, u64::MAX];

fn batch() -> RecordBatch {
    let mut words = StringDictionaryBuilder::<Int32Type>::new();
    (0..50).for_each(|row| words.append_value(["a", "bc", ""][row % 3]));
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>((0..50).map(|row| (row % 5 > 0).then(|| vec![Some(row); row as usize % 4])));
    RecordBatch::try_from_iter_with_nullable([
        ("n", Arc::new(Int64Array::from_iter((0..50).map(|row| (row % 7 > 0).then_some(row)))) as ArrayRef, true),
        ("text", Arc::new(StringArray::from_iter_values((0..50).map(|row| format!("row {row}")))), true),
        ("list", Arc::new(lists), true),
        ("word", Arc::new(words.finish()), true),
        ("nothing", Arc::new(NullArray::new(50)), true),
    ])
    .unwrap()
}

fn arrow(compression: Option<CompressionType>, file: bool) -> Vec<u8> {
    let (batch, options) = (batch(), IpcWriteOptions::default().try_with_compression(compression).unwrap());
    let mut bytes = Vec::new();
    if file {
        let mut writer = FileWriter::try_new_with_options(&mut bytes, &batch.schema(), options).unwrap();
        writer.write(&batch).and_then(|()| writer.write(&batch)).and_then(|()| writer.finish()).unwrap();
        drop(writer);
    } else {
        let mut writer = StreamWriter::try_new_with_options(&mut bytes, &batch.schema(), options).unwrap();
        writer.write(&batch).and_then(|()| writer.write(&batch)).and_then(|()| writer.finish()).unwrap();
        drop(writer);
    }
    bytes
}

fn parquet() -> Vec<u8> {
    let mut bytes = Vec::new();
    let batch = batch().project(&[0, 1, 2, 3]).unwrap();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

/// What `seed` makes of a file: one to three places are changed, in the tail as often as anywhere, where files keep their tables of contents.
fn damage(whole: &[u8], seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut below = |limit: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed ^ (mixed >> 27)) % limit as u64) as usize
    };
    let mut bytes = whole.to_vec();
    for _ in 0..=below(3) {
        let reach = if below(2) == 0 { bytes.len() } else { bytes.len().min(1200) };
        let at = bytes.len() - 1 - below(reach);
        match below(4) {
            0 => bytes[at] ^= 1 << below(8),
            1 => bytes[at] = below(256) as u8,
            2 => {
                let (at, width) = (at / 4 * 4, [4, 8][below(2)].min(bytes.len() - at / 4 * 4));
                bytes[at..at + width].copy_from_slice(&INTERESTING[below(8)].to_le_bytes()[..width]);
            }
            _ if below(8) == 0 => bytes.truncate(at.max(1)),
            _ => bytes[at] = bytes[at].wrapping_add(1),
        }
    }
    bytes
}

fn read_or_refuse(name: &str, whole: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    let words = [path.to_str().unwrap().to_owned()];
    let read = || {
        let inputs = Inputs::open(&words, None, 100)?;
        let schema = inputs.schema.clone();
        // Nulls take no room in a file, so a damaged number of rows may be a large one that is true.
        inputs.read(schema, 1 << 16, Some(100_000)).try_for_each(|batch| batch.map(drop))
    };
    fs::write(&path, whole).unwrap();
    read().unwrap();
    let mutations = std::env::var("TEST_MUTATIONS").map_or(MUTATIONS, |count| count.parse().unwrap());
    let mut refused = 0;
    for seed in 0..mutations {
        fs::write(&path, damage(whole, seed)).unwrap();
        if let Err(error) = read() {
            assert_eq!(error.code(), Code::InputFormat, "seed {seed} of {name}: {error}");
            refused += 1;
        }
    }
    assert!(refused > mutations / 10, "of {mutations} files only {refused} were refused");
}

#[test]
fn a_damaged_arrow_file_is_read_or_refused() {
    read_or_refuse("a.arrow", &arrow(None, true));
    read_or_refuse("a.arrow", &arrow(Some(CompressionType::LZ4_FRAME), true));
    read_or_refuse("a.arrow", &arrow(Some(CompressionType::ZSTD), true));
}

#[test]
fn a_damaged_arrow_stream_is_read_or_refused() {
    read_or_refuse("a.arrows", &arrow(None, false));
    read_or_refuse("a.arrows", &arrow(Some(CompressionType::LZ4_FRAME), false));
    read_or_refuse("a.arrows", &arrow(Some(CompressionType::ZSTD), false));
}

#[test]
fn a_damaged_parquet_file_is_read_or_refused() {
    read_or_refuse("a.parquet", &parquet());
}
