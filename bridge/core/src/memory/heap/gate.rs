//! The other side of the library that is loaded with the worker: it is looked up by name, since it is there or not.

use std::ffi::{CStr, c_void};
use std::ptr::null_mut;
use std::sync::OnceLock;

use super::books::books;
use super::fork;

/// The version of what this code and the library say to each other; `bridge/malloc/src/gate.rs` has the same number.
const VERSION: u32 = 1;

type Take = extern "C" fn(usize) -> *mut c_void;
type Give = extern "C" fn(*mut c_void) -> bool;
type Len = extern "C" fn(*mut c_void) -> usize;

struct Gate {
    note: extern "C" fn(usize, usize),
    open: extern "C" fn(bool),
}

static GATE: OnceLock<Gate> = OnceLock::new();

/// Puts this process's large pieces of memory into the segments that it will be given. To be called once, before it serves, by a worker whose runtime
/// leaves memory as it is when it frees it.
///
/// ```
/// if let Err(reason) = transom::worker::share_heap() {
///     println!("results are copied once, since {reason}");
/// }
/// ```
///
/// # Errors
/// Why it cannot be, in words.
pub fn join() -> Result<(), &'static str> {
    let (Some(join), Some(note), Some(open)) = (find(c"transom_malloc_join"), find(c"transom_malloc_note"), find(c"transom_malloc_open")) else {
        return Err("libtransom_malloc.so is not loaded");
    };
    // SAFETY: what bears these names is the library's, in which they have these types.
    let (join, gate) = unsafe {
        let join: extern "C" fn(u32, Take, Give, Len) -> u32 = std::mem::transmute(join);
        (
            join,
            Gate {
                note: std::mem::transmute::<*mut c_void, extern "C" fn(usize, usize)>(note),
                open: std::mem::transmute::<*mut c_void, extern "C" fn(bool)>(open),
            },
        )
    };
    match join(VERSION, take, give, len) {
        0 => {}
        1 => return Err("libtransom_malloc.so is of another version"),
        _ => return Err("another allocator is loaded before libtransom_malloc.so"),
    }
    if GATE.set(gate).is_ok() {
        fork::watch();
    }
    Ok(())
}

pub(super) fn joined() -> bool {
    GATE.get().is_some()
}

/// Segments lie between these addresses, too.
pub(super) fn note(first: usize, end: usize) {
    if let Some(gate) = GATE.get() {
        (gate.note)(first, end);
    }
}

pub(super) fn open(open: bool) {
    if let Some(gate) = GATE.get() {
        (gate.open)(open);
    }
}

fn find(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: the name is a C string.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!found.is_null()).then_some(found)
}

pub(super) extern "C" fn take(size: usize) -> *mut c_void {
    books().and_then(|mut books| books.take(size)).map_or(null_mut(), |address| address as *mut c_void)
}

/// What is allocated while this thread has the books comes of the C library, so nothing here is lost to a lock that this thread has.
pub(super) extern "C" fn give(piece: *mut c_void) -> bool {
    books().is_some_and(|mut books| books.give(piece as usize))
}

pub(super) extern "C" fn len(piece: *mut c_void) -> usize {
    books().and_then(|mut books| books.len(piece as usize)).unwrap_or(0)
}
