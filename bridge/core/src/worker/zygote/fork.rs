//! The zygote's side: leaving the first worker, and forking workers that are the host's own children.
//!
//! glibc's `fork` cannot make a child for somebody else, so the system call is made here (`clone(2)`, `CLONE_PARENT`). It does for glibc what its
//! `fork` would do: the kernel writes the new thread's number where glibc keeps it, and the list of robust mutexes is registered again. The rest of
//! `fork` is about locks that other threads hold, and there are no other threads: that is looked at before each fork.

use std::ffi::{CString, c_void};
use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::ptr::null_mut;
use std::time::Duration;
use std::{fs, io, thread};

use rustix::io::{Errno, FdFlags};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use super::super::{lifeline, limits};
use super::{VARIABLE, Word};
use crate::link::{Packet, Socket};

/// What a language's runtime does around a fork.
pub trait Forking {
    /// Right before it.
    fn before(&mut self);
    /// In the process that goes on as it was.
    fn in_parent(&mut self);
    /// In the new process, before anything else of the runtime is used there.
    fn in_child(&mut self);
}

/// What a worker that was forked begins with; both descriptors are its own, and closed on exec.
#[derive(Debug)]
pub struct Newborn {
    /// Its end of the link.
    pub link: RawFd,
    /// Where its stacks go.
    pub faults: RawFd,
}

/// To be called by a worker that has loaded its libraries, has loaded no function, and has not begun to serve `link`. Where the host wants a zygote
/// (`TRANSOM_ZYGOTE_FD`) one is left behind. Returns nothing in the worker that called it, which goes on with its own link, and returns once in
/// each worker that is forked later.
pub fn split(link: RawFd, faults: Option<RawFd>, runtime: &mut dyn Forking) -> Option<Newborn> {
    let control = control()?;
    let refuse = |reason: String| _ = control.try_send(&Word::Refused(reason).encode(), None);
    let libc = match quiet().and_then(|()| Libc::find()) {
        Ok(libc) => libc,
        Err(reason) => {
            refuse(reason);
            return None;
        }
    };
    let host = getppid();
    step!(only "zygote::split");
    match fork(&libc, runtime) {
        Err(error) => refuse(format!("the system does not fork: {error}")),
        Ok(Some(zygote)) => {
            step!(only "zygote::born");
            // Before this worker says that it is ready, at which the host stops waiting for it.
            _ = control.try_send(&Word::Born(zygote).encode(), None);
        }
        Ok(None) => {
            settle(host, [Some(link), faults]);
            runtime.in_child();
            return Some(Zygote { control, host, libc, name: rustix::thread::name().unwrap_or_default() }.serve(runtime));
        }
    }
    None
}

/// Why this process, with the libraries that it has loaded, cannot have a zygote; nothing where it can.
pub fn obstacle() -> Option<String> {
    quiet().and_then(|()| Libc::find()).err()
}

/// The zygote's end of the socket, where the host wants one.
fn control() -> Option<Socket> {
    let descriptor: RawFd = std::env::var(VARIABLE).ok()?.parse().ok().filter(|&descriptor: &RawFd| descriptor > 2)?;
    // SAFETY: the host opened the descriptor for this process alone and says its number; nobody else uses it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
    rustix::io::fcntl_setfd(&descriptor, FdFlags::CLOEXEC).ok()?;
    Some(Socket::from_descriptor(descriptor))
}

/// The threads of this process, which end with it.
fn threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks.map(|task| fs::read_to_string(task.path().join("comm")).unwrap_or_default().trim().to_owned()).collect()
}

/// Sees to it that this process has one thread.
fn quiet() -> Result<(), String> {
    if threads().len() > 1 {
        // Libraries that start threads when they are loaded, such as OpenBLAS, end them at a fork and start them again when they need them.
        // SAFETY: the child does nothing but end.
        unsafe {
            match libc::fork() {
                0 => libc::_exit(0),
                child => _ = libc::waitpid(child, null_mut(), 0),
            }
        }
        // A thread that was joined is listed for a moment longer.
        for _ in 0..100 {
            if threads().len() == 1 {
                break;
            }
            thread::sleep(Duration::from_micros(100));
        }
    }
    let threads = threads();
    if threads.len() == 1 { Ok(()) } else { Err(format!("its libraries have started threads: {}", threads.join(", "))) }
}

/// What glibc keeps of a thread and a fork has to renew.
struct Libc {
    /// Where the thread's number stands.
    tid: *mut libc::pid_t,
    /// Its robust mutexes.
    robust: *mut c_void,
    robust_len: usize,
}

impl Libc {
    fn find() -> Result<Self, String> {
        if !cfg!(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")) {
            return Err("only Linux with glibc on x86-64 can do this".to_owned());
        }
        let (mut tid, mut robust, mut robust_len) = (null_mut::<libc::pid_t>(), null_mut(), 0_usize);
        // SAFETY: both calls write to the variables that they are given. The kernel clears a thread's number when it ends, and tells where; it is only
        // read where the kernel told of a place.
        unsafe {
            if libc::prctl(libc::PR_GET_TID_ADDRESS, &raw mut tid) != 0 || tid.is_null() || *tid != libc::gettid() {
                return Err("the kernel does not tell where the C library keeps a thread's number".to_owned());
            }
            if libc::syscall(libc::SYS_get_robust_list, 0, &raw mut robust, &raw mut robust_len) != 0 {
                return Err("the kernel does not tell the list of robust mutexes".to_owned());
            }
        }
        Ok(Self { tid, robust, robust_len })
    }
}

/// Forks this process of one thread: the child is a child of this process's parent. Gives its number, and nothing in the child.
fn fork(libc: &Libc, runtime: &mut dyn Forking) -> io::Result<Option<Pid>> {
    let flags = libc::CLONE_PARENT | libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID | libc::SIGCHLD;
    runtime.before();
    // SAFETY: without CLONE_VM this is a fork: the child has its own copy of everything and goes on on its own copy of this stack. The number's place
    // is glibc's own, as it gives it in its `fork`. There is one thread, so no lock of glibc's is held by anybody.
    let forked =
        unsafe { libc::syscall(libc::SYS_clone, flags as libc::c_long, null_mut::<c_void>(), null_mut::<c_void>(), libc.tid, null_mut::<c_void>()) };
    if forked == 0 {
        // SAFETY: the list is this thread's own, at the address at which glibc registered it; the kernel forgets it at a fork.
        unsafe { libc::syscall(libc::SYS_set_robust_list, libc.robust, libc.robust_len) };
        return Ok(None);
    }
    let error = io::Error::last_os_error();
    runtime.in_parent();
    match i32::try_from(forked).ok().filter(|&number| number > 0).and_then(Pid::from_raw) {
        Some(pid) => Ok(Some(pid)),
        None => Err(error),
    }
}

/// Makes a zygote of a fork: it has nothing of the worker's, and ends with the host. Its process group is the worker's until the host has heard of it.
fn settle(host: Option<Pid>, of_worker: [Option<RawFd>; 2]) {
    lifeline::let_go();
    let tied = set_parent_process_death_signal(Some(Signal::KILL)).is_ok() && getppid() == host;
    // SAFETY: the first worker's descriptors are the first worker's; nothing here uses them, and the standard ones are replaced by another file.
    let closed = unsafe {
        of_worker.into_iter().flatten().for_each(|descriptor| _ = libc::close(descriptor));
        let nowhere = libc::open(c"/dev/null".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        nowhere >= 0 && libc::dup2(nowhere, 1) == 1 && libc::dup2(nowhere, 2) == 2 && libc::close(nowhere) == 0
    };
    if !(tied && closed) {
        end(0);
    }
}

fn end(status: i32) -> ! {
    // SAFETY: ends the process and runs nothing of it.
    unsafe { libc::_exit(status) }
}

struct Zygote {
    control: Socket,
    host: Option<Pid>,
    libc: Libc,
    /// What the process was called.
    name: CString,
}

impl Zygote {
    /// Forks a worker for each order; returns in the workers. Ends the process where the host is gone, or says what is not understood.
    fn serve(self, runtime: &mut dyn Forking) -> Newborn {
        _ = rustix::thread::set_name(c"transom-zygote");
        let mut given = Vec::new();
        loop {
            let Ok(Packet::Data(bytes, descriptor)) = self.control.receive() else { end(0) };
            match (Word::decode(&bytes), descriptor) {
                (Some(Word::Given), Some(descriptor)) => given.push(descriptor),
                (Some(Word::Fork), None) => {
                    step!(only "zygote::order");
                    let given = std::mem::take(&mut given);
                    let answer = match self.fork(runtime) {
                        Ok(None) => return self.leave(given, runtime),
                        Ok(Some(pid)) => Word::Forked(pid),
                        Err(reason) => Word::Refused(reason),
                    };
                    step!(only "zygote::forked");
                    if self.control.send(&answer.encode()).is_err() {
                        end(0);
                    }
                }
                _ => end(0),
            }
        }
    }

    fn fork(&self, runtime: &mut dyn Forking) -> Result<Option<Pid>, String> {
        quiet()?;
        fork(&self.libc, runtime).map_err(|error| error.to_string())
    }

    /// Makes a worker of a fork.
    fn leave(self, given: Vec<OwnedFd>, runtime: &mut dyn Forking) -> Newborn {
        step!(only "zygote::child");
        let dressed = self.dress(given);
        runtime.in_child();
        dressed.unwrap_or_else(|error| {
            _ = writeln!(io::stderr(), "a worker could not be made of a fork: {error}");
            end(1)
        })
    }

    /// The order is that of `Child::prepare`: first what ties it to its host, then what it may take, and last what it inherits.
    fn dress(self, given: Vec<OwnedFd>) -> io::Result<Newborn> {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        if getppid() != self.host {
            return Err(io::Error::from(Errno::SRCH));
        }
        let mut given = given.into_iter();
        let mut next = || given.next().ok_or(io::Error::from(Errno::BADF));
        let (link, stdout, stderr, faults, line) = (next()?, next()?, next()?, next()?, next()?);
        // As in `Child::prepare`: without it the death signal and the worker's own watch remain. It stays open as long as the process lives.
        _ = lifeline::tie(line.as_fd());
        _ = line.into_raw_fd();
        limits::enter(&given.collect::<Vec<_>>())?;
        for (pipe, standard) in [(stdout, 1), (stderr, 2)] {
            // SAFETY: replaces the zygote's own standard output and error, which nothing uses.
            if unsafe { libc::dup2(pipe.as_raw_fd(), standard) } != standard {
                return Err(io::Error::last_os_error());
            }
        }
        rustix::thread::set_name(&self.name)?;
        Ok(Newborn { link: link.into_raw_fd(), faults: faults.into_raw_fd() })
    }
}
