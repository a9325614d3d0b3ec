//! Python as a host: the pool and its functions. The Python class `transom.Pool` turns what users pass into pyarrow's objects first.

use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema};
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::{PyDict, PyList};
use transom::{Code, Direction, Error, Kind, MapOptions, Mode, PoolBuilder, Signature};

use crate::batches::{Batches, PySource, ReaderSource};
use crate::capsule::{self, BatchCache, SchemaCache, StreamReader, TypeCache};
use crate::errors::{self, OrRaise};
use crate::signature;
use crate::wait::wait;

/// A function as the core knows it.
#[pyclass(frozen, module = "transom._native")]
pub(crate) struct Function {
    function: transom::Function,
    arrays: TypeCache,
    batches: BatchCache,
    results: SchemaCache,
}

impl From<transom::Function> for Function {
    fn from(function: transom::Function) -> Self {
        Self { function, arrays: TypeCache::default(), batches: BatchCache::default(), results: SchemaCache::default() }
    }
}

#[pymethods]
impl Function {
    /// A function by reference: `path/file.py:name` or `package.module:name`.
    #[staticmethod]
    fn python(py: Python<'_>, reference: &str, import_path: Vec<String>) -> PyResult<Self> {
        let function = transom::Function::python(reference).or_raise(py)?.with_import_path(import_path);
        Ok(function.into())
    }

    /// A function by value.
    #[staticmethod]
    fn pickled(name: String, data: Vec<u8>, import_path: Vec<String>) -> Self {
        transom::Function::pickled(name, data).with_import_path(import_path).into()
    }

    /// A function of a shared library.
    #[staticmethod]
    fn native(py: Python<'_>, library: PathBuf, name: &str) -> PyResult<Self> {
        Ok(transom::Function::native(library, name).or_raise(py)?.into())
    }

    /// A function for JVM workers, by the name of its class.
    #[staticmethod]
    fn java(py: Python<'_>, class_name: &str, jars: Vec<String>) -> PyResult<Self> {
        let function = transom::Function::java(class_name).or_raise(py)?.with_import_path(jars);
        Ok(function.into())
    }

    /// Its name, for errors of the Python side.
    #[getter]
    fn name(&self) -> &str {
        self.function.name()
    }

    /// The same function with its deadline in seconds, its retries, and what becomes of rows for which it fails.
    fn with_policies(&self, deadline: Option<f64>, retries: u32, on_error: Option<&str>) -> PyResult<Self> {
        let function = self.function.clone().with_retries(retries);
        let function = deadline.into_iter().fold(function, |function, seconds| function.with_deadline(Duration::from_secs_f64(seconds)));
        let on_error = on_error.map(signature::policy).transpose()?;
        let function = on_error.into_iter().fold(function, transom::Function::with_on_error);
        Ok(function.into())
    }
}

/// The bytes in a text such as "512MiB".
#[pyfunction]
pub(crate) fn bytes_in(py: Python<'_>, text: &str) -> PyResult<u64> {
    transom::pool::bytes_in(text).or_raise(py)
}

/// Something that belongs to one process: in a forked child it cannot be used, and its drop does nothing.
struct Own<T> {
    value: ManuallyDrop<T>,
    process: u32,
}

impl<T> Own<T> {
    fn new(value: T) -> Self {
        Self { value: ManuallyDrop::new(value), process: std::process::id() }
    }

    fn get(&self) -> transom::Result<&T> {
        if self.is_mine() {
            return Ok(&self.value);
        }
        Err(Error::new(Code::ForkedHandle, "this pool belongs to the process that this one was forked from")
            .with_hint("make a pool in the child, or start processes with the spawn method"))
    }

    fn is_mine(&self) -> bool {
        std::process::id() == self.process
    }
}

/// The core's pool.
#[pyclass(frozen, module = "transom._native")]
pub(crate) struct Pool {
    // Empty once it is closed, so that nothing of it is held as long as somebody holds the handle.
    pool: Own<Mutex<Option<Arc<transom::Pool>>>>,
}

#[pymethods]
impl Pool {
    #[new]
    #[pyo3(signature = (*, workers, python, env, cwd, memory_limit, mode, deadline, window, worker_memory, worker_descriptors, worker_processes,
        result_limit, native_worker, java, java_class_path, java_options, capsules, capsule_bytes, capsule_count, trace_leases))]
    #[expect(clippy::too_many_arguments, reason = "the Python class names and checks each of them")]
    fn new(
        py: Python<'_>,
        workers: Option<usize>,
        python: PathBuf,
        env: Vec<(String, String)>,
        cwd: Option<PathBuf>,
        memory_limit: Option<u64>,
        mode: &str,
        deadline: Option<f64>,
        window: usize,
        worker_memory: Option<u64>,
        worker_descriptors: Option<u64>,
        worker_processes: Option<u64>,
        result_limit: Option<u64>,
        native_worker: Option<PathBuf>,
        java: Option<PathBuf>,
        java_class_path: Vec<PathBuf>,
        java_options: Vec<String>,
        capsules: Option<PathBuf>,
        capsule_bytes: Option<u64>,
        capsule_count: Option<usize>,
        trace_leases: Option<bool>,
    ) -> PyResult<Self> {
        let mode = match mode {
            "guarded" => Mode::Guarded,
            "strict" => Mode::Strict,
            "trusted" => Mode::Trusted,
            other => {
                let error =
                    Error::new(Code::BadOption, format!("there is no mode {other:?}")).with_hint("modes are \"guarded\", \"strict\" and \"trusted\"");
                return Err(errors::to_py(py, &error));
            }
        };
        let mut builder =
            transom::Pool::builder().python(python).mode(mode).window(window).java_class_path(java_class_path).java_options(java_options);
        builder = native_worker.into_iter().fold(builder, |builder, program| builder.native_worker(program));
        builder = java.into_iter().fold(builder, |builder, program| builder.java(program));
        builder = workers.into_iter().fold(builder, |builder, workers| builder.workers(workers));
        builder = cwd.into_iter().fold(builder, |builder, directory| builder.working_directory(directory));
        builder = memory_limit.into_iter().fold(builder, |builder, bytes| builder.memory_limit(bytes));
        builder = worker_memory.into_iter().fold(builder, PoolBuilder::worker_memory);
        builder = worker_descriptors.into_iter().fold(builder, PoolBuilder::worker_descriptors);
        builder = worker_processes.into_iter().fold(builder, PoolBuilder::worker_processes);
        builder = result_limit.into_iter().fold(builder, PoolBuilder::result_limit);
        builder = deadline.into_iter().fold(builder, |builder, seconds| builder.deadline(Duration::from_secs_f64(seconds)));
        builder = env.into_iter().fold(builder, |builder, (name, value)| builder.env(name, value));
        builder = capsules.into_iter().fold(builder, |builder, folder| builder.capsules(folder));
        builder = capsule_bytes.into_iter().fold(builder, |builder, bytes| builder.capsule_bytes(bytes));
        builder = capsule_count.into_iter().fold(builder, |builder, count| builder.capsule_count(count));
        builder = trace_leases.into_iter().fold(builder, PoolBuilder::trace_leases);
        let pool = py.detach(|| builder.build()).or_raise(py)?;
        Ok(Self { pool: Own::new(Mutex::new(Some(Arc::new(pool)))) })
    }

    /// Calls with a record batch, whose columns go by name.
    fn call<'py>(&self, py: Python<'py>, function: &Function, batch: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let batch = function.batches.batch(batch)?;
        let pool = self.pool_for(py, function, batch.num_rows())?;
        let work = async {
            // The call first: its errors say the rows.
            let result = pool.call(&function.function, batch).await?;
            Ok((pool.describe(&function.function).await?.kind, result))
        };
        let (kind, result) = wait(py, work)?.or_raise(py)?;
        function.result(py, kind, &result)
    }

    /// Calls with arrays, which go by position.
    fn call_arrays<'py>(&self, py: Python<'py>, function: &Function, arrays: Vec<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        let (arrays, fields) = function.arrays.arrays(py, &arrays)?;
        let rows = arrays.first().map_or(0, |array| array.len());
        let pool = self.pool_for(py, function, rows)?;
        let work = async {
            if fields.iter().all(|field| field.metadata().is_empty()) {
                return pool.call_arrays(&function.function, arrays).await;
            }
            // Fields say which arrays are of extension types, and those travel in batches alone.
            let named = async { named(&*pool.describe(&function.function).await?, arrays, fields) };
            let batch = named.await.map_err(|error| function.place(error, rows))?;
            pool.call(&function.function, batch).await
        };
        let result = wait(py, work)?.or_raise(py)?;
        function.result(py, Kind::Scalar, &result)
    }

    /// Maps over a pyarrow RecordBatchReader.
    fn map_reader(
        &self,
        py: Python<'_>,
        function: &Function,
        reader: &Bound<'_, PyAny>,
        columns: Option<Vec<String>>,
        append: bool,
        ordered: bool,
    ) -> PyResult<Batches> {
        let pool = self.pool_to_map(py, function)?;
        let source = ReaderSource { reader: StreamReader::from_py(reader)? };
        let results = wait(py, pool.map(&function.function, source, MapOptions { columns, append, ordered }))?.or_raise(py)?;
        Ok(Batches::new(results, None))
    }

    /// Maps over a Python iterator of record batches.
    fn map_iterator(
        &self,
        py: Python<'_>,
        function: &Function,
        batches: Py<PyAny>,
        columns: Option<Vec<String>>,
        append: bool,
        ordered: bool,
    ) -> PyResult<Batches> {
        let pool = self.pool_to_map(py, function)?;
        let (source, raised) = PySource::new(batches);
        match wait(py, pool.map(&function.function, source, MapOptions { columns, append, ordered }))? {
            Ok(results) => Ok(Batches::new(results, Some(raised))),
            Err(error) => Err(raised.take_for(py, &error)),
        }
    }

    /// The batch in shared memory.
    fn share<'py>(&self, py: Python<'py>, batch: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let (pool, batch) = (self.pool(py)?, capsule::batch_from_py(batch)?);
        let shared = py.detach(|| pool.share(&batch)).or_raise(py)?;
        capsule::batch_to_py(py, &shared, &capsule::schema_to_py(py, shared.schema_ref())?)
    }

    /// Takes the dead letters of calls, as record batches.
    fn dead_letters<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let taken = self.pool(py)?.dead_letters().take().or_raise(py)?;
        taken.iter().map(|batch| capsule::batch_to_py(py, batch, &capsule::schema_to_py(py, batch.schema_ref())?)).collect()
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.pool(py)?.stats();
        let workers = PyList::empty(py);
        for worker in stats.workers {
            let entry = PyDict::new(py);
            entry.set_item("pid", worker.pid)?;
            entry.set_item("language", worker.language.name())?;
            entry.set_item("state", worker.state)?;
            entry.set_item("batches", worker.batches)?;
            entry.set_item("rows", worker.rows)?;
            entry.set_item("failures", worker.failures)?;
            entry.set_item("restarts", worker.restarts)?;
            entry.set_item("busy_seconds", worker.busy.as_secs_f64())?;
            entry.set_item("leases", worker.leases)?;
            workers.append(entry)?;
        }
        let found = PyDict::new(py);
        found.set_item("workers", workers)?;
        let functions = PyList::empty(py);
        for function in stats.functions {
            let entry = PyDict::new(py);
            entry.set_item("name", function.function)?;
            entry.set_item("suppressed", function.suppressed)?;
            entry.set_item("attempts", function.attempts)?;
            functions.append(entry)?;
        }
        found.set_item("functions", functions)?;
        found.set_item("memory_used", stats.memory_used)?;
        found.set_item("memory_limit", stats.memory_limit)?;
        Ok(found)
    }

    fn leases<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let pool = self.pool(py)?;
        let found = PyList::empty(py);
        for lease in py.detach(|| pool.leases()) {
            let entry = PyDict::new(py);
            entry.set_item("holder", lease.holder.name())?;
            entry.set_item("worker", lease.worker)?;
            entry.set_item("pid", lease.process)?;
            entry.set_item("function", lease.function)?;
            entry.set_item("batch", lease.batch)?;
            entry.set_item("call", lease.call)?;
            entry.set_item("bytes", lease.bytes)?;
            entry.set_item("age_seconds", lease.age.as_secs_f64())?;
            entry.set_item("answered", lease.answered)?;
            entry.set_item("kept_by", lease.kept_by)?;
            found.append(entry)?;
        }
        Ok(found)
    }

    fn copies<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let report = self.pool(py)?.copies();
        let reasons = PyDict::new(py);
        for (reason, bytes) in report.reasons() {
            reasons.set_item(reason.text(), bytes)?;
        }
        let found = PyDict::new(py);
        found.set_item("bytes_shared", report.bytes_shared())?;
        found.set_item("bytes_copied", report.bytes_copied())?;
        found.set_item("reasons", reasons)?;
        for (name, direction) in [("inputs", Direction::Input), ("results", Direction::Result)] {
            let way = PyDict::new(py);
            way.set_item("bytes_shared", report.shared(direction))?;
            way.set_item("bytes_copied", report.copied(direction))?;
            found.set_item(name, way)?;
        }
        Ok(found)
    }

    /// Ends the workers; in a forked child it does nothing.
    fn close(&self, py: Python<'_>) {
        if self.pool.is_mine() {
            let pool = self.pool.value.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner).take();
            // Calls of other threads may have it too; they are told by its end.
            py.detach(|| {
                pool.iter().for_each(|pool| pool.close());
                drop(pool);
            });
        }
    }
}

impl Pool {
    fn pool(&self, py: Python<'_>) -> PyResult<Arc<transom::Pool>> {
        self.open(py).map_err(|error| errors::to_py(py, &error))
    }

    /// The pool for a call of a function with so many rows, which an error then names.
    fn pool_for(&self, py: Python<'_>, function: &Function, rows: usize) -> PyResult<Arc<transom::Pool>> {
        self.open(py).map_err(|error| errors::to_py(py, &function.place(error, rows)))
    }

    /// The pool for a stream of a function, which an error then names.
    fn pool_to_map(&self, py: Python<'_>, function: &Function) -> PyResult<Arc<transom::Pool>> {
        self.open(py).map_err(|error| errors::to_py(py, &error.with_function(function.function.name())))
    }

    fn open(&self, py: Python<'_>) -> transom::Result<Arc<transom::Pool>> {
        let pool = self.pool.get()?.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner).clone();
        pool.ok_or_else(|| Error::new(Code::PoolClosed, "the pool is closed"))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.pool.is_mine() {
            let pool = self.pool.value.get_mut().unwrap_or_else(PoisonError::into_inner).take();
            // Ending the workers waits for threads that may want the interpreter, to let go of a batch that Python made. Where the interpreter has
            // gone already, the pool was closed before (`atexit`).
            _ = Python::try_attach(|py| py.detach(|| drop(pool)));
        }
    }
}

impl Function {
    /// Says in an error which call it was, unless it says so already.
    fn place(&self, error: Error, rows: usize) -> Error {
        error.with_function(self.function.name()).with_batch(0).with_rows(0..rows as u64)
    }

    /// What a call gives: the one column of scalar and row functions, the batch of batches functions.
    fn result<'py>(&self, py: Python<'py>, kind: Kind, result: &RecordBatch) -> PyResult<Bound<'py, PyAny>> {
        if kind == Kind::Batches {
            return capsule::batch_to_py(py, result, &self.results.get(py, result.schema_ref())?);
        }
        capsule::array_to_py(py, result.column(0), &self.results.first(py, result.schema_ref())?)
    }
}

/// Positional arrays as a batch, under the names of the parameters that they are for.
fn named(signature: &Signature, arrays: Vec<ArrayRef>, fields: Vec<Field>) -> transom::Result<RecordBatch> {
    let most = signature.parameters.len();
    if fields.len() > most && !signature.variadic {
        let message = format!("{} takes {most} columns and was given {}", signature.describe(), fields.len());
        return Err(Error::new(Code::WrongArguments, message).with_function(&signature.name));
    }
    let name = |position: usize| signature.parameters.get(position).map_or_else(|| format!("column_{position}"), |parameter| parameter.name.clone());
    let fields: Vec<Field> = fields.into_iter().enumerate().map(|(position, field)| field.with_name(name(position)).with_nullable(true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(|error| Error::new(Code::ArgumentLength, error.to_string()))
}
