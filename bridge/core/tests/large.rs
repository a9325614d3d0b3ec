//! Batches at and beyond what 31 bits count: they come back whole or are refused as too large, and no length wraps.

mod support;

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, Int64Array, LargeListArray, LargeStringArray, NullArray, RecordBatch, StringArray};
use arrow_buffer::{BooleanBuffer, Buffer, MutableBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field};
use support::memory::{Host, Peer};
use transom::exchange::{Descriptor, Direction, Ledger, MAX_ROWS, Mode, export, import};
use transom::memory::available_memory;
use transom::{Code, Result};

const MOST: usize = MAX_ROWS as usize;

/// Sends a batch of one column and receives it.
fn cross(column: ArrayRef) -> Result<ArrayRef> {
    let batch = RecordBatch::try_from_iter_with_nullable([("c", column, true)]).unwrap();
    let host = Host::with_limit(3 << 30);
    let sent = export(&batch, &host, &Ledger::default(), Direction::Input)?;
    let mut wire = Vec::new();
    sent.descriptor.encode(&mut wire);
    let peer = Peer { segments: host.segments.clone(), peer_writes: true };
    let received = import(&Descriptor::decode(&wire)?, &batch.schema(), &peer, Mode::Guarded, &Ledger::default(), Direction::Input)?;
    Ok(received.column(0).clone())
}

/// Memory of zeros that is not there before it is written.
fn zeros(len: usize) -> Buffer {
    MutableBuffer::from_len_zeroed(len).into()
}

#[expect(clippy::print_stdout, reason = "a test that is skipped must say so")]
fn has_memory(needed: u64) -> bool {
    let enough = available_memory().is_none_or(|available| available > needed);
    if !enough {
        println!("SKIPPED: {needed} bytes of memory are needed");
    }
    enough
}

#[test]
fn one_row_more_than_31_bits_count_is_refused_and_as_many_as_they_count_cross() {
    let bits = |len| -> ArrayRef { Arc::new(BooleanArray::new(BooleanBuffer::new(zeros(len / 8 + 1), 0, len), None)) };
    for column in [Arc::new(NullArray::new(MOST + 1)) as ArrayRef, bits(MOST + 1), Arc::new(NullArray::new(usize::MAX))] {
        let len = column.len();
        assert_eq!(cross(column).unwrap_err().code(), Code::BatchTooLarge, "{len} rows");
    }
    assert_eq!(cross(Arc::new(NullArray::new(MOST))).unwrap().len(), MOST);
    if has_memory(1 << 30) {
        let received = cross(bits(MOST)).unwrap();
        assert_eq!((received.len(), received.null_count()), (MOST, 0));
    }
}

#[test]
fn what_is_copied_past_the_caches_arrives_whole() {
    let rows = 700_000_i64;
    let numbers = Int64Array::from_iter((0..rows).map(|row| (row % 7 > 0).then_some(row.wrapping_mul(0x1e37_79b9_7f4a_7c15))));
    let text = StringArray::from_iter_values((0..rows).map(|row| row.to_string()));
    for (start, len) in [(0, rows as usize), (1, rows as usize - 1), (3, 600_001)] {
        for column in [Arc::new(numbers.clone()) as ArrayRef, Arc::new(text.clone())] {
            let part = column.slice(start, len);
            assert!(part.get_buffer_memory_size() > 4 << 20);
            assert_eq!(&cross(part.clone()).unwrap(), &part, "{len} from {start} on");
        }
    }
}

#[test]
fn a_child_may_have_more_values_than_a_batch_has_rows() {
    let ends = [0, 5, 3_000_000_000_i64];
    let item = Arc::new(Field::new("item", DataType::Null, true));
    let lists = LargeListArray::new(item, OffsetBuffer::new(ends.to_vec().into()), Arc::new(NullArray::new(3_000_000_000)), None);
    let received = cross(Arc::new(lists.clone())).unwrap();
    assert_eq!(received.to_data(), lists.to_data());
}

#[test]
fn more_text_than_31_bits_count_crosses_whole() {
    let len = (1 << 31) + 100;
    if !has_memory(5 << 30) {
        return;
    }
    let ends = [0, 7, len as i64 - 3, len as i64];
    let texts = LargeStringArray::new(OffsetBuffer::new(ends.to_vec().into()), zeros(len), None);
    let received = cross(Arc::new(texts)).unwrap();
    let received = received.as_any().downcast_ref::<LargeStringArray>().unwrap();
    assert_eq!(received.value_offsets(), ends);
    assert_eq!((received.value(0), received.value(2)), ("\0\0\0\0\0\0\0", "\0\0\0"));
    assert_eq!(received.value(1).len(), len - 10);
}
