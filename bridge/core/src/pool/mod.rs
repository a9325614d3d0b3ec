//! The task runtime: functions over batches and streams of batches, on a set of workers.
//!
//! A [`Pool`] owns one thread, on which its workers are started, watched and listened to; callers need no runtime of their own. What costs time,
//! such as copying a batch into shared memory and checking a result, happens on the caller's thread or task.

mod again;
mod arguments;
mod attach;
mod blocking;
mod breaker;
mod builder;
mod call;
mod capsules;
mod event;
mod idle;
mod keeping;
mod launches;
mod leases;
mod map;
mod memory;
mod place;
mod places;
mod quarantine;
mod registry;
mod size;
mod stream;
mod supervised;
mod tidy;
mod trace;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use arrow_array::{ArrayRef, RecordBatch};
use futures::{Stream, StreamExt, stream as streams};
use tokio::runtime::Handle;
use tokio::sync::{broadcast, mpsc, watch};

pub use attach::reports;
pub use blocking::{wait, wait_with};
pub use builder::PoolBuilder;
pub(crate) use capsules::mode_name;
pub use event::{Event, FunctionStats, Stats, WorkerStats};
pub use map::{Batches, BlockingBatches, MapOptions};
pub use quarantine::DeadLetters;
pub use size::bytes_in;

use crate::exchange::{CopyReport, Ledger};
use crate::failure::{Code, Error, Result};
use crate::function::{Function, Language, Signature};
use crate::link::Lease;
use crate::memory::{Arena, Block, process_id};
use builder::Options;
use capsules::Capsules;
use launches::Crew;
use memory::Memory;
use places::Places;
use registry::Registry;

/// Workers that run functions over record batches.
///
/// Dropping a pool ends its workers and waits for their end, for two seconds at most.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use arrow_array::{Int64Array, RecordBatch};
/// use transom::{Function, Pool};
/// let pool = Pool::builder().workers(2).python(".venv/bin/python").build()?;
/// let batch = RecordBatch::try_from_iter([("x", Arc::new(Int64Array::from(vec![1, 2, 3])) as _)]).unwrap();
/// let result = pool.call_blocking(&Function::python("udfs.py:plus_one")?, batch)?;
/// assert_eq!(result.num_rows(), 3);
/// # Ok::<(), transom::Error>(())
/// ```
pub struct Pool {
    inner: Arc<Inner>,
    home: Mutex<Option<JoinHandle<()>>>,
}

/// What calls, streams and supervisors share.
struct Inner {
    options: Options,
    memory: Arc<Memory>,
    arena: Arena,
    ledger: Arc<Ledger>,
    registry: Registry,
    letters: DeadLetters,
    places: Places,
    capsules: Capsules,
    events: broadcast::Sender<Event>,
    closing: watch::Sender<bool>,
    /// Processes to be started, by the pool's own thread.
    crews: mpsc::UnboundedSender<Crew>,
    /// Where timers run; let go of when the pool closes, since it keeps descriptors.
    timers: Mutex<Option<Handle>>,
    next_call: AtomicU64,
    process: u32,
}

impl Pool {
    /// Settings for a new pool.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::default()
    }

    /// What a function takes and gives. Loads it in a worker, where that was not done before.
    ///
    /// # Errors
    /// Codes 11xx where the function cannot be loaded; codes 10xx and 2xxx where no worker can be had.
    pub async fn describe(&self, function: &Function) -> Result<Arc<Signature>> {
        Ok(self.inner.known(function).await?.signature())
    }

    /// Calls a function with one batch. Scalar and row functions take its columns by the names of their parameters and give a batch of one column,
    /// named after the function; a batches function takes it as a stream of one batch, and what it gives is put together.
    ///
    /// # Errors
    /// What is wrong with the arguments (6xxx), what the function raised (3xxx), what is wrong with its result (4xxx), or how its worker ended (2xxx).
    /// The call after it works.
    pub async fn call(&self, function: &Function, batch: RecordBatch) -> Result<RecordBatch> {
        call::with_batch(&self.inner, function, batch).await
    }

    /// Calls a scalar or row function with arrays, by position.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn call_arrays(&self, function: &Function, arrays: Vec<ArrayRef>) -> Result<RecordBatch> {
        call::with_arrays(&self.inner, function, arrays).await
    }

    /// Calls a function with each batch of a stream, several at a time: as many are under way as the workers can have, and no more batches are taken
    /// from `source` before results are taken here. Dropping the stream cancels what is under way.
    ///
    /// A batches function sees the whole stream, in one worker.
    ///
    /// # Errors
    /// Those of [`Pool::describe`] here, those of [`Pool::call`] in the stream. A batch that fails is one `Err`; the stream goes on behind it.
    pub async fn map<S>(&self, function: &Function, source: S, options: MapOptions) -> Result<Batches>
    where
        S: Stream<Item = Result<RecordBatch>> + Send + 'static,
    {
        map::start(&self.inner, function, source.boxed(), options).await
    }

    /// [`Pool::describe`] for callers that block.
    ///
    /// # Errors
    /// As there.
    pub fn describe_blocking(&self, function: &Function) -> Result<Arc<Signature>> {
        wait(self.describe(function))
    }

    /// [`Pool::call`] for callers that block.
    ///
    /// # Errors
    /// As there.
    pub fn call_blocking(&self, function: &Function, batch: RecordBatch) -> Result<RecordBatch> {
        wait(self.call(function, batch))
    }

    /// [`Pool::call_arrays`] for callers that block.
    ///
    /// # Errors
    /// As there.
    pub fn call_arrays_blocking(&self, function: &Function, arrays: Vec<ArrayRef>) -> Result<RecordBatch> {
        wait(self.call_arrays(function, arrays))
    }

    /// [`Pool::map`] for callers that block. `source` is asked on the thread that asks for results.
    ///
    /// # Errors
    /// As there.
    pub fn map_blocking<I>(&self, function: &Function, source: I, options: MapOptions) -> Result<BlockingBatches>
    where
        I: IntoIterator<Item = Result<RecordBatch>>,
        I::IntoIter: Send + 'static,
    {
        wait(self.map(function, streams::iter(source), options)).map(BlockingBatches::new)
    }

    /// The same batch, in shared memory: it is copied once, here, and calls with it copy nothing.
    ///
    /// # Errors
    /// `MEMORY_LIMIT` or `SHARED_MEMORY_FULL`.
    pub fn share(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        self.inner.usable()?;
        self.inner.share(batch)
    }

    /// Shared memory for arguments: a batch whose buffers lie in it crosses without a copy. The content is whatever was there before. Nothing may
    /// write to it while a call reads it; it goes back to the pool when the block is dropped.
    ///
    /// ```no_run
    /// # use std::sync::Arc;
    /// # use transom::Pool;
    /// # let pool = Pool::builder().build()?;
    /// let mut block = pool.allocate(8 * 1024)?;
    /// block.as_mut_slice().fill(0);
    /// # Ok::<(), transom::Error>(())
    /// ```
    ///
    /// # Errors
    /// `MEMORY_LIMIT` or `SHARED_MEMORY_FULL`.
    pub fn allocate(&self, len: usize) -> Result<Block> {
        self.inner.usable()?;
        self.inner.arena.allocate(len)
    }

    /// What the workers have done and are doing.
    pub fn stats(&self) -> Stats {
        Stats {
            workers: self.inner.places.stats(),
            functions: self.inner.registry.stats(),
            memory_used: self.inner.memory.budget.used(),
            memory_limit: self.inner.memory.budget.limit(),
        }
    }

    /// The rows that were taken out of the results of [`Pool::call`] and [`Pool::call_arrays`]; those of a stream are in [`Batches::dead_letters`].
    pub fn dead_letters(&self) -> &DeadLetters {
        &self.inner.letters
    }

    /// Every batch that is in shared memory for somebody: arguments that workers were lent, and results that this process has. Those that a function
    /// has answered and not let go of say so; they are what fills a pool whose functions keep their arguments.
    ///
    /// ```no_run
    /// # let pool = transom::Pool::builder().build()?;
    /// for lease in pool.leases().iter().filter(|lease| lease.answered) {
    ///     println!("{} bytes of batch {} of `{}`, for {:?}", lease.bytes, lease.batch, lease.function, lease.age);
    /// }
    /// # Ok::<(), transom::Error>(())
    /// ```
    ///
    /// With [`PoolBuilder::trace_leases`] each says what keeps it; workers are asked for that, and waited for, for three seconds at most.
    pub fn leases(&self) -> Vec<Lease> {
        wait(self.inner.find_who_keeps(trace::PATIENCE));
        self.inner.leases().into_iter().map(|(_, lease)| lease).collect()
    }

    /// The copy ledger: how many bytes crossed in place, how many were copied, and why.
    pub fn copies(&self) -> CopyReport {
        self.inner.ledger.report()
    }

    /// The ledger that [`Pool::copies`] reads, for a binding that has to copy at its own edge and counts it here.
    ///
    /// ```no_run
    /// # let pool = transom::Pool::builder().build()?;
    /// use transom::{Direction, Reason};
    /// pool.ledger().copied(Direction::Input, Reason::Aligned, 4096);
    /// # Ok::<(), transom::Error>(())
    /// ```
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.inner.ledger
    }

    /// What happens from now on. A listener that does not keep up misses the oldest.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.inner.events.subscribe()
    }

    /// Ends the workers and waits for their end, for two seconds at most. What is under way fails with `POOL_CLOSED`.
    pub fn close(&self) {
        // In a forked child there is no thread to wait for, and the workers are the parent's.
        if self.inner.is_forked() {
            return;
        }
        self.inner.closing.send_replace(true);
        let home = self.home.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        if let Some(home) = home {
            // It ends by itself: each supervisor has a time limit.
            _ = home.join();
        }
        *self.inner.timers.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = None;
        self.inner.arena.discard_idle();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pool({} workers)", self.inner.options.workers)
    }
}

impl Inner {
    /// Whether this is a child that was forked from the pool's process.
    fn is_forked(&self) -> bool {
        process_id() != self.process
    }

    fn usable(&self) -> Result<()> {
        if self.is_forked() {
            return Err(Error::new(Code::ForkedHandle, "this pool belongs to the process that this one was forked from")
                .with_hint("make a pool of its own in the child, or use it in the parent only"));
        }
        if *self.closing.borrow() { Err(closed()) } else { Ok(()) }
    }

    /// Has workers for functions of a language started, unless that was done before.
    fn staff(&self, language: Language) -> Result<()> {
        self.places.staff(language, self.options.workers, |workers| {
            let launch = launches::launch(&self.options, language)?;
            self.crews.send(Crew { launch, workers }).map_err(|_| closed())
        })
    }

    fn call_number(&self) -> u64 {
        self.next_call.fetch_add(1, Ordering::Relaxed)
    }

    fn tell(&self, event: impl FnOnce() -> Event) {
        // Making an event costs; most pools have no listener.
        if self.events.receiver_count() > 0 {
            _ = self.events.send(event());
        }
    }
}

/// The error of whatever is asked of a pool after its end.
fn closed() -> Error {
    Error::new(Code::PoolClosed, "the pool is closed")
}
