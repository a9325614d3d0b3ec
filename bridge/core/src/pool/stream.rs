//! A batches function over a stream: one worker, from the first batch to the last.

mod progress;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use progress::Progress;

use super::arguments::Selection;
use super::blocking;
use super::call::{Shortage, conform, declared};
use super::place::News;
use super::places::Opened;
use super::registry::Known;
use super::{Inner, closed};
use crate::capsule::Given;
use crate::failure::{Code, Error, Result};
use crate::link::{RawResult, RemoteError, ToWorker};

/// Inputs that a worker may have before it took the first: one to work on, one ready.
const INPUTS_AHEAD: u32 = 2;
/// Results that a worker may send before one is taken here.
const RESULTS_AHEAD: u32 = 2;

/// How often a stream that waits for shared memory looks whether it has waited long enough.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The results of a batches function over `source`; nothing happens before the first is asked for. `gone` says how many batches and rows were given
/// before.
pub(super) fn open(
    inner: Arc<Inner>,
    known: Arc<Known>,
    source: BoxStream<'static, Result<RecordBatch>>,
    names: Option<Vec<String>>,
    schema: Arc<OnceLock<SchemaRef>>,
    gone: (u64, u64),
) -> BoxStream<'static, Result<RecordBatch>> {
    let flow = Flow {
        progress: Progress::new(gone, inner.history(gone)),
        inner,
        known,
        source,
        names,
        schema,
        selection: None,
        session: None,
        pending: None,
        shortage: Shortage::default(),
        room: INPUTS_AHEAD,
        done: false,
    };
    let results = stream::unfold(flow, |mut flow| async move {
        let item = flow.next().await.map_err(|error| flow.located(error)).transpose()?;
        flow.done |= item.is_err();
        Some((item, flow))
    });
    // Asked again after its end, an unfolded stream panics; a fused one says again that it has ended.
    results.fuse().boxed()
}

struct Flow {
    inner: Arc<Inner>,
    known: Arc<Known>,
    source: BoxStream<'static, Result<RecordBatch>>,
    names: Option<Vec<String>>,
    schema: Arc<OnceLock<SchemaRef>>,
    selection: Option<Selection>,
    session: Option<Session>,
    /// A batch that waits for shared memory.
    pending: Option<RecordBatch>,
    shortage: Shortage,
    /// Inputs that may be sent now.
    room: u32,
    progress: Progress,
    done: bool,
}

/// An open stream in a worker; dropped before its end it is cancelled.
struct Session {
    inner: Arc<Inner>,
    opened: Opened,
    call: u64,
    source_ended: bool,
    over: bool,
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.over && !self.inner.is_forked() {
            self.inner.places.cancel(self.opened.worker, self.call);
        }
    }
}

enum Step {
    News(Option<News>),
    Source(Option<Result<RecordBatch>>),
    Memory,
}

impl Flow {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        if self.done {
            return Ok(None);
        }
        self.inner.usable()?;
        if self.session.is_none() {
            self.begin().await?;
        }
        loop {
            let inner = self.inner.clone();
            let mut freed = std::pin::pin!(inner.memory.freed.notified());
            freed.as_mut().enable();
            self.send_pending()?;
            let session = self.session.as_mut().ok_or_else(closed)?;
            let short = self.pending.is_some();
            let _waiting = short.then(|| inner.places.wait_for_change());
            let asks = self.room > 0 && !session.source_ended && !short;
            let step = tokio::select! {
                biased;
                news = blocking::heard(session.opened.news.recv(), || session.opened.ear.clone()) => Step::News(news),
                batch = self.source.next(), if asks => Step::Source(batch),
                _ = inner.at_most(LOOK_AGAIN, freed), if short => Step::Memory,
            };
            match step {
                Step::Memory => {}
                Step::Source(Some(Ok(batch))) => self.pending = Some(self.arguments(batch)?),
                Step::Source(Some(Err(error))) => {
                    self.end(Some(RemoteError::from(error.clone())))?;
                    return Err(error.with_batch(self.progress.sent()));
                }
                Step::Source(None) => self.end(None)?,
                Step::News(news) => {
                    if let Some(item) = self.hear(news)? {
                        return Ok(item);
                    }
                }
            }
        }
    }

    /// What the worker says; `Some` where it makes an item of the stream, or its end.
    fn hear(&mut self, news: Option<News>) -> Result<Option<Option<RecordBatch>>> {
        let session = self.session.as_mut().ok_or_else(closed)?;
        match news {
            Some(News::Next) => {
                self.room = (self.room + 1).min(INPUTS_AHEAD + 1);
                self.progress.ask();
                Ok(None)
            }
            Some(News::Result(raw)) => self.take(raw).map(|batch| Some(Some(batch))),
            Some(News::Done) => {
                session.over = true;
                self.done = true;
                self.known.breaker.note(Ok(()), Instant::now());
                Ok(Some(None))
            }
            Some(News::Failed(error)) => {
                session.over = true;
                let error = error.into_error();
                self.known.breaker.note(Err(&error), Instant::now());
                Err(error)
            }
            Some(News::Died(error)) => {
                session.over = true;
                self.known.breaker.note(Err(&error), Instant::now());
                Err(error)
            }
            None => Err(closed()),
        }
    }

    /// Opens the stream in a worker. The first batch is taken before that, since the function is told the schema first.
    async fn begin(&mut self) -> Result<()> {
        let first = self.source.next().await.transpose()?;
        // So that an error before it is sent says which batch it was.
        self.pending.clone_from(&first);
        let schema = match &first {
            Some(batch) => {
                let selection = Selection::new(&self.known.signature(), batch.schema_ref(), self.names.as_deref())?;
                self.selection.insert(selection).schema().clone()
            }
            None => Arc::new(arrow_schema::Schema::empty()),
        };
        self.known.breaker.admit(Instant::now())?;
        let call = self.inner.call_number();
        let deadline = self.known.deadline(self.inner.options.deadline);
        let inner = self.inner.clone();
        let mut reservation = Reservation { inner: &inner, place: None };
        let open = || inner.places.try_open(&self.known, call, &schema, RESULTS_AHEAD, deadline, &mut reservation.place);
        let opened = inner.when_possible(self.known.language(), open).await?;
        reservation.place = None;
        self.session = Some(Session { inner: self.inner.clone(), opened, call, source_ended: false, over: false });
        match first {
            Some(batch) => self.pending = Some(self.arguments(batch)?),
            None => self.end(None)?,
        }
        Ok(())
    }

    /// What the function is given of a batch of the source.
    fn arguments(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let selection = self.selection.as_ref().ok_or_else(closed)?;
        if !selection.fits(batch.schema_ref()) {
            let message = format!("batch {} of the source has another schema than those before it", self.progress.sent());
            return Err(self.before_it_was_sent(Error::new(Code::SchemaMismatch, message), &batch));
        }
        selection.of(&batch).map_err(|error| self.before_it_was_sent(error, &batch))
    }

    /// Sends the batch that waits, if there is shared memory for it now.
    fn send_pending(&mut self) -> Result<()> {
        let Some(batch) = &self.pending else { return Ok(()) };
        let outgoing = match self.inner.outgoing(batch, self.progress.sent()) {
            Ok(outgoing) => outgoing,
            Err(error) => return self.shortage.judge(&self.inner, error).map_err(|error| self.before_it_was_sent(error, batch)),
        };
        let session = self.session.as_ref().ok_or_else(closed)?;
        // Noted first: a quick worker asks for the next before this thread goes on.
        self.inner.places.gave(session.opened.worker, session.call, true, 0);
        session.opened.link.input(session.call, &outgoing)?;
        self.shortage = Shortage::default();
        if let Some(batch) = self.pending.take() {
            self.progress.send(batch);
        }
        self.room -= 1;
        Ok(())
    }

    fn end(&mut self, error: Option<RemoteError>) -> Result<()> {
        let session = self.session.as_mut().ok_or_else(closed)?;
        session.source_ended = true;
        self.inner.places.gave(session.opened.worker, session.call, true, 0);
        session.opened.link.send(&ToWorker::End { call: session.call, error })
    }

    fn take(&mut self, raw: RawResult) -> Result<RecordBatch> {
        step!("host::import");
        let batch = self.inner.taken(raw, self.inner.options.mode).and_then(|batch| declared(&self.known.signature(), batch))?;
        let schema = self.schema.get_or_init(|| batch.schema());
        let batch = conform(schema, batch)?;
        let session = self.session.as_ref().ok_or_else(closed)?;
        // Noted first: the worker may use the room at once.
        self.inner.places.gave(session.opened.worker, session.call, false, 1);
        session.opened.link.send(&ToWorker::Credit { call: session.call, results: 1 })?;
        Ok(batch)
    }

    /// An error over a batch that the worker has not got.
    fn before_it_was_sent(&self, error: Error, batch: &RecordBatch) -> Error {
        self.progress.next(batch.num_rows()).place(error, &self.known.signature().name)
    }

    /// Where the function was, unless the error says that it was elsewhere; before anything was sent, where it was to begin.
    fn located(&self, error: Error) -> Error {
        let rows = self.pending.as_ref().map_or(0, |batch| batch.num_rows());
        let error = match self.progress.at() {
            _ if error.batch().is_some() => error.with_function(&self.known.signature().name),
            Some(at) => at.place(error, &self.known.signature().name),
            None => self.progress.next(rows).place(error, &self.known.signature().name),
        };
        match self.progress.history() {
            Some(history) => self.inner.encapsulated(error, &self.known, Given::Stream(history)),
            None => error,
        }
    }
}

/// Gives a reserved worker back when the wait for it is given up.
struct Reservation<'a> {
    inner: &'a Inner,
    place: Option<(usize, u64)>,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if !self.inner.is_forked() {
            self.inner.places.unreserve(self.place.take());
        }
    }
}
