//! Starting a worker process, and knowing when and how it ended.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal, WaitId, WaitIdOptions};

use super::exit::Ending;
use crate::failure::{Code, Error, Result};
use crate::link::Socket;

const BOOTSTRAP: &str = include_str!("bootstrap.py");

/// How to start a worker.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Its arguments; the number of the link's descriptor is added behind them.
    pub arguments: Vec<OsString>,
    /// Environment variables, besides those of the host.
    pub environment: BTreeMap<OsString, OsString>,
    /// The working directory, where it is not the host's.
    pub directory: Option<PathBuf>,
}

impl Launch {
    /// A Python worker under the given interpreter.
    pub fn python(interpreter: impl Into<PathBuf>) -> Self {
        Self { program: interpreter.into(), arguments: vec!["-c".into(), BOOTSTRAP.into()], environment: BTreeMap::new(), directory: None }
    }
}

/// A running worker: its pidfd, its pipes and the host's end of its link.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    pidfd: OwnedFd,
    reaped: AtomicBool,
    /// The host's end of the link.
    pub socket: Option<Socket>,
    /// What the worker prints.
    pub stdout: Option<OwnedFd>,
    /// What the worker complains.
    pub stderr: Option<OwnedFd>,
    /// Where its fault handler writes stacks.
    pub faults: Option<OwnedFd>,
}

impl Process {
    /// Starts a worker. To be called on a thread that lives as long as the host's pool: the kernel ends the worker when the thread that started it
    /// ends (`PR_SET_PDEATHSIG`, a second string beside the worker's own watch on the link).
    ///
    /// # Errors
    /// `INTERPRETER_MISSING`, `WORKING_DIRECTORY_MISSING`, `DESCRIPTOR_LIMIT` or `START_FAILED`.
    pub fn start(launch: &Launch) -> Result<Self> {
        check(launch)?;
        let (host, worker) = Socket::pair()?;
        let worker = OwnedFd::from(worker);
        let (faults, faults_end) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|error| Error::system(Code::DescriptorLimit, "cannot make a pipe for a worker", error))?;
        let mut command = Command::new(&launch.program);
        command
            .args(&launch.arguments)
            .arg(worker.as_raw_fd().to_string())
            .envs(&launch.environment)
            .env("TRANSOM_FAULT_FD", faults_end.as_raw_fd().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C goes to the foreground group; the host alone decides what becomes of its workers.
            .process_group(0);
        if let Some(directory) = &launch.directory {
            command.current_dir(directory);
        }
        let inherited = [worker.as_raw_fd(), faults_end.as_raw_fd()];
        let parent = rustix::process::getpid();
        // SAFETY: between fork and exec the closure only makes system calls (prctl, getppid, setrlimit, fcntl): no allocation, no lock.
        unsafe { command.pre_exec(move || prepare_child(parent, inherited)) };
        let mut child = command.spawn().map_err(|error| spawn_error(launch, &error))?;
        let pid = Pid::from_child(&child);
        // The child is not reaped until this process waits for it by the pidfd, so the number cannot mean another process yet.
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(|error| {
            _ = child.kill();
            _ = child.wait();
            Error::system(Code::DescriptorLimit, "cannot watch over a worker", error)
        })?;
        Ok(Self {
            pid,
            pidfd,
            reaped: AtomicBool::new(false),
            socket: Some(host),
            stdout: child.stdout.take().map(OwnedFd::from),
            stderr: child.stderr.take().map(OwnedFd::from),
            faults: Some(faults),
        })
    }

    /// The process's number, for people; signals go by the pidfd.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Sends a signal; a process that is gone already is no error.
    pub fn signal(&self, signal: Signal) {
        _ = rustix::process::pidfd_send_signal(&self.pidfd, signal);
    }

    /// Ends the worker and everything that it started in its process group. The group's number is safe to use as long as the worker is not reaped.
    pub fn kill_group(&self) {
        _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
        self.signal(Signal::KILL);
    }

    /// Reaps the process if it has ended.
    pub fn try_wait(&self) -> Option<Ending> {
        let ending = self.wait(WaitIdOptions::EXITED | WaitIdOptions::NOHANG)?;
        self.reaped.store(true, Ordering::Relaxed);
        Some(ending)
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
        if !*self.reaped.get_mut() {
            self.kill_group();
            // Killed, so this takes as long as the kernel needs to end it.
            while self.wait(WaitIdOptions::EXITED).is_none() {}
        }
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl AsRawFd for Process {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.pidfd.as_raw_fd()
    }
}

/// What has no good error of its own once the fork has happened.
fn check(launch: &Launch) -> Result<()> {
    if let Some(directory) = &launch.directory
        && !directory.is_dir()
    {
        return Err(Error::new(Code::WorkingDirectoryMissing, format!("the workers' working directory {} is not there", directory.display())));
    }
    Ok(())
}

fn prepare_child(parent: Pid, inherited: [i32; 2]) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // The host may have died before the line above; then nobody would send the signal.
    if rustix::process::getppid() != Some(parent) {
        return Err(io::Error::from(Errno::SRCH));
    }
    // A worker that crashes leaves a stack, not a core file in the user's folder.
    _ = rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: rustix::process::getrlimit(Resource::Core).maximum });
    for descriptor in inherited {
        // SAFETY: the descriptors were open in the parent when it forked, and the child has done nothing but inherit them.
        let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
        rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::empty())?;
    }
    Ok(())
}

fn spawn_error(launch: &Launch, error: &io::Error) -> Error {
    let program = launch.program.display();
    match error.kind() {
        io::ErrorKind::NotFound => Error::new(Code::InterpreterMissing, format!("the interpreter {program} is not there"))
            .with_hint("give the path of a Python that has transom and pyarrow, such as `.venv/bin/python`"),
        io::ErrorKind::PermissionDenied => Error::new(Code::InterpreterMissing, format!("{program} is not a program that may be run"))
            .with_hint("give the path of a Python that has transom and pyarrow, such as `.venv/bin/python`"),
        _ if error.raw_os_error() == Some(libc::ENOEXEC) => {
            Error::new(Code::InterpreterMissing, format!("{program} is not a program for this machine"))
        }
        _ if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
            Error::system(Code::DescriptorLimit, "cannot start a worker", error).with_hint("raise the limit on open files (`ulimit -n`)")
        }
        _ => Error::system(Code::StartFailed, &format!("cannot start {program}"), error),
    }
}
