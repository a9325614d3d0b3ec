//! Replaying failure capsules from Python, and in Python.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use arrow_array::RecordBatch;
use pyo3::prelude::*;
use pyo3::types::PyList;
use transom::Capsule;

use crate::capsule;
use crate::errors::OrRaise;
use crate::wait::wait;
use crate::worker::PythonRuntime;

/// Calls a capsule's function once more in a fresh worker, and gives what it returns.
#[pyfunction]
pub(crate) fn replay<'py>(
    py: Python<'py>,
    path: PathBuf,
    rows: Option<(u64, u64)>,
    python: Option<PathBuf>,
    env: Vec<(String, String)>,
    deadline: Option<f64>,
) -> PyResult<Bound<'py, PyList>> {
    let work = async {
        let capsule = Capsule::open(&path)?;
        let capsule = match deadline {
            Some(seconds) => capsule.with_deadline(Duration::from_secs_f64(seconds)),
            None => capsule,
        };
        let builder = env.into_iter().fold(capsule.pool(python.as_deref())?, |builder, (name, value)| builder.env(name, value));
        let pool = builder.build()?;
        capsule.call(&pool, rows.map(range)).await
    };
    let results = wait(py, work)?.or_raise(py)?;
    to_py(py, &results)
}

/// Calls a capsule's function in this process.
#[pyfunction]
pub(crate) fn replay_here<'py>(py: Python<'py>, path: PathBuf, rows: (u64, u64), runtime: Py<PyAny>) -> PyResult<Bound<'py, PyList>> {
    let mut runtime = PythonRuntime::new(runtime);
    let results = py.detach(|| Capsule::open(&path)?.call_here(&mut runtime, Some(range(rows)))).or_raise(py)?;
    to_py(py, &results)
}

/// The command that calls it in a process of its own, and the working directory for it.
#[pyfunction]
pub(crate) fn replay_command(
    py: Python<'_>,
    path: PathBuf,
    rows: Option<(u64, u64)>,
    python: Option<PathBuf>,
) -> PyResult<(Vec<String>, Option<PathBuf>)> {
    let command = Capsule::open(&path).and_then(|capsule| capsule.command(python.as_deref(), rows.map(range))).or_raise(py)?;
    let words = std::iter::once(command.get_program()).chain(command.get_args()).map(|word| word.to_string_lossy().into_owned()).collect();
    Ok((words, command.get_current_dir().map(PathBuf::from)))
}

fn range((start, end): (u64, u64)) -> Range<u64> {
    start..end
}

fn to_py<'py>(py: Python<'py>, results: &[RecordBatch]) -> PyResult<Bound<'py, PyList>> {
    let batches = PyList::empty(py);
    for result in results {
        batches.append(capsule::batch_to_py(py, result, &capsule::schema_to_py(py, result.schema_ref())?)?)?;
    }
    Ok(batches)
}
