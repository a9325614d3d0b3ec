//! Finding the rows for which a function fails: a batch that failed is halved until single rows are left, and what went well on the way is its result.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow_array::{ArrayRef, RecordBatch, new_null_array};
use arrow_select::concat::concat;

use super::{BadRow, Reason, told};
use crate::exchange::Mode;
use crate::failure::{Code, Error, Result};
use crate::function::{Kind, OnError};
use crate::pool::Inner;
use crate::pool::arguments::assemble;
use crate::pool::call::{Position, conform};
use crate::pool::registry::Known;

/// The most calls for one batch, its own among them.
const MOST_CALLS: u32 = 16_384;
/// The most of them that may end a worker, which costs a new process each time.
const MOST_DEATHS: u32 = 64;

/// Whether the rows to blame for an error can be looked for: where the policy is to go on without them, and the function may be run again. A result of
/// the wrong type or length is the fault of no row.
pub(super) fn can_find(known: &Known, error: &Error) -> bool {
    let on_error = known.on_error();
    let raised = matches!(error.code(), Code::FunctionRaised | Code::FunctionExit | Code::InvalidData);
    known.signature().deterministic && ((on_error != OnError::Raise && raised) || (on_error == OnError::DeadLetter && is_death(error.code())))
}

fn is_death(code: Code) -> bool {
    matches!(code, Code::WorkerExited | Code::WorkerSignalled | Code::WorkerOutOfMemory | Code::DeadlineExceeded)
}

/// Rows of the batch that are still to be run.
struct Piece {
    rows: Range<usize>,
    /// How often the function was given them.
    runs: u32,
    /// The first half of what failed; the second is behind it.
    first_half: bool,
    /// The other half went well, so one of these rows is to blame: it would be a waste to run them all once more.
    blamed: bool,
}

/// What is known of rows, in their order.
enum Part {
    Result(ArrayRef),
    Null,
}

/// The search in one batch.
pub(super) struct Search<'a> {
    inner: &'a Inner,
    known: &'a Arc<Known>,
    arguments: &'a RecordBatch,
    position: &'a Position,
    calls: u32,
    deaths: u32,
    /// The rows that are still to be run; the last come first.
    pieces: Vec<Piece>,
    /// An empty result, once there was one.
    empty: Option<RecordBatch>,
    parts: Vec<Part>,
    bad: Vec<BadRow>,
}

impl<'a> Search<'a> {
    pub(super) fn new(inner: &'a Inner, known: &'a Arc<Known>, arguments: &'a RecordBatch, position: &'a Position) -> Self {
        Self { inner, known, arguments, position, calls: 1, deaths: 0, pieces: Vec::new(), empty: None, parts: Vec::new(), bad: Vec::new() }
    }

    /// Looks for the rows to blame for the batch's failure; gives the results of the others, with nulls between them where rows stay, and the rows.
    pub(super) async fn run(mut self, error: Error) -> Result<(RecordBatch, Vec<BadRow>)> {
        let first = error.clone();
        self.failed(Piece { rows: 0..self.arguments.num_rows(), runs: 1, first_half: false, blamed: false }, error)?;
        while let Some(mut piece) = self.pieces.pop() {
            if piece.blamed && piece.rows.len() > 1 {
                self.halve(piece);
                continue;
            }
            if self.calls == MOST_CALLS || self.deaths == MOST_DEATHS {
                return Err(self.gave_up(&first, piece.rows.start));
            }
            piece.runs += 1;
            match self.attempt(&piece).await {
                Ok(()) if piece.first_half => self.pieces.iter_mut().last().into_iter().for_each(|other| other.blamed = true),
                Ok(()) => {}
                Err(error) => self.failed(piece, error)?,
            }
        }
        self.join(&first)
    }

    async fn attempt(&mut self, piece: &Piece) -> Result<()> {
        self.calls += 1;
        self.known.attempts.fetch_add(1, Ordering::Relaxed);
        let start = self.position.rows.start;
        let place = Position { batch: self.position.batch, rows: start + piece.rows.start as u64..start + piece.rows.end as u64 };
        let rows = self.arguments.slice(piece.rows.start, piece.rows.len());
        // In memory of the host's own: of a worker that dies next, all segments would stay for the sake of a few rows.
        let (result, suppressed) = self.inner.attempt(self.known, rows, &place, Mode::Strict).await?;
        let empty = self.empty.get_or_insert_with(|| result.slice(0, 0));
        let result =
            conform(empty.schema_ref(), result).map_err(|error| error.with_function(&self.known.signature().name).with_batch(place.batch))?;
        self.parts.push(Part::Result(result.column(0).clone()));
        self.bad.extend(told(suppressed, piece.rows.start, piece.runs));
        Ok(())
    }

    fn failed(&mut self, piece: Piece, error: Error) -> Result<()> {
        if !can_find(self.known, &error) {
            return Err(error);
        }
        self.deaths += u32::from(is_death(error.code()));
        if piece.rows.len() > 1 {
            self.halve(piece);
            return Ok(());
        }
        if self.known.on_error() == OnError::Null {
            self.parts.push(Part::Null);
        }
        self.bad.push(BadRow { row: piece.rows.start, reason: Reason::new(error, self.bad.is_empty()), runs: piece.runs });
        Ok(())
    }

    fn halve(&mut self, piece: Piece) {
        let middle = piece.rows.start + piece.rows.len() / 2;
        self.pieces.push(Piece { rows: middle..piece.rows.end, runs: piece.runs, first_half: false, blamed: false });
        self.pieces.push(Piece { rows: piece.rows.start..middle, runs: piece.runs, first_half: true, blamed: false });
    }

    fn join(self, first: &Error) -> Result<(RecordBatch, Vec<BadRow>)> {
        let empty = match (self.empty, &self.known.signature().returns) {
            (Some(empty), _) => empty,
            (None, Some(declared)) => RecordBatch::new_empty(declared.clone()),
            (None, None) => {
                let message =
                    format!("the function fails for each of {} rows, so the type of its result is not known: {}", self.bad.len(), first.message());
                return Err(caused_by(first, message).with_hint("mend the function, or declare the type of its result"));
            }
        };
        let null = new_null_array(empty.column(0).data_type(), 1);
        let arrays: Vec<_> = self.parts.iter().map(|part| if let Part::Result(array) = part { array.as_ref() } else { null.as_ref() }).collect();
        let column = if arrays.is_empty() { Ok(empty.column(0).clone()) } else { concat(&arrays) };
        let column = column.map_err(|error| Error::new(Code::InvalidData, error.to_string()))?;
        let rows = column.len();
        Ok((assemble(empty.schema(), vec![column], rows)?, self.bad))
    }

    fn gave_up(&self, first: &Error, reached: usize) -> Error {
        let message = format!(
            "gave up looking for the rows that fail: after {} calls, {} of which ended a worker, {} of the first {reached} of {} rows were found to. The batch \
             failed with: {}",
            self.calls,
            self.deaths,
            self.bad.len(),
            self.arguments.num_rows(),
            first.message()
        );
        let raises = self.known.signature().kind == Kind::Scalar && !is_death(first.code());
        let more = if raises { ", or write a row function, which tells by itself for which rows it raises" } else { "" };
        caused_by(first, message).with_hint(format!("mend the function, or send smaller batches{more}"))
    }
}

/// The error of a search that comes to nothing, with all that the batch's own failure says.
fn caused_by(first: &Error, message: String) -> Error {
    let error = Error::new(Code::TooManyFailures, message)
        .with_function(first.function().unwrap_or_default())
        .with_batch(first.batch().unwrap_or_default())
        .with_rows(first.rows().unwrap_or_default())
        .with_output(first.output().to_vec())
        .with_stack(first.stack().unwrap_or_default());
    match first.remote() {
        Some(remote) => error.with_remote(remote.clone()),
        None => error,
    }
}
