//! C streams: those of others as iterators of batches, and iterators of batches as C streams.
//!
//! A stream that is given away has as its private data the number of an object in the table of handles. So a stream that was released, copied, or
//! carried over a fork is found out as handles are.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::null;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::RecordBatch;
use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema};
use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_schema::{Schema, SchemaRef};
use transom::{BlockingBatches, Code, DeadLetters, Error, Result};

use crate::abi::transom_error_t;
use crate::data::{batch, export_batch, export_schema, import_schema};
use crate::entry::{Place, bad, entry, quietly};
use crate::error::Failure;
use crate::handle::{self, Handle, Object};

/// A stream that somebody else made, and gave away.
pub(crate) struct Source(FFI_ArrowArrayStream);

/// Moves a stream out of the caller's struct.
///
/// # Errors
/// `BAD_ARGUMENT` where it is NULL or was released.
///
/// # Safety
/// `stream` is NULL or filled by the rules of the C stream interface, and can be read from any thread.
pub(crate) unsafe fn moved_stream(stream: *mut FFI_ArrowArrayStream, name: &str) -> Result<Source> {
    if stream.is_null() {
        return Err(bad(format!("`{name}` is NULL")));
    }
    // SAFETY: the caller's promise.
    let stream = unsafe { FFI_ArrowArrayStream::from_raw(stream) };
    if stream.release.is_none() || stream.get_schema.is_none() || stream.get_next.is_none() {
        return Err(bad(format!("`{name}` was released already, or was moved elsewhere")));
    }
    Ok(Source(stream))
}

/// Why a stream gives no batch.
pub(crate) enum Stopped {
    /// It says that it failed, and why.
    Said(String),
    /// What it gave cannot be used.
    Wrong(Error),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Stopped::Wrong(error)
    }
}

/// Of a stream that the caller gave.
impl From<Stopped> for Error {
    fn from(stop: Stopped) -> Self {
        match stop {
            Stopped::Said(text) => Error::new(Code::SourceFailed, format!("the source of batches failed: {text}")),
            Stopped::Wrong(error) => error,
        }
    }
}

impl Source {
    /// Asks for the schema.
    ///
    /// # Errors
    /// What the stream says, or `BAD_SCHEMA` where what it gives is none.
    pub(crate) fn open(mut self) -> Result<Reader, Stopped> {
        let mut schema = FFI_ArrowSchema::empty();
        let get_schema = self.0.get_schema.ok_or_else(|| bad("the stream has no `get_schema`"))?;
        // SAFETY: the function belongs to this stream, which is not released; `schema` is empty and ours.
        let status = unsafe { get_schema(&raw mut self.0, &raw mut schema) };
        if status != 0 {
            return Err(self.stopped(status));
        }
        if schema.release.is_none() {
            return Err(Error::new(Code::BadSchema, "the stream said that it has a schema, and gave none").into());
        }
        // SAFETY: the stream filled it by the rules of the C data interface.
        let schema = unsafe { import_schema(&raw const schema) }?;
        Ok(Reader { source: self, schema })
    }

    fn stopped(&mut self, status: c_int) -> Stopped {
        let text = self.0.get_last_error.and_then(|get_last_error| {
            // SAFETY: the function belongs to this stream, which is not released; what it points to lives until the next call on the stream.
            let text = unsafe {
                let text = get_last_error(&raw mut self.0);
                if text.is_null() { None } else { Some(CStr::from_ptr(text)) }
            };
            text.map(|text| text.to_string_lossy().into_owned())
        });
        Stopped::Said(text.unwrap_or_else(|| std::io::Error::from_raw_os_error(status).to_string()))
    }
}

/// A stream that somebody else made, and its schema.
pub(crate) struct Reader {
    source: Source,
    schema: SchemaRef,
}

impl Reader {
    /// The next batch; none at the end.
    ///
    /// # Errors
    /// What the stream says, or `INVALID_DATA` where what it gives does not hold together.
    pub(crate) fn pull(&mut self) -> Result<Option<RecordBatch>, Stopped> {
        let mut array = FFI_ArrowArray::empty();
        let get_next = self.source.0.get_next.ok_or_else(|| bad("the stream has no `get_next`"))?;
        // SAFETY: the function belongs to this stream, which is not released, and `&mut self` makes sure that one thread at a time reads it.
        let status = unsafe { get_next(&raw mut self.source.0, &raw mut array) };
        if status != 0 {
            return Err(self.source.stopped(status));
        }
        if array.is_released() {
            return Ok(None);
        }
        // SAFETY: the stream filled it by the rules of the C data interface, with data of its schema.
        Ok(Some(unsafe { batch(array, self.schema.clone()) }?))
    }
}

impl Iterator for Reader {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.pull().map_err(Error::from).transpose()
    }
}

/// What a stream that is given away reads.
pub(crate) trait Batches: Iterator<Item = Result<RecordBatch>> + Send {
    /// The schema, where it is known.
    fn schema(&self) -> Result<Option<SchemaRef>>;

    /// The rows that were taken out of them, where they are results.
    fn dead_letters(&self) -> Option<Arc<DeadLetters>> {
        None
    }
}

impl Batches for BlockingBatches {
    fn schema(&self) -> Result<Option<SchemaRef>> {
        Ok(BlockingBatches::schema(self))
    }

    fn dead_letters(&self) -> Option<Arc<DeadLetters>> {
        Some(BlockingBatches::dead_letters(self).clone())
    }
}

/// A stream that was given away.
pub struct Given {
    state: Mutex<State>,
    letters: Option<Arc<DeadLetters>>,
}

struct State {
    batches: Box<dyn Batches>,
    schema: Option<SchemaRef>,
    /// A batch that was taken to learn the schema.
    pending: Option<RecordBatch>,
    failure: Option<(Error, Failure)>,
}

impl Object for Given {
    type Opaque = c_void;
    const NOUN: &'static str = "a stream of this library";
}

impl Given {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The dead letters of a stream of results.
    ///
    /// # Errors
    /// `BAD_ARGUMENT` where it is none of this library's, or was released.
    ///
    /// # Safety
    /// `stream` is NULL or a C stream, maybe released.
    pub(crate) unsafe fn dead_letters(stream: *const FFI_ArrowArrayStream) -> Result<Arc<DeadLetters>> {
        // SAFETY: the caller's promise.
        let given = unsafe { Self::get(stream) }?;
        given.letters.clone().ok_or_else(|| bad("the stream is no stream of results"))
    }

    /// # Safety
    /// `stream` is NULL or a C stream, maybe released.
    unsafe fn get(stream: *const FFI_ArrowArrayStream) -> Result<Arc<Self>> {
        if stream.is_null() {
            return Err(bad("`stream` is NULL"));
        }
        // SAFETY: the caller's promise. What is found there is looked up and never followed.
        handle::get::<Self>(unsafe { (*stream).private_data })
    }
}

impl State {
    fn next(&mut self) -> Result<Option<RecordBatch>> {
        match self.pending.take() {
            Some(batch) => Ok(Some(batch)),
            None => self.batches.next().transpose(),
        }
    }

    /// The schema, for which the first batch must be there if the function did not declare it. Without any batch it has no columns.
    fn schema(&mut self) -> Result<SchemaRef> {
        if self.schema.is_none() {
            self.schema = self.batches.schema()?;
        }
        if self.schema.is_none() {
            self.pending = self.next()?;
            self.schema = Some(self.pending.as_ref().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema));
        }
        Ok(self.schema.clone().unwrap_or_else(|| Arc::new(Schema::empty())))
    }
}

/// Results as a C stream.
pub(crate) fn given(batches: impl Batches + 'static) -> FFI_ArrowArrayStream {
    let letters = batches.dead_letters();
    let state = State { batches: Box::new(batches), schema: None, pending: None, failure: None };
    let given = Given { state: Mutex::new(state), letters };
    FFI_ArrowArrayStream {
        get_schema: Some(get_schema),
        get_next: Some(get_next),
        get_last_error: Some(get_last_error),
        release: Some(release),
        private_data: Handle::new(given).into_raw(),
    }
}

/// Runs a function of a stream that was given away; an error stays with the stream, and its errno is returned.
///
/// # Safety
/// `stream` is NULL or a stream of this library's, maybe released.
unsafe fn run(stream: *mut FFI_ArrowArrayStream, run: impl FnOnce(&mut State) -> Result<()>) -> c_int {
    quietly(libc::EINVAL, || {
        if stream.is_null() {
            return Ok(libc::EINVAL);
        }
        // SAFETY: the caller's promise.
        let given = handle::get::<Given>(unsafe { (*stream).private_data })?;
        let mut state = given.state();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&mut state)));
        let outcome = outcome.unwrap_or_else(|_| Err(Error::new(Code::Internal, "panic in the library, while a stream was read")));
        state.failure = outcome.as_ref().err().map(|error| (error.clone(), Failure::from(error.clone())));
        Ok(outcome.map_or_else(|error| errno(&error), |()| 0))
    })
}

fn errno(error: &Error) -> c_int {
    match error.code() {
        Code::Cancelled => libc::ECANCELED,
        Code::MemoryLimit | Code::SharedMemoryFull => libc::ENOMEM,
        code if code.family() == 6 => libc::EINVAL,
        _ => libc::EIO,
    }
}

unsafe extern "C" fn get_schema(stream: *mut FFI_ArrowArrayStream, out: *mut FFI_ArrowSchema) -> c_int {
    let get = |state: &mut State| {
        // SAFETY: a stream's reader gives a place that may be written.
        let out = unsafe { Place::new(out, "out") }?;
        let schema = export_schema(&*state.schema()?)?;
        out.put(schema);
        Ok(())
    };
    // SAFETY: this function is found in no streams but this library's.
    unsafe { run(stream, get) }
}

unsafe extern "C" fn get_next(stream: *mut FFI_ArrowArrayStream, out: *mut FFI_ArrowArray) -> c_int {
    let get = |state: &mut State| {
        // SAFETY: as in `get_schema`.
        let out = unsafe { Place::new(out, "out") }?;
        let array = state.next()?.map_or_else(FFI_ArrowArray::empty, |batch| export_batch(&batch));
        out.put(array);
        Ok(())
    };
    // SAFETY: as in `get_schema`.
    unsafe { run(stream, get) }
}

unsafe extern "C" fn get_last_error(stream: *mut FFI_ArrowArrayStream) -> *const c_char {
    quietly(null(), || {
        // SAFETY: this function is found in no streams but this library's.
        let given = handle::get::<Given>(unsafe { (*stream).private_data })?;
        // The text lives in the stream's state, which the table keeps, until the next call on the stream.
        Ok(given.state().failure.as_ref().map_or(null(), |(_, failure)| failure.text()))
    })
}

unsafe extern "C" fn release(stream: *mut FFI_ArrowArrayStream) {
    // SAFETY: this function is found in no streams but this library's; a released one is empty.
    let released = unsafe { std::mem::ManuallyDrop::new(FFI_ArrowArrayStream::from_raw(stream)) };
    quietly((), || handle::take::<Given>(released.private_data).map(drop));
}

/// The error of the last `get_schema` or `get_next` of a stream that `transom_pool_map` gave: returns its code, and gives the error itself, to be freed
/// with `transom_error_free`. Returns 0 where the last one succeeded, and `BAD_ARGUMENT` where the stream is not one of this library's or was released. The
/// stream must not be in use by another thread.
///
/// # Safety
/// `stream` is NULL or a C stream, maybe released; `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_stream_error(stream: *const FFI_ArrowArrayStream, error: *mut *mut transom_error_t) -> i32 {
    let run = || {
        // SAFETY: the caller's promise.
        let given = unsafe { Given::get(stream) }?;
        let state = given.state();
        state.failure.as_ref().map_or(Ok(()), |(error, _)| Err(error.clone()))
    };
    // SAFETY: the caller's promise.
    unsafe { entry(error, run) }
}
