//! Starting a worker process, and knowing when and how it ended.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal, WaitId, WaitIdOptions};

use super::exit::Ending;
use super::lifeline::{self, Lifeline};
use super::limits::{self, Group, Limits};
use super::outfit::Outfit;
use super::zygote;
use crate::failure::{Code, Error, Result};
use crate::function::Language;
use crate::link::Socket;

const BOOTSTRAP: &str = include_str!("bootstrap.py");

/// How to start a worker.
#[derive(Clone, Debug)]
pub struct Launch {
    /// What it runs.
    pub language: Language,
    /// The program.
    pub program: PathBuf,
    /// Its arguments; the numbers of the links' descriptors are added behind them.
    pub arguments: Vec<OsString>,
    /// Environment variables, besides those of the host.
    pub environment: BTreeMap<OsString, OsString>,
    /// The working directory, where it is not the host's.
    pub directory: Option<PathBuf>,
    /// How many links it has: a worker takes the calls of each link in order, and those of different links at the same time.
    pub links: usize,
    /// The signal at which the worker writes its stacks, where it can do that. A JVM ends with it; others go on.
    pub stack_signal: Option<Signal>,
    /// What it may take.
    pub limits: Limits,
    /// How long it may take to become ready.
    pub start_limit: Duration,
}

/// A cold interpreter with a cold disk, and then some.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(60);

impl Launch {
    /// A Python worker under the given interpreter.
    pub fn python(interpreter: impl Into<PathBuf>) -> Self {
        let arguments = vec!["-c".into(), BOOTSTRAP.into()];
        // The fault handler answers with the stacks of all threads, whoever holds the interpreter's lock.
        Self { arguments, stack_signal: Some(Signal::QUIT), ..Self::bare(Language::Python, interpreter.into()) }
    }

    /// A worker for functions in shared libraries: the program `transom-native-worker`.
    pub fn native(program: impl Into<PathBuf>) -> Self {
        // It writes the stack of the function. A worker program of another make just ends.
        Self { stack_signal: Some(Signal::QUIT), ..Self::bare(Language::Native, program.into()) }
    }

    /// A JVM, with the class path on which `transom-java` and arrow-java lie, and a link for each of its threads.
    pub fn java(program: impl Into<PathBuf>, options: &[String], class_path: &OsStr, links: usize) -> Self {
        // Arrow's buffers are addresses, which it makes by a constructor that the JDK keeps to itself; and from Java 24 on a JVM complains of
        // libraries that nobody allowed.
        let mut arguments: Vec<OsString> = vec!["--add-opens=java.base/java.nio=ALL-UNNAMED".into(), "--enable-native-access=ALL-UNNAMED".into()];
        arguments.extend(options.iter().map(OsString::from));
        arguments.extend(["-cp".into(), class_path.to_owned(), "io.transom.worker.Main".into()]);
        Self { arguments, links, stack_signal: Some(Signal::TERM), ..Self::bare(Language::Java, program.into()) }
    }

    fn bare(language: Language, program: PathBuf) -> Self {
        Self {
            language,
            program,
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            directory: None,
            links: 1,
            stack_signal: None,
            limits: Limits::default(),
            start_limit: START_LIMIT,
        }
    }
}

/// What a start gives: the process, the host's ends of its links, and the pipes of its standard output, its standard error and its stacks.
#[derive(Debug)]
pub struct Started {
    /// The process.
    pub process: Process,
    /// The host's ends of its links.
    pub sockets: Vec<Socket>,
    /// What it prints, what it complains, and where it writes its stacks when it dies.
    pub pipes: [OwnedFd; 3],
}

/// A running worker: its pidfd, and how it ended.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    pidfd: OwnedFd,
    /// What ends its process group should this process die.
    _lifeline: Option<Lifeline>,
    /// The control groups that it is in, where it has its own. They go when it has gone.
    group: Option<Group>,
    /// How it ended, once it is reaped: from then on its number may be another process's.
    ending: Mutex<Option<Ending>>,
}

impl Process {
    /// Starts a worker. To be called on a thread that lives as long as the host's pool: the kernel ends the worker when the thread that started it
    /// ends (`PR_SET_PDEATHSIG`, a second string beside the worker's own watch on the link).
    ///
    /// `zygote` is the end of the socket by which a worker is to leave a copy of itself behind.
    ///
    /// # Errors
    /// `INTERPRETER_MISSING`, `WORKING_DIRECTORY_MISSING`, `DESCRIPTOR_LIMIT` or `START_FAILED`.
    pub(super) fn start(launch: &Launch, zygote: Option<OwnedFd>) -> Result<Started> {
        check(launch)?;
        let Outfit { sockets, pipes, group, links, ends, entrances, lifeline, line } = Outfit::make(launch)?;
        let [stdout, stderr, faults] = ends;
        let mut command = Command::new(&launch.program);
        command
            .args(&launch.arguments)
            .args(links.iter().map(|link| link.as_raw_fd().to_string()))
            .envs(&launch.environment)
            .env("TRANSOM_FAULT_FD", faults.as_raw_fd().to_string())
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            // Ctrl-C goes to the foreground group; the host alone decides what becomes of its workers.
            .process_group(0);
        if let Some(directory) = &launch.directory {
            command.current_dir(directory);
        }
        if let Some(zygote) = &zygote {
            command.env(zygote::VARIABLE, zygote.as_raw_fd().to_string());
        }
        let inherited: Vec<RawFd> = links.iter().chain([&faults, &line]).chain(&zygote).map(AsRawFd::as_raw_fd).collect();
        let parent = rustix::process::getpid();
        let child = Child { parent, entrances, limits: launch.limits.clone(), line: line.as_raw_fd(), inherited };
        // SAFETY: between fork and exec the closure only makes system calls (prctl, getppid, fcntl, write, setrlimit, close_range): no allocation, no
        // lock.
        unsafe { command.pre_exec(move || child.prepare()) };
        step!("system::fork", errno => spawn_error(launch, &errno.into()));
        let mut child = command.spawn().map_err(|error| spawn_error(launch, &error))?;
        let pid = Pid::from_child(&child);
        // The child is not reaped until this process waits for it by the pidfd, so the number cannot mean another process yet.
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(|error| {
            _ = child.kill();
            _ = child.wait();
            Error::system(Code::DescriptorLimit, "cannot watch over a worker", error)
        })?;
        Ok(Started { process: Self { pid, pidfd, _lifeline: Some(lifeline), group, ending: Mutex::default() }, sockets, pipes })
    }

    /// Takes over a process that was forked for this one, as its child (`CLONE_PARENT`), and gives it a process group of its own. Until then it was in
    /// the group of the process that forked it, and would have been reaped with that. `lifeline` is what it was tied by, where it was.
    pub(super) fn adopt(pid: Pid, group: Option<Group>, lifeline: Option<Lifeline>) -> Result<Self> {
        let failed = |error| Error::system(Code::DescriptorLimit, "cannot watch over a worker", error);
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(failed)?;
        // The number says whom; that it is a child, and so cannot mean another process before it is reaped here, is the kernel's word.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), options).map_err(failed)?;
        rustix::process::setpgid(Some(pid), Some(pid)).map_err(failed)?;
        Ok(Self { pid, pidfd, _lifeline: lifeline, group, ending: Mutex::default() })
    }

    /// The process's number, for people; signals go by the pidfd.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Sends a signal; a process that is gone already is no error.
    pub fn signal(&self, signal: Signal) {
        _ = rustix::process::pidfd_send_signal(&self.pidfd, signal);
    }

    /// Ends the worker and everything that it started in its process group; one that is reaped already is no error.
    pub fn kill_group(&self) {
        // The lock keeps it from being reaped meanwhile: until then the group's number is its own.
        let ending = self.ending();
        if ending.is_none() {
            _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
            self.signal(Signal::KILL);
        }
        // Also what has left the process group, and where the process itself is reaped already.
        self.group.iter().for_each(Group::kill);
    }

    /// The control groups that are its own.
    pub(super) fn group(&self) -> Option<&Group> {
        self.group.as_ref()
    }

    /// The signal that has stopped the process, while it is stopped (`waitid(2)`, `WSTOPPED`).
    pub(super) fn stopped_by(&self) -> Option<i32> {
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), options).ok().flatten()?;
        status.stopping_signal()
    }

    /// Reaps the process if it has ended, and says how.
    pub fn try_wait(&self) -> Option<Ending> {
        let mut ending = self.ending();
        if ending.is_none() {
            *ending = self.wait(WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
            if ending.is_some() {
                self.reap_forks();
            }
        }
        *ending
    }

    /// Reaps what the process forked for this one and nobody heard of, before it can mean another group. It was killed with the group.
    fn reap_forks(&self) {
        while let Ok(Some(_)) = rustix::process::waitid(WaitId::Pgid(Some(self.pid)), WaitIdOptions::EXITED) {}
    }

    fn ending(&self) -> MutexGuard<'_, Option<Ending>> {
        self.ending.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn wait(&self, options: WaitIdOptions) -> Option<Ending> {
        match rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), options) {
            Ok(None) | Err(Errno::INTR) => None,
            Ok(Some(status)) => Some(match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Ending::Exited(code),
                (None, Some(signal)) => Ending::Killed(signal),
                (None, None) => Ending::Unknown,
            }),
            Err(_) => Some(Ending::Unknown),
        }
    }
}

/// A process that nobody watches over any more does not stay, dead or alive.
impl Drop for Process {
    fn drop(&mut self) {
        if self.ending().is_none() {
            self.kill_group();
            // Killed, so this takes as long as the kernel needs to end it.
            while self.wait(WaitIdOptions::EXITED).is_none() {}
            self.reap_forks();
        }
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// What has no good error of its own once the fork has happened.
pub(super) fn check(launch: &Launch) -> Result<()> {
    if let Some(directory) = &launch.directory
        && !directory.is_dir()
    {
        return Err(Error::new(Code::WorkingDirectoryMissing, format!("the workers' working directory {} is not there", directory.display())));
    }
    Ok(())
}

/// What a child needs to know between fork and exec.
struct Child {
    parent: Pid,
    entrances: Vec<OwnedFd>,
    limits: Limits,
    line: RawFd,
    inherited: Vec<RawFd>,
}

impl Child {
    /// Makes a worker of a fork. The order matters: first what ties it to its host, then what it may take, and last what it inherits.
    /// `docs/architecture.md` says where a sandbox would come.
    fn prepare(&self) -> io::Result<()> {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // The host may have died before the line above; then nobody would send the signal.
        if rustix::process::getppid() != Some(self.parent) {
            return Err(io::Error::from(Errno::SRCH));
        }
        // SAFETY: the descriptor was open in the parent when it forked, and the child has done nothing but inherit it.
        // Where the kernel has no such signals, the death signal above and the worker's own watch remain.
        _ = lifeline::tie(unsafe { BorrowedFd::borrow_raw(self.line) });
        limits::enter(&self.entrances)?;
        // A worker that crashes leaves a stack, not a core file in the user's folder.
        _ = rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: rustix::process::getrlimit(Resource::Core).maximum });
        self.limits.restrict_child()?;
        keep_from_program(3);
        for &descriptor in &self.inherited {
            // SAFETY: the descriptors were open in the parent when it forked, and the child has done nothing but inherit them.
            let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
            rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::empty())?;
        }
        Ok(())
    }
}

/// Marks this descriptor and all behind it as not for the program that is started. Rust opens each so by itself; others in this process do not, as
/// the JVM for the pipes of processes that it starts: whoever reads one would wait for the worker's end.
fn keep_from_program(first: libc::c_uint) {
    // SAFETY: the call takes numbers and changes flags of this process's descriptors. Before Linux 5.11 it fails, and nothing changes.
    _ = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

fn spawn_error(launch: &Launch, error: &io::Error) -> Error {
    let program = launch.program.display();
    let (what, hint) = match launch.language {
        Language::Python => ("interpreter", "give the path of a Python that has transom and pyarrow, such as `.venv/bin/python`"),
        Language::Native => ("native worker", "give the path of `transom-native-worker`, or set TRANSOM_NATIVE_WORKER to it"),
        Language::Java => ("java program", "install a JDK or JRE of version 17 or later, or give the path of its `bin/java`"),
    };
    let missing = |message: String| Error::new(Code::InterpreterMissing, message).with_hint(hint);
    match error.kind() {
        io::ErrorKind::NotFound => missing(format!("the {what} {program} is not there")),
        io::ErrorKind::PermissionDenied => missing(format!("{program} is not a program that may be run")),
        _ if error.raw_os_error() == Some(libc::ENOEXEC) => missing(format!("{program} is not a program for this machine")),
        _ if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
            Error::system(Code::DescriptorLimit, "cannot start a worker", error).with_hint("raise the limit on open files (`ulimit -n`)")
        }
        _ => Error::system(Code::StartFailed, &format!("cannot start {program}"), error),
    }
}
