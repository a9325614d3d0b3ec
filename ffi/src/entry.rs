//! What every entry point does: ask whether `transom_init` was called, catch panics, turn errors into codes, and read the caller's pointers.

use std::ffi::{CStr, CString, OsStr, c_char};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};

use transom::{Code, Error, Result};

use crate::abi::{TRANSOM_ABI_VERSION, transom_error_t};
use crate::error::Failure;
use crate::handle::Handle;

static READY: AtomicBool = AtomicBool::new(false);

/// The version of the ABI that the library has: what `transom_init` must be given. This is the one function that may be called before it.
#[unsafe(no_mangle)]
pub extern "C" fn transom_abi_version() -> u32 {
    TRANSOM_ABI_VERSION
}

/// The version of Transom, such as "0.1.0"; borrowed for ever. May be called before `transom_init`.
#[unsafe(no_mangle)]
pub extern "C" fn transom_version() -> *const c_char {
    const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => panic!("a version has no zero byte"),
    };
    VERSION.as_ptr()
}

/// Must be called first, with `TRANSOM_ABI_VERSION`: it compares the header that the program was compiled with and the library that it runs with. Until
/// it has returned 0, every other function fails with `VERSION_MISMATCH`. It may be called again, and from several threads.
///
/// # Safety
/// `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_init(abi_version: u32, error: *mut *mut transom_error_t) -> i32 {
    let matches = abi_version == TRANSOM_ABI_VERSION;
    if matches {
        READY.store(true, Ordering::Release);
    }
    let run = || {
        if matches { Ok(()) } else { Err(mismatch(&format!("the program was compiled for version {abi_version} of the ABI"))) }
    };
    // SAFETY: the caller's promise.
    unsafe { answered(error, caught(run)) }
}

fn mismatch(what: &str) -> Error {
    Error::new(Code::VersionMismatch, format!("{what}, and this library has version {TRANSOM_ABI_VERSION}"))
        .with_hint("compile the program with the transom.h that was installed with this libtransom")
}

fn ready() -> Result<()> {
    if READY.load(Ordering::Acquire) {
        return Ok(());
    }
    Err(Error::new(Code::VersionMismatch, "transom_init was not called")
        .with_hint("call transom_init(TRANSOM_ABI_VERSION, &error) first: it makes sure that program and library fit together"))
}

fn caught<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Error::new(Code::Internal, format!("panic in the library: {}", text.unwrap_or("without a message"))))
    })
}

/// Gives an outcome to the caller.
///
/// # Safety
/// `error` is NULL or may be written.
unsafe fn answered(error: *mut *mut transom_error_t, outcome: Result<()>) -> i32 {
    let (code, owned) = match outcome {
        Ok(()) => (0, null_mut()),
        Err(failure) if error.is_null() => (failure.code().number(), null_mut()),
        Err(failure) => (failure.code().number(), Handle::new(Failure::from(failure)).into_raw()),
    };
    if !error.is_null() {
        // SAFETY: the caller's promise. It is written and not read: it may be uninitialised.
        unsafe { error.write(owned) };
    }
    i32::from(code)
}

/// Runs an entry point that can fail.
///
/// # Safety
/// `error` is NULL or may be written.
pub(crate) unsafe fn entry(error: *mut *mut transom_error_t, run: impl FnOnce() -> Result<()>) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { answered(error, ready().and_then(|()| caught(run))) }
}

/// Runs an entry point that has no way to tell an error; gives `otherwise` instead.
pub(crate) fn quietly<T>(otherwise: T, run: impl FnOnce() -> Result<T>) -> T {
    caught(run).unwrap_or(otherwise)
}

/// An error about an argument.
pub(crate) fn bad(message: impl Into<String>) -> Error {
    Error::new(Code::BadArgument, message)
}

/// A place of the caller's for an answer.
pub(crate) struct Place<T>(*mut T);

impl<T> Place<T> {
    /// # Errors
    /// `BAD_ARGUMENT` where it is NULL.
    ///
    /// # Safety
    /// `place` is NULL or may be written.
    pub(crate) unsafe fn new(place: *mut T, name: &str) -> Result<Self> {
        if place.is_null() { Err(bad(format!("`{name}` is NULL"))) } else { Ok(Self(place)) }
    }

    /// Writes the answer. What was there is neither read nor dropped.
    pub(crate) fn put(self, value: T) {
        // SAFETY: `new` was promised that it may be written, and the caller waits for it.
        unsafe { self.0.write(value) };
    }
}

/// A text of the caller's.
///
/// # Errors
/// `BAD_ARGUMENT` where it is NULL or not UTF-8.
///
/// # Safety
/// `text` is NULL or ends with a zero byte, and stays as it is for `'a`.
pub(crate) unsafe fn text<'a>(text: *const c_char, name: &str) -> Result<&'a str> {
    if text.is_null() {
        return Err(bad(format!("`{name}` is NULL")));
    }
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map_err(|error| bad(format!("`{name}` is not UTF-8: {error}")))
}

/// A path of the caller's, which need not be UTF-8.
///
/// # Errors
/// `BAD_ARGUMENT` where it is NULL.
///
/// # Safety
/// As [`text`].
pub(crate) unsafe fn path(path: *const c_char, name: &str) -> Result<PathBuf> {
    if path.is_null() {
        return Err(bad(format!("`{name}` is NULL")));
    }
    // SAFETY: the caller's promise.
    let path = unsafe { CStr::from_ptr(path) };
    Ok(PathBuf::from(OsStr::from_bytes(path.to_bytes())))
}

/// Texts of the caller's.
///
/// # Errors
/// `BAD_ARGUMENT` where the list or one of the texts is NULL, or one is not UTF-8.
///
/// # Safety
/// `texts` is NULL or points to `count` pointers, each as [`text`] wants it.
pub(crate) unsafe fn texts(texts: *const *const c_char, count: usize, name: &str) -> Result<Vec<String>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    if texts.is_null() {
        return Err(bad(format!("`{name}` is NULL, with {count} entries")));
    }
    // SAFETY: the caller's promise, for each number below the count.
    (0..count).map(|index| unsafe { text(texts.add(index).read(), &format!("{name}[{index}]")) }.map(str::to_owned)).collect()
}

/// A text for C, which ends at its first zero byte: those within are replaced.
pub(crate) fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default()
}

/// A struct of the caller's, which begins with its size.
///
/// # Errors
/// `BAD_ARGUMENT` where its size is not the one that this library knows.
///
/// # Safety
/// `place` is not NULL and points to a `T`, or to a struct of another size that begins with that size.
pub(crate) unsafe fn sized<'a, T>(place: *const T, name: &str) -> Result<&'a T> {
    // SAFETY: the caller's promise; every such struct begins with its size.
    let size = unsafe { place.cast::<usize>().read() };
    if size != size_of::<T>() {
        return Err(wrong_size(name, size, size_of::<T>()));
    }
    // SAFETY: the caller's promise, and the size is that of a `T`.
    Ok(unsafe { &*place })
}

/// A struct of the caller's that is to be filled. A longer one, of a newer header, is filled as far as this library knows it.
///
/// # Errors
/// `BAD_ARGUMENT` where it is NULL or smaller than what this library fills.
///
/// # Safety
/// `place` is NULL, or points to as many bytes as its first member says, and may be written.
pub(crate) unsafe fn sized_place<T>(place: *mut T, name: &str) -> Result<Place<T>> {
    if place.is_null() {
        return Err(bad(format!("`{name}` is NULL")));
    }
    // SAFETY: the caller's promise.
    let size = unsafe { place.cast::<usize>().read() };
    if size < size_of::<T>() { Err(wrong_size(name, size, size_of::<T>())) } else { Ok(Place(place)) }
}

fn wrong_size(name: &str, size: usize, known: usize) -> Error {
    bad(format!("`{name}` says that it has {size} bytes, and this library knows it with {known}")).with_hint("set its `size` to sizeof it")
}
