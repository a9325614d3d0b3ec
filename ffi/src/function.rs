//! Functions: where they are, and how they are to be run.

use std::ffi::c_char;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use transom::{Function, OnError, Result};

use crate::abi::{TRANSOM_ON_ERROR_DEAD_LETTER, TRANSOM_ON_ERROR_NULL, TRANSOM_ON_ERROR_RAISE, transom_error_t, transom_function_t};
use crate::entry::{Place, bad, entry, path, quietly, text, texts};
use crate::handle::{self, Handle, Object};

/// A function, which setters change for the calls that come after.
pub struct Target(Mutex<Function>);

impl Object for Target {
    type Opaque = transom_function_t;
    const NOUN: &'static str = "a function";
}

impl Target {
    /// The function of a handle, as it is now.
    pub(crate) fn function(function: *const transom_function_t) -> Result<Function> {
        Ok(handle::get::<Self>(function)?.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn change(function: *mut transom_function_t, change: impl FnOnce(Function) -> Function) -> Result<()> {
        let target = handle::get::<Self>(function)?;
        let mut function = target.0.lock().unwrap_or_else(PoisonError::into_inner);
        *function = change(function.clone());
        Ok(())
    }

    /// Gives a new function to the caller.
    ///
    /// # Safety
    /// `out` is NULL or may be written.
    unsafe fn give(function: Result<Function>, out: *mut *mut transom_function_t) -> Result<()> {
        // SAFETY: the caller's promise.
        let out = unsafe { Place::new(out, "out") }?;
        out.put(Handle::new(Self(Mutex::new(function?))).into_raw());
        Ok(())
    }
}

/// A Python function by reference: "path/file.py:name" or "package.module:name". To be freed with `transom_function_free`; calls that are under way
/// do not need it any more. Functions may be used by several threads and pools.
///
/// # Safety
/// `reference` is a C string; `out` may be written; `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_function_python(
    reference: *const c_char,
    out: *mut *mut transom_function_t,
    error: *mut *mut transom_error_t,
) -> i32 {
    // SAFETY: the caller's promises.
    unsafe { entry(error, || Target::give(text(reference, "reference").and_then(Function::python), out)) }
}

/// A function of a shared library, by the library's path and the name in its table. In a worker program of one's own, only the name counts.
///
/// # Safety
/// `library` and `name` are C strings; `out` may be written; `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_function_native(
    library: *const c_char,
    name: *const c_char,
    out: *mut *mut transom_function_t,
    error: *mut *mut transom_error_t,
) -> i32 {
    // SAFETY: the caller's promises.
    unsafe { entry(error, || Target::give(path(library, "library").and_then(|library| Function::native(library, text(name, "name")?)), out)) }
}

/// A function for JVM workers by its class, such as "com.acme.Discount", or by the name of a service that a jar offers; its jars are its import path.
///
/// # Safety
/// `class_name` is a C string; `out` may be written; `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_function_java(
    class_name: *const c_char,
    out: *mut *mut transom_function_t,
    error: *mut *mut transom_error_t,
) -> i32 {
    // SAFETY: the caller's promises.
    unsafe { entry(error, || Target::give(text(class_name, "class_name").and_then(Function::java), out)) }
}

/// Folders in which a worker looks for Python modules, besides its interpreter's own, or jars for a JVM function; `count` of them.
///
/// # Safety
/// `paths` points to as many C strings; `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_function_set_import_path(
    function: *mut transom_function_t,
    paths: *const *const c_char,
    count: usize,
    error: *mut *mut transom_error_t,
) -> i32 {
    // SAFETY: the caller's promises.
    unsafe { entry(error, || texts(paths, count, "paths").and_then(|paths| Target::change(function, |function| function.with_import_path(paths)))) }
}

/// The longest that one batch may take before its worker is ended, in milliseconds; overrules the pool's.
///
/// # Safety
/// `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_function_set_deadline_ms(
    function: *mut transom_function_t,
    deadline_ms: u64,
    error: *mut *mut transom_error_t,
) -> i32 {
    let deadline = Duration::from_millis(deadline_ms);
    // SAFETY: the caller's promise.
    unsafe { entry(error, || Target::change(function, |function| function.with_deadline(deadline))) }
}

/// How often a batch is tried again after its worker died. Only for functions that may run twice on the same rows; 0 by default.
///
/// # Safety
/// `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_function_set_retries(function: *mut transom_function_t, retries: u32, error: *mut *mut transom_error_t) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { entry(error, || Target::change(function, |function| function.with_retries(retries))) }
}

/// What becomes of rows for which the function fails: a `TRANSOM_ON_ERROR_*`; overrules what the function's definition says. Dead letters are taken
/// with `transom_stream_dead_letters` and `transom_pool_dead_letters`. To find the rows to blame, rows may be run again, so the same rows must
/// give the same results.
///
/// # Safety
/// `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_function_set_on_error(function: *mut transom_function_t, on_error: i32, error: *mut *mut transom_error_t) -> i32 {
    let run = || {
        let on_error = match on_error {
            TRANSOM_ON_ERROR_RAISE => OnError::Raise,
            TRANSOM_ON_ERROR_NULL => OnError::Null,
            TRANSOM_ON_ERROR_DEAD_LETTER => OnError::DeadLetter,
            other => return Err(bad(format!("there is no policy {other} for rows that fail"))),
        };
        Target::change(function, |function| function.with_on_error(on_error))
    };
    // SAFETY: the caller's promise.
    unsafe { entry(error, run) }
}

/// Frees a function. NULL, and a function that was freed before, do nothing.
#[unsafe(no_mangle)]
pub extern "C" fn transom_function_free(function: *mut transom_function_t) {
    quietly((), || handle::take::<Target>(function).map(drop));
}
