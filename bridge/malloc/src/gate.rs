//! Which pieces are the worker's: its functions, the addresses that come into question, and whether it wants any now.

use std::mem::MaybeUninit;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use libc::{c_void, size_t};

/// The version of what the worker and this library say to each other; `memory/heap` of crate `transom` has the same number.
const VERSION: u32 = 1;
/// Smaller pieces stay with the C library: below this the copy of a result costs less than the books.
const LARGE: usize = 32 << 10;

/// What the worker's own code brings. `take` gives null where it has no room, `len` 0 for what is not its own, and `give` false.
struct Worker {
    take: extern "C" fn(size_t) -> *mut c_void,
    give: extern "C" fn(*mut c_void) -> bool,
    len: extern "C" fn(*mut c_void) -> size_t,
}

static WORKER: OnceLock<Worker> = OnceLock::new();
/// All segments lie in here; between them may lie anything. Empty until there is one.
static LOW: AtomicUsize = AtomicUsize::new(usize::MAX);
static HIGH: AtomicUsize = AtomicUsize::new(0);
static OPEN: AtomicBool = AtomicBool::new(false);

/// A piece of shared memory, where it is large enough, wanted now, and there.
pub(crate) fn take(size: usize) -> Option<*mut c_void> {
    if size < LARGE || !OPEN.load(Ordering::Relaxed) {
        return None;
    }
    Some((WORKER.get()?.take)(size)).filter(|piece| !piece.is_null())
}

/// Gives a piece back, if it is one of shared memory.
pub(crate) fn give(piece: *mut c_void) -> bool {
    may_be_shared(piece) && WORKER.get().is_some_and(|worker| (worker.give)(piece))
}

/// The bytes of a piece, if it is one of shared memory.
pub(crate) fn len(piece: *mut c_void) -> Option<usize> {
    if !may_be_shared(piece) {
        return None;
    }
    Some((WORKER.get()?.len)(piece)).filter(|&len| len > 0)
}

fn may_be_shared(piece: *mut c_void) -> bool {
    let address = piece as usize;
    // Whoever has a piece got it after its segment was noted here, by whatever way the address came to this thread.
    address >= LOW.load(Ordering::Relaxed) && address < HIGH.load(Ordering::Relaxed)
}

/// The worker takes its place behind the gate, once. Gives 0, or 1 where it is of another version, or 2 where `malloc` is somebody else's.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn transom_malloc_join(
    version: u32,
    take: extern "C" fn(size_t) -> *mut c_void,
    give: extern "C" fn(*mut c_void) -> bool,
    len: extern "C" fn(*mut c_void) -> size_t,
) -> u32 {
    if version != VERSION {
        return 1;
    }
    // SAFETY: the name is a C string.
    let used = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"malloc".as_ptr()) };
    if library_of(used).is_none_or(|library| Some(library) != library_of(transom_malloc_join as *const c_void)) {
        return 2;
    }
    _ = WORKER.set(Worker { take, give, len });
    0
}

/// Segments lie between these addresses, and between those that were noted before.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn transom_malloc_note(low: usize, high: usize) {
    LOW.fetch_min(low, Ordering::Relaxed);
    HIGH.fetch_max(high, Ordering::Relaxed);
}

/// Opens the gate, or closes it: what was handed out can be given back at any time.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn transom_malloc_open(open: bool) {
    OPEN.store(open, Ordering::Relaxed);
}

/// The address at which the library that has this address is loaded.
fn library_of(address: *const c_void) -> Option<usize> {
    let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: the function reads the address as a number and fills the structure where it knows it; zeroes are a valid one.
    unsafe { (libc::dladdr(address, info.as_mut_ptr()) != 0).then(|| info.assume_init().dli_fbase as usize) }
}
