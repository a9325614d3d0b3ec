//! Shared by the tests: batches, moments, and the check that nothing was left behind.

pub mod counted;
pub mod faults;
pub mod garble;
pub mod hosts;
pub mod invariants;
pub mod kills;
pub mod shortages;
pub mod stepping;
pub mod steps;
pub mod stuck;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
pub use faults::Programs;
pub use invariants::Belongings;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use transom::{Event, Function, Pool, PoolBuilder};

/// How long a test may take; what takes longer waits for something that will not come.
const LIMIT: Duration = Duration::from_secs(120);

/// A pool of native workers.
pub fn native(worker: &str, workers: usize) -> PoolBuilder {
    Pool::builder().workers(workers).python(worker)
}

/// A function of the native worker.
pub fn function(name: &str) -> Function {
    Function::python(&format!("native:{name}")).expect("a reference")
}

/// A batch with the column `x`: `rows` numbers from `first`.
pub fn numbers(first: i64, rows: usize) -> RecordBatch {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(first..first + rows as i64));
    RecordBatch::try_from_iter([("x", column)]).expect("one column makes a batch")
}

/// The numbers in the first column.
pub fn values(batch: &RecordBatch) -> Vec<i64> {
    batch.column(0).as_primitive::<Int64Type>().values().to_vec()
}

/// Runs a test and looks whether it left anything, or never ends. One at a time, since all tests of a file share a process.
#[track_caller]
pub fn checked(test: impl FnOnce() + Send + 'static) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let before = Belongings::now();
    let (running, over) = channel::<()>();
    let runner = thread::spawn(move || {
        // Dropped at the end, whichever way it comes.
        let _running = running;
        test();
    });
    if over.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
        panic!("no end after {LIMIT:?}");
    }
    if let Err(panic) = runner.join() {
        std::panic::resume_unwind(panic);
    }
    before.assert_unchanged();
}

/// Listens to a pool, to wait for what happens in it.
pub struct Listener {
    next: Box<dyn FnMut() -> Event + Send>,
}

impl Listener {
    /// Hears all that happens from now on.
    pub fn to(pool: &Pool) -> Self {
        let mut events = pool.events();
        Self { next: Box::new(move || events.blocking_recv().expect("the pool goes on and the listener keeps up")) }
    }

    /// Waits for such an event.
    pub fn wait_for(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        loop {
            let event = (self.next)();
            if wanted(&event) {
                return event;
            }
        }
    }

    /// Waits until a worker has come to its end.
    pub fn wait_for_end(&mut self) -> transom::Error {
        match self.wait_for(|event| matches!(event, Event::WorkerEnded { .. })) {
            Event::WorkerEnded { reason, .. } => reason,
            other => unreachable!("{other:?} is no end"),
        }
    }

    /// Waits until a worker is ready.
    pub fn wait_for_ready(&mut self) {
        self.wait_for(|event| matches!(event, Event::WorkerReady { .. }));
    }
}

/// Waits until every worker is ready and has nothing to do.
pub fn wait_until_idle(pool: &Pool) {
    while pool.stats().workers.iter().any(|worker| worker.state != "idle") {
        thread::yield_now();
    }
}

/// A gate at which a function of the native worker waits (the environment names it): a named pipe, which opens when both sides are there.
pub struct Gate {
    path: PathBuf,
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        let path = scratch("gate");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a named pipe can be made");
        Self { path }
    }

    /// What `TEST_GATE` is to say.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for a function that stands at the gate, and lets it through.
    pub fn let_through(&self) {
        drop(fs::OpenOptions::new().write(true).open(&self.path).expect("the gate is there"));
    }

    /// Lets a function through that stands at the gate; says whether there was one.
    pub fn let_through_if_there(&self) -> bool {
        rustix::fs::open(&self.path, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).is_ok()
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        _ = fs::remove_file(&self.path);
    }
}

/// A path at which nothing is yet.
pub fn scratch(name: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    std::env::temp_dir().join(format!("transom-test-{}-{name}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))
}

/// xorshift64: good enough to pick moments.
pub struct Random(u64);

impl Random {
    /// Numbers that are the same for the same seed.
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// Seeded by `TRANSOM_SEED`, or by this process's number; says by what.
    #[expect(clippy::print_stdout, reason = "who sees a failure needs the seed to repeat it")]
    pub fn of_this_run() -> Self {
        let seed = std::env::var("TRANSOM_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| u64::from(std::process::id()));
        println!("seed {seed} (set TRANSOM_SEED to repeat)");
        Self::new(seed)
    }

    /// Seeded by the clock.
    pub fn of_this_moment() -> Self {
        Self::new(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |since| since.as_nanos() as u64))
    }

    /// A number under `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// What one round of a fault test gives: how many it was, sums, and measurements in microseconds.
#[derive(Debug, Default)]
pub struct Round {
    /// How many it was.
    pub count: u64,
    /// What else was counted.
    pub details: BTreeMap<&'static str, u64>,
    /// What was measured.
    pub samples: BTreeMap<&'static str, Vec<u64>>,
}
