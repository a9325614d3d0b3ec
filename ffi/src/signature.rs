//! What a function takes and gives, for callers to read.

use std::ffi::{CString, c_char};
use std::ptr::null;
use std::sync::Arc;

use arrow_array::ffi::FFI_ArrowSchema;
use arrow_schema::Field;
use transom::{Kind, OnError, Result, Signature};

use crate::abi::{
    TRANSOM_KIND_BATCHES, TRANSOM_KIND_ROW, TRANSOM_KIND_SCALAR, TRANSOM_ON_ERROR_DEAD_LETTER, TRANSOM_ON_ERROR_NULL, TRANSOM_ON_ERROR_RAISE,
    transom_error_t, transom_signature_t,
};
use crate::data::{export_field, export_schema};
use crate::entry::{Place, bad, c_text, entry, quietly};
use crate::handle::{self, Object};

/// A signature with its texts.
pub struct Description {
    signature: Arc<Signature>,
    name: CString,
    text: CString,
    parameters: Vec<CString>,
}

impl Object for Description {
    type Opaque = transom_signature_t;
    const NOUN: &'static str = "a signature";
}

impl From<Arc<Signature>> for Description {
    fn from(signature: Arc<Signature>) -> Self {
        Self {
            name: c_text(&signature.name),
            text: c_text(&signature.describe()),
            parameters: signature.parameters.iter().map(|parameter| c_text(&parameter.name)).collect(),
            signature,
        }
    }
}

fn read<T>(signature: *const transom_signature_t, otherwise: T, read: impl FnOnce(&Description) -> T) -> T {
    quietly(otherwise, || Ok(read(&*handle::get::<Description>(signature)?)))
}

/// Frees a signature, and with it the texts that were got from it. NULL, and a signature that was freed before, do nothing.
#[unsafe(no_mangle)]
pub extern "C" fn transom_signature_free(signature: *mut transom_signature_t) {
    quietly((), || handle::take::<Description>(signature).map(drop));
}

/// The function's name; borrowed: valid until the signature is freed. NULL for what is not a signature.
#[unsafe(no_mangle)]
pub extern "C" fn transom_signature_name(signature: *const transom_signature_t) -> *const c_char {
    read(signature, null(), |signature| signature.name.as_ptr())
}

/// The signature in words, such as "price(a, b)"; borrowed as the name is.
#[unsafe(no_mangle)]
pub extern "C" fn transom_signature_text(signature: *const transom_signature_t) -> *const c_char {
    read(signature, null(), |signature| signature.text.as_ptr())
}

/// The function's kind, a `TRANSOM_KIND_*`; -1 for what is not a signature.
#[unsafe(no_mangle)]
pub extern "C" fn transom_signature_kind(signature: *const transom_signature_t) -> i32 {
    read(signature, -1, |signature| match signature.signature.kind {
        Kind::Scalar => TRANSOM_KIND_SCALAR,
        Kind::Row => TRANSOM_KIND_ROW,
        Kind::Batches => TRANSOM_KIND_BATCHES,
    })
}

/// Whether the function takes any number of columns besides its parameters.
#[unsafe(no_mangle)]
pub extern "C" fn transom_signature_variadic(signature: *const transom_signature_t) -> bool {
    read(signature, false, |signature| signature.signature.variadic)
}

/// How many parameters the function has; none where it is a batches function.
#[unsafe(no_mangle)]
pub extern "C" fn transom_signature_parameter_count(signature: *const transom_signature_t) -> usize {
    read(signature, 0, |signature| signature.parameters.len())
}

/// A parameter's name, borrowed as the function's name is; NULL where there is none with this number.
#[unsafe(no_mangle)]
pub extern "C" fn transom_signature_parameter_name(signature: *const transom_signature_t, parameter: usize) -> *const c_char {
    read(signature, null(), |signature| signature.parameters.get(parameter).map_or(null(), |name| name.as_ptr()))
}

/// Whether a parameter may be left out.
#[unsafe(no_mangle)]
pub extern "C" fn transom_signature_parameter_optional(signature: *const transom_signature_t, parameter: usize) -> bool {
    read(signature, false, |signature| signature.signature.parameters.get(parameter).is_some_and(|parameter| parameter.optional))
}

/// A parameter's type, under its name. The schema is the caller's to release. It is empty (its `release` is NULL) where the parameter takes any type.
///
/// # Safety
/// `out` may be written; `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_signature_parameter_schema(
    signature: *const transom_signature_t,
    parameter: usize,
    out: *mut FFI_ArrowSchema,
    error: *mut *mut transom_error_t,
) -> i32 {
    let run = || -> Result<()> {
        // SAFETY: the caller's promise.
        let out = unsafe { Place::new(out, "out") }?;
        let description = handle::get::<Description>(signature)?;
        let parameters = &description.signature.parameters;
        let wanted = parameters.get(parameter).ok_or_else(|| bad(format!("there is no parameter {parameter}, but {}", parameters.len())))?;
        let field = wanted.data_type.as_ref().map(|kind| export_field(&Field::new(&wanted.name, kind.clone(), true))).transpose()?;
        out.put(field.unwrap_or_else(FFI_ArrowSchema::empty));
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { entry(error, run) }
}

/// The schema of the results, one field for scalar and row functions. The schema is the caller's to release. It is empty (its `release` is NULL) where
/// only the first result tells.
///
/// # Safety
/// `out` may be written; `error` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn transom_signature_schema(
    signature: *const transom_signature_t,
    out: *mut FFI_ArrowSchema,
    error: *mut *mut transom_error_t,
) -> i32 {
    let run = || -> Result<()> {
        // SAFETY: the caller's promise.
        let out = unsafe { Place::new(out, "out") }?;
        let description = handle::get::<Description>(signature)?;
        let schema = description.signature.returns.as_ref().map(|schema| export_schema(schema)).transpose()?;
        out.put(schema.unwrap_or_else(FFI_ArrowSchema::empty));
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { entry(error, run) }
}

/// The longest that one batch may take by the function's definition, in milliseconds; 0 where it says nothing.
#[unsafe(no_mangle)]
pub extern "C" fn transom_signature_deadline_ms(signature: *const transom_signature_t) -> u64 {
    read(signature, 0, |signature| signature.signature.deadline.map_or(0, |deadline| u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX)))
}

/// What becomes of rows for which the function fails, by the function's definition: a `TRANSOM_ON_ERROR_*`.
#[unsafe(no_mangle)]
pub extern "C" fn transom_signature_on_error(signature: *const transom_signature_t) -> i32 {
    read(signature, TRANSOM_ON_ERROR_RAISE, |signature| match signature.signature.on_error {
        OnError::Null => TRANSOM_ON_ERROR_NULL,
        OnError::DeadLetter => TRANSOM_ON_ERROR_DEAD_LETTER,
        _ => TRANSOM_ON_ERROR_RAISE,
    })
}

/// How often a batch may be tried again after its worker died, by the function's definition.
#[unsafe(no_mangle)]
pub extern "C" fn transom_signature_retries(signature: *const transom_signature_t) -> u32 {
    read(signature, 0, |signature| signature.signature.retries)
}
