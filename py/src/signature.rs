//! The signature that the Python side found, as the core's.

use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use transom::{Kind, OnError, Parameter, Signature};

use crate::capsule;

type Parameters<'py> = Vec<(String, Option<Bound<'py, PyAny>>, bool)>;
type Described<'py> = (String, String, Parameters<'py>, bool, Option<Bound<'py, PyAny>>, Option<f64>, u32, String, bool);

/// Reads what `Prepared.describe()` gives.
pub(crate) fn from_py(described: &Bound<'_, PyAny>) -> PyResult<Signature> {
    let (name, kind, parameters, variadic, returns, deadline, retries, on_error, deterministic): Described<'_> = described.extract()?;
    let kind = match kind.as_str() {
        "scalar" => Kind::Scalar,
        "row" => Kind::Row,
        "batches" => Kind::Batches,
        other => return Err(PyValueError::new_err(format!("there is no kind {other}"))),
    };
    let parameters = parameters
        .into_iter()
        .map(|(name, kind, optional)| Ok(Parameter { name, data_type: kind.map(|kind| capsule::type_from_py(&kind)).transpose()?, optional }))
        .collect::<PyResult<_>>()?;
    let returns = returns.map(|schema| capsule::schema_from_py(&schema)).transpose()?;
    let deadline = deadline.map(Duration::from_secs_f64);
    let on_error = policy(&on_error)?;
    Ok(Signature { name, kind, parameters, variadic, returns, deadline, retries, on_error, deterministic })
}

/// The policy of this name, which the Python side has checked.
pub(crate) fn policy(name: &str) -> PyResult<OnError> {
    OnError::from_name(name).ok_or_else(|| PyValueError::new_err(format!("there is no policy {name}")))
}
