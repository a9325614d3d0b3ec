//! What a pool tells: events as they happen, and sums.

use std::time::Duration;

use crate::failure::Error;
use crate::function::Language;

/// Something that happened in a pool.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A worker process was started.
    WorkerStarted {
        /// Its place in the pool.
        worker: usize,
        /// Its process.
        pid: u32,
    },
    /// A worker can take calls.
    WorkerReady {
        /// Its place in the pool.
        worker: usize,
    },
    /// A worker is gone.
    WorkerEnded {
        /// Its place in the pool.
        worker: usize,
        /// Why.
        reason: Error,
    },
    /// A worker printed something, on its standard output or error.
    Printed {
        /// Its place in the pool.
        worker: usize,
        /// What it printed, as it came: seldom one line exactly.
        text: Vec<u8>,
    },
    /// A result arrived.
    BatchDone {
        /// The worker that made it.
        worker: usize,
        /// Rows of the result.
        rows: u64,
        /// How long the worker was busy with it.
        busy: Duration,
    },
    /// A batch failed.
    BatchFailed {
        /// The worker that had it.
        worker: usize,
        /// Why.
        reason: Error,
    },
    /// A function failed for some rows of a batch, which went on without them: they are null, or dead letters.
    RowsSuppressed {
        /// How many.
        rows: u64,
        /// Why the first of them: it says the function, the batch and the row.
        reason: Error,
    },
}

/// Sums over a pool's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// One for each place; those of a language are there from the first use of one of its functions, or from the start.
    pub workers: Vec<WorkerStats>,
    /// One for each function that was loaded.
    pub functions: Vec<FunctionStats>,
    /// Bytes of all shared memory segments now.
    pub memory_used: u64,
    /// Bytes that they may reach.
    pub memory_limit: u64,
}

/// What became of the rows for which a function failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionStats {
    /// The function's name.
    pub function: String,
    /// Rows for which it failed and whose batches went on without them: they are null, or dead letters.
    pub suppressed: u64,
    /// Calls that were made to find such rows, besides one for each batch.
    pub attempts: u64,
}

/// What one worker, and those before it in its place, have done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerStats {
    /// What it runs. The workers of a pool for JVM functions are threads of one process.
    pub language: Language,
    /// The process, where there is one now.
    pub pid: Option<u32>,
    /// What it is doing: `starting`, `idle`, `busy` or `gone`.
    pub state: &'static str,
    /// Results that it gave.
    pub batches: u64,
    /// Rows in them.
    pub rows: u64,
    /// Batches that failed in it.
    pub failures: u64,
    /// How often a new process took the place of one that ended.
    pub restarts: u64,
    /// How long it was busy.
    pub busy: Duration,
    /// Batches that it was given and has not let go of.
    pub leases: usize,
}
