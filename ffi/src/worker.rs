//! A worker process of one's own: functions in C that a pool calls.

use std::ffi::c_int;
use std::os::fd::{FromRawFd, OwnedFd};

use transom::worker::serve;

use crate::abi::{transom_error_t, transom_library_t};
use crate::entry::{bad, entry};
use crate::table::{Functions, Table};

/// Serves the host at the other end of `descriptor` with the functions of a table, until the host says goodbye or is gone; the process ends with it in
/// the latter case. A pool starts a worker program (`transom_options_set_native_worker`) with the number of the descriptor as its last argument.
///
/// To be called on one thread, on which the functions run. The table must stay as it is until this returns. The descriptor is the library's from here on.
///
/// # Safety
/// `library` is a table with what it says; `descriptor` is open and nobody else uses it; `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_worker_serve(descriptor: c_int, library: *const transom_library_t, error: *mut *mut transom_error_t) -> i32 {
    let run = || {
        // SAFETY: asks about a number, which need not be a descriptor.
        if unsafe { libc::fcntl(descriptor, libc::F_GETFD) } < 0 {
            return Err(bad(format!("{descriptor} is no descriptor")));
        }
        // SAFETY: it is open, and the caller promises that it is nobody else's.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        // SAFETY: the caller's promise.
        let table = unsafe { Table::read(library) }?;
        serve(descriptor, &mut Functions::of(table))
    };
    // SAFETY: the caller's promise.
    unsafe { entry(error, run) }
}
