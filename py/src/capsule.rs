//! Arrow data between Rust and pyarrow by the C data interface: the one place of this crate with `unsafe`.
//!
//! Towards Python a structure is made here and its address given to pyarrow's `_import_from_c`, which moves it out. From Python an
//! empty structure is given to `_export_to_c`, which fills it. Either way no byte of a column is copied, and each side's memory
//! lives until the other has released it. Releases may run on any thread: what is dropped for them needs no interpreter, or
//! takes it by itself (pyarrow does).

use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::cast::AsArray;
use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi_and_data_type};
use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, RecordBatchReader, StructArray, make_array};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::{MutexExt, PyOnceLock};
use pyo3::types::PyCapsule;
use transom::exchange::{c_schema, same_schema, settled};
use transom::{Code, Error};

use crate::errors;

/// pyarrow's functions, looked up once.
struct Pyarrow {
    array_class: Py<PyAny>,
    batch_class: Py<PyAny>,
    array: Py<PyAny>,
    batch: Py<PyAny>,
    schema: Py<PyAny>,
}

static PYARROW: PyOnceLock<Pyarrow> = PyOnceLock::new();

fn pyarrow(py: Python<'_>) -> PyResult<&'static Pyarrow> {
    PYARROW.get_or_try_init(py, || {
        let module = py.import("pyarrow")?;
        let import = |class: &str| module.getattr(class)?.getattr("_import_from_c").map(Bound::unbind);
        let class = |class: &str| module.getattr(class).map(Bound::unbind);
        Ok(Pyarrow {
            array_class: class("Array")?,
            batch_class: class("RecordBatch")?,
            array: import("Array")?,
            batch: import("RecordBatch")?,
            schema: import("Schema")?,
        })
    })
}

/// The address of a structure that pyarrow will read and write.
fn address<T>(structure: &mut T) -> usize {
    std::ptr::from_mut(structure).expose_provenance()
}

fn failed(error: ArrowError) -> PyErr {
    PyValueError::new_err(format!("the data does not cross from pyarrow: {error}"))
}

/// The array as pyarrow's, of the pyarrow type `kind`.
pub(crate) fn array_to_py<'py>(py: Python<'py>, array: &dyn Array, kind: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    // What pyarrow did not move out, since it failed first, is released when `structure` is dropped.
    let mut structure = FFI_ArrowArray::new(&array.to_data());
    pyarrow(py)?.array.bind(py).call1((address(&mut structure), kind)).map_err(|error| match error.is_instance_of::<PyKeyError>(py) {
        // What pyarrow says where its core knows a type for which it has no class.
        true => errors::to_py(py, &Error::new(Code::BadSchema, format!("pyarrow has no arrays of type {}", array.data_type()))),
        false => error,
    })
}

/// The batch as pyarrow's, with the pyarrow schema `schema`.
pub(crate) fn batch_to_py<'py>(py: Python<'py>, batch: &RecordBatch, schema: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let mut structure = FFI_ArrowArray::new(&StructArray::from(batch.clone()).to_data());
    pyarrow(py)?.batch.bind(py).call1((address(&mut structure), schema))
}

/// The schema as pyarrow's, with all metadata.
pub(crate) fn schema_to_py<'py>(py: Python<'py>, schema: &Schema) -> PyResult<Bound<'py, PyAny>> {
    let mut structure = c_schema(schema).map_err(failed)?;
    pyarrow(py)?.schema.bind(py).call1((address(&mut structure),)).map_err(|error| {
        let error = Error::new(Code::BadSchema, format!("pyarrow cannot hold this schema: {}", error.value(py)));
        errors::to_py(py, &error.with_hint("pyarrow takes batches whose types have 63 levels at most"))
    })
}

/// What pyarrow filled, as an array.
///
/// # Safety
/// `structure` was filled by the rules of the C data interface, with data of the type `kind`.
unsafe fn imported(structure: FFI_ArrowArray, kind: DataType) -> PyResult<ArrayRef> {
    // arrow-rs panics on some arrays that do not hold together. Whoever made them gets an exception, which the program can live with.
    let import = || {
        // SAFETY: the caller's promise.
        let data = unsafe { from_ffi_and_data_type(structure, kind) }.map_err(failed)?;
        Ok(make_array(settled(data)))
    };
    catch_unwind(AssertUnwindSafe(import)).unwrap_or_else(|_| Err(PyValueError::new_err("the array does not hold together")))
}

/// A pyarrow array with its field, whose metadata tells an extension type.
pub(crate) fn array_from_py(array: &Bound<'_, PyAny>) -> PyResult<(ArrayRef, Field)> {
    let mut structure = FFI_ArrowArray::empty();
    let mut schema = FFI_ArrowSchema::empty();
    array.call_method1("_export_to_c", (address(&mut structure), address(&mut schema)))?;
    let field = Field::try_from(&schema).map_err(failed)?;
    // SAFETY: pyarrow filled both structures (or the call above failed), and they belong to nobody else.
    let found = unsafe { imported(structure, field.data_type().clone()) }?;
    Ok((found, field))
}

/// The last type that a function's results had: most have one for ever, and its schema need not cross each time.
#[derive(Default)]
pub(crate) struct KnownType {
    known: Option<(Py<PyAny>, DataType)>,
}

impl KnownType {
    /// Whether this is a pyarrow array of that type.
    pub(crate) fn is_type_of(&self, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = value.py();
        let Some((seen, _)) = &self.known else { return Ok(false) };
        if !value.is_instance(pyarrow(py)?.array_class.bind(py))? {
            return Ok(false);
        }
        value.getattr(intern!(py, "type"))?.eq(seen.bind(py))
    }

    /// A pyarrow array of that type, without its schema.
    pub(crate) fn export(&self, array: &Bound<'_, PyAny>) -> PyResult<ArrayRef> {
        let (_, known) = self.known.as_ref().ok_or_else(|| PyValueError::new_err("no type is known"))?;
        let mut structure = FFI_ArrowArray::empty();
        array.call_method1(intern!(array.py(), "_export_to_c"), (address(&mut structure),))?;
        // SAFETY: pyarrow filled the structure, and says that the array's type equals the one that `known` was made of. Its equality disregards only
        // the names and the metadata of fields, which do not shape the data.
        unsafe { imported(structure, known.clone()) }
    }

    /// A pyarrow array; where its type is the one before, without its schema.
    pub(crate) fn array_from_py(&mut self, array: &Bound<'_, PyAny>) -> PyResult<ArrayRef> {
        if self.is_type_of(array)? {
            return self.export(array);
        }
        let kind = array.getattr(intern!(array.py(), "type"))?;
        let (found, _) = array_from_py(array)?;
        self.known = Some((kind.unbind(), found.data_type().clone()));
        Ok(found)
    }
}

impl KnownType {
    /// A pyarrow array with its field; where its type is the one before, and such that equality says all of it, without its schema.
    fn argument(&mut self, array: &Bound<'_, PyAny>) -> PyResult<(ArrayRef, Field)> {
        if self.is_type_of(array)? {
            let found = self.export(array)?;
            let field = Field::new("", found.data_type().clone(), true);
            return Ok((found, field));
        }
        let (found, field) = array_from_py(array)?;
        // An extension type is more than its storage, and equality of nested types does not look at all names.
        let simple = field.metadata().is_empty() && !field.data_type().is_nested() && !matches!(field.data_type(), DataType::Dictionary(..));
        self.known = if simple { Some((array.getattr(intern!(array.py(), "type"))?.unbind(), field.data_type().clone())) } else { None };
        Ok((found, field))
    }
}

/// A record batch from the structure of a struct array, which is what a batch is in the C data interface.
///
/// # Safety
/// As for [`imported`], with the fields of `schema`.
unsafe fn batch(structure: FFI_ArrowArray, schema: SchemaRef) -> PyResult<RecordBatch> {
    // SAFETY: the caller's promise.
    let rows = unsafe { imported(structure, DataType::Struct(schema.fields().clone())) }?;
    let columns = rows.as_struct().columns().to_vec();
    let rows = rows.len();
    RecordBatch::try_new_with_options(schema, columns, &RecordBatchOptions::new().with_row_count(Some(rows))).map_err(failed)
}

/// A pyarrow record batch.
pub(crate) fn batch_from_py(record_batch: &Bound<'_, PyAny>) -> PyResult<RecordBatch> {
    let mut structure = FFI_ArrowArray::empty();
    let mut schema = FFI_ArrowSchema::empty();
    record_batch.call_method1("_export_to_c", (address(&mut structure), address(&mut schema)))?;
    let schema = Arc::new(Schema::try_from(&schema).map_err(failed)?);
    // SAFETY: as in `array_from_py`.
    unsafe { batch(structure, schema) }
}

/// A pyarrow schema.
pub(crate) fn schema_from_py(schema: &Bound<'_, PyAny>) -> PyResult<SchemaRef> {
    let mut structure = FFI_ArrowSchema::empty();
    schema.call_method1("_export_to_c", (address(&mut structure),))?;
    Ok(Arc::new(Schema::try_from(&structure).map_err(failed)?))
}

/// A pyarrow data type.
pub(crate) fn type_from_py(kind: &Bound<'_, PyAny>) -> PyResult<DataType> {
    let mut structure = FFI_ArrowSchema::empty();
    kind.call_method1("_export_to_c", (address(&mut structure),))?;
    DataType::try_from(&structure).map_err(failed)
}

/// A stream that pyarrow exported, read from any thread without the interpreter's lock.
pub(crate) struct StreamReader {
    stream: FFI_ArrowArrayStream,
    schema: SchemaRef,
}

impl StreamReader {
    /// Takes the stream of a pyarrow RecordBatchReader and asks it for its schema.
    pub(crate) fn from_py(reader: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut stream = FFI_ArrowArrayStream::empty();
        reader.call_method1("_export_to_c", (address(&mut stream),))?;
        reader.py().detach(|| {
            let mut schema = FFI_ArrowSchema::empty();
            let get_schema = stream.get_schema.ok_or_else(|| PyValueError::new_err("the stream has ended already"))?;
            // SAFETY: the function belongs to this stream, which pyarrow filled and nobody has released; `schema` is empty and ours.
            let status = unsafe { get_schema(&mut stream, &mut schema) };
            if status != 0 {
                return Err(PyValueError::new_err(last_error(&mut stream, status)));
            }
            let schema = Arc::new(Schema::try_from(&schema).map_err(failed)?);
            Ok(Self { stream, schema })
        })
    }
}

impl Iterator for StreamReader {
    type Item = Result<RecordBatch, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut structure = FFI_ArrowArray::empty();
        let get_next = self.stream.get_next?;
        // SAFETY: as in `from_py`; a stream is read by one thread at a time, which `&mut self` makes sure of.
        let status = unsafe { get_next(&mut self.stream, &mut structure) };
        if status != 0 {
            return Some(Err(last_error(&mut self.stream, status)));
        }
        if structure.is_released() {
            return None;
        }
        // SAFETY: the stream filled the structure, with data of its schema.
        Some(unsafe { batch(structure, self.schema.clone()) }.map_err(|error| error.to_string()))
    }
}

fn last_error(stream: &mut FFI_ArrowArrayStream, status: i32) -> String {
    let unknown = || format!("error {status}");
    let Some(get_last_error) = stream.get_last_error else { return unknown() };
    // SAFETY: the function belongs to this stream; what it points to is a C string that lives until the next call on the stream.
    let text = unsafe {
        let text = get_last_error(stream);
        if text.is_null() { None } else { Some(CStr::from_ptr(text).to_string_lossy().into_owned()) }
    };
    text.unwrap_or_else(unknown)
}

const STREAM: &CStr = c"arrow_array_stream";

/// The reader as an `arrow_array_stream` capsule. Dropping the capsule before anybody took the stream drops the reader.
pub(crate) fn stream_to_py<'py>(py: Python<'py>, reader: Box<dyn RecordBatchReader + Send>) -> PyResult<Bound<'py, PyCapsule>> {
    PyCapsule::new_with_value(py, FFI_ArrowArrayStream::new(reader), STREAM)
}

/// The last schema that crossed to Python, which the next batch most likely has.
#[derive(Default)]
pub(crate) struct SchemaCache(Mutex<Option<KnownSchema>>);

struct KnownSchema {
    seen: SchemaRef,
    schema: Py<PyAny>,
    /// The type of the first column, where there is one.
    first: Py<PyAny>,
}

impl SchemaCache {
    /// The schema as pyarrow's.
    pub(crate) fn get<'py>(&self, py: Python<'py>, schema: &SchemaRef) -> PyResult<Bound<'py, PyAny>> {
        self.with(py, schema, |known| known.schema.bind(py).clone())
    }

    /// The type of the schema's first column as pyarrow's; `None` where there is no column.
    pub(crate) fn first<'py>(&self, py: Python<'py>, schema: &SchemaRef) -> PyResult<Bound<'py, PyAny>> {
        self.with(py, schema, |known| known.first.bind(py).clone())
    }

    fn with<T>(&self, py: Python<'_>, schema: &SchemaRef, take: impl Fn(&KnownSchema) -> T) -> PyResult<T> {
        let mut known = self.0.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.as_ref().filter(|known| same_schema(&known.seen, schema)) {
            return Ok(take(known));
        }
        let made = schema_to_py(py, schema)?;
        let first = if schema.fields().is_empty() { py.None() } else { made.call_method1("field", (0,))?.getattr("type")?.unbind() };
        Ok(take(known.insert(KnownSchema { seen: schema.clone(), schema: made.unbind(), first })))
    }
}

/// The last types that arrays had which came from Python as the arguments of a function.
#[derive(Default)]
pub(crate) struct TypeCache(Mutex<Vec<KnownType>>);

impl TypeCache {
    /// Pyarrow arrays with their fields.
    pub(crate) fn arrays(&self, py: Python<'_>, arrays: &[Bound<'_, PyAny>]) -> PyResult<(Vec<ArrayRef>, Vec<Field>)> {
        let mut types = self.0.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner);
        types.resize_with(arrays.len(), KnownType::default);
        arrays.iter().zip(types.iter_mut()).map(|(array, known)| known.argument(array)).collect()
    }
}

/// The last schema that came from Python, which the next batch most likely has.
#[derive(Default)]
pub(crate) struct BatchCache(Mutex<Option<(Py<PyAny>, SchemaRef)>>);

impl BatchCache {
    /// A pyarrow record batch.
    pub(crate) fn batch(&self, record_batch: &Bound<'_, PyAny>) -> PyResult<RecordBatch> {
        let py = record_batch.py();
        if !record_batch.is_instance(pyarrow(py)?.batch_class.bind(py))? {
            return batch_from_py(record_batch);
        }
        let schema = self.schema(&record_batch.getattr(intern!(py, "schema"))?)?;
        let mut structure = FFI_ArrowArray::empty();
        record_batch.call_method1(intern!(py, "_export_to_c"), (address(&mut structure),))?;
        // SAFETY: pyarrow filled the structure, and says that the batch's schema equals the one that `schema` was made of.
        unsafe { batch(structure, schema) }
    }

    fn schema(&self, given: &Bound<'_, PyAny>) -> PyResult<SchemaRef> {
        let py = given.py();
        let mut last = self.0.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner);
        if let Some((seen, known)) = &*last
            // With metadata, this looks at the names inside of types as well.
            && given.call_method1(intern!(py, "equals"), (seen, true))?.is_truthy()?
        {
            return Ok(known.clone());
        }
        Ok(last.insert((given.clone().unbind(), schema_from_py(given)?)).1.clone())
    }
}
