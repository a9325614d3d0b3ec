//! Dead letters: rows that were taken out of results, with the reason.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use arrow_array::cast::AsArray;
use arrow_array::types::{BinaryViewType, StringViewType};
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use arrow_select::dictionary::garbage_collect_any_dictionary;
use arrow_select::take::take;

use super::BadRow;
use crate::failure::{Code, Error, Result};
use crate::function::OnError;
use crate::pool::arguments::assemble;
use crate::pool::call::Position;
use crate::pool::registry::Known;

/// The most bytes of dead letters that are kept at a time.
const LIMIT: usize = 64 << 20;

/// Rows for which a function failed and that are in no result, until somebody takes them: each with the columns that the function was given, and
/// behind those
///
/// | column | type | what |
/// | --- | --- | --- |
/// | `transom_function` | utf8 | the function's name |
/// | `transom_batch` | uint64 | the batch of the stream, from 0 |
/// | `transom_row` | uint64 | the row of the stream, from 0 |
/// | `transom_code` | utf8 | the error's code, such as `TRN-3001` |
/// | `transom_error` | utf8 | what happened, at most 1 KiB of it |
/// | `transom_attempts` | uint32 | how often the function was given the row |
///
/// At most 64 MiB are kept. A batch beyond that fails with `TOO_MANY_FAILURES`, so take them as they come where there may be many.
///
/// ```no_run
/// # use transom::{Function, MapOptions, OnError, Pool};
/// # let pool = Pool::builder().build()?;
/// let function = Function::python("udfs.py:ratio")?.with_on_error(OnError::DeadLetter);
/// let mut results = pool.map_blocking(&function, [], MapOptions::default())?;
/// for batch in results.by_ref() {
///     println!("{} rows", batch?.num_rows());
/// }
/// for failed in results.dead_letters().take()? {
///     println!("{} rows failed", failed.num_rows());
/// }
/// # Ok::<(), transom::Error>(())
/// ```
#[derive(Default)]
pub struct DeadLetters {
    /// That of a stream, known from its first batch.
    schema: OnceLock<SchemaRef>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    batches: Vec<RecordBatch>,
    bytes: usize,
}

impl DeadLetters {
    /// The schema of a stream's dead letters, also where there are none: known from the first batch on, where the function's policy is
    /// [`OnError::DeadLetter`]. `None` for those of a pool, whose calls may be to any function.
    pub fn schema(&self) -> Option<SchemaRef> {
        self.schema.get().cloned()
    }

    /// Takes what is there, in order: one batch for each schema and function, so at most one from a stream.
    ///
    /// # Errors
    /// `BATCH_TOO_LARGE` where they do not fit one batch; they are then gone.
    pub fn take(&self) -> Result<Vec<RecordBatch>> {
        let mut batches = std::mem::take(&mut *self.kept()).batches;
        std::iter::from_fn(|| first_group(&mut batches)).map(|group| joined(&group)).collect()
    }

    /// As [`DeadLetters::take`], one batch at a time, for those who can be given one. `None` where there are none left.
    ///
    /// # Errors
    /// As [`DeadLetters::take`]; the others are still there.
    pub fn take_next(&self) -> Result<Option<RecordBatch>> {
        let mut kept = self.kept();
        let group = first_group(&mut kept.batches);
        kept.bytes = kept.batches.iter().map(RecordBatch::get_array_memory_size).sum();
        drop(kept);
        group.map(|group| joined(&group)).transpose()
    }

    /// Notes what a stream's function is given.
    pub(in crate::pool) fn expect(&self, known: &Known, arguments: &SchemaRef) {
        if known.on_error() == OnError::DeadLetter {
            _ = self.schema.set(schema_for(arguments));
        }
    }

    pub(super) fn add(&self, batch: RecordBatch) -> Result<()> {
        let mut kept = self.kept();
        let bytes = kept.bytes + batch.get_array_memory_size();
        if bytes > LIMIT {
            let message =
                format!("{} rows failed in one batch more, and {} MiB of dead letters are kept already", batch.num_rows(), kept.bytes >> 20);
            return Err(Error::new(Code::TooManyFailures, message)
                .with_function(name_in(&batch))
                .with_batch(number_in(&batch, "transom_batch"))
                .with_rows(first_and_last(&batch))
                .with_hint("take the dead letters as they come, or mend the function: most of its rows may fail"));
        }
        kept.bytes = bytes;
        kept.batches.push(batch);
        Ok(())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl std::fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rows: usize = self.kept().batches.iter().map(RecordBatch::num_rows).sum();
        write!(f, "DeadLetters({rows} rows)")
    }
}

/// Takes out the first batch and those that fit to it.
fn first_group(batches: &mut Vec<RecordBatch>) -> Option<Vec<RecordBatch>> {
    let first = batches.first()?.clone();
    let fits = |batch: &RecordBatch| batch.schema_ref() == first.schema_ref() && name_in(batch) == name_in(&first);
    let (group, rest) = std::mem::take(batches).into_iter().partition(fits);
    *batches = rest;
    Some(group)
}

fn joined(group: &[RecordBatch]) -> Result<RecordBatch> {
    concat_batches(group[0].schema_ref(), group).map_err(|error| Error::new(Code::BatchTooLarge, error.to_string()))
}

fn name_in(letters: &RecordBatch) -> &str {
    letters.column_by_name("transom_function").map_or("", |names| names.as_string::<i32>().value(0))
}

fn number_in(letters: &RecordBatch, column: &str) -> u64 {
    letters.column_by_name(column).map_or(0, |numbers| numbers.as_primitive::<arrow_array::types::UInt64Type>().value(0))
}

fn first_and_last(letters: &RecordBatch) -> std::ops::Range<u64> {
    let last = letters.slice(letters.num_rows() - 1, 1);
    number_in(letters, "transom_row")..number_in(&last, "transom_row") + 1
}

fn schema_for(arguments: &SchemaRef) -> SchemaRef {
    let reason = [
        ("transom_function", DataType::Utf8),
        ("transom_batch", DataType::UInt64),
        ("transom_row", DataType::UInt64),
        ("transom_code", DataType::Utf8),
        ("transom_error", DataType::Utf8),
        ("transom_attempts", DataType::UInt32),
    ];
    let reason = reason.into_iter().map(|(name, data_type)| Arc::new(Field::new(name, data_type, false)));
    let fields: Vec<_> = arguments.fields().iter().cloned().chain(reason).collect();
    Arc::new(Schema::new_with_metadata(fields, arguments.metadata().clone()))
}

/// The bad rows of a batch, which there are, as dead letters.
pub(super) fn of(known: &Known, arguments: &RecordBatch, position: &Position, bad: &[BadRow]) -> Result<RecordBatch> {
    let rows = UInt64Array::from_iter_values(bad.iter().map(|bad| bad.row as u64));
    let mut columns = arguments.columns().iter().map(|column| copied(column, &rows)).collect::<Result<Vec<_>>>()?;
    let texts = |text: &dyn Fn(&BadRow) -> String| Arc::new(StringArray::from_iter_values(bad.iter().map(text))) as ArrayRef;
    let name = known.signature().name.clone();
    columns.extend([
        texts(&|_| name.clone()),
        Arc::new(UInt64Array::from(vec![position.batch; bad.len()])) as ArrayRef,
        Arc::new(UInt64Array::from_iter_values(bad.iter().map(|bad| position.rows.start + bad.row as u64))),
        texts(&|bad| bad.reason.code.id()),
        texts(&|bad| bad.reason.text.clone()),
        Arc::new(UInt32Array::from_iter_values(bad.iter().map(|bad| bad.runs))),
    ]);
    assemble(schema_for(arguments.schema_ref()), columns, bad.len())
}

/// A few rows of a column, without the rest of its buffers and dictionary.
fn copied(column: &ArrayRef, rows: &UInt64Array) -> Result<ArrayRef> {
    let failed = |error: ArrowError| Error::new(Code::Internal, error.to_string());
    let taken = take(column, rows, None).map_err(failed)?;
    Ok(match taken.data_type() {
        DataType::Utf8View => Arc::new(taken.as_byte_view::<StringViewType>().gc()),
        DataType::BinaryView => Arc::new(taken.as_byte_view::<BinaryViewType>().gc()),
        DataType::Dictionary(..) => garbage_collect_any_dictionary(taken.as_any_dictionary()).map_err(failed)?,
        _ => taken,
    })
}
