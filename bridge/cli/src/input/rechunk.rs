//! Batches of a useful size: large ones are sliced, small ones are joined, and no batch holds too many bytes.

use std::collections::VecDeque;
use std::mem;

use arrow_array::{Array, RecordBatch};
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use transom::Result;

/// Wide rows must not make a batch that fills the memory, however many rows are asked for.
pub(super) const MOST_BYTES: usize = 64 << 20;

/// A stream cut into batches of at most `most_rows`, and `limit` rows in all. It gives one empty batch rather than none.
pub(super) fn rechunk(
    batches: impl Iterator<Item = Result<RecordBatch>> + Send,
    schema: SchemaRef,
    most_rows: usize,
    limit: Option<u64>,
) -> impl Iterator<Item = Result<RecordBatch>> + Send {
    Rechunk { batches, schema, most_rows, left: limit.unwrap_or(u64::MAX), ready: VecDeque::new(), small: Vec::new(), state: State::Fresh }
}

#[derive(PartialEq)]
enum State {
    Fresh,
    Running,
    Done,
}

struct Rechunk<I> {
    batches: I,
    schema: SchemaRef,
    most_rows: usize,
    /// How many rows may still be read.
    left: u64,
    /// Batches to give.
    ready: VecDeque<RecordBatch>,
    /// Batches too small to give alone; together they are at most half full.
    small: Vec<RecordBatch>,
    state: State,
}

impl<I: Iterator<Item = Result<RecordBatch>>> Iterator for Rechunk<I> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(batch) = self.ready.pop_front() {
                self.state = State::Running;
                return Some(Ok(batch));
            }
            if self.state == State::Done {
                return None;
            }
            let batch = if self.left == 0 { None } else { self.batches.next() };
            match batch {
                Some(Ok(batch)) => self.take(batch),
                Some(Err(error)) => {
                    self.state = State::Done;
                    return Some(Err(error));
                }
                None => self.end(),
            }
        }
    }
}

impl<I> Rechunk<I> {
    fn take(&mut self, batch: RecordBatch) {
        let rows = (batch.num_rows() as u64).min(self.left) as usize;
        self.left -= rows as u64;
        if rows == 0 {
            return;
        }
        let batch = batch.slice(0, rows);
        let full = self.full(&batch);
        let held: usize = self.small.iter().map(RecordBatch::num_rows).sum();
        if held + rows > full {
            self.join();
        }
        // Only a remainder of less than half a batch waits for more: what is larger goes on without being copied.
        let mut start = 0;
        while rows - start > full / 2 {
            let count = (rows - start).min(full);
            if start == 0 && !self.small.is_empty() {
                self.small.push(batch.slice(0, count));
                self.join();
            } else {
                self.ready.push_back(batch.slice(start, count));
            }
            start += count;
        }
        if start < rows {
            self.small.push(batch.slice(start, rows - start));
            if self.small.iter().map(RecordBatch::num_rows).sum::<usize>() > full / 2 {
                self.join();
            }
        }
    }

    /// How many of this batch's rows make a full batch.
    fn full(&self, batch: &RecordBatch) -> usize {
        let row = bytes(batch).div_ceil(batch.num_rows()).max(1);
        (MOST_BYTES / row).clamp(1, self.most_rows)
    }

    fn join(&mut self) {
        let small = mem::take(&mut self.small);
        match small.len() {
            0 => {}
            1 => self.ready.extend(small),
            // What cannot be joined (dictionaries that together have too many keys) goes as it is.
            _ => match concat_batches(&self.schema, &small) {
                Ok(joined) => self.ready.push_back(joined),
                Err(_) => self.ready.extend(small),
            },
        }
    }

    fn end(&mut self) {
        self.join();
        if self.state == State::Fresh && self.ready.is_empty() {
            self.ready.push_back(RecordBatch::new_empty(self.schema.clone()));
        }
        self.state = State::Done;
    }
}

/// The bytes of a batch's values, without those that a slice leaves out.
pub(crate) fn bytes(batch: &RecordBatch) -> usize {
    let of = |array: &arrow_array::ArrayRef| array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size());
    batch.columns().iter().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{ArrayRef, Int64Array, StringArray, cast::AsArray, types::Int64Type};
    use std::sync::Arc;
    use transom::{Code, Error};

    fn numbers(from: i64, count: i64) -> RecordBatch {
        RecordBatch::try_from_iter([("x", Arc::new(Int64Array::from_iter_values(from..from + count)) as ArrayRef)]).unwrap()
    }

    fn run(counts: &[i64], most: usize, limit: Option<u64>) -> Vec<RecordBatch> {
        let mut from = 0;
        let batches: Vec<_> = counts
            .iter()
            .map(|count| {
                from += count;
                Ok(numbers(from - count, *count))
            })
            .collect();
        let given: Vec<RecordBatch> = rechunk(batches.into_iter(), numbers(0, 0).schema(), most, limit).map(Result::unwrap).collect();
        let values: Vec<i64> = given.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
        let total = counts.iter().sum::<i64>().min(limit.map_or(i64::MAX, |limit| limit as i64));
        assert_eq!(values, (0..total).collect::<Vec<_>>(), "{counts:?}");
        assert!(given.iter().all(|batch| batch.num_rows() <= most), "{counts:?}");
        given
    }

    fn sizes(counts: &[i64], most: usize, limit: Option<u64>) -> Vec<usize> {
        run(counts, most, limit).iter().map(RecordBatch::num_rows).collect()
    }

    #[test]
    fn every_row_comes_once_in_order_and_in_batches_of_a_useful_size() {
        assert_eq!(sizes(&[10], 4, None), [4, 4, 2]);
        assert_eq!(sizes(&[1; 9], 4, None), [3, 3, 3]);
        assert_eq!(sizes(&[3, 3, 3], 4, None), [3, 3, 3]);
        assert_eq!(sizes(&[9, 9], 8, None), [8, 1, 8, 1]);
        assert_eq!(sizes(&[9, 3, 4], 8, None), [8, 8]);
        assert_eq!(sizes(&[0, 2, 0], 8, None), [2]);
        for seed in 1..200_i64 {
            let counts: Vec<i64> = (1..20).map(|i| (i * seed * 7919) % 23).collect();
            run(&counts, (seed % 12 + 1) as usize, Some((seed * 3) as u64));
        }
    }

    #[test]
    fn a_limit_ends_the_stream_and_nothing_is_one_empty_batch() {
        assert_eq!(sizes(&[10, 10], 8, Some(11)), [8, 3]);
        assert_eq!(sizes(&[10], 8, Some(0)), [0]);
        assert_eq!(sizes(&[], 8, None), [0]);
        assert_eq!(sizes(&[0, 0], 8, None), [0]);
    }

    #[test]
    fn large_batches_are_sliced_without_a_copy() {
        let batch = numbers(0, 100);
        let pointer = batch.column(0).to_data().buffers()[0].as_ptr();
        let given: Vec<RecordBatch> = rechunk([Ok(batch.clone())].into_iter(), batch.schema(), 60, None).map(Result::unwrap).collect();
        assert_eq!(given.len(), 2);
        assert_eq!(given[0].column(0).to_data().buffers()[0].as_ptr(), pointer);
    }

    #[test]
    fn wide_rows_make_short_batches() {
        let wide = "w".repeat(MOST_BYTES / 4);
        let batch = RecordBatch::try_from_iter([("x", Arc::new(StringArray::from(vec![wide.as_str(); 9])) as ArrayRef)]).unwrap();
        let given: Vec<usize> = rechunk([Ok(batch.clone())].into_iter(), batch.schema(), 1000, None).map(|batch| batch.unwrap().num_rows()).collect();
        assert!(given.len() >= 3 && given.iter().sum::<usize>() == 9, "{given:?}");
    }

    #[test]
    fn an_error_ends_the_stream() {
        let schema = numbers(0, 0).schema();
        let broken = || Err(Error::new(Code::InputFormat, "x"));
        let mut given = rechunk([broken(), broken()].into_iter(), schema, 8, None);
        assert!(given.next().unwrap().is_err());
        assert!(given.next().is_none());
    }
}
