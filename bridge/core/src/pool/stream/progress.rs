//! How far a batches function has come in its stream: inputs are sent ahead of it, and it is at the one that it asked for last.

use std::collections::VecDeque;

use arrow_array::RecordBatch;

use super::super::call::Position;
use crate::capsule::History;

/// What was sent into a stream, and what of it the function has taken.
pub(super) struct Progress {
    /// Batches and rows that were sent, with those before the stream's beginning.
    sent: u64,
    rows: u64,
    /// How often the function has asked for an input: also for one that is not sent yet, or never will be.
    asked: u64,
    /// Where the function is. Until it asks for an input that is the first, by which its stream was opened.
    at: Option<Position>,
    /// What was sent ahead of it; with the batches where a capsule may need them.
    ahead: VecDeque<(Position, Option<RecordBatch>)>,
    /// Inputs that the function had been given before.
    before: u64,
    history: Option<History>,
}

impl Progress {
    /// A stream before which `gone` batches and rows were given.
    pub(super) fn new(gone: (u64, u64), history: Option<History>) -> Self {
        Self { sent: gone.0, rows: gone.1, asked: 0, at: None, ahead: VecDeque::new(), before: gone.0, history }
    }

    /// Where the batch will be that is sent next.
    pub(super) fn next(&self, rows: usize) -> Position {
        Position { batch: self.sent, rows: self.rows..self.rows + rows as u64 }
    }

    /// The number of the batch that is sent next.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// A batch was sent.
    pub(super) fn send(&mut self, batch: RecordBatch) {
        let position = self.next(batch.num_rows());
        (self.sent, self.rows) = (position.batch + 1, position.rows.end);
        self.ahead.push_back((position, self.history.is_some().then_some(batch)));
        self.advance();
    }

    /// The function asked for an input.
    pub(super) fn ask(&mut self) {
        self.asked += 1;
        self.advance();
    }

    /// Takes in what the function has asked for, as far as it was sent.
    fn advance(&mut self) {
        let taken = self.before + self.asked.max(1);
        while self.ahead.front().is_some_and(|(position, _)| position.batch < taken) {
            let Some((position, batch)) = self.ahead.pop_front() else { return };
            self.at = Some(position);
            if let (Some(history), Some(batch)) = (&mut self.history, batch) {
                history.push(&batch);
            }
        }
    }

    /// Where the function is; nowhere before the first batch is sent.
    pub(super) fn at(&self) -> Option<&Position> {
        self.at.as_ref()
    }

    /// What the function was given, where a capsule may need it.
    pub(super) fn history(&self) -> Option<&History> {
        self.history.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array};

    use super::*;

    fn batch(rows: i64) -> RecordBatch {
        RecordBatch::try_from_iter([("x", Arc::new(Int64Array::from_iter_values(0..rows)) as ArrayRef)]).unwrap()
    }

    fn at(progress: &Progress) -> Option<(u64, u64, u64)> {
        progress.at().map(|position| (position.batch, position.rows.start, position.rows.end))
    }

    #[test]
    fn the_function_is_at_what_it_asked_for_last() {
        let mut progress = Progress::new((2, 10), Some(History::new(1, (2, 10))));
        assert_eq!(at(&progress), None);
        progress.send(batch(3));
        assert_eq!(at(&progress), Some((2, 10, 13)), "its stream was opened by the first");
        progress.send(batch(0));
        progress.ask();
        assert_eq!(at(&progress), Some((2, 10, 13)), "two are there, and one was asked for");
        assert_eq!(progress.history().unwrap().newest_first().next().unwrap().num_rows(), 3, "what it never saw is not kept in place of what it saw");
        progress.ask();
        assert_eq!(at(&progress), Some((3, 13, 13)));
        progress.ask();
        assert_eq!(at(&progress), Some((3, 13, 13)), "the next is not sent yet");
        progress.send(batch(5));
        assert_eq!(at(&progress), Some((4, 13, 18)));
        assert_eq!(progress.history().unwrap().gone, (4, 13));
    }
}
