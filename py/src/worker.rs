//! The worker: Python as a runtime of functions for the core's protocol.
//!
//! Everything runs on the thread that called `serve`, the worker's main thread. It gives up the interpreter's lock while it waits for
//! the host, so that threads that a function started run on.

use std::collections::HashMap;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;
use pyo3::exceptions::PyOSError;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use transom::exchange::same_schema;
use transom::function::Source;
use transom::link::{Kept, RemoteError, Suppressed, Tracer};
use transom::worker::{self, Forking, Input, Runtime};
use transom::{Code, Signature};

use crate::arrays::Arrays;
use crate::capsule::{self, BatchCache, KnownType};
use crate::errors::{self, OrRaise};
use crate::rows::Rows;
use crate::signature;

/// Has faults, and the host's requests, write the native stack of this process; gives the descriptor to which they do.
#[pyfunction]
pub(crate) fn write_stacks() -> Option<RawFd> {
    worker::write_stacks()
}

/// From now on a fault in this process first writes its address to the host. To be called when the handlers of the stacks are there.
#[pyfunction]
pub(crate) fn write_addresses(descriptor: RawFd) {
    worker::write_addresses(descriptor);
}

/// Puts what functions build into shared memory from the start; gives the reason where that cannot be.
#[pyfunction]
pub(crate) fn share_heap() -> Option<&'static str> {
    worker::share_heap().err()
}

/// Leaves a copy of this process behind from which the host forks workers, where it wants one. Gives the link and the descriptor for stacks in each
/// worker that is forked, and nothing in the process that called. To be called with all libraries loaded and no function.
#[pyfunction]
pub(crate) fn split(_py: Python<'_>, link: RawFd, faults: Option<RawFd>) -> Option<(RawFd, RawFd)> {
    worker::split(link, faults, &mut Interpreter).map(|newborn| (newborn.link, newborn.faults))
}

/// Why workers under this interpreter cannot be forked from a zygote, where they cannot.
#[pyfunction]
pub(crate) fn obstacle_to_forks() -> Option<String> {
    worker::obstacle()
}

/// What CPython does around a fork, as in its own `os.fork`; the interpreter's lock is held throughout.
struct Interpreter;

impl Forking for Interpreter {
    fn before(&mut self) {
        // SAFETY: `split` was called with the interpreter's lock, and each call has its counterpart below.
        unsafe { ffi::PyOS_BeforeFork() }
    }

    fn in_parent(&mut self) {
        // SAFETY: as above.
        unsafe { ffi::PyOS_AfterFork_Parent() }
    }

    fn in_child(&mut self) {
        // SAFETY: as above.
        unsafe { ffi::PyOS_AfterFork_Child() }
    }
}

/// Serves the host at the other end of `descriptor` until it says goodbye or is gone.
#[pyfunction]
pub(crate) fn serve(py: Python<'_>, descriptor: RawFd, runtime: Py<PyAny>) -> PyResult<()> {
    if descriptor < 0 {
        return Err(PyOSError::new_err(format!("{descriptor} is no descriptor")));
    }
    // SAFETY: the number is that of the descriptor which the host gave this process for nothing but this; nobody else closes it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
    worker::use_large_signal_stack();
    let mut runtime = PythonRuntime::new(runtime);
    py.detach(|| worker::serve(descriptor, &mut runtime)).or_raise(py)
}

type Results = Box<dyn Iterator<Item = Result<RecordBatch, RemoteError>>>;

pub(crate) struct PythonRuntime {
    runtime: Py<PyAny>,
    functions: HashMap<u32, Loaded>,
}

struct Loaded {
    prepared: Py<PyAny>,
    /// What runs batches of the schema that came last; most functions see one schema for ever.
    plan: Option<(SchemaRef, Plan)>,
    results: KnownType,
}

/// A function prepared for a schema.
struct Plan {
    run: Run,
    types: Vec<Py<PyAny>>,
}

#[derive(FromPyObject)]
enum Run {
    Arrays(Py<Arrays>),
    Rows(Py<Rows>),
}

/// Runs with the interpreter's lock; an exception becomes the report for the host.
fn in_python<T>(run: impl FnOnce(Python<'_>) -> PyResult<T>) -> Result<T, RemoteError> {
    Python::attach(|py| run(py).map_err(|error| errors::to_remote(py, &error)))
}

impl PythonRuntime {
    /// Over the package's own `Runtime`.
    pub(crate) fn new(runtime: Py<PyAny>) -> Self {
        Self { runtime, functions: HashMap::new() }
    }

    fn loaded(&mut self, function: u32) -> Result<&mut Loaded, RemoteError> {
        self.functions.get_mut(&function).ok_or_else(|| RemoteError::new(Code::Internal, format!("function {function} is not loaded")))
    }
}

impl Runtime for PythonRuntime {
    fn language(&self) -> String {
        in_python(|py| self.runtime.bind(py).call_method0(intern!(py, "language"))?.extract()).unwrap_or_else(|_| "Python".to_owned())
    }

    fn define(&mut self, function: u32, source: &Source, import_path: &[String]) -> Result<Signature, RemoteError> {
        let (loaded, signature) = in_python(|py| {
            let (form, place, name, data) = match source {
                Source::File { path, name } => ("file", path.to_string_lossy().into_owned(), name, PyBytes::new(py, &[])),
                Source::Module { module, name } => ("module", module.clone(), name, PyBytes::new(py, &[])),
                Source::Pickle { name, bytes } => ("pickle", String::new(), name, PyBytes::new(py, bytes)),
            };
            let runtime = self.runtime.bind(py);
            let prepared = runtime.call_method1(intern!(py, "define"), (form, place, name, data, import_path))?;
            let signature = signature::from_py(&prepared.call_method0(intern!(py, "describe"))?)?;
            Ok((Loaded { prepared: prepared.unbind(), plan: None, results: KnownType::default() }, signature))
        })?;
        self.functions.insert(function, loaded);
        Ok(signature)
    }

    fn call(&mut self, function: u32, arguments: RecordBatch) -> Result<ArrayRef, RemoteError> {
        let loaded = self.loaded(function)?;
        in_python(|py| loaded.run(py, arguments, None))
    }

    fn call_suppressing(&mut self, function: u32, arguments: RecordBatch) -> Result<(ArrayRef, Suppressed), RemoteError> {
        let loaded = self.loaded(function)?;
        in_python(|py| {
            let failed = py.import(intern!(py, "transom._suppressed"))?.call_method0(intern!(py, "Suppressed"))?;
            let result = loaded.run(py, arguments, Some(&failed))?;
            Ok((result, errors::suppressed(&failed.call_method0(intern!(py, "parts"))?)?))
        })
    }

    fn collect(&mut self) {
        // Arguments in reference cycles, above all of functions that have switched the collector off.
        _ = in_python(|py| py.import(intern!(py, "gc"))?.call_method0(intern!(py, "collect")).map(drop));
    }

    fn tracer(&self) -> Option<Tracer> {
        Some(Box::new(|kept| in_python(|py| keepers(py, &kept)).unwrap_or_default()))
    }

    fn open(&mut self, function: u32, input: Input) -> Result<Results, RemoteError> {
        let loaded = self.loaded(function)?;
        let schema = input.schema().map_err(RemoteError::from)?;
        let results = in_python(|py| {
            let schema = capsule::schema_to_py(py, &schema)?.unbind();
            let batches = Py::new(py, InputBatches { input: Mutex::new(input), schema: schema.clone_ref(py) })?;
            loaded.prepared.bind(py).call_method1(intern!(py, "open"), (batches, schema)).map(Bound::unbind)
        })?;
        Ok(Box::new(PyResults { results, known: BatchCache::default(), ended: false }))
    }
}

/// What keeps arguments, as the package finds it. It is imported when it is first asked.
fn keepers(py: Python<'_>, kept: &[Kept]) -> PyResult<Vec<(u64, String)>> {
    let memory = |kept: &Kept| kept.memory.iter().map(|range| (range.start, range.end)).collect::<Vec<_>>();
    let kept: Vec<(u64, Vec<(usize, usize)>)> = kept.iter().map(|kept| (kept.lease, memory(kept))).collect();
    py.import(intern!(py, "transom._trace"))?.call_method1(intern!(py, "keepers"), (kept,))?.extract()
}

impl Loaded {
    /// Runs one batch. A row function notes the rows that fail in `failed`, where that is given.
    fn run<'py>(&mut self, py: Python<'py>, arguments: RecordBatch, failed: Option<&Bound<'py, PyAny>>) -> PyResult<ArrayRef> {
        self.plan(py, arguments.schema_ref())?;
        let (_, plan) = self.plan.as_ref().expect("it has just been made, where it was not there");
        match &plan.run {
            Run::Arrays(arrays) => arrays.get().run(py, arguments, &plan.types, &mut self.results),
            Run::Rows(rows) => rows.get().run(py, &arguments, &plan.types, &mut self.results, failed),
        }
    }

    /// Sees to it that there is a plan for this schema.
    fn plan(&mut self, py: Python<'_>, schema: &SchemaRef) -> PyResult<()> {
        let known = matches!(&self.plan, Some((seen, _)) if same_schema(seen, schema));
        if !known {
            let pyarrow = capsule::schema_to_py(py, schema)?;
            let types = pyarrow.getattr(intern!(py, "types"))?.extract()?;
            let run = self.prepared.bind(py).call_method1(intern!(py, "plan"), (&pyarrow,))?.extract()?;
            self.plan = Some((schema.clone(), Plan { run, types }));
        }
        Ok(())
    }
}

/// The input of a batches function, as a Python iterator of record batches.
#[pyclass(frozen, module = "transom._native")]
struct InputBatches {
    // The function may hand it to a thread of its own; one at a time may ask for a batch.
    input: Mutex<Input>,
    schema: Py<PyAny>,
}

#[pymethods]
impl InputBatches {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let next = py.detach(|| self.input.lock().unwrap_or_else(PoisonError::into_inner).next());
        match next {
            None => Ok(None),
            Some(Ok(batch)) => capsule::batch_to_py(py, &batch, self.schema.bind(py)).map(Some),
            Some(Err(error)) => Err(errors::interrupted(py, error)),
        }
    }
}

/// What a batches function yields.
struct PyResults {
    results: Py<PyAny>,
    known: BatchCache,
    ended: bool,
}

impl Iterator for PyResults {
    type Item = Result<RecordBatch, RemoteError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = in_python(|py| {
            let item = self.results.bind(py).cast::<pyo3::types::PyIterator>()?.clone().next();
            item.map(|batch| self.known.batch(&batch?)).transpose()
        });
        self.ended = !matches!(next, Ok(Some(_)));
        next.transpose()
    }
}

impl Drop for PyResults {
    fn drop(&mut self) {
        // A function that is not read to its end gets to run its `finally` now, not when the garbage is collected.
        _ = in_python(|py| self.results.bind(py).call_method0(intern!(py, "close")).map(drop));
    }
}
