//! Columns as Python values, one at a time: the values that pyarrow's `to_pylist` gives.
//!
//! Not here are types whose values depend on more than themselves or on libraries that may be missing (zones, nanoseconds), and nested ones: for those
//! there is no reader, and pyarrow makes a list.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, PrimitiveArray};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, TimeUnit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyList, PyString};

use super::call::{Places, call};

/// Makes the Python value of one row.
pub(super) trait Read<'py> {
    /// The value; `None` for a null.
    fn read(&mut self, row: usize) -> PyResult<Bound<'py, PyAny>>;

    /// Puts the values of some rows into `places`, in a loop of the type's own. Gives how many there are before one that cannot be made.
    fn fill(&mut self, rows: Range<usize>, places: Places<'_, 'py>) -> usize {
        let (first, all) = (rows.start, rows.len());
        for (row, place) in rows.zip(places) {
            let Ok(value) = self.read(row) else { return row - first };
            *place = Some(value);
        }
        all
    }
}

type Reader<'py> = Box<dyn Read<'py> + 'py>;

/// The reader of this column, where its type has one.
pub(super) fn reader<'py>(py: Python<'py>, array: &dyn Array) -> PyResult<Option<Reader<'py>>> {
    macro_rules! numbers {
        ($($kind:ident)*) => {
            match array.data_type() {
                $(kind if *kind == $kind::DATA_TYPE => {
                    return Ok(Some(each(py, array.as_primitive::<$kind>(), |py, array, row| Ok(array.value(row).into_pyobject(py)?.into_any()))));
                })*
                _ => {}
            }
        };
    }
    numbers!(Int8Type Int16Type Int32Type Int64Type UInt8Type UInt16Type UInt32Type UInt64Type Float32Type Float64Type);
    Ok(Some(match array.data_type() {
        DataType::Null => Box::new(Nothing(py)),
        DataType::Boolean => each(py, array.as_boolean(), |py, array, row| Ok(PyBool::new(py, array.value(row)).to_owned().into_any())),
        DataType::Utf8 => each(py, array.as_string::<i32>(), |py, array, row| Ok(PyString::new(py, array.value(row)).into_any())),
        DataType::LargeUtf8 => each(py, array.as_string::<i64>(), |py, array, row| Ok(PyString::new(py, array.value(row)).into_any())),
        DataType::Utf8View => each(py, array.as_string_view(), |py, array, row| Ok(PyString::new(py, array.value(row)).into_any())),
        DataType::Binary => each(py, array.as_binary::<i32>(), |py, array, row| Ok(PyBytes::new(py, array.value(row)).into_any())),
        DataType::LargeBinary => each(py, array.as_binary::<i64>(), |py, array, row| Ok(PyBytes::new(py, array.value(row)).into_any())),
        DataType::BinaryView => each(py, array.as_binary_view(), |py, array, row| Ok(PyBytes::new(py, array.value(row)).into_any())),
        DataType::FixedSizeBinary(_) => each(py, array.as_fixed_size_binary(), |py, array, row| Ok(PyBytes::new(py, array.value(row)).into_any())),
        DataType::Dictionary(_, values) if !matches!(**values, DataType::Dictionary(..)) => return dictionary(py, array),
        kind if kind.is_temporal() => return temporal(py, array),
        DataType::Decimal32(_, 0..) => decimal::<Decimal32Type>(py, array),
        DataType::Decimal64(_, 0..) => decimal::<Decimal64Type>(py, array),
        DataType::Decimal128(_, 0..) => decimal::<Decimal128Type>(py, array),
        DataType::Decimal256(_, 0..) => decimal::<Decimal256Type>(py, array),
        _ => return Ok(None),
    }))
}

/// A column without values.
struct Nothing<'py>(Python<'py>);

impl<'py> Read<'py> for Nothing<'py> {
    fn read(&mut self, _: usize) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.0.None().into_bound(self.0))
    }
}

/// A column of a type with a loop of its own.
struct Each<'py, A, F> {
    py: Python<'py>,
    array: A,
    nulls: Option<NullBuffer>,
    make: F,
}

fn each<'py, A, F>(py: Python<'py>, array: &A, make: F) -> Reader<'py>
where
    A: Array + Clone + 'py,
    F: Fn(Python<'py>, &A, usize) -> PyResult<Bound<'py, PyAny>> + 'py,
{
    Box::new(Each { py, array: array.clone(), nulls: array.nulls().cloned(), make })
}

impl<'py, A, F> Read<'py> for Each<'py, A, F>
where
    F: Fn(Python<'py>, &A, usize) -> PyResult<Bound<'py, PyAny>>,
{
    #[inline]
    fn read(&mut self, row: usize) -> PyResult<Bound<'py, PyAny>> {
        let null = self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        if null { Ok(self.py.None().into_bound(self.py)) } else { (self.make)(self.py, &self.array, row) }
    }
}

/// What pyarrow made of a column for which there is no reader.
pub(super) struct Listed<'py>(pub(super) Bound<'py, PyList>);

impl<'py> Read<'py> for Listed<'py> {
    fn read(&mut self, row: usize) -> PyResult<Bound<'py, PyAny>> {
        self.0.get_item(row)
    }
}

/// A dictionary's values are made once each; none of those that have readers can be changed, so rows may share them.
struct Dictionary<'py, A> {
    keys: A,
    numbers: Vec<usize>,
    values: Reader<'py>,
    made: Vec<Option<Bound<'py, PyAny>>>,
    nothing: Bound<'py, PyAny>,
}

fn dictionary<'py>(py: Python<'py>, array: &dyn Array) -> PyResult<Option<Reader<'py>>> {
    let array = array.as_any_dictionary();
    if array.values().is_empty() {
        return Ok(Some(Box::new(Nothing(py))));
    }
    let Some(values) = reader(py, array.values())? else { return Ok(None) };
    let made = vec![None; array.values().len()];
    let keys = array.keys().slice(0, array.keys().len());
    Ok(Some(Box::new(Dictionary { keys, numbers: array.normalized_keys(), values, made, nothing: py.None().into_bound(py) })))
}

impl<'py, A: Array> Read<'py> for Dictionary<'py, A> {
    fn read(&mut self, row: usize) -> PyResult<Bound<'py, PyAny>> {
        if self.keys.is_null(row) {
            return Ok(self.nothing.clone());
        }
        let number = self.numbers[row];
        if let Some(made) = &self.made[number] {
            return Ok(made.clone());
        }
        let value = self.values.read(number)?;
        Ok(self.made[number].insert(value).clone())
    }
}

/// Python's classes of times and numbers, looked up once.
struct Classes {
    from_ordinal: Py<PyAny>,
    time: Py<PyAny>,
    span: Py<PyAny>,
    /// The time from which Arrow counts.
    epoch: Py<PyAny>,
    decimal: Py<PyAny>,
}

static CLASSES: PyOnceLock<Classes> = PyOnceLock::new();

fn classes(py: Python<'_>) -> PyResult<&'static Classes> {
    CLASSES.get_or_try_init(py, || {
        let module = py.import("datetime")?;
        Ok(Classes {
            from_ordinal: module.getattr("date")?.getattr("fromordinal")?.unbind(),
            time: module.getattr("time")?.unbind(),
            span: module.getattr("timedelta")?.unbind(),
            epoch: module.getattr("datetime")?.call1((1970, 1, 1))?.unbind(),
            decimal: py.import("decimal")?.getattr("Decimal")?.unbind(),
        })
    })
}

/// Days from the first day of year 1, which is 1 for Python, to the first of 1970, which is 0 for Arrow.
const EPOCH: i64 = 719_163;
const DAY: i64 = 86_400;

fn temporal<'py>(py: Python<'py>, array: &dyn Array) -> PyResult<Option<Reader<'py>>> {
    let classes = classes(py)?;
    Ok(Some(match array.data_type() {
        DataType::Date32 => each(py, array.as_primitive::<Date32Type>(), |py, array, row| date(py, classes, i64::from(array.value(row)))),
        DataType::Date64 => each(py, array.as_primitive::<Date64Type>(), |py, array, row| date(py, classes, array.value(row).div_euclid(DAY * 1000))),
        DataType::Time32(TimeUnit::Second) => time::<Time32SecondType>(py, array, classes, 1),
        DataType::Time32(TimeUnit::Millisecond) => time::<Time32MillisecondType>(py, array, classes, 1000),
        DataType::Time64(TimeUnit::Microsecond) => time::<Time64MicrosecondType>(py, array, classes, 1_000_000),
        DataType::Duration(TimeUnit::Second) => spans::<DurationSecondType>(py, array, classes, 1),
        DataType::Duration(TimeUnit::Millisecond) => spans::<DurationMillisecondType>(py, array, classes, 1000),
        DataType::Duration(TimeUnit::Microsecond) => spans::<DurationMicrosecondType>(py, array, classes, 1_000_000),
        DataType::Timestamp(TimeUnit::Second, None) => moments::<TimestampSecondType>(py, array, classes, 1),
        DataType::Timestamp(TimeUnit::Millisecond, None) => moments::<TimestampMillisecondType>(py, array, classes, 1000),
        DataType::Timestamp(TimeUnit::Microsecond, None) => moments::<TimestampMicrosecondType>(py, array, classes, 1_000_000),
        _ => return Ok(None),
    }))
}

fn number<'py>(py: Python<'py>, value: i64) -> PyResult<Bound<'py, PyAny>> {
    Ok(value.into_pyobject(py)?.into_any())
}

fn date<'py>(py: Python<'py>, classes: &Classes, day: i64) -> PyResult<Bound<'py, PyAny>> {
    call(classes.from_ordinal.bind(py), [number(py, EPOCH + day)?])
}

/// A span of time, in parts of a second of which there are `second`.
fn span<'py>(py: Python<'py>, classes: &Classes, value: i64, second: i64) -> PyResult<Bound<'py, PyAny>> {
    let (seconds, rest) = (value.div_euclid(second), value.rem_euclid(second) * (1_000_000 / second));
    call(classes.span.bind(py), [number(py, seconds.div_euclid(DAY))?, number(py, seconds.rem_euclid(DAY))?, number(py, rest)?])
}

fn spans<'py, T>(py: Python<'py>, array: &dyn Array, classes: &'static Classes, second: i64) -> Reader<'py>
where
    T: ArrowPrimitiveType<Native = i64>,
{
    each(py, array.as_primitive::<T>(), move |py, array, row| span(py, classes, array.value(row), second))
}

fn moments<'py, T>(py: Python<'py>, array: &dyn Array, classes: &'static Classes, second: i64) -> Reader<'py>
where
    T: ArrowPrimitiveType<Native = i64>,
{
    let epoch = classes.epoch.bind(py).clone();
    each(py, array.as_primitive::<T>(), move |py, array, row| epoch.add(span(py, classes, array.value(row), second)?))
}

fn time<'py, T>(py: Python<'py>, array: &dyn Array, classes: &'static Classes, second: i64) -> Reader<'py>
where
    T: ArrowPrimitiveType,
    i64: From<T::Native>,
{
    each(py, array.as_primitive::<T>(), move |py, array, row| {
        let value = i64::from(array.value(row));
        let (seconds, rest) = (value.div_euclid(second), value.rem_euclid(second) * (1_000_000 / second));
        let parts = [seconds.div_euclid(3600), seconds / 60 % 60, seconds % 60, rest];
        let [hours, minutes, seconds, rest] = parts.map(|part| number(py, part));
        call(classes.time.bind(py), [hours?, minutes?, seconds?, rest?])
    })
}

fn decimal<'py, T: DecimalType>(py: Python<'py>, array: &dyn Array) -> Reader<'py> {
    each(py, array.as_primitive::<T>(), |py, array: &PrimitiveArray<T>, row| {
        call(classes(py)?.decimal.bind(py), [PyString::new(py, &array.value_as_string(row)).into_any()])
    })
}
