//! Pools: workers that run functions, and the calls that callers wait for.

use std::ffi::c_char;
use std::sync::Arc;

use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema};
use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use transom::{MapOptions, Pool, Result};

use crate::abi::{transom_error_t, transom_function_t, transom_map_options_t, transom_options_t, transom_pool_t, transom_signature_t};
use crate::data::answered;
use crate::entry::{Place, entry, sized, texts};
use crate::events::{self, Events};
use crate::function::Target;
use crate::future::Calls;
use crate::handle::{self, Handle, Object};
use crate::options::Options;
use crate::signature::Description;
use crate::stream::{given, moved_stream};

/// A pool, its calls that nobody waits for, and who listens to it.
pub struct Host {
    pool: Arc<Pool>,
    calls: Calls,
    events: Option<Events>,
}

impl Object for Host {
    type Opaque = transom_pool_t;
    const NOUN: &'static str = "a pool";
}

impl Host {
    fn open(options: *const transom_options_t) -> Result<Self> {
        let options = if options.is_null() { Arc::default() } else { handle::get::<Options>(options)? };
        let (pool, listener) = options.open()?;
        let events = listener.map(|listener| Events::start(&pool, listener)).transpose()?;
        Ok(Self { pool: Arc::new(pool), calls: Calls::default(), events })
    }

    /// The pool of a handle.
    pub(crate) fn pool(pool: *const transom_pool_t) -> Result<Arc<Pool>> {
        Ok(handle::get::<Self>(pool)?.pool.clone())
    }

    /// The pool, and what runs its calls in the background.
    pub(crate) fn parts(&self) -> (&Arc<Pool>, &Calls) {
        (&self.pool, &self.calls)
    }

    fn close(&self) {
        self.pool.close();
        // Every call has failed now or will as soon as it is looked at; each is still told.
        self.calls.close();
        if let Some(events) = &self.events {
            events.close();
        }
    }
}

/// Opens a pool. `options` may be NULL: all defaults. Its workers start in the background; the first call waits for one.
///
/// # Safety
/// `out` may be written; `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_pool_open(
    options: *const transom_options_t,
    out: *mut *mut transom_pool_t,
    error: *mut *mut transom_error_t,
) -> i32 {
    let run = || {
        // SAFETY: the caller's promise.
        let out = unsafe { Place::new(out, "out") }?;
        out.put(Handle::new(Host::open(options)?).into_raw());
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { entry(error, run) }
}

/// Closes a pool and frees its handle: ends the workers and waits for their end, for two seconds at most. What is under way fails with
/// `POOL_CLOSED`; every outcome and event that is to be told has been told when this returns. Results that were given stay valid. It
/// fails, and does nothing, in a callback of the library's.
///
/// # Safety
/// `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_pool_close(pool: *mut transom_pool_t, error: *mut *mut transom_error_t) -> i32 {
    let run = || {
        events::not_in_a_callback()?;
        handle::take::<Host>(pool)?.close();
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { entry(error, run) }
}

/// What a function takes and gives. Loads it in a worker, where that was not done before, and waits for that. The signature is to be freed with
/// `transom_signature_free`.
///
/// # Safety
/// `out` may be written; `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_pool_describe(
    pool: *const transom_pool_t,
    function: *const transom_function_t,
    out: *mut *mut transom_signature_t,
    error: *mut *mut transom_error_t,
) -> i32 {
    let run = || {
        // SAFETY: the caller's promise.
        let out = unsafe { Place::new(out, "out") }?;
        let signature = Host::pool(pool)?.describe_blocking(&Target::function(function)?)?;
        out.put(Handle::new(Description::from(signature)).into_raw());
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { entry(error, run) }
}

/// Calls a function with one batch and waits for the result. Scalar and row functions take the batch's columns by the names of their parameters and
/// give a batch of one column, named after the function; a batches function takes the batch as a stream of one.
///
/// `array` is a struct array, which is moved in: it is the library's from here on, whatever is returned, and its `release` is NULL afterwards.
/// `schema` is only read, and can be used for many calls. The result is the caller's to release, on any thread; `out_schema` may be NULL where
/// the schema is known. Both are written only where 0 is returned, and what was in them is not read.
///
/// # Safety
/// `array` and `schema` are filled by the rules of the Arrow C data interface; `out_array` may be written; `out_schema` and `error` are NULL or may be
/// written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_pool_call(
    pool: *const transom_pool_t,
    function: *const transom_function_t,
    array: *mut FFI_ArrowArray,
    schema: *const FFI_ArrowSchema,
    out_array: *mut FFI_ArrowArray,
    out_schema: *mut FFI_ArrowSchema,
    error: *mut *mut transom_error_t,
) -> i32 {
    let call = |batch| Host::pool(pool)?.call_blocking(&Target::function(function)?, batch);
    // SAFETY: the caller's promises.
    unsafe { answered(array, schema, out_array, out_schema, error, call) }
}

/// Calls a function with each batch of a stream, several at a time; the results are a stream, too. A batches function sees the whole stream, in one
/// worker.
///
/// `source` is moved in: it is the library's from here on, whatever is returned. It is read, and released, by whoever reads the results, on the
/// same thread. `options` may be NULL: all defaults. `out` is the caller's to release, which cancels what is under way; it may outlive the
/// function, and fails with `POOL_CLOSED` once the pool is closed. It may be used by one thread at a time, and waits in `get_next`, and in
/// `get_schema` where only the first result tells the schema.
///
/// A batch that fails makes `get_next` return an errno once: `get_last_error` then has the text, `transom_stream_error` has all of it, and the next
/// call goes on behind the batch.
///
/// # Safety
/// `source` is filled by the rules of the Arrow C stream interface, and can be read from any thread; `options` is NULL or a struct with what it says;
/// `out` may be written; `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_pool_map(
    pool: *const transom_pool_t,
    function: *const transom_function_t,
    source: *mut FFI_ArrowArrayStream,
    options: *const transom_map_options_t,
    out: *mut FFI_ArrowArrayStream,
    error: *mut *mut transom_error_t,
) -> i32 {
    let run = || {
        // SAFETY: the caller's promise.
        let source = unsafe { moved_stream(source, "source") }?;
        // SAFETY: the caller's promises.
        let (out, options) = unsafe { (Place::new(out, "out")?, map_options(options)?) };
        let (pool, function) = (Host::pool(pool)?, Target::function(function)?);
        let results = pool.map_blocking(&function, source.open()?, options)?;
        out.put(given(results));
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { entry(error, run) }
}

/// # Safety
/// `options` is NULL or a struct with what it says.
unsafe fn map_options(options: *const transom_map_options_t) -> Result<MapOptions> {
    if options.is_null() {
        return Ok(MapOptions::default());
    }
    // SAFETY: the caller's promise.
    let options = unsafe { sized(options, "options") }?;
    let names: Option<*const *const c_char> = (!options.columns.is_null() || options.column_count > 0).then_some(options.columns);
    // SAFETY: the caller's promise.
    let columns = names.map(|names| unsafe { texts(names, options.column_count, "columns") }).transpose()?;
    Ok(MapOptions { columns, append: options.append, ordered: !options.unordered })
}
