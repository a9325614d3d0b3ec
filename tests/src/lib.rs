//! Shared by the tests: batches, moments, and the check that nothing was left behind.

pub mod garble;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use rustix::fs::{CWD, FileType, Mode, mknodat};
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

/// What a process has that it may leak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Belongings {
    descriptors: BTreeSet<String>,
    shared_maps: usize,
    threads: usize,
    children: usize,
    named: BTreeSet<String>,
}

impl Belongings {
    /// What this process has now.
    pub fn now() -> Self {
        let maps = fs::read_to_string("/proc/self/maps").expect("proc is mounted");
        Self {
            descriptors: entries("/proc/self/fd"),
            shared_maps: maps.lines().filter(|line| line.contains("memfd:transom")).count(),
            threads: threads(),
            children: children(),
            named: entries("/dev/shm"),
        }
    }

    /// Fails unless this process has what it had when `self` was taken. Threads and zombies take a moment to go, so it is asked until then.
    #[track_caller]
    pub fn assert_unchanged(&self) {
        let begun = Instant::now();
        loop {
            let now = Self::now();
            if now == *self {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "something was left behind: {now:#?} where there was {self:#?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn entries(folder: &str) -> BTreeSet<String> {
    fs::read_dir(folder).map(|entries| entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()).unwrap_or_default()
}

/// Threads of a pool; the test harness has its own, which come and go.
fn threads() -> usize {
    let name = |task: &String| fs::read_to_string(format!("/proc/self/task/{task}/comm")).unwrap_or_default();
    entries("/proc/self/task").iter().map(name).filter(|name| name.starts_with("transom") || name.starts_with("tokio")).count()
}

fn children() -> usize {
    let tasks = entries("/proc/self/task");
    let of = |task: &String| fs::read_to_string(format!("/proc/self/task/{task}/children")).unwrap_or_default().split_whitespace().count();
    tasks.iter().map(of).sum()
}
