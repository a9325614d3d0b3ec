//! How many processes and threads a user may have, where no control group counts those of one worker.

use std::fs;
use std::os::unix::fs::MetadataExt;

use rustix::process::{Pid, Resource};

/// Lets a process start `more` tasks than its user has now. The kernel counts by user (`RLIMIT_NPROC`), so what other programs of the same user start
/// later counts too; and it exempts root.
pub(super) fn limit(pid: u32, more: u64) {
    let user = rustix::process::geteuid().as_raw();
    if let Some(pid) = Pid::from_raw(pid as i32) {
        // Where it cannot be set, the user has a lower limit already.
        _ = super::lower(Resource::Nproc, tasks_of(user) + more, Some(pid));
    }
}

fn tasks_of(user: u32) -> u64 {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let tasks = processes.filter(|entry| entry.metadata().is_ok_and(|metadata| metadata.uid() == user)).map(|entry| entry.path().join("task"));
    tasks.filter_map(|folder| fs::read_dir(folder).ok()).map(|tasks| tasks.count() as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threads_of_a_user_are_counted() {
        assert!(tasks_of(rustix::process::geteuid().as_raw()) > 0);
        assert_eq!(tasks_of(u32::MAX - 7), 0);
    }
}
