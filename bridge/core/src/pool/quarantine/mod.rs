//! Rows for which a function fails: made null or taken out of results, kept with the reason, and counted.
//!
//! A worker that runs a function row by row says itself which rows failed. Of everything else, an exception over whole arrays or the death of a
//! worker, the host finds the rows by halving the batch ([`search`]).

mod letters;
mod search;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use arrow_array::{Array, BooleanArray, RecordBatch};
use arrow_select::filter::filter_record_batch;

pub use letters::DeadLetters;

use super::Inner;
use super::call::Position;
use super::event::Event;
use super::registry::Known;
use crate::capsule::Given;
use crate::failure::{Code, Error, Result};
use crate::function::OnError;
use crate::link::{RemoteError, Suppressed};

/// Bytes of a reason that are kept for each row.
const REASON_LIMIT: usize = 1024;

/// What became of one batch.
pub(super) struct Answered {
    pub(super) result: RecordBatch,
    /// Which rows of the batch the result has, and those that were taken out of it; `None` where it has all.
    parted: Option<(BooleanArray, RecordBatch)>,
}

impl Answered {
    /// The rows of the input that the result is for.
    pub(super) fn of_input(&self, input: RecordBatch) -> Result<RecordBatch> {
        match &self.parted {
            None => Ok(input),
            Some((kept, _)) => filter_record_batch(&input, kept).map_err(|error| Error::new(Code::Internal, error.to_string())),
        }
    }

    /// Gives the result out, and what was taken out of it to the dead letters.
    pub(super) fn deliver(self, letters: &DeadLetters) -> Result<RecordBatch> {
        if let Some((_, taken)) = self.parted {
            letters.add(taken)?;
        }
        Ok(self.result)
    }
}

/// Why a row failed.
#[derive(Debug)]
struct Reason {
    code: Code,
    text: String,
    /// With all that is known of it, for the first row of a batch: tracebacks of all would be too much.
    whole: Option<Error>,
}

impl Reason {
    fn new(error: Error, first: bool) -> Arc<Self> {
        let message = error.message();
        let end = (0..=REASON_LIMIT.min(message.len())).rev().find(|&end| message.is_char_boundary(end)).unwrap_or(0);
        Arc::new(Self { code: error.code(), text: message[..end].to_owned(), whole: first.then_some(error) })
    }

    fn error(&self) -> Error {
        self.whole.clone().unwrap_or_else(|| Error::new(self.code, self.text.clone()))
    }
}

/// A row for which the function failed.
#[derive(Clone, Debug)]
struct BadRow {
    /// Its place in the batch.
    row: usize,
    reason: Arc<Reason>,
    /// How often the function saw it.
    runs: u32,
}

/// The rows that a worker says have failed, in a piece of the batch that begins at `first`.
fn told(suppressed: Suppressed, first: usize, runs: u32) -> impl Iterator<Item = BadRow> {
    let causes = suppressed.causes.into_iter().map(RemoteError::into_error).enumerate();
    let reasons: Vec<Arc<Reason>> = causes.map(|(number, cause)| Reason::new(cause, number == 0)).collect();
    suppressed.rows.into_iter().map(move |(row, cause)| BadRow { row: first + row as usize, reason: reasons[cause as usize].clone(), runs })
}

/// A mask of `rows` rows that has all but some.
fn all_but(rows: usize, without: impl Iterator<Item = usize>) -> BooleanArray {
    let mut kept = vec![true; rows];
    without.for_each(|row| kept[row] = false);
    BooleanArray::from(kept)
}

/// A worker's result without the rows that it says have failed, or, where they stay, with the certainty that they are null.
pub(super) fn without(result: RecordBatch, suppressed: &Suppressed, on_error: OnError) -> Result<RecordBatch> {
    if suppressed.is_empty() {
        return Ok(result);
    }
    let rows = suppressed.rows.iter().map(|&(row, _)| row as usize);
    if on_error == OnError::DeadLetter {
        return filter_record_batch(&result, &all_but(result.num_rows(), rows)).map_err(|error| Error::new(Code::InvalidData, error.to_string()));
    }
    let null = |column: &dyn Array| column.logical_nulls().is_some_and(|nulls| rows.clone().all(|row| nulls.is_null(row)));
    if result.columns().iter().all(|column| null(column)) {
        return Ok(result);
    }
    Err(Error::new(Code::InvalidData, "the worker says that rows failed, and gives results for them"))
}

impl Inner {
    /// Sends one batch of arguments to a function and waits for the checked result; rows for which it fails become what the policy says, and what
    /// fails in spite of it is saved as a capsule.
    pub(super) async fn call(&self, known: &Arc<Known>, arguments: RecordBatch, position: &Position) -> Result<Answered> {
        let kept = self.capsules.is_on().then(|| arguments.clone());
        self.call_by_policy(known, arguments, position).await.map_err(|error| match &kept {
            Some(batch) => self.encapsulated(error, known, Given::Batch { batch, number: position.batch, rows: position.rows.clone() }),
            None => error,
        })
    }

    async fn call_by_policy(&self, known: &Arc<Known>, arguments: RecordBatch, position: &Position) -> Result<Answered> {
        known.breaker.admit(Instant::now()).map_err(|error| position.place(error, &known.signature().name))?;
        let attempt = self.attempt(known, arguments.clone(), position, self.options.mode).await;
        // A search for the rows to blame has bounds of its own, and would be cut short by the deaths that it is there for.
        if !attempt.as_ref().is_err_and(|error| search::can_find(known, error)) {
            known.breaker.note(attempt.as_ref().map(drop), Instant::now());
        }
        let (result, bad) = match attempt {
            Ok((result, suppressed)) => (result, told(suppressed, 0, 1).collect()),
            Err(error) if search::can_find(known, &error) && arguments.num_rows() > 0 => {
                search::Search::new(self, known, &arguments, position).run(error).await?
            }
            Err(error) => return Err(error),
        };
        let Some(first) = bad.first() else { return Ok(Answered { result, parted: None }) };
        known.suppressed.fetch_add(bad.len() as u64, Ordering::Relaxed);
        let row = position.rows.start + first.row as u64;
        self.tell(|| {
            let reason = first.reason.error().with_function(&known.signature().name).with_batch(position.batch);
            Event::RowsSuppressed { rows: bad.len() as u64, reason: reason.narrowed_to_rows(row..row + 1) }
        });
        if known.on_error() != OnError::DeadLetter {
            return Ok(Answered { result, parted: None });
        }
        let kept = all_but(arguments.num_rows(), bad.iter().map(|bad| bad.row));
        let taken = letters::of(known, &arguments, position, &bad)?;
        Ok(Answered { result, parted: Some((kept, taken)) })
    }

    /// A call that is no part of a stream: what is taken out of its result goes to the pool's dead letters.
    pub(super) async fn call_apart(&self, known: &Arc<Known>, arguments: RecordBatch, position: Position) -> Result<RecordBatch> {
        self.call(known, arguments, &position).await?.deliver(&self.letters)
    }
}
