//! Shared by the tests: batches, and the check that nothing was left behind.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use transom::{Function, Pool, PoolBuilder};

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
