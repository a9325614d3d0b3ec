//! Control groups for one worker, in which the kernel counts what it and everything that it starts take.
//!
//! Sources: the kernel's `cgroup-v2`, `cgroup-v1/memory` and `cgroup-v1/pids` documents. A group is made in this process's own group (version 1), or
//! beside it (version 2, where a group with processes may have no controlled groups in it). Where that is not allowed there are no groups.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal};

use super::Limits;

const PREFIX: &str = "transom-";
/// How long a group that is still in use is tried to be removed: the kernel takes a moment to end what is in it.
const REMOVAL: Duration = Duration::from_secs(5);

/// The groups that one worker is in, one for each hierarchy.
#[derive(Debug)]
pub(in crate::worker) struct Group {
    folders: Vec<Folder>,
}

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    version: Version,
    counts: Counts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    memory: bool,
    processes: bool,
}

/// What the kernel counted in a group that it killed something in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::worker) struct Shortage {
    pub(in crate::worker) limit: u64,
    pub(in crate::worker) used: u64,
}

impl Group {
    /// Groups for a worker with these limits; `None` where none is needed, or none can be made.
    pub(in crate::worker) fn make(limits: &Limits) -> Option<Self> {
        let wanted = Counts { memory: limits.memory.is_some(), processes: limits.processes.is_some() };
        let homes = homes(&fs::read_to_string("/proc/self/cgroup").ok()?, Path::new("/sys/fs/cgroup"));
        // Each is removed again when it is dropped, also where the next cannot be made.
        let mut group = Self { folders: Vec::new() };
        for home in &homes {
            let counts = Counts {
                memory: wanted.memory && home.counts.memory && !group.folders.iter().any(|folder| folder.counts.memory),
                processes: wanted.processes && home.counts.processes && !group.counts_processes(),
            };
            if counts.memory || counts.processes {
                group.folders.extend(Folder::make(home, counts, limits));
            }
        }
        (!group.folders.is_empty()).then_some(group)
    }

    pub(in crate::worker) fn counts_processes(&self) -> bool {
        self.folders.iter().any(|folder| folder.counts.processes)
    }

    /// The files into which a process writes `0` to be in the groups.
    pub(in crate::worker) fn entrances(&self) -> io::Result<Vec<OwnedFd>> {
        self.folders.iter().map(|folder| OpenOptions::new().write(true).open(folder.path.join("cgroup.procs")).map(OwnedFd::from)).collect()
    }

    /// Lets the members start so many tasks besides those that are there.
    pub(super) fn limit_processes(&self, more: u64) {
        for folder in self.folders.iter().filter(|folder| folder.counts.processes) {
            if let Some(now) = number(&folder.path.join("pids.current")) {
                _ = fs::write(folder.path.join("pids.max"), (now + more).to_string());
            }
        }
    }

    /// What the kernel counted, where it has killed a member for want of memory.
    pub(in crate::worker) fn shortage(&self) -> Option<Shortage> {
        self.folders.iter().filter(|folder| folder.counts.memory).find_map(Folder::shortage)
    }

    /// Ends all members, in whatever session or process group they are.
    pub(in crate::worker) fn kill(&self) {
        self.folders.iter().for_each(Folder::kill);
    }
}

impl Folder {
    fn make(home: &Home, counts: Counts, limits: &Limits) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        sweep(&home.path);
        let path = home.path.join(format!("{PREFIX}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&path).ok()?;
        let folder = Self { path, version: home.version, counts };
        let limited = match limits.memory.filter(|_| counts.memory) {
            Some(limit) => folder.limit_memory(limit),
            None => Ok(()),
        };
        limited.ok().map(|()| folder)
    }

    /// A quarter more than the limit: the host's own watch comes first and knows more; this is for what grows faster than it looks.
    fn limit_memory(&self, limit: u64) -> io::Result<()> {
        let bytes = limit.saturating_add(limit / 4).to_string();
        match self.version {
            Version::One => fs::write(self.path.join("memory.limit_in_bytes"), bytes),
            Version::Two => fs::write(self.path.join("memory.max"), bytes),
        }
    }

    fn shortage(&self) -> Option<Shortage> {
        let (events, limit, used) = match self.version {
            Version::One => ("memory.oom_control", "memory.limit_in_bytes", "memory.max_usage_in_bytes"),
            Version::Two => ("memory.events", "memory.max", "memory.peak"),
        };
        let kills = crate::memory::count_in(&self.path.join(events), "oom_kill")?;
        let limit = number(&self.path.join(limit))?;
        // Older kernels keep no peak; it was at the limit.
        let used = number(&self.path.join(used)).unwrap_or(limit);
        (kills > 0).then_some(Shortage { limit, used })
    }

    fn kill(&self) {
        // Linux 5.14 and later, version 2.
        if self.version == Version::Two && fs::write(self.path.join("cgroup.kill"), "1").is_ok() {
            return;
        }
        let procs = self.path.join("cgroup.procs");
        let members = || fs::read_to_string(&procs).unwrap_or_default().lines().filter_map(|line| line.parse().ok()).collect::<Vec<i32>>();
        // What forks meanwhile is found by the next round; the bound is for what the kernel is slow to end.
        for _ in 0..100 {
            let alive: Vec<(i32, OwnedFd)> = members().into_iter().filter_map(|pid| Some((pid, open(pid)?))).collect();
            // Still members after the process was opened, so that the number meant a member.
            let still = members();
            let killed: Vec<&OwnedFd> = alive.iter().filter(|(pid, _)| still.contains(pid)).map(|(_, pidfd)| pidfd).collect();
            if killed.is_empty() {
                return;
            }
            killed.iter().for_each(|pidfd| _ = rustix::process::pidfd_send_signal(pidfd.as_fd(), Signal::KILL));
        }
    }
}

fn open(pid: i32) -> Option<OwnedFd> {
    rustix::process::pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.kill();
        if fs::remove_dir(&self.path).is_ok() {
            return;
        }
        let path = std::mem::take(&mut self.path);
        let rounds = (REMOVAL.as_millis() / 10) as usize;
        // Where no thread can be had, the next pool's sweep removes it.
        _ = thread::Builder::new().name("transom-group".to_owned()).spawn(move || {
            (0..rounds).any(|_| {
                thread::sleep(Duration::from_millis(10));
                fs::remove_dir(&path).is_ok()
            })
        });
    }
}

/// Removes the groups of hosts that were killed before they could. The kernel refuses where anything is still in one.
fn sweep(home: &Path) {
    for entry in fs::read_dir(home).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let host = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split_once('-')?.0.parse::<u32>().ok());
        if host.is_some_and(|host| !Path::new(&format!("/proc/{host}")).exists()) {
            _ = fs::remove_dir(entry.path());
        }
    }
}

/// A folder in which groups may be made, and what is counted in them.
#[derive(Debug, PartialEq, Eq)]
struct Home {
    path: PathBuf,
    version: Version,
    counts: Counts,
}

/// Where groups for the children of a process may be, by its `/proc/self/cgroup`.
fn homes(own: &str, root: &Path) -> Vec<Home> {
    let mut found = Vec::new();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let path = path.trim_start_matches('/');
        let counts = |has: &dyn Fn(&str) -> bool| Counts { memory: has("memory"), processes: has("pids") };
        if controllers.is_empty() {
            let own = root.join(path);
            // Only where a folder hands its controllers down do groups in it count anything.
            for home in [Some(own.as_path()), own.parent().filter(|parent| parent.starts_with(root))].into_iter().flatten() {
                let handed = fs::read_to_string(home.join("cgroup.subtree_control")).unwrap_or_default();
                let counts = counts(&|name| handed.split_whitespace().any(|controller| controller == name));
                found.push(Home { path: home.to_path_buf(), version: Version::Two, counts });
            }
        } else {
            let counts = counts(&|name| controllers.split(',').any(|controller| controller == name));
            let hierarchy = root.join(OsStr::new(controllers));
            // A container sees its own group as the root of the hierarchy.
            let home = Some(hierarchy.join(path)).filter(|home| home.is_dir()).unwrap_or(hierarchy);
            found.push(Home { path: home, version: Version::One, counts });
        }
    }
    found.retain(|home| home.counts.memory || home.counts.processes);
    found
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// Puts the calling process into groups; between fork and exec, so system calls only.
pub(in crate::worker) fn enter(entrances: &[OwnedFd]) -> rustix::io::Result<()> {
    entrances.iter().try_for_each(|entrance| rustix::io::write(entrance, b"0").map(drop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_looked_for_where_the_kernel_would_count() {
        let root = std::env::temp_dir().join(format!("transom-groups-{}", std::process::id()));
        fs::create_dir_all(root.join("a.service/main")).unwrap();
        fs::create_dir_all(root.join("memory/jobs")).unwrap();
        fs::write(root.join("a.service/cgroup.subtree_control"), "cpu memory pids\n").unwrap();
        let both = Counts { memory: true, processes: true };
        // Version 2: beside the own group, in one that was handed to this user.
        let beside = Home { path: root.join("a.service"), version: Version::Two, counts: both };
        assert_eq!(homes("0::/a.service/main\n", &root), [beside]);
        // Version 1: in the own group, or at the top where a container hides it.
        let found = homes("4:memory:/jobs\n3:cpu,cpuacct:/\n8:pids:/elsewhere\n0::/\n", &root);
        assert_eq!(found.iter().map(|home| home.path.clone()).collect::<Vec<_>>(), [root.join("memory/jobs"), root.join("pids")]);
        fs::remove_dir_all(&root).unwrap();
    }
}
