//! The private memory of a worker, looked at while it has work.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource};

/// How much a process may come to have between two looks, in bytes a second: what a core faults in with large pages, and then some.
const GROWTH: u64 = 8 << 30;
/// Looks are no closer than this, so that the pool's thread has time for other things...
const SOONEST: Duration = Duration::from_millis(5);
/// ...and no farther apart.
const LATEST: Duration = Duration::from_millis(100);
/// Processes of one worker that are counted: more are not its memory but a fork bomb.
const MOST_PROCESSES: usize = 256;

/// Looks at what a worker takes: seldom while that is far from the limit, often when it comes near.
#[derive(Debug)]
pub(in crate::worker) struct MemoryWatch {
    pid: u32,
    pub(in crate::worker) limit: u64,
    /// What it had at the last look.
    pub(in crate::worker) used: u64,
    last: Instant,
}

impl MemoryWatch {
    pub(in crate::worker) fn new(pid: u32, limit: u64) -> Self {
        Self { pid, limit, used: 0, last: Instant::now() }
    }

    /// When to look again.
    pub(in crate::worker) fn due(&self) -> Instant {
        let left = self.limit.saturating_sub(self.used);
        let until_full = Duration::from_millis(left.saturating_mul(1000) / GROWTH);
        self.last + until_full.clamp(SOONEST, LATEST)
    }

    /// Looks, if it is time; says what the worker has where that is more than it may.
    pub(in crate::worker) fn look(&mut self) -> Option<u64> {
        if Instant::now() < self.due() {
            return None;
        }
        self.used = private(self.pid, &quick);
        if self.used > self.limit {
            // Pages that forked children have in common are in the quick sum once for each of them.
            self.used = private(self.pid, &exact);
        }
        self.last = Instant::now();
        (self.used > self.limit).then_some(self.used)
    }
}

/// The private bytes of a process and of those that it started.
fn private(pid: u32, count: &impl Fn(u32) -> Option<u64>) -> u64 {
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(&member) = family.get(next).filter(|_| family.len() < MOST_PROCESSES) {
        family.extend(children(member));
        next += 1;
    }
    family.into_iter().filter_map(count).sum()
}

fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of = |task: fs::DirEntry| fs::read_to_string(task.path().join("children")).unwrap_or_default();
    tasks.flat_map(|task| of(task).split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<u32>>()).collect()
}

/// What is resident and of no file and no shared memory (`proc(5)`, `statm`): so arguments and results do not count.
fn quick(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let mut pages = text.split_whitespace().skip(1).map(|word| word.parse::<u64>().ok());
    let (resident, shared) = (pages.next()??, pages.next()??);
    Some(resident.saturating_sub(shared) * rustix::param::page_size() as u64)
}

/// The same with pages in common shared out among those that have them, and with what is swapped out (`smaps_rollup`, which walks all pages).
fn exact(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let kib = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse::<u64>().ok());
    match kib("Pss_Anon:") {
        Some(anonymous) => Some((anonymous + kib("SwapPss:").unwrap_or(0)) * 1024),
        None => quick(pid),
    }
}

/// Has the kernel refuse what can only be a mistake: a single allocation that would take a worker far over its limit. In Python that is a
/// `MemoryError`, from which the worker goes on. What a process reserves is more than it uses, so the bound is wide; the watch is the exact one.
pub(super) fn refuse_far_too_much(pid: u32, limit: u64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let data = status.lines().find_map(|line| line.strip_prefix("VmData:")?.split_whitespace().next()?.parse::<u64>().ok());
    if let (Some(data), Some(pid)) = (data, Pid::from_raw(pid as i32)) {
        // Where it cannot be set the watch is still there.
        _ = super::lower(Resource::Data, (data * 1024).saturating_add(limit.saturating_mul(2)), Some(pid));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{Budget, Role, Segment};

    #[test]
    fn private_memory_is_counted_and_shared_memory_is_not() {
        let me = std::process::id();
        let before = exact(me).unwrap();
        let own = std::hint::black_box(vec![1_u8; 32 << 20]);
        let with_own = exact(me).unwrap();
        assert!(with_own >= before + (30 << 20), "{before} {with_own}");
        assert!(quick(me).unwrap() >= 30 << 20);
        let shared = Segment::create(1, Role::Output, Budget::new(64 << 20).reserve(64 << 20).unwrap()).unwrap();
        assert!(exact(me).unwrap() < with_own + (48 << 20));
        drop((own, shared));
    }

    #[test]
    fn looks_are_rare_far_from_the_limit_and_frequent_near_it() {
        let mut watch = MemoryWatch::new(std::process::id(), 8 << 30);
        assert_eq!(watch.due() - watch.last, LATEST);
        watch.used = watch.limit - 1;
        assert_eq!(watch.due() - watch.last, SOONEST);
    }

    #[test]
    fn a_watch_says_what_is_too_much() {
        let mut watch = MemoryWatch::new(std::process::id(), 1);
        std::thread::sleep(SOONEST);
        assert!(watch.look().unwrap() > 1);
        assert_eq!(watch.look(), None, "it has just looked");
    }
}
