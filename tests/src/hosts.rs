//! Hosts that die: a program of its own makes a pool, and whatever it started must be gone soon after it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::Gate;

/// The variable by which the processes of a test are known, in whatever group or session they are.
const MARK: &str = "TEST_HOST";
/// How long the test waits for processes to go. They should take a hundredth of it; a loaded machine may not give them their turn.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a host does.
pub enum Task<'a> {
    /// Goes through all steps, and closes the pool.
    Steps,
    /// Calls a function of a language (`native`, `python` or `java`), which waits at the gate and then never ends.
    Hold {
        /// The language.
        language: &'a str,
        /// The function, as it is named in it.
        function: &'a str,
    },
}

/// A host program, `fault-host`, which runs workers of `worker` (an interpreter or native worker).
pub struct Host {
    command: Command,
    gate: Gate,
    mark: String,
}

impl Host {
    /// A host that is not started yet.
    pub fn new(program: impl AsRef<OsStr>, worker: impl AsRef<OsStr>, task: &Task<'_>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mark = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let gate = Gate::new();
        let mut command = Command::new(program);
        // Ctrl-C is not for it: it has its own end.
        command.process_group(0);
        command.arg(worker).env(MARK, &mark).env("TEST_GATE", gate.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Task::Hold { language, function } = task {
            command.args([language, function]);
        }
        Self { command, gate, mark }
    }

    /// A variable of the host, and so of its workers.
    pub fn env(&mut self, name: &str, value: impl AsRef<OsStr>) -> &mut Self {
        self.command.env(name, value);
        self
    }

    /// Runs the host to its end; says how it ended and how long what it started outlived it.
    pub fn run(mut self) -> (ExitStatus, Duration) {
        let status = self.command.status().expect("the host program can be started");
        (status, self.wait_for_the_rest())
    }

    /// Kills the host once its function runs; says how long what it started outlived it.
    pub fn kill(mut self) -> Duration {
        let mut host = self.command.spawn().expect("the host program can be started");
        while !self.gate.let_through_if_there() {
            assert_eq!(host.try_wait().expect("the host is this process's child"), None, "the host ends before its function runs");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(living(&self.mark).len() > 1, "a host and its worker");
        host.kill().expect("the host lives");
        let outlived = self.wait_for_the_rest();
        assert_eq!(host.wait().expect("the host is this process's child").signal(), Some(libc::SIGKILL));
        outlived
    }

    fn wait_for_the_rest(&self) -> Duration {
        let begun = Instant::now();
        loop {
            let left = living(&self.mark);
            if left.is_empty() {
                return begun.elapsed();
            }
            assert!(begun.elapsed() < PATIENCE, "what a host started outlives it: {left:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// The processes of a host that still run, by number and name.
fn living(mark: &str) -> BTreeSet<String> {
    let wanted = format!("{MARK}={mark}");
    let is_one = |process: &Path| {
        // Empty for one that has ended, and not to be read where it is another user's.
        fs::read(process.join("environ")).is_ok_and(|environment| environment.split(|&byte| byte == 0).any(|variable| variable == wanted.as_bytes()))
    };
    let processes = fs::read_dir("/proc").expect("proc is mounted").flatten().map(|entry| entry.path());
    let found = processes.filter(|process| is_one(process));
    found.map(|process| format!("{} {}", process.display(), fs::read_to_string(process.join("comm")).unwrap_or_default().trim())).collect()
}
