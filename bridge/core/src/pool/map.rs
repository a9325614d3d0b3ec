//! A function over a stream of batches.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use futures::stream::{BoxStream, FuturesUnordered};
use futures::{Stream, StreamExt};

use super::arguments::{Selection, assemble};
use super::blocking;
use super::call::{Position, conform};
use super::quarantine::{Answered, DeadLetters};
use super::registry::Known;
use super::{Inner, stream};
use crate::failure::{Code, Error, Result};
use crate::function::{Function, Kind};

/// How a stream is mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapOptions {
    /// The columns that the function is given; by default those with the names of its parameters, and all for batches functions.
    pub columns: Option<Vec<String>>,
    /// Whether a result has the input's columns too, before the function's.
    pub append: bool,
    /// Whether results come in the order of the input; otherwise as they are ready.
    pub ordered: bool,
}

impl Default for MapOptions {
    fn default() -> Self {
        Self { columns: None, append: false, ordered: true }
    }
}

pub(super) async fn start(
    inner: &Arc<Inner>,
    function: &Function,
    source: BoxStream<'static, Result<RecordBatch>>,
    options: MapOptions,
) -> Result<Batches> {
    let known = inner.known(function).await?;
    let signature = known.signature();
    if signature.kind == Kind::Batches {
        if options.append {
            let message = "a batches function's results have no input columns to be appended to";
            return Err(Error::new(Code::BadOption, message).with_function(&signature.name));
        }
        let schema = Arc::new(signature.returns.clone().map_or_else(OnceLock::new, OnceLock::from));
        let stream = stream::open(inner.clone(), known, source, options.columns, schema.clone(), (0, 0));
        return Ok(Batches { schema, results: stream, letters: Arc::default() });
    }
    // With `append` the schema is only known with the first batch of the source.
    let declared = signature.returns.clone().filter(|_| !options.append);
    let schema = Arc::new(declared.map_or_else(OnceLock::new, OnceLock::from));
    let limit = inner.options.workers * inner.options.window;
    let letters = Arc::<DeadLetters>::default();
    let mapping = Mapping {
        task: Arc::new(Task { inner: inner.clone(), known, append: options.append, schema: schema.clone() }),
        source: source.fuse(),
        names: options.columns,
        selection: None,
        ordered: options.ordered,
        limit,
        letters: letters.clone(),
        running: FuturesUnordered::new(),
        ready: VecDeque::new(),
        started: 0,
        given: 0,
        rows: 0,
        ended: false,
    };
    Ok(Batches { schema, results: Box::pin(mapping), letters })
}

/// The results of [`super::Pool::map`]: a stream of batches.
pub struct Batches {
    schema: Arc<OnceLock<SchemaRef>>,
    results: BoxStream<'static, Result<RecordBatch>>,
    letters: Arc<DeadLetters>,
}

impl Batches {
    /// The schema of the results, where it is known already: from the function's declaration, or from the first result.
    pub fn schema(&self) -> Option<SchemaRef> {
        self.schema.get().cloned()
    }

    /// The rows that were taken out of the results so far taken from this stream. They can be had after its end too.
    pub fn dead_letters(&self) -> &Arc<DeadLetters> {
        &self.letters
    }
}

impl Stream for Batches {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.results.poll_next_unpin(context)
    }
}

/// The results of [`super::Pool::map_blocking`]: an iterator of batches.
pub struct BlockingBatches {
    results: Batches,
}

impl BlockingBatches {
    pub(super) fn new(results: Batches) -> Self {
        Self { results }
    }

    /// As [`Batches::schema`].
    pub fn schema(&self) -> Option<SchemaRef> {
        self.results.schema()
    }

    /// As [`Batches::dead_letters`].
    pub fn dead_letters(&self) -> &Arc<DeadLetters> {
        self.results.dead_letters()
    }
}

impl Iterator for BlockingBatches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        super::wait(self.results.next())
    }
}

/// What every batch of one mapping shares.
struct Task {
    inner: Arc<Inner>,
    known: Arc<Known>,
    append: bool,
    schema: Arc<OnceLock<SchemaRef>>,
}

impl Task {
    async fn run(self: Arc<Self>, input: RecordBatch, arguments: RecordBatch, position: Position) -> Result<Answered> {
        let mut answered = self.inner.call(&self.known, arguments, &position).await?;
        if self.append {
            answered.result = append(&answered.of_input(input)?, &answered.result)?;
        }
        let schema = self.schema.get_or_init(|| answered.result.schema());
        answered.result = conform(schema, answered.result).map_err(|error| position.place(error, &self.known.signature().name))?;
        Ok(answered)
    }
}

fn append(input: &RecordBatch, result: &RecordBatch) -> Result<RecordBatch> {
    let fields = input.schema().fields().iter().chain(result.schema().fields()).cloned().collect::<Vec<_>>();
    let schema = Arc::new(Schema::new_with_metadata(fields, input.schema().metadata().clone()));
    let columns = input.columns().iter().chain(result.columns()).cloned().collect();
    assemble(schema, columns, input.num_rows())
}

type Running = Pin<Box<dyn Future<Output = (u64, Result<Answered>)> + Send>>;

/// Scalar and row functions: each batch is a call of its own, several under way at a time.
struct Mapping {
    task: Arc<Task>,
    source: futures::stream::Fuse<BoxStream<'static, Result<RecordBatch>>>,
    names: Option<Vec<String>>,
    selection: Option<Selection>,
    ordered: bool,
    limit: usize,
    letters: Arc<DeadLetters>,
    running: FuturesUnordered<Running>,
    /// Results that came before their turn, by number.
    ready: VecDeque<(u64, Result<Answered>)>,
    started: u64,
    given: u64,
    rows: u64,
    ended: bool,
}

impl Mapping {
    fn begin(&mut self, batch: RecordBatch) -> Result<()> {
        let rows = batch.num_rows() as u64;
        let position = Position { batch: self.started, rows: self.rows..self.rows + rows };
        let arguments = self.arguments(&batch).map_err(|error| position.place(error, &self.task.known.signature().name))?;
        let (task, number) = (self.task.clone(), self.started);
        self.running.push(Box::pin(async move { (number, task.run(batch, arguments, position).await) }));
        self.started += 1;
        self.rows += rows;
        Ok(())
    }

    /// What the function is given of a batch of the source.
    fn arguments(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        if !self.selection.as_ref().is_some_and(|selection| selection.fits(batch.schema_ref())) {
            if self.selection.is_some() {
                let message = format!("batch {} of the source has another schema than those before it", self.started);
                return Err(Error::new(Code::SchemaMismatch, message));
            }
            let selection = Selection::new(&self.task.known.signature(), batch.schema_ref(), self.names.as_deref())?;
            self.letters.expect(&self.task.known, selection.schema());
            self.selection = Some(selection);
        }
        self.selection.as_ref().expect("it was just made").of(batch)
    }

    /// A result whose turn it is; what was taken out of it can be had from now on.
    fn next_ready(&mut self) -> Option<Result<RecordBatch>> {
        let position = if self.ordered { self.ready.iter().position(|(number, _)| *number == self.given)? } else { 0 };
        let (_, result) = self.ready.remove(position)?;
        self.given += 1;
        Some(result.and_then(|answered| answered.deliver(&self.letters)))
    }
}

impl Stream for Mapping {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            // Back-pressure: what is under way and what waits to be taken count alike.
            while !this.ended && this.running.len() + this.ready.len() < this.limit {
                match this.source.poll_next_unpin(context) {
                    Poll::Ready(Some(batch)) => {
                        if let Err(error) = batch.and_then(|batch| this.begin(batch)) {
                            // A source that failed is at its end; what is under way still comes, and the error in its turn.
                            this.ended = true;
                            let error = error.with_function(&this.task.known.signature().name).with_batch(this.started);
                            this.ready.push_back((this.started, Err(error)));
                            this.started += 1;
                        }
                    }
                    Poll::Ready(None) => this.ended = true,
                    Poll::Pending => break,
                }
            }
            if let Some(result) = this.next_ready() {
                return Poll::Ready(Some(result));
            }
            match this.running.poll_next_unpin(context) {
                Poll::Ready(Some(finished)) => this.ready.push_back(finished),
                Poll::Ready(None) if this.ended => return Poll::Ready(None),
                _ => {
                    // Also those that were waited for before this turn.
                    blocking::offer(|| this.task.inner.places.ears(this.task.known.language()));
                    return Poll::Pending;
                }
            }
        }
    }
}
