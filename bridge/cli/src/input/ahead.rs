//! Reading ahead: the next batches are decoded while the results of earlier ones are written.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use arrow_array::RecordBatch;
use transom::{Code, Error, Result};

use super::Batches;

/// Batches that wait, besides the one being read.
const AHEAD: usize = 2;

/// The same batches, read on a thread of their own. The thread ends when nobody takes its batches any more.
pub(crate) fn ahead(batches: Batches) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send> {
    let (sender, receiver) = sync_channel(AHEAD);
    let read = move || {
        for batch in batches {
            if sender.send(Some(batch)).is_err() {
                return;
            }
        }
        // Without this word the thread did not come to its end: the rest must not be taken for the whole.
        _ = sender.send(None);
    };
    thread::Builder::new()
        .name("transom-reader".to_owned())
        .spawn(read)
        .map_err(|error| Error::system(Code::System, "cannot start a thread", error))?;
    Ok(Ahead { receiver: Some(receiver) })
}

struct Ahead {
    receiver: Option<Receiver<Option<Result<RecordBatch>>>>,
}

impl Iterator for Ahead {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.receiver.as_ref()?.recv() {
            Ok(Some(batch)) => Some(batch),
            Ok(None) => {
                self.receiver = None;
                None
            }
            Err(_) => {
                self.receiver = None;
                Some(Err(Error::new(Code::Internal, "reading the input stopped before its end")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_schema::Schema;
    use std::sync::Arc;

    fn batch() -> Result<RecordBatch> {
        Ok(RecordBatch::new_empty(Arc::new(Schema::empty())))
    }

    #[test]
    fn all_batches_come_and_an_end_that_is_none_is_an_error() {
        assert_eq!(ahead(Box::new((0..10).map(|_| batch()))).unwrap().filter(Result::is_ok).count(), 10);
        let broken = (0..10).map(|number| if number == 3 { std::panic::resume_unwind(Box::new(())) } else { batch() });
        let results: Vec<bool> = ahead(Box::new(broken)).unwrap().map(|batch| batch.is_ok()).collect();
        assert_eq!(results, [true, true, true, false]);
    }

    #[test]
    fn the_thread_ends_with_its_taker() {
        let token = Arc::new(());
        let held = token.clone();
        let mut batches = ahead(Box::new(std::iter::repeat_with(move || {
            _ = &held;
            batch()
        })))
        .unwrap();
        assert!(batches.next().is_some());
        drop(batches);
        let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while Arc::strong_count(&token) > 1 {
            assert!(std::time::Instant::now() < end, "the thread still reads");
            thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}
