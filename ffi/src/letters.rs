//! Dead letters: rows that were taken out of results, with the reason.

use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema};
use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use transom::{DeadLetters, Result};

use crate::abi::{transom_error_t, transom_pool_t};
use crate::data::Answer;
use crate::entry::entry;
use crate::pool::Host;
use crate::stream::Given;

/// Takes the dead letters of a stream of results that `transom_pool_map` gave: the rows that were taken out of the results so far, whose function has
/// the policy `TRANSOM_ON_ERROR_DEAD_LETTER`. Any thread may do so, as long as the stream is not released, also behind its end.
///
/// They are a struct array with the columns that the function was given, and behind those `transom_function` (utf8), `transom_batch` and
/// `transom_row` (uint64, of the stream, from 0), `transom_code` and `transom_error` (utf8) and `transom_attempts` (uint32). Both structs are the
/// caller's to release; they are empty (their `release` is NULL) where there are none. `out_schema` may be NULL. At most 64 MiB are kept at a
/// time: a batch beyond that fails with `TOO_MANY_FAILURES`.
///
/// # Safety
/// `stream` is NULL or a C stream, maybe released; `out_array` may be written; `out_schema` and `error` are NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_stream_dead_letters(
    stream: *const FFI_ArrowArrayStream,
    out_array: *mut FFI_ArrowArray,
    out_schema: *mut FFI_ArrowSchema,
    error: *mut *mut transom_error_t,
) -> i32 {
    let run = || {
        // SAFETY: the caller's promises.
        let (letters, answer) = unsafe { (Given::dead_letters(stream)?, Answer::new(out_array, out_schema)?) };
        put(&letters, answer)
    };
    // SAFETY: the caller's promise.
    unsafe { entry(error, run) }
}

/// Takes dead letters of a pool's calls, streams apart, as `transom_stream_dead_letters` does: those of one function and schema at a time. There are
/// no more when the structs are empty.
///
/// # Safety
/// `out_array` may be written; `out_schema` and `error` are NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_pool_dead_letters(
    pool: *const transom_pool_t,
    out_array: *mut FFI_ArrowArray,
    out_schema: *mut FFI_ArrowSchema,
    error: *mut *mut transom_error_t,
) -> i32 {
    let run = || {
        // SAFETY: the caller's promises.
        let answer = unsafe { Answer::new(out_array, out_schema) }?;
        put(Host::pool(pool)?.dead_letters(), answer)
    };
    // SAFETY: the caller's promise.
    unsafe { entry(error, run) }
}

fn put(letters: &DeadLetters, answer: Answer) -> Result<()> {
    match letters.take_next()? {
        Some(batch) => answer.put(&batch)?,
        None => answer.put_nothing(),
    }
    Ok(())
}
