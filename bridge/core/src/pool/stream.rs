//! A batches function over a stream: one worker, from the first batch to the last.

use std::sync::{Arc, OnceLock};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::arguments::Selection;
use super::call::{Position, conform};
use super::places::{News, Opened};
use super::registry::Known;
use super::{Inner, closed};
use crate::failure::{Code, Error, Result};
use crate::link::{RawResult, RemoteError, ToWorker};

/// Inputs that a worker may have before it took the first: one to work on, one ready.
const INPUTS_AHEAD: u32 = 2;
/// Results that a worker may send before one is taken here.
const RESULTS_AHEAD: u32 = 2;

/// The results of a batches function over `source`; nothing happens before the first is asked for.
pub(super) fn open(
    inner: Arc<Inner>,
    known: Arc<Known>,
    source: BoxStream<'static, Result<RecordBatch>>,
    names: Option<Vec<String>>,
    schema: Arc<OnceLock<SchemaRef>>,
) -> BoxStream<'static, Result<RecordBatch>> {
    let flow = Flow { inner, known, source, names, schema, selection: None, session: None, room: INPUTS_AHEAD, sent: 0, rows: 0, done: false };
    let results = stream::unfold(flow, |mut flow| async move {
        let item = flow.next().await.transpose()?;
        flow.done |= item.is_err();
        Some((item, flow))
    });
    results.boxed()
}

struct Flow {
    inner: Arc<Inner>,
    known: Arc<Known>,
    source: BoxStream<'static, Result<RecordBatch>>,
    names: Option<Vec<String>>,
    schema: Arc<OnceLock<SchemaRef>>,
    selection: Option<Selection>,
    session: Option<Session>,
    /// Inputs that may be sent now.
    room: u32,
    sent: u64,
    rows: u64,
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
        if !self.over {
            self.inner.places.cancel(self.opened.worker, self.call);
        }
    }
}

enum Step {
    News(Option<News>),
    Source(Option<Result<RecordBatch>>),
}

impl Flow {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        if self.done {
            return Ok(None);
        }
        if self.session.is_none() {
            self.begin().await?;
        }
        loop {
            let session = self.session.as_mut().ok_or_else(closed)?;
            let asks = self.room > 0 && !session.source_ended;
            let step = tokio::select! {
                biased;
                news = session.opened.news.recv() => Step::News(news),
                batch = self.source.next(), if asks => Step::Source(batch),
            };
            match step {
                Step::Source(Some(Ok(batch))) => self.send(batch).await?,
                Step::Source(Some(Err(error))) => {
                    let error = self.located(error);
                    self.end(Some(RemoteError::from(error.clone())))?;
                    return Err(error);
                }
                Step::Source(None) => self.end(None)?,
                Step::News(Some(News::Next)) => self.room += 1,
                Step::News(Some(News::Result(raw))) => return self.take(raw).map(Some),
                Step::News(Some(News::Done)) => {
                    session.over = true;
                    self.done = true;
                    return Ok(None);
                }
                Step::News(Some(News::Failed(error))) => {
                    session.over = true;
                    return Err(self.located(error.into_error()));
                }
                Step::News(Some(News::Died(error))) => {
                    session.over = true;
                    return Err(self.located(error));
                }
                Step::News(None) => return Err(closed()),
            }
        }
    }

    /// Opens the stream in a worker. The first batch is taken before that, since the function is told the schema first.
    async fn begin(&mut self) -> Result<()> {
        let first = self.source.next().await.transpose().map_err(|error| self.located(error))?;
        let schema = match &first {
            Some(batch) => {
                let selection = Selection::new(&self.known.signature(), batch.schema_ref(), self.names.as_deref())?;
                self.selection.insert(selection).schema().clone()
            }
            None => Arc::new(arrow_schema::Schema::empty()),
        };
        let call = self.inner.call_number();
        let deadline = self.known.deadline(self.inner.options.deadline);
        // A stream has a worker for itself, so it takes all that this worker may have under way.
        let mut permit = Some(self.inner.permit(self.inner.options.window).await?);
        let inner = self.inner.clone();
        let mut reservation = Reservation { inner: &inner, place: None };
        let opened = inner
            .when_possible(|| inner.places.try_open(&self.known, call, &schema, RESULTS_AHEAD, deadline, &mut reservation.place, &mut permit))
            .await?;
        reservation.place = None;
        self.session = Some(Session { inner: self.inner.clone(), opened, call, source_ended: false, over: false });
        match first {
            Some(batch) => self.send(batch).await,
            None => self.end(None),
        }
    }

    async fn send(&mut self, batch: RecordBatch) -> Result<()> {
        let selection = self.selection.as_ref().ok_or_else(closed)?;
        if !selection.fits(batch.schema_ref()) {
            let message = format!("batch {} of the source has another schema than those before it", self.sent);
            return Err(self.located(Error::new(Code::SchemaMismatch, message)));
        }
        let arguments = selection.of(&batch)?;
        let outgoing = self.inner.outgoing(arguments).await.map_err(|error| self.located(error))?;
        let session = self.session.as_ref().ok_or_else(closed)?;
        session.opened.link.input(session.call, &outgoing)?;
        self.inner.places.gave(session.opened.worker, session.call, true, 0);
        self.room -= 1;
        self.sent += 1;
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    fn end(&mut self, error: Option<RemoteError>) -> Result<()> {
        let session = self.session.as_mut().ok_or_else(closed)?;
        session.source_ended = true;
        session.opened.link.send(&ToWorker::End { call: session.call, error })?;
        self.inner.places.gave(session.opened.worker, session.call, true, 0);
        Ok(())
    }

    fn take(&mut self, raw: RawResult) -> Result<RecordBatch> {
        let batch = self.inner.import(&self.known.signature(), raw, None).map_err(|error| self.located(error))?;
        let schema = self.schema.get_or_init(|| batch.schema());
        let batch = conform(schema, batch).map_err(|error| self.located(error))?;
        let session = self.session.as_ref().ok_or_else(closed)?;
        // Noted first: the worker may use the room at once.
        self.inner.places.gave(session.opened.worker, session.call, false, 1);
        session.opened.link.send(&ToWorker::Credit { call: session.call, results: 1 })?;
        Ok(batch)
    }

    /// Where the stream stood. A batches function takes batches ahead of its results, so the batch is the last that it was given.
    fn located(&self, error: Error) -> Error {
        let position = Position { batch: self.sent.saturating_sub(1), rows: 0..self.rows };
        error.with_function(&self.known.signature().name).with_batch(position.batch).with_rows(position.rows)
    }
}

/// Gives a reserved worker back when the wait for it is given up.
struct Reservation<'a> {
    inner: &'a Inner,
    place: Option<(usize, u64)>,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.inner.places.unreserve(self.place.take());
    }
}
