//! `malloc` and its family for a Python worker, loaded by `LD_PRELOAD` before everything else.
//!
//! It is a gate and keeps no books: a large piece is asked of the worker's own code, which hands it out of segments that the host made
//! (`memory/heap.rs` of crate `transom`); everything else, and all of it until the worker has opened the gate, is the C library's. Nothing here allocates,
//! and nothing here waits.
//!
//! Sources: `malloc(3)`, `posix_memalign(3)`, `malloc_usable_size(3)`; "Replacing malloc" in the GNU C Library's manual, which lists the functions that go
//! together; `ld.so(8)`.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

mod gate;

use std::ptr::{copy_nonoverlapping, null_mut};
use std::sync::OnceLock;

use libc::{c_int, c_void, size_t};

use gate::{give, len, take};

// The C library's own, under the names that it keeps for those who replace the others.
unsafe extern "C" {
    fn __libc_malloc(size: size_t) -> *mut c_void;
    fn __libc_calloc(count: size_t, size: size_t) -> *mut c_void;
    fn __libc_realloc(old: *mut c_void, size: size_t) -> *mut c_void;
    fn __libc_memalign(alignment: size_t, size: size_t) -> *mut c_void;
    fn __libc_valloc(size: size_t) -> *mut c_void;
    fn __libc_pvalloc(size: size_t) -> *mut c_void;
    fn __libc_free(old: *mut c_void);
}

/// Pieces of shared memory begin at multiples of this; who asks for more gets it of the C library.
const ALIGNMENT: usize = 64;

/// `malloc(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn malloc(size: size_t) -> *mut c_void {
    // SAFETY: the function takes any size.
    take(size).unwrap_or_else(|| unsafe { __libc_malloc(size) })
}

/// `calloc(3)`: shared memory is handed out again with what was in it, so it is cleared here.
#[unsafe(no_mangle)]
pub extern "C" fn calloc(count: size_t, size: size_t) -> *mut c_void {
    match count.checked_mul(size).and_then(|bytes| Some((take(bytes)?, bytes))) {
        // SAFETY: the piece has that many bytes and is nobody else's yet.
        Some((piece, bytes)) => unsafe { libc::memset(piece, 0, bytes) },
        // SAFETY: the function takes any numbers, and refuses those whose product is too large.
        None => unsafe { __libc_calloc(count, size) },
    }
}

/// `free(3)`.
///
/// # Safety
/// As there: `old` is null, or came of this family and was not given back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free(old: *mut c_void) {
    if !give(old) {
        // SAFETY: the caller's promise; what is not of a segment is the C library's.
        unsafe { __libc_free(old) }
    }
}

/// `free_sized` of C23.
///
/// # Safety
/// As for [`free`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free_sized(old: *mut c_void, _size: size_t) {
    // SAFETY: the caller's promise.
    unsafe { free(old) }
}

/// `free_aligned_sized` of C23.
///
/// # Safety
/// As for [`free`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free_aligned_sized(old: *mut c_void, _alignment: size_t, _size: size_t) {
    // SAFETY: the caller's promise.
    unsafe { free(old) }
}

/// `realloc(3)`. What the C library has stays with it: there growing moves pages instead of bytes.
///
/// # Safety
/// As for [`free`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn realloc(old: *mut c_void, size: size_t) -> *mut c_void {
    let Some(have) = len(old) else {
        return match old.is_null() {
            true => malloc(size),
            // SAFETY: the caller's promise; the piece is the C library's.
            false => unsafe { __libc_realloc(old, size) },
        };
    };
    if size == 0 {
        // SAFETY: the caller's promise.
        unsafe { free(old) };
        return null_mut();
    }
    if size <= have && size >= have / 2 {
        return old;
    }
    let new = malloc(size);
    if !new.is_null() {
        // SAFETY: both pieces have the bytes that are copied and are apart, and the old one is given back once.
        unsafe {
            copy_nonoverlapping(old.cast::<u8>(), new.cast(), have.min(size));
            free(old);
        }
    }
    new
}

/// `reallocarray(3)`.
///
/// # Safety
/// As for [`free`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reallocarray(old: *mut c_void, count: size_t, size: size_t) -> *mut c_void {
    match count.checked_mul(size) {
        // SAFETY: the caller's promise.
        Some(bytes) => unsafe { realloc(old, bytes) },
        None => {
            // SAFETY: the place is this thread's own.
            unsafe { *libc::__errno_location() = libc::ENOMEM };
            null_mut()
        }
    }
}

/// `posix_memalign(3)`, of which Arrow's `system` pool takes its memory.
///
/// # Safety
/// `place` can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_memalign(place: *mut *mut c_void, alignment: size_t, size: size_t) -> c_int {
    if !alignment.is_power_of_two() || !alignment.is_multiple_of(size_of::<usize>()) {
        return libc::EINVAL;
    }
    let piece = memalign(alignment, size);
    if piece.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: the caller's promise.
    unsafe { place.write(piece) };
    0
}

/// `aligned_alloc(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn aligned_alloc(alignment: size_t, size: size_t) -> *mut c_void {
    memalign(alignment, size)
}

/// `memalign(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn memalign(alignment: size_t, size: size_t) -> *mut c_void {
    let piece = if alignment <= ALIGNMENT { take(size) } else { None };
    // SAFETY: the function takes any numbers.
    piece.unwrap_or_else(|| unsafe { __libc_memalign(alignment, size) })
}

/// `valloc(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn valloc(size: size_t) -> *mut c_void {
    // SAFETY: the function takes any size.
    unsafe { __libc_valloc(size) }
}

/// `pvalloc(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn pvalloc(size: size_t) -> *mut c_void {
    // SAFETY: the function takes any size.
    unsafe { __libc_pvalloc(size) }
}

/// `malloc_usable_size(3)`, the one function that the C library keeps under no second name.
///
/// # Safety
/// As for [`free`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_usable_size(old: *mut c_void) -> size_t {
    static NEXT: OnceLock<Option<unsafe extern "C" fn(*mut c_void) -> size_t>> = OnceLock::new();
    if let Some(have) = len(old) {
        return have;
    }
    // SAFETY: the name is a C string, and what bears it in the C library has this type.
    let next = NEXT.get_or_init(|| unsafe { std::mem::transmute(libc::dlsym(libc::RTLD_NEXT, c"malloc_usable_size".as_ptr())) });
    // SAFETY: the caller's promise.
    next.map_or(0, |next| unsafe { next(old) })
}
