//! Waiting for the core without the interpreter's lock, awake to signals.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use pyo3::prelude::*;
use transom::pool::wait_with;
use transom::{Code, Error};

use crate::errors;

/// How long Ctrl-C may go unnoticed.
const INTERVAL: Duration = Duration::from_millis(50);

/// Waits for a future. A signal handler that raises, as that of Ctrl-C does, drops the future, which cancels what it was for.
///
/// A panic of the core is a defect, and reported as one: it must not pass through Python as an exception that nobody catches.
pub(crate) fn wait<F>(py: Python<'_>, future: F) -> PyResult<F::Output>
where
    F: Future + Send,
    F::Output: Send,
{
    let wait = || wait_with(future, INTERVAL, || Python::attach(|py| py.check_signals()));
    let outcome = py.detach(|| catch_unwind(AssertUnwindSafe(wait)));
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        let error = Error::new(Code::Internal, format!("panic in the host: {}", text.unwrap_or("without a message")));
        Err(errors::to_py(py, &error))
    })
}
