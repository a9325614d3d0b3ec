//! Errors as the caller owns them: every text is made when the error is, and lives as long.

use std::ffi::{CString, c_char};
use std::os::unix::ffi::OsStrExt;
use std::ptr::null;

use transom::Error;

use crate::abi::transom_error_t;
use crate::entry::{c_text, quietly};
use crate::handle::{self, Object};

/// An error with its texts.
pub struct Failure {
    error: Error,
    id: CString,
    message: CString,
    text: CString,
    function: Option<CString>,
    worker: Option<CString>,
    remote: Option<[CString; 3]>,
    output: Vec<CString>,
    stack: Option<CString>,
    hint: Option<CString>,
    capsule: Option<CString>,
    name: CString,
}

impl Object for Failure {
    type Opaque = transom_error_t;
    const NOUN: &'static str = "an error";
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            id: c_text(&error.code().id()),
            name: c_text(error.code().name()),
            message: c_text(error.message()),
            text: c_text(&error.to_string()),
            function: error.function().map(c_text),
            worker: error.worker().map(c_text),
            remote: error.remote().map(|remote| [c_text(&remote.kind), c_text(&remote.message), c_text(&remote.traceback)]),
            output: error.output().iter().map(|line| c_text(line)).collect(),
            stack: error.stack().map(c_text),
            hint: error.hint().map(c_text),
            // A path comes whole from the system, and so has no zero byte.
            capsule: error.capsule().and_then(|folder| CString::new(folder.as_os_str().as_bytes()).ok()),
            error,
        }
    }
}

impl Failure {
    /// The whole story, for C.
    pub(crate) fn text(&self) -> *const c_char {
        self.text.as_ptr()
    }
}

/// A text of an error: valid until the error is freed, since the table keeps it that long.
fn part(error: *const transom_error_t, part: impl FnOnce(&Failure) -> Option<&CString>) -> *const c_char {
    quietly(null(), || Ok(part(&*handle::get::<Failure>(error)?).map_or(null(), |text| text.as_ptr())))
}

/// Frees an error, and with it the texts that were got from it. NULL, and an error that was freed before, do nothing.
#[unsafe(no_mangle)]
pub extern "C" fn transom_error_free(error: *mut transom_error_t) {
    quietly((), || handle::take::<Failure>(error).map(drop));
}

/// The error's code, such as 2104 (`TRANSOM_CODE_WORKER_SIGNALLED`); 0 for NULL and for what is not an error.
#[unsafe(no_mangle)]
pub extern "C" fn transom_error_code(error: *const transom_error_t) -> i32 {
    quietly(0, || Ok(i32::from(handle::get::<Failure>(error)?.error.code().number())))
}

/// The code as people see it, such as "TRN-2104". This and all texts of an error are borrowed: valid until the error is freed. A text that the
/// error does not have is NULL.
#[unsafe(no_mangle)]
pub extern "C" fn transom_error_id(error: *const transom_error_t) -> *const c_char {
    part(error, |error| Some(&error.id))
}

/// The code's name, such as "WORKER_SIGNALLED".
#[unsafe(no_mangle)]
pub extern "C" fn transom_error_name(error: *const transom_error_t) -> *const c_char {
    part(error, |error| Some(&error.name))
}

/// One sentence: what happened, without the place.
#[unsafe(no_mangle)]
pub extern "C" fn transom_error_message(error: *const transom_error_t) -> *const c_char {
    part(error, |error| Some(&error.message))
}

/// The whole story: what happened, where, and what to do, in several lines.
#[unsafe(no_mangle)]
pub extern "C" fn transom_error_text(error: *const transom_error_t) -> *const c_char {
    part(error, |error| Some(&error.text))
}

/// The name of the function concerned.
#[unsafe(no_mangle)]
pub extern "C" fn transom_error_function(error: *const transom_error_t) -> *const c_char {
    part(error, |error| error.function.as_ref())
}

/// The batch concerned, counted from 0 in its stream; -1 where there is none.
#[unsafe(no_mangle)]
pub extern "C" fn transom_error_batch(error: *const transom_error_t) -> i64 {
    quietly(-1, || Ok(handle::get::<Failure>(error)?.error.batch().map_or(-1, |batch| i64::try_from(batch).unwrap_or(i64::MAX))))
}

/// The first row concerned, counted from 0 in the stream; -1 where there is none.
#[unsafe(no_mangle)]
pub extern "C" fn transom_error_first_row(error: *const transom_error_t) -> i64 {
    quietly(-1, || Ok(handle::get::<Failure>(error)?.error.rows().map_or(-1, |rows| i64::try_from(rows.start).unwrap_or(i64::MAX))))
}

/// How many rows are concerned, from the first on; 0 where there is none.
#[unsafe(no_mangle)]
pub extern "C" fn transom_error_row_count(error: *const transom_error_t) -> u64 {
    quietly(0, || Ok(handle::get::<Failure>(error)?.error.rows().map_or(0, |rows| rows.end - rows.start)))
}

/// The worker concerned, in words: language, number, process, age.
#[unsafe(no_mangle)]
pub extern "C" fn transom_error_worker(error: *const transom_error_t) -> *const c_char {
    part(error, |error| error.worker.as_ref())
}

/// The type of the exception that the function raised, such as "ValueError".
#[unsafe(no_mangle)]
pub extern "C" fn transom_error_remote_kind(error: *const transom_error_t) -> *const c_char {
    part(error, |error| error.remote.as_ref().map(|[kind, ..]| kind))
}

/// That exception's message.
#[unsafe(no_mangle)]
pub extern "C" fn transom_error_remote_message(error: *const transom_error_t) -> *const c_char {
    part(error, |error| error.remote.as_ref().map(|[_, message, _]| message))
}

/// That exception's traceback.
#[unsafe(no_mangle)]
pub extern "C" fn transom_error_remote_traceback(error: *const transom_error_t) -> *const c_char {
    part(error, |error| error.remote.as_ref().map(|[.., traceback]| traceback))
}

/// How many lines of the worker's output the error has.
#[unsafe(no_mangle)]
pub extern "C" fn transom_error_output_count(error: *const transom_error_t) -> usize {
    quietly(0, || Ok(handle::get::<Failure>(error)?.output.len()))
}

/// One of the last lines that the worker printed; NULL where there is none with this number.
#[unsafe(no_mangle)]
pub extern "C" fn transom_error_output_line(error: *const transom_error_t, line: usize) -> *const c_char {
    part(error, |error| error.output.get(line))
}

/// The stack that the worker wrote when it died.
#[unsafe(no_mangle)]
pub extern "C" fn transom_error_stack(error: *const transom_error_t) -> *const c_char {
    part(error, |error| error.stack.as_ref())
}

/// The number of the signal by which the worker was killed, where it was not its host that did; 0 otherwise.
#[unsafe(no_mangle)]
pub extern "C" fn transom_error_signal(error: *const transom_error_t) -> i32 {
    quietly(0, || Ok(handle::get::<Failure>(error)?.error.signal().unwrap_or_default()))
}

/// The folder in which the input that failed was saved, where `transom_options_set_capsules` or the environment asks for it.
#[unsafe(no_mangle)]
pub extern "C" fn transom_error_capsule(error: *const transom_error_t) -> *const c_char {
    part(error, |error| error.capsule.as_ref())
}

/// What to do next.
#[unsafe(no_mangle)]
pub extern "C" fn transom_error_hint(error: *const transom_error_t) -> *const c_char {
    part(error, |error| error.hint.as_ref())
}
