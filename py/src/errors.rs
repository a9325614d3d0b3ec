//! Errors of the core as exceptions of the Python package, and back.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict, PyTuple};
use transom::link::{RemoteError, Suppressed};
use transom::{Code, Error};

/// The exception for an error of the core: the class goes by the code, and the attributes say all that the error knows.
pub(crate) fn to_py(py: Python<'_>, error: &Error) -> PyErr {
    make(py, error).unwrap_or_else(|broken| broken)
}

fn make(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let places = PyDict::new(py);
    places.set_item("function", error.function())?;
    places.set_item("batch", error.batch())?;
    places.set_item("rows", error.rows().map(|rows| (rows.start, rows.end)))?;
    places.set_item("hint", error.hint())?;
    places.set_item("output", error.output())?;
    places.set_item("worker", error.worker())?;
    places.set_item("stack", error.stack())?;
    let remote = error.remote();
    places.set_item("remote_type", remote.map(|remote| &remote.kind))?;
    places.set_item("remote_message", remote.map(|remote| &remote.message))?;
    // Of a worker that died, the stack that it wrote is what a traceback is of an exception.
    places.set_item("remote_traceback", remote.map(|remote| remote.traceback.as_str()).or(error.stack()))?;
    places.set_item("capsule", error.capsule())?;
    let code = error.code();
    let arguments = (code.number(), code.name(), error.message(), error.to_string());
    let made = py.import(intern!(py, "transom._errors"))?.getattr(intern!(py, "_make"))?.call(arguments, Some(&places))?;
    Ok(PyErr::from_value(made))
}

/// A result of the core as a result of Python.
pub(crate) trait OrRaise<T> {
    /// The value, or the exception.
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> OrRaise<T> for transom::Result<T> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| to_py(py, &error))
    }
}

type Parts = (u16, String, String, String, Option<u64>, Option<String>);

/// What a worker tells its host of an exception that came out of the package's Python side.
pub(crate) fn to_remote(py: Python<'_>, error: &PyErr) -> RemoteError {
    let report = || -> PyResult<RemoteError> {
        let report = py.import(intern!(py, "transom._failures"))?.getattr(intern!(py, "report"))?;
        Ok(remote(report.call1((error.value(py),))?.extract()?))
    };
    report().unwrap_or_else(|second| RemoteError::new(Code::Internal, format!("an exception cannot be told: {second}")))
}

/// The report on what the user's code raised, for a row where that is known.
pub(crate) fn raised(py: Python<'_>, error: PyErr, row: Option<usize>) -> PyErr {
    let report = || -> PyResult<PyErr> {
        let row = [(intern!(py, "row"), row)].into_py_dict(py)?;
        let report = py.import(intern!(py, "transom._failures"))?.getattr(intern!(py, "raised"))?;
        Ok(PyErr::from_value(report.call((error.into_value(py),), Some(&row))?))
    };
    report().unwrap_or_else(|broken| broken)
}

fn remote((number, kind, message, traceback, row, hint): Parts) -> RemoteError {
    RemoteError { code: Code::from_number(number).unwrap_or(Code::Internal), kind, message, traceback, row, hint }
}

/// What `_suppressed.Suppressed.parts()` gives.
pub(crate) fn suppressed(parts: &Bound<'_, PyAny>) -> PyResult<Suppressed> {
    let (causes, rows): (Vec<Parts>, Vec<(u64, u32)>) = parts.extract()?;
    Ok(Suppressed { causes: causes.into_iter().map(remote).collect(), rows })
}

/// The exception that ends a batches function whose input ended otherwise than by its end.
pub(crate) fn interrupted(py: Python<'_>, error: RemoteError) -> PyErr {
    let make = || -> PyResult<PyErr> {
        let class = py.import(intern!(py, "transom._failures"))?.getattr(intern!(py, "Interrupted"))?;
        let parts = (error.code.number(), error.kind, error.message, error.traceback, error.row, error.hint);
        Ok(PyErr::from_value(class.call1(parts.into_pyobject(py)?.cast_into::<PyTuple>()?)?))
    };
    make().unwrap_or_else(|broken| broken)
}
