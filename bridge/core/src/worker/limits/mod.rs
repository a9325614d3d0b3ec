//! What a worker's process may take of the machine, and who holds it to that.
//!
//! | limit | held by |
//! | --- | --- |
//! | memory | the host, which looks often while the worker has work; the kernel, where control groups can be made; and for Python the kernel at one allocation that is far too large |
//! | descriptors | the kernel: `RLIMIT_NOFILE` |
//! | processes | the kernel: a control group, or `RLIMIT_NPROC` where the user is not root |

mod group;
mod memory;
mod processes;

use rustix::process::{Resource, Rlimit, getrlimit};

pub(super) use group::{Group, Shortage, enter};
pub(super) use memory::MemoryWatch;

use super::process::{Launch, Process};
use crate::failure::{Code, Error, Result};
use crate::function::Language;

/// What the process of a worker may take; nothing is limited by default. A JVM, which is several workers, may take that many times as much.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory of its own, with its children's; the pool's shared memory does not count.
    pub memory: Option<u64>,
    /// Open descriptors.
    pub descriptors: Option<u64>,
    /// Processes and threads, besides those that it has when it becomes ready.
    pub processes: Option<u64>,
}

impl Limits {
    /// The limits of a process that is so many workers.
    pub(crate) fn times(&self, workers: usize) -> Self {
        let times = |limit: Option<u64>| limit.map(|limit| limit.saturating_mul(workers as u64));
        Self { memory: times(self.memory), descriptors: times(self.descriptors), processes: times(self.processes) }
    }

    /// Whether these limits can be held to here.
    ///
    /// # Errors
    /// `BAD_OPTION` where one cannot.
    pub(crate) fn check(&self) -> Result<()> {
        let limits = [("memory", self.memory), ("descriptors", self.descriptors), ("processes", self.processes)];
        if let Some((what, _)) = limits.iter().find(|(_, limit)| *limit == Some(0)) {
            return Err(Error::new(Code::BadOption, format!("the limit on a worker's {what} is at least 1")));
        }
        if self.processes.is_some() && rustix::process::geteuid().is_root() && Group::make(self).is_none_or(|group| !group.counts_processes()) {
            let message = "a limit on processes cannot be held to here: the kernel exempts root from RLIMIT_NPROC, and no control group can be made";
            return Err(Error::new(Code::BadOption, message).with_hint("run the host as another user, or let it make control groups"));
        }
        Ok(())
    }

    /// Sets what the kernel shall hold to in the child, between fork and exec: system calls only.
    pub(super) fn restrict_child(&self) -> rustix::io::Result<()> {
        let Some(descriptors) = self.descriptors else { return Ok(()) };
        lower(Resource::Nofile, descriptors, None)
    }
}

/// Sets what depends on what a process has once it is ready: before that an interpreter takes what it takes.
pub(super) fn when_ready(process: &Process, launch: &Launch) {
    let pid = process.pid();
    if let Some(limit) = launch.limits.memory.filter(|_| launch.language == Language::Python) {
        memory::refuse_far_too_much(pid, limit);
    }
    if let Some(limit) = launch.limits.processes {
        match process.group().filter(|group| group.counts_processes()) {
            Some(group) => group.limit_processes(limit),
            None => processes::limit(pid, limit),
        }
    }
}

/// Lowers a limit of this process, or of a worker of this one; it is never raised.
fn lower(resource: Resource, to: u64, of: Option<rustix::process::Pid>) -> rustix::io::Result<()> {
    let lowered = |now: Option<u64>| Some(now.map_or(to, |now| now.min(to)));
    match of {
        None => {
            let now = getrlimit(resource);
            rustix::process::setrlimit(resource, Rlimit { current: lowered(now.current), maximum: lowered(now.maximum) })
        }
        Some(pid) => {
            // Of another process the hard limit is not asked for: a soft one is enough against what happens by mistake.
            let now = getrlimit(resource);
            rustix::process::prlimit(Some(pid), resource, Rlimit { current: lowered(now.current), maximum: now.maximum }).map(drop)
        }
    }
}

/// Bytes as people read them.
pub(super) fn mib(bytes: u64) -> String {
    if bytes >= 10 << 20 { format!("{} MiB", bytes >> 20) } else { format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)) }
}
