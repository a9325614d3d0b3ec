//! The one check after every fault: nothing was left behind, every batch was answered exactly once, and the next call works. `tests/invariants.py`
//! has the same for Python, in the same words.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use transom::{Code, Error, Pool};

use crate::kills::Load;
use crate::{numbers, values};

/// How long what ends in the background may take: threads, zombies, leases on their way.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a process has that it may leak.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Belongings {
    descriptors: BTreeSet<String>,
    maps: usize,
    threads: usize,
    children: usize,
    names: BTreeSet<String>,
}

impl Belongings {
    /// What this process has now.
    pub fn now() -> Self {
        let maps = fs::read_to_string("/proc/self/maps").expect("proc is mounted");
        Self {
            descriptors: entries("/proc/self/fd"),
            maps: maps.lines().filter(|line| line.contains("memfd:transom")).count(),
            threads: threads(),
            children: children(),
            // Others on this machine make names as they like; Transom makes none, and would call it so.
            names: entries("/dev/shm").into_iter().filter(|name| name.contains("transom")).collect(),
        }
    }

    /// Whether nothing is there that was not there before. What was there may have gone: it may have been about to.
    fn is_within(&self, before: &Self) -> bool {
        self.descriptors.is_subset(&before.descriptors)
            && self.names.is_subset(&before.names)
            && self.maps <= before.maps
            && self.threads <= before.threads
            && self.children <= before.children
    }

    /// Fails if this process has more than it had when `self` was taken. Threads and zombies take a moment to go, so it is asked until then.
    #[track_caller]
    pub fn assert_unchanged(&self) {
        let begun = Instant::now();
        loop {
            let now = Self::now();
            if now.is_within(self) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "something was left behind: {now:#?} where there was {self:#?}");
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

/// Fails unless a call works, and the workers have given back every input. The pool's results must have been dropped.
#[track_caller]
pub fn assert_healthy(pool: &Pool, work: &Load) {
    let mut tally = Tally::new(0, work.added);
    let (first, batch) = tally.batch(work.rows);
    tally.note(first, &pool.call_blocking(&work.function, batch), &[]);
    assert_settled(pool);
}

/// Fails unless the workers give back every input that they were lent.
#[track_caller]
pub fn assert_settled(pool: &Pool) {
    let begun = Instant::now();
    while pool.stats().workers.iter().any(|worker| worker.leases > 0) {
        assert!(begun.elapsed() < PATIENCE, "workers keep inputs: {:#?}", pool.stats());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Batches that were sent to a function which adds a number to each value, and what became of each.
#[derive(Debug, Default)]
pub struct Tally {
    next: i64,
    added: i64,
    open: BTreeMap<i64, usize>,
    /// Batches that were answered, and rightly.
    pub answered: u64,
    /// Batches that failed, by the error's code.
    pub failed: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// A tally of batches from this number on, to which the function adds `added`.
    pub fn new(first: i64, added: i64) -> Self {
        Self { next: first, added, ..Self::default() }
    }

    /// A batch like no other, under its first number.
    pub fn batch(&mut self, rows: usize) -> (i64, RecordBatch) {
        let first = self.next;
        self.next += rows as i64;
        self.open.insert(first, rows);
        (first, numbers(first, rows))
    }

    /// Notes what became of a batch: it is answered once, and rightly, or fails with one of these codes.
    #[track_caller]
    pub fn note(&mut self, first: i64, answer: &Result<RecordBatch, Error>, may_fail_with: &[Code]) {
        let rows = self.open.remove(&first).unwrap_or_else(|| panic!("batch {first} was answered twice, or never sent"));
        match answer {
            Ok(batch) => {
                let right = first + self.added;
                assert!(values(batch).into_iter().eq(right..right + rows as i64), "a wrong answer to batch {first}");
                self.answered += 1;
            }
            Err(error) => {
                assert!(may_fail_with.contains(&error.code()), "batch {first} failed otherwise than it may: {error}");
                *self.failed.entry(error.code().name()).or_default() += 1;
            }
        }
    }

    /// How many batches failed.
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Fails unless every batch was answered.
    #[track_caller]
    pub fn settle(&self) {
        assert!(self.open.is_empty(), "batches that nobody answered: {:?}", self.open);
    }
}
