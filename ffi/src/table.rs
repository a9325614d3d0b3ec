//! Functions in C, described by a table: reading it, and calling them for the core's protocol.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_void};
use std::ptr::null_mut;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema};
use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use transom::function::Source;
use transom::link::RemoteError;
use transom::worker::{Input, Results, Runtime};
use transom::{Code, Error, Kind, OnError, Parameter, Result, Signature};

use crate::abi::{
    TRANSOM_ABI_VERSION, TRANSOM_FIELD_NOT_NULL, TRANSOM_FIELD_OPTIONAL, TRANSOM_KIND_BATCHES, TRANSOM_KIND_SCALAR, transom_batches_fn,
    transom_call_t, transom_definition_t, transom_field_t, transom_library_t, transom_scalar_fn,
};
use crate::data::{array, export_batch, export_schema, import_field, type_of_format};
use crate::entry::{bad, text};
use crate::stream::{Batches, Reader, Stopped, given, moved_stream};

/// The functions of a library or of a worker program. It stays where it is for as long as the process lives.
#[derive(Clone, Copy)]
pub struct Table {
    library: &'static transom_library_t,
}

impl Table {
    /// Looks a table over; its functions are looked at when they are asked for.
    ///
    /// # Errors
    /// `BAD_ARGUMENT` where it is NULL; `VERSION_MISMATCH` where it was compiled with another header; `FUNCTION_SIGNATURE` where it does not hold together.
    ///
    /// # Safety
    /// `library` is NULL or points to a table with what it says, which stays as it is for as long as anything asks for its functions.
    pub(crate) unsafe fn read(library: *const transom_library_t) -> Result<Self> {
        if library.is_null() {
            return Err(bad("`library` is NULL"));
        }
        // SAFETY: the caller's promise; in every version of the ABI a table begins with its size and the version.
        let (size, version) = unsafe { ((&raw const (*library).size).read(), (&raw const (*library).abi_version).read()) };
        let mismatch = |what: String| Error::new(Code::VersionMismatch, what).with_hint("compile it with the transom.h of this version");
        if version != TRANSOM_ABI_VERSION {
            return Err(mismatch(format!("the table of functions has version {version} of the ABI, and this worker {TRANSOM_ABI_VERSION}")));
        }
        if size != size_of::<transom_library_t>() {
            return Err(mismatch(format!("the table of functions has {size} bytes for {}", size_of::<transom_library_t>())));
        }
        // SAFETY: the caller's promise, and it has the size of one.
        let library: &'static transom_library_t = unsafe { &*library };
        if library.definition_size as usize != size_of::<transom_definition_t>() {
            return Err(mismatch(format!("its definitions have {} bytes for {}", library.definition_size, size_of::<transom_definition_t>())));
        }
        if library.definitions.is_null() && library.definition_count > 0 {
            return Err(Error::new(Code::FunctionSignature, format!("the table has {} definitions at NULL", library.definition_count)));
        }
        Ok(Self { library })
    }

    fn definitions(&self) -> &'static [transom_definition_t] {
        if self.library.definition_count == 0 {
            return &[];
        }
        // SAFETY: the list is not NULL and has as many definitions, each of the size that was checked; it stays, as `read` was promised.
        unsafe { std::slice::from_raw_parts(self.library.definitions, self.library.definition_count) }
    }

    /// The language, as the host shows it.
    pub(crate) fn language(&self) -> String {
        // SAFETY: `read` was promised that it is NULL or a text that stays.
        unsafe { text(self.library.language, "language") }.unwrap_or("native").to_owned()
    }

    /// A function by its name.
    ///
    /// # Errors
    /// `FUNCTION_NOT_FOUND` or `FUNCTION_SIGNATURE`.
    pub(crate) fn find(&self, name: &str) -> Result<Definition> {
        let mut names = Vec::new();
        for definition in self.definitions() {
            // SAFETY: `read` was promised that it is NULL or a text that stays.
            let found = unsafe { text(definition.name, "name") }.map_err(signature)?;
            if found == name {
                // SAFETY: `read` was promised that it has what it says.
                return unsafe { Definition::read(name, definition) }.map_err(|error| signature(error).with_function(name));
            }
            names.push(found);
        }
        let hint = if names.is_empty() { "it has no functions".to_owned() } else { format!("it has {}", names.join(", ")) };
        Err(Error::new(Code::FunctionNotFound, format!("there is no function {name}")).with_hint(hint))
    }
}

fn signature(error: Error) -> Error {
    Error::new(Code::FunctionSignature, format!("the table of functions does not hold together: {}", error.message()))
}

/// A function in C.
#[derive(Clone)]
pub struct Definition {
    signature: Signature,
    callback: Callback,
    user_data: *mut c_void,
}

#[derive(Clone, Copy)]
enum Callback {
    Scalar(<transom_scalar_fn as Given>::Function),
    Batches(<transom_batches_fn as Given>::Function),
}

/// What an optional callback is when it is there.
trait Given {
    type Function;
}

impl<F> Given for Option<F> {
    type Function = F;
}

impl Definition {
    /// # Errors
    /// What is wrong with it.
    ///
    /// # Safety
    /// The definition has what it says, for ever.
    unsafe fn read(name: &str, definition: &transom_definition_t) -> Result<Self> {
        if definition.size != size_of::<transom_definition_t>() {
            return Err(bad(format!("the definition says that it has {} bytes, and has {}", definition.size, size_of::<transom_definition_t>())));
        }
        let (kind, callback) = match (definition.kind, definition.scalar, definition.batches) {
            (TRANSOM_KIND_SCALAR, Some(scalar), None) => (Kind::Scalar, Callback::Scalar(scalar)),
            (TRANSOM_KIND_BATCHES, None, Some(batches)) => (Kind::Batches, Callback::Batches(batches)),
            (TRANSOM_KIND_SCALAR, ..) => return Err(bad("a scalar function has `scalar` set and `batches` NULL")),
            (TRANSOM_KIND_BATCHES, ..) => return Err(bad("a batches function has `batches` set and `scalar` NULL")),
            (other, ..) => return Err(bad(format!("there is no kind {other} of functions in C"))),
        };
        // SAFETY: the caller's promises.
        let (parameters, results) = unsafe {
            (
                fields(definition.parameters, definition.parameter_count, "parameters")?
                    .iter()
                    .map(|field| parameter(field))
                    .collect::<Result<_>>()?,
                fields(definition.results, definition.result_count, "results")?
                    .iter()
                    .map(|field| result(field, name))
                    .collect::<Result<Vec<_>>>()?,
            )
        };
        if kind == Kind::Scalar && results.len() > 1 {
            return Err(bad(format!("a scalar function gives one array, not {}", results.len())));
        }
        let signature = Signature {
            name: name.to_owned(),
            kind,
            parameters,
            variadic: definition.variadic,
            returns: (!results.is_empty()).then(|| Arc::new(Schema::new(results))),
            deadline: (definition.deadline_ms > 0).then(|| Duration::from_millis(definition.deadline_ms)),
            retries: definition.retries,
            on_error: OnError::Raise,
            deterministic: true,
        };
        if kind == Kind::Batches && (!signature.parameters.is_empty() || signature.variadic) {
            return Err(bad("a batches function has no parameters: it is given whole batches"));
        }
        Ok(Self { signature, callback, user_data: definition.user_data })
    }
}

/// # Safety
/// `fields` is NULL or points to as many fields, which stay.
unsafe fn fields(fields: *const transom_field_t, count: usize, name: &str) -> Result<&'static [transom_field_t]> {
    if count == 0 {
        return Ok(&[]);
    }
    if fields.is_null() {
        return Err(bad(format!("`{name}` is NULL, with {count} entries")));
    }
    // SAFETY: the caller's promise. The first says the size of all, before any is read whole.
    let size = unsafe { (&raw const (*fields).size).read() };
    if size != size_of::<transom_field_t>() {
        return Err(bad(format!(
            "an entry of `{name}` says that it has {size} bytes, and this library knows it with {}",
            size_of::<transom_field_t>()
        )));
    }
    // SAFETY: the caller's promise, and they have this size.
    Ok(unsafe { std::slice::from_raw_parts(fields, count) })
}

/// # Safety
/// The field has what it says.
unsafe fn type_of(field: &transom_field_t) -> Result<Option<DataType>> {
    match (field.format.is_null(), field.schema.is_null()) {
        (true, true) => Ok(None),
        // SAFETY: the caller's promise.
        (false, true) => type_of_format(unsafe { text(field.format, "format") }?).map(Some),
        // SAFETY: the caller's promise.
        (true, false) => Ok(Some(unsafe { import_field(field.schema) }?.data_type().clone())),
        (false, false) => Err(bad("a field has its type by `format` or by `schema`, not both")),
    }
}

/// # Safety
/// The field has what it says.
unsafe fn parameter(field: &transom_field_t) -> Result<Parameter> {
    // SAFETY: the caller's promise.
    let (name, data_type) = unsafe { (text(field.name, "the name of a parameter")?, type_of(field)?) };
    Ok(Parameter { name: name.to_owned(), data_type, optional: field.flags & TRANSOM_FIELD_OPTIONAL != 0 })
}

/// # Safety
/// The field has what it says.
unsafe fn result(field: &transom_field_t, function: &str) -> Result<Field> {
    // SAFETY: the caller's promise.
    let name = if field.name.is_null() { function } else { unsafe { text(field.name, "the name of a result") }? };
    // SAFETY: the caller's promise.
    let data_type = unsafe { type_of(field) }?
        .ok_or_else(|| bad(format!("the result {name} has no type: leave `results` out where only the first result tells")))?;
    let mut told = Field::new(name, data_type, field.flags & TRANSOM_FIELD_NOT_NULL == 0);
    if !field.schema.is_null() {
        // SAFETY: the caller's promise. Its metadata tells an extension type.
        told.set_metadata(unsafe { import_field(field.schema) }?.metadata().clone());
    }
    Ok(told)
}

/// Finds functions: in one table, or in shared libraries.
pub(crate) trait Find {
    /// The language and its version.
    fn language(&self) -> String;

    /// # Errors
    /// What keeps the function from being found.
    fn find(&mut self, source: &Source) -> Result<Definition>;
}

impl Find for Table {
    fn language(&self) -> String {
        Table::language(self)
    }

    fn find(&mut self, source: &Source) -> Result<Definition> {
        match source {
            Source::File { name, .. } | Source::Module { name, .. } => Table::find(self, name),
            Source::Pickle { name, .. } => {
                Err(Error::new(Code::FunctionNotFound, format!("{name} is a Python object, and this worker has functions in C")))
            }
        }
    }
}

/// The functions that a host has asked a worker for.
pub struct Functions {
    source: Box<dyn Find>,
    loaded: HashMap<u32, Loaded>,
}

struct Loaded {
    definition: Definition,
    /// The schema of the last arguments, for C: most functions see one for ever.
    schema: Option<(SchemaRef, FFI_ArrowSchema)>,
}

impl Functions {
    pub(crate) fn of(source: impl Find + 'static) -> Self {
        Self { source: Box::new(source), loaded: HashMap::new() }
    }

    fn loaded(&mut self, function: u32) -> Result<&mut Loaded, RemoteError> {
        self.loaded.get_mut(&function).ok_or_else(|| RemoteError::new(Code::Internal, format!("function {function} is not loaded")))
    }
}

impl Runtime for Functions {
    fn language(&self) -> String {
        self.source.language()
    }

    fn define(&mut self, function: u32, source: &Source, _import_path: &[String]) -> Result<Signature, RemoteError> {
        let definition = self.source.find(source)?;
        let signature = definition.signature.clone();
        self.loaded.insert(function, Loaded { definition, schema: None });
        Ok(signature)
    }

    fn call(&mut self, function: u32, arguments: RecordBatch) -> Result<ArrayRef, RemoteError> {
        let loaded = self.loaded(function)?;
        let Callback::Scalar(callback) = loaded.definition.callback else {
            return Err(RemoteError::new(Code::Internal, "a batches function is called with one batch"));
        };
        let schema = match loaded.schema.take() {
            Some((seen, schema)) if Arc::ptr_eq(&seen, arguments.schema_ref()) => schema,
            _ => {
                check_types(&loaded.definition.signature, arguments.schema_ref())?;
                export_schema(arguments.schema_ref())?
            }
        };
        let (_, schema) = loaded.schema.insert((arguments.schema(), schema));
        let mut input = export_batch(&arguments);
        // From here on the function alone holds the input: the lease ends when it lets go of it.
        drop(arguments);
        let (mut result, mut result_schema) = (FFI_ArrowArray::empty(), FFI_ArrowSchema::empty());
        let mut call = Call::new();
        // SAFETY: the table's author promises a function of this type; every struct lives until it returns.
        let status = unsafe {
            callback(loaded.definition.user_data, call.as_mut(), &raw mut input, &raw const *schema, &raw mut result, &raw mut result_schema)
        };
        drop(input);
        call.outcome(status)?;
        let declared = loaded.definition.signature.returns.as_ref().map(|schema| schema.field(0).data_type().clone());
        let kind = match declared {
            // What it gives besides is compared by the host, where it is told.
            _ if result_schema.release.is_some() => {
                // SAFETY: the function filled it by the rules of the C data interface.
                unsafe { import_field(&raw const result_schema) }?.data_type().clone()
            }
            Some(declared) => declared,
            None => return Err(RemoteError::new(Code::NotArrow, "the function gave no schema for its result, and declares no type")),
        };
        if result.is_released() {
            return Err(RemoteError::new(Code::NotArrow, "the function returned 0 and gave no array"));
        }
        // SAFETY: the function filled it by the rules of the C data interface, with data of the type that it says.
        Ok(unsafe { array(result, kind) }?)
    }

    fn open(&mut self, function: u32, input: Input) -> Result<Results, RemoteError> {
        let definition = &self.loaded(function)?.definition;
        let Callback::Batches(callback) = definition.callback else {
            return Err(RemoteError::new(Code::Internal, "a scalar function is called with a stream"));
        };
        let stopped = Arc::new(Mutex::new(None));
        let schema = input.schema().map_err(RemoteError::from)?;
        let mut input = given(Incoming { input, schema, stopped: stopped.clone() });
        let mut output = FFI_ArrowArrayStream::empty();
        let mut call = Call::new();
        // SAFETY: the table's author promises a function of this type; the streams live until it returns, and `call` as long as the output.
        let status = unsafe { callback(definition.user_data, call.as_mut(), &raw mut input, &raw mut output) };
        drop(input);
        let interrupted = || stopped.lock().unwrap_or_else(PoisonError::into_inner).take();
        call.outcome(status).map_err(|error| interrupted().unwrap_or(error))?;
        // SAFETY: the function filled it by the rules of the C stream interface.
        let output = unsafe { moved_stream(&raw mut output, "output") }
            .map_err(|_| RemoteError::new(Code::NotArrow, "the function returned 0 and gave no stream"))?;
        let output = match output.open() {
            Ok(output) => output,
            Err(stop) => return Err(interrupted().unwrap_or_else(|| call.stopped(stop))),
        };
        Ok(Box::new(Outgoing { output, call, stopped, ended: false }))
    }
}

/// Code in C reads an argument by the type that it declared, and never asks: another one would lead it out of its buffers.
fn check_types(signature: &Signature, arguments: &Schema) -> Result<(), RemoteError> {
    for parameter in &signature.parameters {
        let (Some(declared), Ok(given)) = (&parameter.data_type, arguments.field_with_name(&parameter.name)) else { continue };
        if !given.data_type().equals_datatype(declared) {
            let what = format!("{} takes {declared} as `{}`, and is given {}", signature.describe(), parameter.name, given.data_type());
            return Err(RemoteError { hint: Some("cast the column first".to_owned()), ..RemoteError::new(Code::ArgumentType, what) });
        }
    }
    Ok(())
}

/// The input of a batches function. How it ended, where that was not its end, is kept for the host.
struct Incoming {
    input: Input,
    schema: SchemaRef,
    stopped: Arc<Mutex<Option<RemoteError>>>,
}

impl Iterator for Incoming {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.input.next().map(|batch| {
            batch.map_err(|stop| {
                *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = Some(stop.clone());
                stop.into_error()
            })
        })
    }
}

impl Batches for Incoming {
    fn schema(&self) -> Result<Option<SchemaRef>> {
        Ok(Some(self.schema.clone()))
    }
}

/// What a batches function gives. The order is that in which the parts are dropped: the output may use the call until it is released.
struct Outgoing {
    output: Reader,
    call: Box<Call>,
    stopped: Arc<Mutex<Option<RemoteError>>>,
    ended: bool,
}

impl Iterator for Outgoing {
    type Item = Result<RecordBatch, RemoteError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.output.pull();
        self.ended = !matches!(next, Ok(Some(_)));
        let interrupted = || self.stopped.lock().unwrap_or_else(PoisonError::into_inner).take();
        next.map_err(|stop| interrupted().unwrap_or_else(|| self.call.stopped(stop))).transpose()
    }
}

/// A call of a function in C, and why it failed, if it said so.
#[repr(C)]
struct Call {
    // First, so that its address is that of the whole.
    given: transom_call_t,
    failure: Option<RemoteError>,
}

impl Call {
    fn new() -> Box<Self> {
        Box::new(Self { given: transom_call_t { size: size_of::<transom_call_t>(), context: null_mut(), fail: Some(fail) }, failure: None })
    }

    /// What the function is given.
    fn as_mut(self: &mut Box<Self>) -> *mut transom_call_t {
        let failure: *mut Option<RemoteError> = &raw mut self.failure;
        self.given.context = failure.cast();
        &raw mut self.given
    }

    fn outcome(&mut self, status: i32) -> Result<(), RemoteError> {
        match self.failure.take() {
            // A function that has said why it failed has failed, whatever it returned.
            Some(failure) => Err(failure),
            None if status == 0 => Ok(()),
            None => Err(raised(format!("the function returned {status} and did not say why"))),
        }
    }

    fn stopped(&mut self, stop: Stopped) -> RemoteError {
        match (self.failure.take(), stop) {
            (Some(failure), _) => failure,
            (None, Stopped::Said(text)) => raised(text),
            (None, Stopped::Wrong(error)) => error.into(),
        }
    }
}

fn raised(message: String) -> RemoteError {
    RemoteError { kind: "Error".to_owned(), ..RemoteError::new(Code::FunctionRaised, message) }
}

/// What `transom_call_fail` reaches.
unsafe extern "C" fn fail(call: *mut transom_call_t, kind: *const c_char, message: *const c_char, row: i64) -> i32 {
    let read = |text: *const c_char, otherwise: &str| match text.is_null() {
        true => otherwise.to_owned(),
        // SAFETY: the header asks for NULL or a C string.
        false => unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned(),
    };
    let failure =
        RemoteError { kind: read(kind, "Error"), row: u64::try_from(row).ok(), ..RemoteError::new(Code::FunctionRaised, read(message, "")) };
    if !call.is_null() {
        // SAFETY: the header asks for the call that the function was given, whose context is a place for its failure.
        unsafe { *(*call).context.cast::<Option<RemoteError>>() = Some(failure) };
    }
    i32::from(Code::FunctionRaised.number())
}
