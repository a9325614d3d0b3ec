//! Functions over whole columns: everything between the batch and the function that needs no Python.

use arrow_array::{Array, ArrayRef, RecordBatch};
use pyo3::intern;
use pyo3::prelude::*;

use crate::capsule::{self, KnownType};
use crate::errors;
use crate::rows::{Arguments, convert};

/// A function over arrays, prepared for a schema.
#[pyclass(frozen, module = "transom._native")]
pub(crate) struct Arrays {
    prepared: Py<PyAny>,
    function: Py<PyAny>,
    /// For each column its name, and what makes of a pyarrow array what the function wants; nothing where it wants that.
    columns: Vec<(String, Option<Py<PyAny>>)>,
    nullable: bool,
}

#[pymethods]
impl Arrays {
    #[new]
    fn new(prepared: Py<PyAny>, function: Py<PyAny>, columns: Vec<(String, Option<Py<PyAny>>)>, nullable: bool) -> Self {
        Self { prepared, function, columns, nullable }
    }
}

impl Arrays {
    /// Runs one batch, whose columns have these types of pyarrow.
    pub(crate) fn run(&self, py: Python<'_>, arguments: RecordBatch, types: &[Py<PyAny>], known: &mut KnownType) -> PyResult<ArrayRef> {
        let rows = arguments.num_rows();
        let mut call = Arguments::new(self.function.bind(py).clone(), self.columns.len(), 1)?;
        for (number, ((name, change), (array, kind))) in self.columns.iter().zip(arguments.columns().iter().zip(types)).enumerate() {
            let given = capsule::array_to_py(py, array, kind.bind(py))?;
            let given = change.as_ref().map_or_else(|| Ok(given.clone()), |change| convert(change.bind(py), &given, name))?;
            call.put(0, number, given);
        }
        // From here on Python alone holds the input: the lease ends when the function lets go of it.
        drop(arguments);
        let result = call.call(0).map_err(|error| errors::raised(py, error, None))?;
        if let Some(array) = self.usual(&result, rows, known)? {
            return Ok(array);
        }
        known.array_from_py(&self.prepared.bind(py).call_method1(intern!(py, "returned"), (result, rows))?)
    }

    /// A result of the type of the one before, with which nothing is wrong. Python looks at any other, and says what is.
    fn usual(&self, result: &Bound<'_, PyAny>, rows: usize, known: &KnownType) -> PyResult<Option<ArrayRef>> {
        // `validate` is cheap: whether buffers are long enough, on which the import counts. The host looks at the content.
        if !known.is_type_of(result)? || result.call_method0(intern!(result.py(), "validate")).is_err() {
            return Ok(None);
        }
        let array = known.export(result)?;
        let fits = array.len() == rows && (self.nullable || array.null_count() == 0);
        Ok(fits.then_some(array))
    }
}
