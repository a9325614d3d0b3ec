//! One batch to one function, and what comes back.

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Schema, SchemaRef};
use futures::TryStreamExt;
use tokio::task::JoinSet;

use super::arguments;
use super::blocking;
use super::map::MapOptions;
use super::place::Answer;
use super::places::{Posted, all_busy};
use super::registry::Known;
use super::{Inner, closed, quarantine};
use crate::exchange::{self, Direction, Ledger, Mapped, Mode, Resolve};
use crate::failure::{Code, Error, Result};
use crate::function::{Function, Kind, Language, Signature};
use crate::link::{Keep, Outgoing, RawResult, Suppressed, within};
use crate::memory::{Block, Extent, Segment, Space};

/// How long a call waits for shared memory that workers hold.
const MEMORY_WAIT: Duration = Duration::from_secs(5);
/// How often a caller who waits for a worker looks whether there is any hope.
const HOPE_INTERVAL: Duration = Duration::from_secs(2);

/// Where in its stream a batch stands.
#[derive(Clone, Debug)]
pub(super) struct Position {
    pub(super) batch: u64,
    pub(super) rows: Range<u64>,
}

impl Position {
    /// The only batch of a call.
    fn alone(rows: usize) -> Self {
        Self { batch: 0, rows: 0..rows as u64 }
    }

    /// Says in an error where it was, unless it says so already: what was found out closer to the cause is narrower.
    pub(super) fn place(&self, error: Error, function: &str) -> Error {
        error.with_function(function).with_batch(self.batch).with_rows(self.rows.clone())
    }
}

pub(super) async fn with_batch(inner: &Arc<Inner>, function: &Function, batch: RecordBatch) -> Result<RecordBatch> {
    let position = Position::alone(batch.num_rows());
    one_batch(inner, function, batch, &position).await.map_err(|error| position.place(error, function.name()))
}

async fn one_batch(inner: &Arc<Inner>, function: &Function, batch: RecordBatch, position: &Position) -> Result<RecordBatch> {
    let known = inner.known(function).await?;
    let signature = known.signature();
    if signature.kind == Kind::Batches {
        return whole_stream(inner, function, &signature, batch).await;
    }
    let arguments = known.last.selection(&signature, batch.schema_ref())?.of(&batch)?;
    inner.call_apart(&known, arguments, position.clone()).await
}

pub(super) async fn with_arrays(inner: &Arc<Inner>, function: &Function, arrays: Vec<ArrayRef>) -> Result<RecordBatch> {
    let position = Position::alone(arrays.first().map_or(0, |array| array.len()));
    let call = async {
        let known = inner.known(function).await?;
        let arguments = known.last.positional(&known.signature(), arrays)?;
        inner.call_apart(&known, arguments, position.clone()).await
    };
    call.await.map_err(|error| position.place(error, function.name()))
}

async fn whole_stream(inner: &Arc<Inner>, function: &Function, signature: &Signature, batch: RecordBatch) -> Result<RecordBatch> {
    let source = futures::stream::iter([Ok(batch)]);
    let results = super::map::start(inner, function, Box::pin(source), MapOptions::default()).await?;
    let batches: Vec<RecordBatch> = results.try_collect().await?;
    let declared = || signature.returns.clone().unwrap_or_else(|| Arc::new(Schema::empty()));
    match batches.as_slice() {
        [] => Ok(RecordBatch::new_empty(declared())),
        [one] => Ok(one.clone()),
        many => arrow_select::concat::concat_batches(&many[0].schema(), many).map_err(|error| Error::new(Code::WrongType, error.to_string())),
    }
}

impl Inner {
    /// Tries until something can be done with a language's workers, each time that a place has changed or memory came back. Whoever waits here holds nothing that others
    /// wait for, since nobody can say when the future is looked at again.
    pub(super) async fn when_possible<T>(&self, language: Language, mut attempt: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        if *self.closing.borrow() {
            return Err(closed());
        }
        // Most need not wait, and so need hear of no change.
        if let Some(done) = attempt()? {
            return Ok(done);
        }
        let mut changed = self.places.changed.subscribe();
        let mut closing = self.closing.subscribe();
        loop {
            changed.mark_unchanged();
            let mut freed = std::pin::pin!(self.memory.freed.notified());
            freed.as_mut().enable();
            if *closing.borrow() {
                return Err(closed());
            }
            if let Some(done) = attempt()? {
                return Ok(done);
            }
            let _waiting = self.places.wait_for_change();
            let change = async {
                tokio::select! {
                    _ = changed.changed() => {}
                    _ = closing.changed() => {}
                    () = freed => {}
                }
            };
            if self.at_most(HOPE_INTERVAL, change).await.is_none() && self.places.all_stalled(language) {
                return Err(all_busy());
            }
        }
    }

    /// A future's output, or `None` when it took too long. The clock runs on the pool's own thread: the caller needs no runtime.
    pub(super) async fn at_most<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
        let mut future = std::pin::pin!(future);
        // Most waits are none; a timer is only made for the others.
        if let Some(output) = futures::FutureExt::now_or_never(&mut future) {
            return Some(output);
        }
        let timers = self.timers.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()?;
        // Aborted when it is dropped; a clock that ended with the pool counts as run down.
        let mut clock = JoinSet::new();
        clock.spawn_on(async move { tokio::time::sleep(limit).await }, &timers);
        drop(timers);
        tokio::select! {
            output = &mut future => Some(output),
            _ = clock.join_next() => None,
        }
    }

    /// Describes a batch for workers; what is not in shared memory is copied there.
    pub(super) fn outgoing(&self, batch: &RecordBatch, number: u64) -> Result<Outgoing> {
        let export = exchange::export(batch, self, &self.ledger, Direction::Input)?;
        let mut descriptor = Vec::new();
        export.descriptor.encode(&mut descriptor);
        let segments = self.segments_of(&export)?;
        let extents = export.extents.clone().into();
        let keep = Arc::new(Keep::of_export(batch, self, export.blocks, &export.extents));
        Ok(Outgoing { batch: number, schema: batch.schema(), descriptor: descriptor.into(), extents, segments, keep })
    }

    /// The segments that an export names, each once. They are there: the batch that is exported holds what it lies in.
    fn segments_of(&self, export: &exchange::Export) -> Result<Arc<[Arc<Segment>]>> {
        let mut segments: Vec<Arc<Segment>> = Vec::new();
        for extent in &export.extents {
            if !segments.iter().any(|segment| segment.id() == extent.segment) {
                let gone = || Error::new(Code::Internal, format!("segment {} is not in the pool", extent.segment));
                segments.push(self.memory.segment(extent.segment).ok_or_else(gone)?);
            }
        }
        Ok(segments.into())
    }

    /// The same batch in shared memory.
    pub(super) fn share(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let export = exchange::export(batch, self, &self.ledger, Direction::Input)?;
        let keep = Keep::of_export(batch, self, export.blocks, &export.extents);
        let memory = OwnMemory { inner: self, keep: Arc::new(keep) };
        exchange::import(&export.descriptor, &batch.schema(), &memory, Mode::Trusted, &Ledger::default(), Direction::Input)
    }

    /// Sends some rows to a function and waits for the checked result, without the rows that are to be taken out of it.
    pub(super) async fn attempt(
        &self,
        known: &Arc<Known>,
        arguments: RecordBatch,
        position: &Position,
        mode: Mode,
    ) -> Result<(RecordBatch, Suppressed)> {
        let rows = arguments.num_rows();
        let signature = known.signature();
        let placed = |error: Error| position.place(error, &signature.name);
        let mut raw = self.answer(known, arguments, position.batch).await.map_err(|failed| match failed {
            Failed::Here(error) => placed(error),
            Failed::There(remote) => {
                // A worker may say any number.
                let row = remote.row.filter(|&row| row < rows as u64).map(|row| position.rows.start + row);
                let error = placed(remote.into_error());
                row.map_or(error.clone(), |row| error.narrowed_to_rows(row..row + 1))
            }
        })?;
        let suppressed = std::mem::take(&mut raw.suppressed);
        let taken = || {
            // Of a function whose failing rows are not to be suppressed, none can have been.
            suppressed.check(if known.suppresses() { rows } else { 0 })?;
            step!("host::import");
            let batch = self.taken(raw, mode)?;
            if batch.num_rows() != rows {
                return Err(Error::new(Code::WrongLength, format!("the function returned {} rows for {rows}", batch.num_rows())));
            }
            declared(&signature, quarantine::without(batch, &suppressed, known.on_error())?)
        };
        Ok((taken().map_err(placed)?, suppressed))
    }

    async fn answer(&self, known: &Arc<Known>, arguments: RecordBatch, number: u64) -> Result<RawResult, Failed> {
        self.usable()?;
        let deadline = known.deadline(self.options.deadline);
        let mut retries = known.retries();
        let mut posting = Posting { arguments, number, outgoing: None, shortage: Shortage::default() };
        loop {
            let call = self.call_number();
            let send = || self.send(known, call, &mut posting, deadline);
            let Posted { worker, answer, ear } = self.when_possible(known.language(), send).await?;
            let mut cancel = CancelOnDrop { inner: self, worker, call, armed: true };
            let answer = blocking::heard(answer, || ear.clone()).await;
            cancel.armed = false;
            match answer {
                Ok(Answer::Result(raw)) => return Ok(raw),
                Ok(Answer::Failed(error)) => return Err(Failed::There(error)),
                // A deadline is an answer of its own: the next attempt would only take as long.
                Ok(Answer::Died(error)) if retries == 0 || error.code() == Code::DeadlineExceeded || error.code() == Code::PoolClosed => {
                    return Err(Failed::Here(error));
                }
                Ok(Answer::Died(_)) => retries -= 1,
                Ok(Answer::Again) => {}
                Err(_) => return Err(Failed::Here(closed())),
            }
        }
    }

    /// Takes room in a worker, puts the batch into shared memory, and sends it: all in one go, so that no more batches are there than workers have
    /// room for. `None` where there is no room, or no memory yet.
    fn send(&self, known: &Known, call: u64, posting: &mut Posting, deadline: Option<Duration>) -> Result<Option<Posted>> {
        let Some(room) = self.places.take_room(known.language())? else { return Ok(None) };
        step!("host::room");
        let batch = match &mut posting.outgoing {
            Some(batch) => batch,
            None => match self.outgoing(&posting.arguments, posting.number) {
                Ok(batch) => posting.outgoing.insert(batch),
                Err(error) => {
                    room.give_back_quietly();
                    return posting.shortage.judge(self, error).map(|()| None);
                }
            },
        };
        step!("host::exported");
        self.places.try_call(room, known, call, batch, deadline)
    }

    /// A result as Arrow, unless it is larger than it may be.
    pub(super) fn taken(&self, raw: RawResult, mode: Mode) -> Result<RecordBatch> {
        self.check_result(raw.bytes())?;
        raw.import(mode)
    }

    /// Whether a result of so many bytes may be.
    pub(super) fn check_result(&self, bytes: u64) -> Result<()> {
        match self.options.result_limit {
            Some(limit) if bytes > limit => {
                let message = format!("a batch of the result has {bytes} bytes and may have {limit}");
                Err(Error::new(Code::ResultTooLarge, message).with_hint("send smaller batches, or raise the pool's result_limit"))
            }
            _ => Ok(()),
        }
    }
}

/// Checks a result against what the function said that it gives.
pub(super) fn declared(signature: &Signature, batch: RecordBatch) -> Result<RecordBatch> {
    match (&signature.returns, signature.kind) {
        (Some(declared), _) => conform(declared, batch),
        (None, Kind::Batches) => Ok(batch),
        (None, _) => match batch.columns() {
            [column] => conform(&signature.result_schema(column.data_type()), batch),
            columns => Err(Error::new(Code::WrongType, format!("the result has {} columns and must have one", columns.len()))),
        },
    }
}

/// The batch under the declared schema, if it has the declared types.
pub(super) fn conform(declared: &SchemaRef, batch: RecordBatch) -> Result<RecordBatch> {
    let schema = batch.schema_ref();
    if Arc::ptr_eq(schema, declared) || schema == declared {
        return Ok(batch);
    }
    let (found, wanted) = (schema.fields(), declared.fields());
    if found.len() != wanted.len() {
        let message = format!("the result has {} columns and {} are declared", found.len(), wanted.len());
        return Err(Error::new(Code::WrongType, message));
    }
    for ((found, wanted), array) in found.iter().zip(wanted).zip(batch.columns()) {
        if found.data_type() != wanted.data_type() {
            let message = format!("column `{}` of the result is {} and {} is declared", wanted.name(), found.data_type(), wanted.data_type());
            return Err(Error::new(Code::WrongType, message).with_hint("return the declared type, or declare the returned one"));
        }
        if found.name() != wanted.name() {
            let message = format!("a column of the result is named `{}` where `{}` is declared", found.name(), wanted.name());
            return Err(Error::new(Code::WrongType, message));
        }
        if !wanted.is_nullable() && array.null_count() > 0 {
            let message = format!("column `{}` of the result has {} nulls and is declared without", wanted.name(), array.null_count());
            return Err(Error::new(Code::InvalidData, message));
        }
    }
    let rows = batch.num_rows();
    arguments::assemble(declared.clone(), batch.columns().to_vec(), rows)
}

/// A batch of arguments that is to be sent, perhaps more than once.
struct Posting {
    arguments: RecordBatch,
    number: u64,
    outgoing: Option<Outgoing>,
    shortage: Shortage,
}

/// Since when somebody waits for shared memory.
#[derive(Default)]
pub(super) struct Shortage {
    since: Option<Instant>,
}

impl Shortage {
    /// What to do about a failed export: wait for memory that others are about to give back, for a while, or fail.
    pub(super) fn judge(&mut self, inner: &Inner, error: Error) -> Result<()> {
        if error.code() != Code::MemoryLimit {
            return Err(error);
        }
        match self.since {
            // Once for each wait: workers that trim must ask for new segments soon.
            None => {
                inner.places.hear_all();
                inner.memory.trim();
                inner.ask_who_keeps();
            }
            Some(since) if inner.is_over(since, MEMORY_WAIT) => return Err(inner.explained(error)),
            Some(_) => {}
        }
        self.since.get_or_insert_with(Instant::now);
        Ok(())
    }
}

/// Why there is no result: found out here, or told by the worker.
enum Failed {
    Here(Error),
    There(crate::link::RemoteError),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Failed::Here(error)
    }
}

/// Tells the pool when the future that waits for a call is dropped.
struct CancelOnDrop<'a> {
    inner: &'a Inner,
    worker: usize,
    call: u64,
    armed: bool,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        // In a forked child the books are a copy, perhaps locked for ever, and the workers are the parent's.
        if self.armed && !self.inner.is_forked() {
            self.inner.places.cancel(self.worker, self.call);
        }
    }
}

/// Where the host puts arguments: its own arena; and what any segment of the pool holds already, workers can read there.
impl Space for Inner {
    fn allocate(&self, len: usize) -> Result<Block> {
        self.arena.allocate(len)
    }

    fn locate(&self, ptr: *const u8, len: usize) -> Option<Extent> {
        self.memory.locate(ptr, len)
    }
}

/// The host's own view of what it put into shared memory.
struct OwnMemory<'a> {
    inner: &'a Inner,
    keep: Arc<Keep>,
}

impl Resolve for OwnMemory<'_> {
    fn resolve(&self, extent: Extent) -> Result<Mapped> {
        let segment = self.inner.memory.segment(extent.segment);
        let segment = segment.ok_or_else(|| Error::new(Code::Internal, "a segment of this pool is not in it"))?;
        within(&segment, extent, self.keep.clone(), false)
    }
}
