//! The settings of a pool that is to be opened.

use std::ffi::{c_char, c_void};
use std::mem::take;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use transom::{Language, Mode, Pool, PoolBuilder, Result};

use crate::abi::{
    TRANSOM_LANGUAGE_JAVA, TRANSOM_LANGUAGE_NATIVE, TRANSOM_LANGUAGE_PYTHON, TRANSOM_MODE_GUARDED, TRANSOM_MODE_STRICT, TRANSOM_MODE_TRUSTED,
    transom_error_t, transom_event_fn, transom_options_t,
};
use crate::entry::{Place, bad, entry, path, quietly, text, texts};
use crate::events::Listener;
use crate::handle::{self, Handle, Object};

/// Settings, and who is to hear of the pool's events.
#[derive(Default)]
pub struct Options {
    builder: Mutex<PoolBuilder>,
    listener: Mutex<Option<Listener>>,
}

impl Object for Options {
    type Opaque = transom_options_t;
    const NOUN: &'static str = "an options handle";
}

impl Options {
    fn change(options: *mut transom_options_t, change: impl FnOnce(PoolBuilder) -> PoolBuilder) -> Result<()> {
        let options = handle::get::<Self>(options)?;
        let mut builder = options.builder.lock().unwrap_or_else(PoisonError::into_inner);
        *builder = change(take(&mut *builder));
        Ok(())
    }

    /// Makes the pool; the settings can be used again.
    pub(crate) fn open(&self) -> Result<(Pool, Option<Listener>)> {
        let builder = self.builder.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let listener = *self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((builder.build()?, listener))
    }
}

/// The number of a language in the header.
pub(crate) fn language_bit(language: Language) -> u32 {
    match language {
        Language::Python => TRANSOM_LANGUAGE_PYTHON,
        Language::Native => TRANSOM_LANGUAGE_NATIVE,
        Language::Java => TRANSOM_LANGUAGE_JAVA,
        // One that this version of the ABI has no number for.
        _ => 0,
    }
}

/// Makes settings, with the default of each. To be freed with `transom_options_free`; a pool that was opened with them does not need them any
/// more. Setters may be called from any thread.
///
/// # Safety
/// `out` may be written; `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_options_new(out: *mut *mut transom_options_t, error: *mut *mut transom_error_t) -> i32 {
    // SAFETY: the caller's promises.
    unsafe { entry(error, || Place::new(out, "out").map(|out| out.put(Handle::new(Options::default()).into_raw()))) }
}

/// Frees settings. NULL, and settings that were freed before, do nothing.
#[unsafe(no_mangle)]
pub extern "C" fn transom_options_free(options: *mut transom_options_t) {
    quietly((), || handle::take::<Options>(options).map(drop));
}

/// How many workers there are for each language; by default one for each core.
///
/// # Safety
/// `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_options_set_workers(options: *mut transom_options_t, workers: usize, error: *mut *mut transom_error_t) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { entry(error, || Options::change(options, |builder| builder.workers(workers))) }
}

/// The Python interpreter of the workers, such as a virtual environment's `bin/python`; by default `python3` of the path.
///
/// # Safety
/// `interpreter` is a C string; `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_options_set_python(
    options: *mut transom_options_t,
    interpreter: *const c_char,
    error: *mut *mut transom_error_t,
) -> i32 {
    // SAFETY: the caller's promises.
    unsafe { entry(error, || path(interpreter, "interpreter").and_then(|path| Options::change(options, |builder| builder.python(path)))) }
}

/// The program that runs functions of shared libraries, or a worker program of one's own; by default what `TRANSOM_NATIVE_WORKER` names, or else the
/// `transom-native-worker` beside the running program or on the path.
///
/// # Safety
/// `program` is a C string; `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_options_set_native_worker(
    options: *mut transom_options_t,
    program: *const c_char,
    error: *mut *mut transom_error_t,
) -> i32 {
    // SAFETY: the caller's promises.
    unsafe { entry(error, || path(program, "program").and_then(|path| Options::change(options, |builder| builder.native_worker(path)))) }
}

/// The `java` program of JVM workers; by default that of `JAVA_HOME`, or else of the path.
///
/// # Safety
/// `program` is a C string; `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_options_set_java(options: *mut transom_options_t, program: *const c_char, error: *mut *mut transom_error_t) -> i32 {
    // SAFETY: the caller's promises.
    unsafe { entry(error, || path(program, "program").and_then(|path| Options::change(options, |builder| builder.java(path)))) }
}

/// The class path of JVM workers, entries parted by colons: transom-java and arrow-java must be on it. By default `TRANSOM_JAVA_CLASS_PATH`.
///
/// # Safety
/// `class_path` is a C string; `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_options_set_java_class_path(
    options: *mut transom_options_t,
    class_path: *const c_char,
    error: *mut *mut transom_error_t,
) -> i32 {
    let run = || {
        // SAFETY: the caller's promise.
        let class_path = unsafe { path(class_path, "class_path") }?;
        let entries = std::env::split_paths(&class_path).filter(|entry| !entry.as_os_str().as_bytes().is_empty());
        Options::change(options, |builder| builder.java_class_path(entries))
    };
    // SAFETY: the caller's promise.
    unsafe { entry(error, run) }
}

/// Options of JVM workers, such as "-Xmx1g"; `count` of them.
///
/// # Safety
/// `java_options` points to as many C strings; `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_options_set_java_options(
    options: *mut transom_options_t,
    java_options: *const *const c_char,
    count: usize,
    error: *mut *mut transom_error_t,
) -> i32 {
    let run = || {
        // SAFETY: the caller's promise.
        let java_options = unsafe { texts(java_options, count, "java_options") }?;
        Options::change(options, |builder| builder.java_options(java_options))
    };
    // SAFETY: the caller's promise.
    unsafe { entry(error, run) }
}

/// The languages, `TRANSOM_LANGUAGE_*` added up, whose workers start with the pool; those of others start with the first function of theirs. By default
/// Python's.
///
/// # Safety
/// `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_options_set_prestart(options: *mut transom_options_t, languages: u32, error: *mut *mut transom_error_t) -> i32 {
    let run = || {
        let chosen: Vec<Language> = Language::ALL.iter().copied().filter(|&language| languages & language_bit(language) != 0).collect();
        let unknown = chosen.iter().fold(languages, |left, &language| left & !language_bit(language));
        if unknown != 0 {
            return Err(bad(format!("{unknown:#x} is no language")));
        }
        Options::change(options, |builder| builder.prestart(chosen))
    };
    // SAFETY: the caller's promise.
    unsafe { entry(error, run) }
}

/// An environment variable for the workers, besides those of this process. May be called for several.
///
/// # Safety
/// `name` and `value` are C strings; `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_options_set_env(
    options: *mut transom_options_t,
    name: *const c_char,
    value: *const c_char,
    error: *mut *mut transom_error_t,
) -> i32 {
    let run = || {
        // SAFETY: the caller's promises.
        let (name, value) = unsafe { (text(name, "name")?, path(value, "value")?) };
        if name.is_empty() || name.contains('=') {
            return Err(bad(format!("{name:?} cannot be the name of an environment variable")));
        }
        Options::change(options, |builder| builder.env(name, value))
    };
    // SAFETY: the caller's promise.
    unsafe { entry(error, run) }
}

/// The working directory of the workers; by default that of this process.
///
/// # Safety
/// `directory` is a C string; `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_options_set_directory(
    options: *mut transom_options_t,
    directory: *const c_char,
    error: *mut *mut transom_error_t,
) -> i32 {
    // SAFETY: the caller's promises.
    unsafe { entry(error, || path(directory, "directory").and_then(|path| Options::change(options, |builder| builder.working_directory(path)))) }
}

/// The most bytes of shared memory, arguments and results together; by default half of what the machine or the control group has left.
///
/// # Safety
/// `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_options_set_memory_limit(options: *mut transom_options_t, bytes: u64, error: *mut *mut transom_error_t) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { entry(error, || Options::change(options, |builder| builder.memory_limit(bytes))) }
}

/// How far workers are believed: a `TRANSOM_MODE_*`; by default `TRANSOM_MODE_GUARDED`.
///
/// # Safety
/// `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_options_set_mode(options: *mut transom_options_t, mode: i32, error: *mut *mut transom_error_t) -> i32 {
    let run = || {
        let mode = match mode {
            TRANSOM_MODE_GUARDED => Mode::Guarded,
            TRANSOM_MODE_STRICT => Mode::Strict,
            TRANSOM_MODE_TRUSTED => Mode::Trusted,
            other => return Err(bad(format!("there is no mode {other}"))),
        };
        Options::change(options, |builder| builder.mode(mode))
    };
    // SAFETY: the caller's promise.
    unsafe { entry(error, run) }
}

/// How many batches a worker may have at a time: one that it works on, the others ready; 3 by default.
///
/// # Safety
/// `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_options_set_window(options: *mut transom_options_t, batches: usize, error: *mut *mut transom_error_t) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { entry(error, || Options::change(options, |builder| builder.window(batches))) }
}

/// The longest that a function may take for one batch before its worker is ended, in milliseconds; none by default. A function's own comes first.
///
/// # Safety
/// `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_options_set_deadline_ms(options: *mut transom_options_t, deadline_ms: u64, error: *mut *mut transom_error_t) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { entry(error, || Options::change(options, |builder| builder.deadline(Duration::from_millis(deadline_ms)))) }
}

/// The most bytes of memory that a worker may have of its own, with what it starts; no limit by default. The pool's shared memory does not count. A
/// worker that has more is ended, and its call fails with `WORKER_OUT_OF_MEMORY`.
///
/// # Safety
/// `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_options_set_worker_memory(options: *mut transom_options_t, bytes: u64, error: *mut *mut transom_error_t) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { entry(error, || Options::change(options, |builder| builder.worker_memory(bytes))) }
}

/// The most descriptors that a worker may have open, the seven that it starts with included; by default as many as this process.
///
/// # Safety
/// `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_options_set_worker_descriptors(
    options: *mut transom_options_t,
    descriptors: u64,
    error: *mut *mut transom_error_t,
) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { entry(error, || Options::change(options, |builder| builder.worker_descriptors(descriptors))) }
}

/// The most processes and threads that functions may start in a worker, besides those that it has when it becomes ready; no limit by default. Where it
/// cannot be held to, the pool is refused.
///
/// # Safety
/// `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_options_set_worker_processes(
    options: *mut transom_options_t,
    processes: u64,
    error: *mut *mut transom_error_t,
) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { entry(error, || Options::change(options, |builder| builder.worker_processes(processes))) }
}

/// The most bytes of one batch of a result; what is larger is `RESULT_TOO_LARGE`. By default the pool's memory is the limit.
///
/// # Safety
/// `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_options_set_result_limit(options: *mut transom_options_t, bytes: u64, error: *mut *mut transom_error_t) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { entry(error, || Options::change(options, |builder| builder.result_limit(bytes))) }
}

/// How long a worker may take to become ready before it is ended with `START_TIMEOUT`, in milliseconds; 60,000 by default.
///
/// # Safety
/// `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_options_set_start_limit_ms(options: *mut transom_options_t, limit_ms: u64, error: *mut *mut transom_error_t) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { entry(error, || Options::change(options, |builder| builder.start_limit(Duration::from_millis(limit_ms)))) }
}

/// Saves a failure capsule in this folder for each batch that fails: its arguments, the function, and what is needed to see the failure again with
/// `transom replay`; `transom_error_capsule` says where. By default the folder that `TRANSOM_CAPSULES` names, and none where it is not set, since
/// capsules hold the data itself.
///
/// # Safety
/// `folder` is a C string; `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_options_set_capsules(
    options: *mut transom_options_t,
    folder: *const c_char,
    error: *mut *mut transom_error_t,
) -> i32 {
    // SAFETY: the caller's promises.
    unsafe { entry(error, || path(folder, "folder").and_then(|path| Options::change(options, |builder| builder.capsules(path)))) }
}

/// The most bytes of arguments in one capsule; 64 MiB by default. Of a larger batch the rows around the failing one are saved.
///
/// # Safety
/// `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_options_set_capsule_bytes(options: *mut transom_options_t, bytes: u64, error: *mut *mut transom_error_t) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { entry(error, || Options::change(options, |builder| builder.capsule_bytes(bytes))) }
}

/// The most capsules that the pool saves; 16 by default.
///
/// # Safety
/// `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_options_set_capsule_count(
    options: *mut transom_options_t,
    capsules: usize,
    error: *mut *mut transom_error_t,
) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { entry(error, || Options::change(options, |builder| builder.capsule_count(capsules))) }
}

/// Who is told what happens in pools that are opened with these settings: progress, what workers print, deaths. NULL for nobody, as by default.
/// `user_data` is given to each call, and must stay until the pool is closed.
///
/// # Safety
/// `listener` may be called with `user_data` from any thread until the pools are closed; `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_options_set_events(
    options: *mut transom_options_t,
    listener: transom_event_fn,
    user_data: *mut c_void,
    error: *mut *mut transom_error_t,
) -> i32 {
    let run = || {
        let options = handle::get::<Options>(options)?;
        *options.listener.lock().unwrap_or_else(PoisonError::into_inner) = Listener::new(listener, user_data);
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { entry(error, run) }
}
