//! Streams of batches: the sources that users pass to `map`, and its results.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_schema::{ArrowError, Schema, SchemaRef};
use futures::{Stream, StreamExt};
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;
use pyo3::sync::{MutexExt, PyOnceLock};
use pyo3::types::{PyCapsule, PyTuple};
use transom::{Code, DeadLetters, Error};

use crate::capsule::{self, BatchCache, SchemaCache, StreamReader};
use crate::errors::{self, OrRaise};
use crate::wait::wait;

/// A C stream as a source. It is read where results are asked for, without the interpreter's lock.
pub(crate) struct ReaderSource {
    pub(crate) reader: StreamReader,
}

impl Stream for ReaderSource {
    type Item = transom::Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.reader.next();
        let failed = |text: String| Error::new(Code::SourceFailed, format!("the source of batches failed: {}", text.trim_end()));
        Poll::Ready(next.map(|batch| batch.map_err(failed)))
    }
}

/// An exception of the user's source, kept on its way through the core, which knows only that the source failed.
#[derive(Clone, Default)]
pub(crate) struct Raised(Arc<Mutex<Option<PyErr>>>);

impl Raised {
    fn put(&self, error: PyErr) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// The exception that the source raised, where that is what `error` means; else the exception for `error`.
    pub(crate) fn take_for(&self, py: Python<'_>, error: &Error) -> PyErr {
        let kept = if error.code() == Code::SourceFailed { self.0.lock().unwrap_or_else(PoisonError::into_inner).take() } else { None };
        kept.unwrap_or_else(|| errors::to_py(py, error))
    }
}

/// A Python iterator of record batches as a source.
pub(crate) struct PySource {
    batches: Option<Py<PyAny>>,
    known: BatchCache,
    raised: Raised,
}

impl PySource {
    pub(crate) fn new(batches: Py<PyAny>) -> (Self, Raised) {
        let raised = Raised::default();
        (Self { batches: Some(batches), known: BatchCache::default(), raised: raised.clone() }, raised)
    }

    fn ask(&self, py: Python<'_>) -> Option<transom::Result<RecordBatch>> {
        let batches = self.batches.as_ref()?;
        let item = batches.bind(py).cast::<pyo3::types::PyIterator>().cloned().ok()?.next()?;
        Some(item.and_then(|batch| self.known.batch(&batch)).map_err(|error| {
            // The text first: while a Python error is shown, no lock may be held.
            let text = error.value(py).to_string();
            self.raised.put(error);
            Error::new(Code::SourceFailed, format!("the source of batches failed: {text}"))
        }))
    }
}

impl Stream for PySource {
    type Item = transom::Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = Python::try_attach(|py| self.ask(py)).flatten();
        if !matches!(next, Some(Ok(_))) {
            self.batches = None;
        }
        Poll::Ready(next)
    }
}

impl Drop for PySource {
    fn drop(&mut self) {
        // Let go of the user's iterator now, so that a generator's `finally` runs when its stream ends.
        let batches = self.batches.take();
        _ = Python::try_attach(|_| drop(batches));
    }
}

/// The stream of results, shared by the Python iterator and the C stream made of it.
struct Shared {
    state: Mutex<State>,
    raised: Option<Raised>,
    process: u32,
}

#[derive(Default)]
struct State {
    results: Option<transom::Batches>,
    /// A batch that was taken to learn the schema.
    pending: Option<RecordBatch>,
}

impl Shared {
    fn next(&self, py: Python<'_>) -> PyResult<Option<RecordBatch>> {
        self.not_forked(py)?;
        let mut state = self.state.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner);
        match state.pending.take() {
            Some(batch) => Ok(Some(batch)),
            None => self.take(py, &mut state),
        }
    }

    /// The schema, for which the first batch must be there if the function did not declare it. Without any batch it has no columns.
    fn schema(&self, py: Python<'_>) -> PyResult<SchemaRef> {
        self.not_forked(py)?;
        let mut state = self.state.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner);
        let declared = state.results.as_ref().and_then(transom::Batches::schema);
        if let Some(schema) = declared.or_else(|| state.pending.as_ref().map(RecordBatch::schema)) {
            return Ok(schema);
        }
        state.pending = self.take(py, &mut state)?;
        Ok(state.pending.as_ref().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema))
    }

    fn take(&self, py: Python<'_>, state: &mut State) -> PyResult<Option<RecordBatch>> {
        let Some(stream) = state.results.as_mut() else { return Ok(None) };
        match wait(py, stream.next()) {
            Ok(None) => {
                let ended = state.results.take();
                py.detach(|| drop(ended));
                Ok(None)
            }
            Ok(Some(Ok(batch))) => Ok(Some(batch)),
            Ok(Some(Err(error))) => Err(self.raised.as_ref().map_or_else(|| errors::to_py(py, &error), |raised| raised.take_for(py, &error))),
            Err(signal) => {
                let cancelled = state.results.take();
                py.detach(|| drop(cancelled));
                Err(signal)
            }
        }
    }

    fn close(&self, py: Python<'_>) {
        if self.process == std::process::id() {
            let state = std::mem::take(&mut *self.state.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner));
            py.detach(|| drop(state));
        }
    }

    fn not_forked(&self, py: Python<'_>) -> PyResult<()> {
        if self.process == std::process::id() {
            return Ok(());
        }
        Err(errors::to_py(py, &Error::new(Code::ForkedHandle, "these results belong to the process that this one was forked from")))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let state = std::mem::take(self.state.get_mut().unwrap_or_else(PoisonError::into_inner));
        if self.process != std::process::id() {
            std::mem::forget(state);
            return;
        }
        // What is cancelled may hold a batch that only Python can let go of, on another thread.
        _ = Python::try_attach(|py| py.detach(|| drop(state)));
    }
}

/// The results of `map`: an iterator of record batches that is also a C stream. Dropping it cancels what is under way.
#[pyclass(frozen, module = "transom")]
pub(crate) struct Batches {
    shared: Arc<Shared>,
    /// Had also after the end of the stream.
    letters: Arc<DeadLetters>,
    /// The schema, once it was asked for: it stays after the end of the stream.
    schema: PyOnceLock<SchemaRef>,
    known: SchemaCache,
}

impl Batches {
    pub(crate) fn new(results: transom::Batches, raised: Option<Raised>) -> Self {
        let letters = results.dead_letters().clone();
        let state = Mutex::new(State { results: Some(results), pending: None });
        let shared = Shared { state, raised, process: std::process::id() };
        Self { shared: Arc::new(shared), letters, schema: PyOnceLock::new(), known: SchemaCache::default() }
    }

    fn schema_ref(&self, py: Python<'_>) -> PyResult<&SchemaRef> {
        self.schema.get_or_try_init(py, || self.shared.schema(py))
    }
}

#[pymethods]
impl Batches {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// The schema of the results. Where the function does not declare it, this waits for the first result.
    #[getter]
    fn schema<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.known.get(py, self.schema_ref(py)?)
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.shared.next(py)? {
            None => Ok(None),
            Some(batch) => {
                _ = self.schema.set(py, batch.schema());
                capsule::batch_to_py(py, &batch, &self.known.get(py, batch.schema_ref())?).map(Some)
            }
        }
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) {
        self.shared.close(py);
    }

    /// Cancels what is under way. Batches that were given stay valid.
    fn close(&self, py: Python<'_>) {
        self.shared.close(py);
    }

    /// All results as one table.
    fn read_all<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let table = slf.py().import("pyarrow")?.getattr("Table")?;
        let schema = slf.getattr("schema")?;
        let batches: Vec<Bound<'py, PyAny>> = slf.try_iter()?.collect::<PyResult<_>>()?;
        table.call_method1("from_batches", (batches, schema))
    }

    /// Takes the rows that were taken out of the results so far: a table of what the function was given, with the reasons.
    fn dead_letters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.shared.not_forked(py)?;
        let taken = py.detach(|| self.letters.take()).or_raise(py)?;
        // A stream has one schema, so there is one batch, or none.
        let schema = taken.first().map(RecordBatch::schema).or_else(|| self.letters.schema());
        let schema = capsule::schema_to_py(py, &schema.unwrap_or_else(|| Arc::new(Schema::empty())))?;
        let batches: Vec<Bound<'py, PyAny>> = taken.iter().map(|batch| capsule::batch_to_py(py, batch, &schema)).collect::<PyResult<_>>()?;
        py.import("pyarrow")?.getattr("Table")?.call_method1("from_batches", (batches, schema))
    }

    /// The results as an Arrow C stream, read once. `requested_schema` is not heeded, as the interface allows.
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(&self, py: Python<'py>, requested_schema: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyCapsule>> {
        _ = requested_schema;
        let schema = self.schema_ref(py)?.clone();
        capsule::stream_to_py(py, Box::new(Exported { shared: self.shared.clone(), schema }))
    }
}

/// The results as a C stream's reader. Whoever reads it may hold the interpreter's lock or not, and may do so on any thread.
struct Exported {
    shared: Arc<Shared>,
    schema: SchemaRef,
}

impl Exported {
    fn ask(&self) -> Result<Option<RecordBatch>, ArrowError> {
        let gone = || ArrowError::CDataInterface("the interpreter has ended".to_owned());
        Python::try_attach(|py| {
            self.shared.next(py).map_err(|error| {
                let text = error.value(py).to_string();
                if error.is_instance_of::<PyKeyboardInterrupt>(py) {
                    // A C stream carries a text only: the interrupt itself is raised as soon as the reader gives control back to Python.
                    _ = py.import("_thread").and_then(|module| module.call_method0("interrupt_main"));
                }
                ArrowError::CDataInterface(text)
            })
        })
        .ok_or_else(gone)?
    }
}

impl Iterator for Exported {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let panicked = |_| Err(ArrowError::CDataInterface("a defect of Transom: panic while a batch was taken".to_owned()));
        catch_unwind(AssertUnwindSafe(|| self.ask())).unwrap_or_else(panicked).transpose()
    }
}

impl RecordBatchReader for Exported {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}
