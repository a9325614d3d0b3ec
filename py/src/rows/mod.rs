//! Row functions: a loop over rows without lists of arguments or results.
//!
//! Columns are read value by value (`read`), the function is called with the same array of arguments each time (`call`), and what it gives goes into a column
//! at once (`write`). pyarrow stands in on both sides where a type is not known here: it makes the list of a column, or the column of a list.

mod call;
mod read;
mod write;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use pyo3::exceptions::{PyException, PySystemExit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyList;

pub(crate) use self::call::Arguments;
use self::read::{Listed, Read, reader};
use self::write::{Took, Write, writer};
use crate::capsule::{self, KnownType};
use crate::errors;

/// Rows between looks for signals, which a function that is not written in Python never takes.
const PAUSE: usize = 4096;

/// Rows whose arguments are made before they are called; the bytes of their values, where those are many.
const STRETCH: usize = 32;
const STRETCH_BYTES: usize = 64 << 10;

/// A row function, prepared for a schema.
#[pyclass(frozen, module = "transom._native")]
pub(crate) struct Rows {
    prepared: Py<PyAny>,
    function: Py<PyAny>,
    columns: Vec<Column>,
    /// The type of results; none where Python makes the column.
    returns: Option<DataType>,
    nullable: bool,
}

/// How the values of a column are made.
struct Column {
    name: String,
    /// To the type that the function wants.
    cast: Option<Py<PyAny>>,
    /// Makes the list of values.
    list: Py<PyAny>,
    /// Whether the list is `to_pylist`'s, and the type pyarrow's own.
    plain: bool,
}

/// The parts of a [`Column`], as Python gives them.
type Parts = (String, Option<Py<PyAny>>, Py<PyAny>, bool);

#[pymethods]
impl Rows {
    #[new]
    fn new(prepared: Py<PyAny>, function: Py<PyAny>, columns: Vec<Parts>, returns: Option<&Bound<'_, PyAny>>, nullable: bool) -> PyResult<Self> {
        let columns = columns.into_iter().map(|(name, cast, list, plain)| Column { name, cast, list, plain }).collect();
        let returns = returns.map(capsule::type_from_py).transpose()?;
        Ok(Self { prepared, function, columns, returns, nullable })
    }

    /// Whether columns of this type are made here; pyarrow makes the others.
    #[staticmethod]
    fn builds(kind: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(writer(&capsule::type_from_py(kind)?, 0).is_some())
    }
}

impl Rows {
    /// Runs one batch, whose columns have these types of pyarrow. Rows that fail are noted in `failed`, where that is given.
    pub(crate) fn run<'py>(
        &self,
        py: Python<'py>,
        arguments: &RecordBatch,
        types: &[Py<PyAny>],
        known: &mut KnownType,
        failed: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<ArrayRef> {
        let mut results = Results::new(py, self.returns.as_ref(), arguments.num_rows());
        self.each(py, arguments, types, &mut results, failed)?;
        let results = match results {
            Results::Listed(list) => list,
            Results::Written(mut writer) => {
                let built = writer.finish();
                if self.nullable || built.null_count() == 0 {
                    return Ok(built);
                }
                list_of(py, &built)?
            }
        };
        known.array_from_py(&self.prepared.bind(py).call_method1(intern!(py, "finish"), (results, failed))?)
    }

    fn each<'py>(
        &self,
        py: Python<'py>,
        arguments: &RecordBatch,
        types: &[Py<PyAny>],
        results: &mut Results<'py>,
        failed: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        let given = || self.columns.iter().zip(arguments.columns()).zip(types);
        let mut readers = given().map(|((column, array), kind)| column.reader(array, kind.bind(py))).collect::<PyResult<Vec<_>>>()?;
        let stretch = stretch(arguments);
        let mut calls = Arguments::new(self.function.bind(py).clone(), readers.len(), stretch)?;
        let mut row = 0;
        while row < arguments.num_rows() {
            let mut end = arguments.num_rows().min(row + stretch);
            for (number, (reader, ((column, array), kind))) in readers.iter_mut().zip(given()).enumerate() {
                let made = reader.fill(row..end, calls.column(number));
                if made > 0 {
                    end = row + made;
                    continue;
                }
                // Python has no such value: pyarrow says so in its words, or knows better.
                *reader = column.listed(&column.cast(array, kind.bind(py))?)?;
                calls.put(0, number, reader.read(row)?);
                end = row + 1;
            }
            for (number, row) in (row..end).enumerate() {
                let breath = if row % PAUSE == PAUSE - 1 { breathe(py) } else { Ok(()) };
                match breath.and_then(|()| calls.call(number)) {
                    Ok(value) => results.push(value).map_err(|full| full.unwrap_or_else(|| self.full(py)))?,
                    Err(error) => {
                        note(py, error, row, failed)?;
                        results.null(py)?;
                    }
                }
            }
            row = end;
        }
        Ok(())
    }

    /// The error for a column that can hold no more.
    fn full(&self, py: Python<'_>) -> PyErr {
        self.prepared.bind(py).call_method0(intern!(py, "full")).map_or_else(|error| error, PyErr::from_value)
    }
}

/// For how many rows the arguments are made at a time: few enough that they stay in the caches of a core and of Python's memory, and fewer where rows are large.
fn stretch(arguments: &RecordBatch) -> usize {
    let row =
        arguments.columns().iter().map(|array| array.to_data().get_slice_memory_size().unwrap_or(0)).sum::<usize>() / arguments.num_rows().max(1);
    (STRETCH_BYTES / row.max(1)).clamp(1, STRETCH)
}

/// Hears signals, and lets other threads run.
fn breathe(py: Python<'_>) -> PyResult<()> {
    py.check_signals()?;
    py.detach(|| {});
    Ok(())
}

/// Notes that the function raised for a row; an error where that fails the batch.
fn note(py: Python<'_>, error: PyErr, row: usize, failed: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    match failed {
        Some(failed) if error.is_instance_of::<PyException>(py) || error.is_instance_of::<PySystemExit>(py) => {
            failed.call_method1(intern!(py, "raised"), (row, error.into_value(py))).map(drop)
        }
        _ => Err(errors::raised(py, error, Some(row))),
    }
}

impl Column {
    fn reader<'py>(&self, array: &ArrayRef, kind: &Bound<'py, PyAny>) -> PyResult<Box<dyn Read<'py> + 'py>> {
        let py = kind.py();
        if let (None, true) = (&self.cast, self.plain)
            && let Some(found) = reader(py, array)?
        {
            return Ok(found);
        }
        let given = self.cast(array, kind)?;
        if let (Some(_), true) = (&self.cast, self.plain)
            && let Some(found) = reader(py, &capsule::array_from_py(&given)?.0)?
        {
            return Ok(found);
        }
        self.listed(&given)
    }

    fn cast<'py>(&self, array: &ArrayRef, kind: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let given = capsule::array_to_py(kind.py(), array, kind)?;
        self.cast.as_ref().map_or_else(|| Ok(given.clone()), |cast| convert(cast.bind(kind.py()), &given, &self.name))
    }

    fn listed<'py>(&self, given: &Bound<'py, PyAny>) -> PyResult<Box<dyn Read<'py> + 'py>> {
        Ok(Box::new(Listed(convert(self.list.bind(given.py()), given, &self.name)?.cast_into()?)))
    }
}

/// One conversion of a column by Python; what it raises says that the argument is to blame.
pub(crate) fn convert<'py>(change: &Bound<'py, PyAny>, column: &Bound<'py, PyAny>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    let py = column.py();
    py.import(intern!(py, "transom._arguments"))?.call_method1(intern!(py, "convert"), (change, column, name))
}

/// The results so far.
enum Results<'py> {
    Written(Box<dyn Write>),
    Listed(Bound<'py, PyList>),
}

impl<'py> Results<'py> {
    fn new(py: Python<'py>, kind: Option<&DataType>, rows: usize) -> Self {
        kind.and_then(|kind| writer(kind, rows)).map_or_else(|| Self::Listed(PyList::empty(py)), Self::Written)
    }

    /// One result more. An error is none where the column can hold no more.
    fn push(&mut self, value: Bound<'py, PyAny>) -> Result<(), Option<PyErr>> {
        let list = match self {
            Self::Listed(list) => list,
            Self::Written(writer) if value.is_none() => {
                writer.null();
                return Ok(());
            }
            Self::Written(writer) => match writer.write(&value) {
                Took::Yes => return Ok(()),
                Took::Full => return Err(None),
                Took::No => {
                    *self = Self::Listed(list_of(value.py(), &writer.finish())?);
                    return self.push(value);
                }
            },
        };
        Ok(list.append(value)?)
    }

    fn null(&mut self, py: Python<'py>) -> PyResult<()> {
        match self {
            Self::Listed(list) => list.append(py.None()),
            Self::Written(writer) => {
                writer.null();
                Ok(())
            }
        }
    }
}

/// A column as the list of values of which a writer has made it.
fn list_of<'py>(py: Python<'py>, column: &dyn Array) -> PyResult<Bound<'py, PyList>> {
    let mut reader = reader(py, column)?.expect("types with writers have readers");
    let list = PyList::empty(py);
    (0..column.len()).try_for_each(|row| list.append(reader.read(row)?))?;
    Ok(list)
}
