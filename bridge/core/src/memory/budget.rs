//! How much shared memory may be made: the pool's own limit, and what the control group and the machine have left.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::failure::{Code, Error, Result};

const PAGE: usize = 4096;
const HUGE_PAGE: usize = 2 << 20;
/// A segment doubles what its writer has, within these bounds, unless one batch needs more.
pub(crate) const SMALLEST: usize = 4 << 20;
const LARGEST: usize = 64 << 20;

/// The limit on the segments of one pool, inputs and outputs together; or on those of a host's heap.
#[derive(Clone, Debug)]
pub struct Budget {
    shared: Arc<Counts>,
}

#[derive(Debug)]
struct Counts {
    limit: u64,
    used: AtomicU64,
}

/// Bytes set aside from a [`Budget`]; dropping it gives them back.
#[derive(Debug)]
pub struct Reservation {
    shared: Arc<Counts>,
    len: usize,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self { shared: Arc::new(Counts { limit, used: AtomicU64::new(0) }) }
    }

    /// The limit in bytes.
    pub fn limit(&self) -> u64 {
        self.shared.limit
    }

    /// The bytes of all segments that exist now.
    pub fn used(&self) -> u64 {
        self.shared.used.load(Ordering::Relaxed)
    }

    /// The bytes that may still be made.
    pub fn free(&self) -> u64 {
        self.limit().saturating_sub(self.used())
    }

    /// Sets `len` bytes aside for a segment.
    ///
    /// The control group is asked too: in a group with a memory limit the kernel answers a shortage with SIGKILL, on `fallocate` as on
    /// touch, so the only safe moment to notice is before.
    ///
    /// # Errors
    /// `MEMORY_LIMIT` where the pool's limit does not allow it, `SHARED_MEMORY_FULL` where the machine does not.
    pub fn reserve(&self, len: usize) -> Result<Reservation> {
        let wanted = len as u64;
        let counts = &self.shared;
        let taken =
            counts.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| used.checked_add(wanted).filter(|sum| *sum <= counts.limit));
        if let Err(used) = taken {
            return Err(Error::new(
                Code::MemoryLimit,
                format!("{wanted} more bytes of shared memory are needed; {used} of the limit of {} are in use", counts.limit),
            ));
        }
        let reservation = Reservation { shared: counts.clone(), len };
        match available_memory() {
            Some(available) if available < wanted => Err(Error::new(
                Code::SharedMemoryFull,
                format!("{wanted} bytes of shared memory are needed and this machine or control group has {available} left"),
            )
            .with_hint("give the control group more memory, lower the pool's memory limit, or send smaller batches")),
            _ => Ok(reservation),
        }
    }
}

impl Budget {
    /// Half of what the machine or control group has left, at least 64 MiB.
    pub(crate) fn default_limit() -> u64 {
        available_memory().map_or(1 << 30, |bytes| bytes / 2).max(64 << 20)
    }

    /// Sets aside a segment with room for `len` bytes, for a writer that has `have` bytes already: as large as what there is, at least 4 MiB and at
    /// most 64 MiB, or larger for a larger piece.
    ///
    /// # Errors
    /// As [`Budget::reserve`], and `BATCH_TOO_LARGE` where the limit could never allow it.
    pub(crate) fn reserve_segment(&self, len: usize, have: usize) -> Result<Reservation> {
        let too_large = || Error::new(Code::BatchTooLarge, format!("{len} bytes are more than a segment can have"));
        let least = len.checked_next_multiple_of(PAGE).ok_or_else(too_large)?;
        let usual = len.checked_next_multiple_of(HUGE_PAGE).ok_or_else(too_large)?.max(have.clamp(SMALLEST, LARGEST));
        if least as u64 > self.limit() {
            let message = format!("{len} bytes are more than the pool's memory limit of {} allows at all", self.limit());
            return Err(Error::new(Code::BatchTooLarge, message).with_hint("send smaller batches, or raise the pool's memory limit"));
        }
        // Near the limit a smaller segment is better than none.
        self.reserve(usual).or_else(|_| self.reserve(least))
    }
}

impl Reservation {
    /// The number of bytes.
    pub fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shared.used.fetch_sub(self.len as u64, Ordering::Relaxed);
    }
}

/// The bytes that this process can still take before the machine or one of its control groups runs out; `None` where nothing tells.
///
/// Sources: `proc(5)` (`/proc/meminfo`, `/proc/self/cgroup`) and the kernel's `cgroup-v2` and `cgroup-v1/memory` documents. Page cache that
/// the kernel can drop counts as free.
pub fn available_memory() -> Option<u64> {
    let machine = count_in(Path::new("/proc/meminfo"), "MemAvailable:").map(|kib| kib * 1024);
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    groups.lines().filter_map(group_available).chain(machine).min()
}

/// How often the kernel has killed a process of this control group, or of one above it, since memory ran out; `None` where nothing tells.
pub fn out_of_memory_kills() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    groups.lines().filter_map(group_kills).max()
}

fn group_kills(line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?.trim_start_matches('/'));
    let (root, file) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.events"),
        _ if controllers.split(',').any(|name| name == "memory") => ("/sys/fs/cgroup/memory", "memory.oom_control"),
        _ => return None,
    };
    ancestors(Path::new(root), path).filter_map(|folder| count_in(&folder.join(file), "oom_kill")).max()
}

/// What one line of `/proc/self/cgroup` (`number:controllers:path`) leaves.
fn group_available(line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?.trim_start_matches('/'));
    if controllers.is_empty() {
        let root = Path::new("/sys/fs/cgroup");
        return ancestors(root, path).filter_map(|folder| left_in(&folder, "memory.max", "memory.current", "inactive_file")).min();
    }
    if controllers.split(',').any(|name| name == "memory") {
        let root = Path::new("/sys/fs/cgroup/memory");
        return ancestors(root, path)
            .filter_map(|folder| left_in(&folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"))
            .min();
    }
    None
}

/// The folder of a group and of all groups above it. A container sees its own group as the root, so a path that is not there is no error.
fn ancestors(root: &Path, path: &str) -> impl Iterator<Item = PathBuf> {
    let folders: Vec<PathBuf> = root.join(path).ancestors().take_while(|folder| folder.starts_with(root)).map(Path::to_path_buf).collect();
    folders.into_iter()
}

fn left_in(folder: &Path, limit: &str, usage: &str, reclaimable: &str) -> Option<u64> {
    let limit: u64 = fs::read_to_string(folder.join(limit)).ok()?.trim().parse().ok()?;
    let usage: u64 = fs::read_to_string(folder.join(usage)).ok()?.trim().parse().ok()?;
    let cache = count_in(&folder.join("memory.stat"), reclaimable).unwrap_or(0);
    Some(limit.saturating_sub(usage.saturating_sub(cache)))
}

/// The number behind a name in a file of the kernel's, such as `oom_kill` in `memory.events`.
pub(crate) fn count_in(file: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_comes_back_and_too_much_is_refused() {
        let budget = Budget::new(100);
        let first = budget.reserve(60).unwrap();
        assert_eq!(budget.reserve(60).unwrap_err().code(), Code::MemoryLimit);
        assert_eq!(budget.free(), 40);
        drop(first);
        assert_eq!(budget.free(), 100);
    }

    #[test]
    fn the_machine_says_what_it_has() {
        assert!(available_memory().unwrap() > 1 << 20);
        let error = Budget::new(u64::MAX).reserve(1 << 60).unwrap_err();
        assert_eq!(error.code(), Code::SharedMemoryFull);
    }

    #[test]
    fn limits_are_read_from_a_group_and_those_above_it() {
        let root = Path::new("/a");
        assert_eq!(ancestors(root, "b/c").collect::<Vec<_>>(), [Path::new("/a/b/c"), Path::new("/a/b"), Path::new("/a")]);
    }
}
