//! The stack of a worker that dies, for the error that its host makes of the death. Only the program of ours does this: a library must not take a
//! process's signals over.

use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI32, Ordering};

/// The signals by which a process dies of its own defects.
const SIGNALS: [c_int; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT];

/// Frames of a stack that is written.
const FRAMES: usize = 64;

/// A handler runs on a stack of its own: the other one may be what has overflowed. The unwinder needs some of it.
const STACK: usize = 256 * 1024;

static DESCRIPTOR: AtomicI32 = AtomicI32::new(-1);

/// From now on a fault writes the stack of this thread to the descriptor that the environment names.
pub fn write_stacks() {
    let descriptor = std::env::var("TRANSOM_FAULT_FD").ok().and_then(|text| text.parse().ok());
    let Some(descriptor) = descriptor.filter(|&descriptor: &i32| descriptor >= 0) else { return };
    DESCRIPTOR.store(descriptor, Ordering::Relaxed);
    // What functions start shall not hold it open.
    // SAFETY: sets a flag of a descriptor; where it is none, nothing happens.
    unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
    let stack = Box::leak(vec![0u8; STACK].into_boxed_slice());
    let alternative = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: STACK };
    // SAFETY: the stack is there for ever and nobody else's. The first call of `backtrace` loads what it needs, which the handler must not do.
    unsafe {
        libc::sigaltstack(&raw const alternative, null_mut());
        libc::backtrace([null_mut(); 1].as_mut_ptr(), 1);
    }
    for signal in SIGNALS {
        // SAFETY: an all-zero `sigaction` is one without handler, mask and flags.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = on_fault as extern "C" fn(c_int) as usize;
        // After the first time the signal does what it does by itself: it ends the process.
        action.sa_flags = libc::SA_ONSTACK | libc::SA_RESETHAND | libc::SA_NODEFER;
        // SAFETY: the handler only does what a handler may.
        unsafe { libc::sigaction(signal, &raw const action, null_mut()) };
    }
}

extern "C" fn on_fault(signal: c_int) {
    let descriptor = DESCRIPTOR.load(Ordering::Relaxed);
    let mut frames: [*mut c_void; FRAMES] = [null_mut(); FRAMES];
    // SAFETY: none of them allocates once `backtrace` was called before; they read this thread's stack, write to a descriptor and end the process.
    unsafe {
        let count = libc::backtrace(frames.as_mut_ptr(), FRAMES as c_int);
        // The first is this function.
        libc::backtrace_symbols_fd(frames.as_ptr().add(1), (count - 1).max(0), descriptor);
        // A library's runtime, such as Go's, may have put its own handler before this one: then nothing has set it back.
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}
