//! Reading every byte of a result, so that no contestant gets away with handing out pointers.

use arrow_array::{Array, RecordBatch};
use arrow_data::ArrayData;

/// The sum of all bytes, taken as little-endian words of eight.
pub(crate) fn bytes(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let sum = words.iter().fold(0_u64, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)));
    rest.iter().fold(sum, |sum, byte| sum.wrapping_add(u64::from(*byte)))
}

/// A sum over every buffer of every column, and how many bytes that were.
pub(crate) fn batch(batch: &RecordBatch) -> (u64, usize) {
    batch.columns().iter().fold((0, 0), |total, column| add(total, data(&column.to_data())))
}

fn data(data: &ArrayData) -> (u64, usize) {
    let validity = data.nulls().map(|nulls| nulls.validity());
    let buffers = data.buffers().iter().map(|buffer| buffer.as_slice());
    let own = buffers.chain(validity).fold((0, 0), |total, slice| add(total, (bytes(slice), slice.len())));
    data.child_data().iter().fold(own, |total, child| add(total, self::data(child)))
}

fn add(one: (u64, usize), other: (u64, usize)) -> (u64, usize) {
    (one.0.wrapping_add(other.0), one.1 + other.1)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Int64Array, RecordBatch, StringArray};

    #[test]
    fn every_byte_counts() {
        assert_eq!(super::bytes(&[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3]), 6);
        assert_ne!(super::bytes(&[0; 24]), super::bytes(&[[0; 23].as_slice(), &[1]].concat()));
    }

    #[test]
    fn every_buffer_counts() {
        let number = Arc::new(Int64Array::from(vec![Some(1), None]));
        let text = Arc::new(StringArray::from(vec!["ab", "c"]));
        let batch = RecordBatch::try_from_iter([("number", number as _), ("text", text as _)]).unwrap();
        let (_, size) = super::batch(&batch);
        assert_eq!(size, (16 + 1) + (12 + 3));
    }
}
