//! Batches and schemas as structs of the Arrow C data interface, and back.
//!
//! What comes in is believed as the interface asks: the caller's buffers are as long as its lengths say. What can be looked at without reading every
//! value is looked at first ([`crate::bounds`]), so most mistakes are errors and not crashes. What goes out is the receiver's to release.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi_and_data_type};
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StructArray, make_array, new_empty_array};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use transom::exchange::{c_field, c_schema, check_schema, settled};
use transom::{Code, Error, Result};

use crate::abi::transom_error_t;
use crate::bounds;
use crate::entry::{Place, bad, entry};

/// Moves an array out of the caller's struct.
///
/// # Errors
/// `BAD_ARGUMENT` where it is NULL or was released.
///
/// # Safety
/// `array` is NULL or filled by the rules of the C data interface.
pub(crate) unsafe fn moved_array(array: *mut FFI_ArrowArray, name: &str) -> Result<FFI_ArrowArray> {
    if array.is_null() {
        return Err(bad(format!("`{name}` is NULL")));
    }
    // SAFETY: the caller's promise.
    let array = unsafe { FFI_ArrowArray::from_raw(array) };
    if array.is_released() {
        return Err(bad(format!("`{name}` was released already, or was moved elsewhere")));
    }
    Ok(array)
}

/// Reads a schema that stays the caller's.
///
/// # Errors
/// `BAD_ARGUMENT` where it is NULL, was released or does not hold together; `BAD_SCHEMA` where it is none that a batch can have.
///
/// # Safety
/// `schema` is NULL or filled by the rules of the C data interface.
pub(crate) unsafe fn import_schema(schema: *const FFI_ArrowSchema) -> Result<SchemaRef> {
    // SAFETY: the caller's promise.
    let schema = unsafe { bounds::checked_schema(schema) }?;
    let schema = unpanicked(|| Schema::try_from(schema))?;
    check_schema(&schema)?;
    Ok(Arc::new(schema))
}

/// Reads a field that stays the caller's.
///
/// # Errors
/// As [`import_schema`].
///
/// # Safety
/// As [`import_schema`].
pub(crate) unsafe fn import_field(field: *const FFI_ArrowSchema) -> Result<Field> {
    // SAFETY: the caller's promise.
    let field = unsafe { bounds::checked_schema(field) }?;
    let field = unpanicked(|| Field::try_from(field))?;
    check_schema(&Schema::new(vec![field.clone()]))?;
    Ok(field)
}

/// The type that a format string stands for.
///
/// # Errors
/// `BAD_SCHEMA` where it is none, or one that has children.
pub(crate) fn type_of_format(format: &str) -> Result<DataType> {
    if format.starts_with('+') {
        return Err(Error::new(Code::BadSchema, format!("the format {format:?} has children, which a schema must say")));
    }
    unpanicked(|| DataType::try_from(&FFI_ArrowSchema::try_new(format, Vec::new(), None)?))
        .map_err(|error| Error::new(Code::BadSchema, format!("the format {format:?} is no type: {}", error.message())))
}

/// arrow-rs panics on some structs that do not hold together.
fn unpanicked<T>(run: impl FnOnce() -> Result<T, ArrowError>) -> Result<T> {
    let outcome = catch_unwind(AssertUnwindSafe(run));
    let outcome = outcome.unwrap_or_else(|_| Err(ArrowError::CDataInterface("it does not hold together".to_owned())));
    outcome.map_err(|error| Error::new(Code::BadSchema, error.to_string()))
}

/// An array of a type.
///
/// # Errors
/// `INVALID_DATA` where it does not hold together.
///
/// # Safety
/// `array` is filled by the rules of the C data interface, with data of the type.
pub(crate) unsafe fn array(array: FFI_ArrowArray, kind: DataType) -> Result<ArrayRef> {
    // SAFETY: the caller's promise.
    unsafe { bounds::check_array(&array, &kind) }?;
    if array.is_empty() {
        // Such an array may have no buffers at all, and nothing is lost by making it anew.
        return Ok(new_empty_array(&kind));
    }
    let import = || {
        // SAFETY: the caller's promise.
        let data = unsafe { from_ffi_and_data_type(array, kind) }?;
        Ok::<_, ArrowError>(make_array(settled(data)))
    };
    let wrong = |text: String| Error::new(Code::InvalidData, format!("the array does not hold together: {text}"));
    match catch_unwind(AssertUnwindSafe(import)) {
        Ok(imported) => imported.map_err(|error| wrong(error.to_string())),
        Err(_) => Err(wrong("its lengths contradict each other".to_owned())),
    }
}

/// A batch from the struct array that it is.
///
/// # Errors
/// `INVALID_DATA` where it does not hold together.
///
/// # Safety
/// `array` is filled by the rules of the C data interface, with data of the schema.
pub(crate) unsafe fn batch(structs: FFI_ArrowArray, schema: SchemaRef) -> Result<RecordBatch> {
    // SAFETY: the caller's promise.
    let rows = unsafe { array(structs, DataType::Struct(schema.fields().clone())) }?;
    if rows.null_count() > 0 {
        return Err(Error::new(Code::InvalidData, "a row of a batch cannot be null"));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(schema, rows.as_struct().columns().to_vec(), &options)
        .map_err(|error| Error::new(Code::InvalidData, error.to_string()))
}

/// A batch that was moved in, with the schema that stays the caller's.
///
/// # Errors
/// As [`import_schema`] and [`batch`].
///
/// # Safety
/// `array` is filled by the rules of the C data interface, with data of `schema`, which is NULL or filled by them, too.
pub(crate) unsafe fn read_batch(array: FFI_ArrowArray, schema: *const FFI_ArrowSchema) -> Result<RecordBatch> {
    // SAFETY: the caller's promises.
    unsafe { batch(array, import_schema(schema)?) }
}

/// A batch for C.
pub(crate) fn export_batch(batch: &RecordBatch) -> FFI_ArrowArray {
    FFI_ArrowArray::new(&StructArray::from(batch.clone()).to_data())
}

/// A schema for C.
///
/// # Errors
/// `BAD_SCHEMA` where C cannot have it: a name with a zero byte.
pub(crate) fn export_schema(schema: &Schema) -> Result<FFI_ArrowSchema> {
    c_schema(schema).map_err(|error| Error::new(Code::BadSchema, error.to_string()))
}

/// A field for C.
///
/// # Errors
/// As [`export_schema`].
pub(crate) fn export_field(field: &Field) -> Result<FFI_ArrowSchema> {
    c_field(field).map_err(|error| Error::new(Code::BadSchema, error.to_string()))
}

/// Where the caller wants a result.
pub(crate) struct Answer {
    array: Place<FFI_ArrowArray>,
    schema: Option<Place<FFI_ArrowSchema>>,
}

impl Answer {
    /// # Errors
    /// `BAD_ARGUMENT` where there is no place for the array. One for the schema is not needed.
    ///
    /// # Safety
    /// Each is NULL or may be written.
    pub(crate) unsafe fn new(array: *mut FFI_ArrowArray, schema: *mut FFI_ArrowSchema) -> Result<Self> {
        // SAFETY: the caller's promises.
        unsafe { Ok(Self { array: Place::new(array, "out_array")?, schema: Place::new(schema, "out_schema").ok() }) }
    }

    /// # Errors
    /// As [`export_schema`]; then nothing is written.
    pub(crate) fn put(self, batch: &RecordBatch) -> Result<()> {
        if let Some(schema) = self.schema {
            schema.put(export_schema(batch.schema_ref())?);
        }
        self.array.put(export_batch(batch));
        Ok(())
    }

    /// Says that there is no batch: both structs are as if they were released.
    pub(crate) fn put_nothing(self) {
        if let Some(schema) = self.schema {
            schema.put(FFI_ArrowSchema::empty());
        }
        self.array.put(FFI_ArrowArray::empty());
    }
}

/// Runs an entry point that is given a batch and gives one. What is moved in is released whatever happens; nothing is written where it fails.
///
/// # Safety
/// `array` and `schema` are filled by the rules of the Arrow C data interface; `out_array`, `out_schema` and `error` are NULL or may be written.
pub(crate) unsafe fn answered(
    array: *mut FFI_ArrowArray,
    schema: *const FFI_ArrowSchema,
    out_array: *mut FFI_ArrowArray,
    out_schema: *mut FFI_ArrowSchema,
    error: *mut *mut transom_error_t,
    run: impl FnOnce(RecordBatch) -> Result<RecordBatch>,
) -> i32 {
    let run = || {
        // SAFETY: the caller's promises.
        let (array, answer) = unsafe { (moved_array(array, "array")?, Answer::new(out_array, out_schema)?) };
        // SAFETY: the caller's promise.
        let batch = unsafe { read_batch(array, schema) }?;
        answer.put(&run(batch)?)
    };
    // SAFETY: the caller's promise.
    unsafe { entry(error, run) }
}
