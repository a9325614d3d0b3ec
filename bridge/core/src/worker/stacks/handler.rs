//! A worker's part: signal handlers that write the native stack of the thread that they interrupt.
//!
//! A library must not take a process's signals over, so only worker programs of ours call this; a JVM has handlers of its own. What Python's
//! `faulthandler` writes comes first where it is enabled behind this: it calls the handlers that were there before it, when it has written.

use std::ffi::{c_int, c_void};
use std::os::fd::RawFd;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI32, Ordering};

use super::{BEGIN, END};

/// The signals by which a process dies of its own defects.
const FAULTS: [c_int; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT];
/// The signal by which the host asks for a stack.
const REQUEST: c_int = libc::SIGQUIT;
/// Frames of a stack that are written.
const FRAMES: usize = 128;
/// A handler runs on a stack of its own: the other one may be what has overflowed. The unwinder needs some of it.
const STACK: usize = 256 * 1024;
/// Seconds that writing a stack may take. A fault inside the loader holds locks that naming the frames needs.
const PATIENCE: u32 = 2;

static DESCRIPTOR: AtomicI32 = AtomicI32::new(-1);
static FAULT: AtomicI32 = AtomicI32::new(0);

/// From now on a fault, or the host's request, writes the stack of this process's interrupted thread to the pipe that the environment names
/// (`TRANSOM_FAULT_FD`). Gives its descriptor, where there is one.
pub fn write_stacks() -> Option<RawFd> {
    let descriptor = std::env::var("TRANSOM_FAULT_FD").ok()?.parse().ok().filter(|&descriptor: &RawFd| descriptor >= 0)?;
    DESCRIPTOR.store(descriptor, Ordering::Relaxed);
    // What functions start shall not hold it open.
    // SAFETY: sets a flag of a descriptor; where it is none, nothing happens. The first call of `backtrace` loads what it needs, which a handler must
    // not do; it writes to the array that it is given.
    unsafe {
        libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC);
        libc::backtrace([null_mut(); 1].as_mut_ptr(), 1);
    }
    // What the function waits for goes on: a deadline must not look like the failure of a system call.
    handle(REQUEST, on_request, libc::SA_RESTART);
    // A JVM blocks it in its threads, and processes inherit that.
    unblock(REQUEST);
    // After the first time a fault does what it does by itself: it ends the process.
    FAULTS.iter().for_each(|&signal| handle(signal, on_fault, libc::SA_RESETHAND | libc::SA_NODEFER));
    Some(descriptor)
}

/// Gives this thread a stack for its handlers that is large enough. To be called last: `faulthandler` gives the thread a small one of its own.
// What looks for leaks knows this stack, which lives as long as the process, by the name of the function.
#[inline(never)]
pub fn use_large_signal_stack() {
    let stack = Box::leak(vec![0_u8; STACK].into_boxed_slice());
    let alternative = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: STACK };
    // SAFETY: the stack is there for ever and nobody else's.
    unsafe { libc::sigaltstack(&raw const alternative, null_mut()) };
}

fn handle(signal: c_int, handler: extern "C" fn(c_int), flags: c_int) {
    // SAFETY: an all-zero `sigaction` is one without handler, mask and flags.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as usize;
    action.sa_flags = flags | libc::SA_ONSTACK;
    // SAFETY: the handlers only do what a handler may.
    unsafe { libc::sigaction(signal, &raw const action, null_mut()) };
}

/// Lets a signal come to this thread. A handler may do so, too.
fn unblock(signal: c_int) {
    // SAFETY: makes a set of one signal and changes this thread's mask; an all-zero set is empty.
    unsafe {
        let mut only: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&raw mut only, signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const only, null_mut());
    }
}

extern "C" fn on_request(_: c_int) {
    let mut frames: [*mut c_void; FRAMES] = [null_mut(); FRAMES];
    // SAFETY: it does not allocate once it was called before, reads this thread's stack and writes to the array that it is given.
    let count = unsafe { libc::backtrace(frames.as_mut_ptr(), FRAMES as c_int) };
    tell(&frames, count);
    write(END.as_bytes());
}

extern "C" fn on_fault(signal: c_int) {
    FAULT.store(signal, Ordering::Relaxed);
    handle(libc::SIGALRM, on_alarm, libc::SA_RESETHAND | libc::SA_NODEFER);
    unblock(libc::SIGALRM);
    // SAFETY: sets the timer of a process that is at its end.
    unsafe { libc::alarm(PATIENCE) };
    let mut frames: [*mut c_void; FRAMES] = [null_mut(); FRAMES];
    // SAFETY: as above.
    let count = unsafe { libc::backtrace(frames.as_mut_ptr(), FRAMES as c_int) };
    tell(&frames, count);
    die();
}

/// Writing the stack took too long: it must not keep a process that is dying.
extern "C" fn on_alarm(_: c_int) {
    die();
}

fn die() {
    let signal = FAULT.load(Ordering::Relaxed);
    // A library's runtime, such as Go's, may have put its own handler before this one: then nothing has set it back.
    // SAFETY: both are made for handlers; they end the process.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

/// Writes a stack as `backtrace` gave it inside a handler: the handler itself, the kernel's way back from it, and then what was interrupted. Where
/// one handler called another the way back is there twice, and only what is behind the last is the user's.
fn tell(frames: &[*mut c_void; FRAMES], count: c_int) {
    let frames = &frames[..usize::try_from(count).unwrap_or(0)];
    let way_back = frames.get(1);
    let handlers = frames.iter().rposition(|frame| Some(frame) == way_back).map_or(0, |last| last + 1);
    write(BEGIN.as_bytes());
    let interrupted = &frames[handlers..];
    // SAFETY: reads the array and the tables of loaded libraries, and writes to a descriptor; it does not allocate.
    unsafe { libc::backtrace_symbols_fd(interrupted.as_ptr(), interrupted.len() as c_int, DESCRIPTOR.load(Ordering::Relaxed)) };
}

fn write(text: &[u8]) {
    // SAFETY: reads the text and writes to a descriptor. What cannot be written is lost: nobody is left to be told.
    unsafe { libc::write(DESCRIPTOR.load(Ordering::Relaxed), text.as_ptr().cast(), text.len()) };
}
