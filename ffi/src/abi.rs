//! The types of the C ABI, as they stand in the header: handles, structs, callbacks and constants. No code.
//!
//! What can be changed here without a new ABI version: structs may get fields at their end, and constants may be added.
#![expect(non_camel_case_types, reason = "the names are those of the header")]

use std::ffi::{c_char, c_void};

use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema};
use arrow_array::ffi_stream::FFI_ArrowArrayStream;

/// The version of this header. A program tells it to `transom_init`, a library of functions puts it into its table.
pub const TRANSOM_ABI_VERSION: u32 = 1;

/// An error, or none.
pub struct transom_error_t {
    _opaque: [u8; 0],
}

/// The settings of a pool that is to be opened.
pub struct transom_options_t {
    _opaque: [u8; 0],
}

/// Workers that run functions.
pub struct transom_pool_t {
    _opaque: [u8; 0],
}

/// A function: where it is, and how it is to be run.
pub struct transom_function_t {
    _opaque: [u8; 0],
}

/// What a function takes and gives.
pub struct transom_signature_t {
    _opaque: [u8; 0],
}

/// A call that is under way or has ended.
pub struct transom_future_t {
    _opaque: [u8; 0],
}

/// Memory for arguments, which workers can read where it is.
pub struct transom_memory_t {
    _opaque: [u8; 0],
}

/// How far workers are believed: what shapes the data is copied and checked, plain values stay where they are. The default.
pub const TRANSOM_MODE_GUARDED: i32 = 0;
/// How far workers are believed: everything is copied and then checked.
pub const TRANSOM_MODE_STRICT: i32 = 1;
/// How far workers are believed: only bounds are checked.
pub const TRANSOM_MODE_TRUSTED: i32 = 2;

/// A language of workers: Python. Several are added up.
pub const TRANSOM_LANGUAGE_PYTHON: u32 = 1;
/// A language of workers: functions of shared libraries, and worker programs of one's own. Several are added up.
pub const TRANSOM_LANGUAGE_NATIVE: u32 = 2;
/// A language of workers: a JVM. Several are added up.
pub const TRANSOM_LANGUAGE_JAVA: u32 = 4;

/// A function that takes arrays and gives one array of the same length.
pub const TRANSOM_KIND_SCALAR: i32 = 0;
/// A function that takes the values of one row and gives one value. Functions in C are not of this kind.
pub const TRANSOM_KIND_ROW: i32 = 1;
/// A function that takes a stream of batches and gives a stream of batches.
pub const TRANSOM_KIND_BATCHES: i32 = 2;

/// A batch fails as a whole. The default.
pub const TRANSOM_ON_ERROR_RAISE: i32 = 0;
/// The result of a row for which the function raises is null.
pub const TRANSOM_ON_ERROR_NULL: i32 = 1;
/// A row for which the function fails, or of which its worker dies, is taken out of the results and kept apart, with the reason.
pub const TRANSOM_ON_ERROR_DEAD_LETTER: i32 = 2;

/// A worker that is being started.
pub const TRANSOM_WORKER_STARTING: i32 = 0;
/// A worker that has nothing to do.
pub const TRANSOM_WORKER_IDLE: i32 = 1;
/// A worker that has something to do.
pub const TRANSOM_WORKER_BUSY: i32 = 2;
/// A worker that is gone, and whose place is empty.
pub const TRANSOM_WORKER_GONE: i32 = 3;

/// From the host to a worker.
pub const TRANSOM_DIRECTION_INPUT: i32 = 0;
/// From a worker to the host.
pub const TRANSOM_DIRECTION_RESULT: i32 = 1;

/// A worker process was started: `worker`, `pid`.
pub const TRANSOM_EVENT_WORKER_STARTED: i32 = 0;
/// A worker can take calls: `worker`.
pub const TRANSOM_EVENT_WORKER_READY: i32 = 1;
/// A worker is gone: `worker`, `error`.
pub const TRANSOM_EVENT_WORKER_ENDED: i32 = 2;
/// A worker printed something: `worker`, `text`, `text_length`.
pub const TRANSOM_EVENT_PRINTED: i32 = 3;
/// A result arrived: `worker`, `rows`, `busy_nanoseconds`.
pub const TRANSOM_EVENT_BATCH_DONE: i32 = 4;
/// A batch failed: `worker`, `error`.
pub const TRANSOM_EVENT_BATCH_FAILED: i32 = 5;
/// The callback was too slow, and missed as many events as `rows` says.
pub const TRANSOM_EVENT_MISSED: i32 = 6;

/// How a stream is mapped. `TRANSOM_MAP_OPTIONS_INIT` has the defaults.
#[repr(C)]
pub struct transom_map_options_t {
    /// `sizeof(transom_map_options_t)`.
    pub size: usize,
    /// The names of the columns that the function is given, `column_count` of them. NULL: those with the names of its parameters, and all for
    /// batches functions.
    pub columns: *const *const c_char,
    /// How many names there are.
    pub column_count: usize,
    /// Whether a result has the input's columns too, before the function's.
    pub append: bool,
    /// Whether results may come as they are ready; otherwise they come in the order of the input.
    pub unordered: bool,
}

/// Sums over a pool's life.
#[repr(C)]
pub struct transom_stats_t {
    /// `sizeof(transom_stats_t)`; set by the caller.
    pub size: usize,
    /// How many workers there are.
    pub workers: usize,
    /// Bytes of all shared memory segments now.
    pub memory_used: u64,
    /// Bytes that they may reach.
    pub memory_limit: u64,
}

/// What one worker, and those before it in its place, have done.
#[repr(C)]
pub struct transom_worker_stats_t {
    /// `sizeof(transom_worker_stats_t)`; set by the caller.
    pub size: usize,
    /// The process; 0 where there is none now.
    pub pid: u32,
    /// What it is doing: a `TRANSOM_WORKER_*`.
    pub state: i32,
    /// What it runs: a `TRANSOM_LANGUAGE_*`.
    pub language: u32,
    /// Results that it gave.
    pub batches: u64,
    /// Rows in them.
    pub rows: u64,
    /// Batches that failed in it.
    pub failures: u64,
    /// How often a new process took the place of one that ended.
    pub restarts: u64,
    /// How long it was busy.
    pub busy_nanoseconds: u64,
    /// Batches that it was given and has not let go of.
    pub leases: u64,
}

/// The copy ledger: bytes that crossed where they lay, and bytes that were copied.
#[repr(C)]
pub struct transom_copies_t {
    /// `sizeof(transom_copies_t)`; set by the caller.
    pub size: usize,
    /// Bytes of arguments that were not copied.
    pub input_shared: u64,
    /// Bytes of arguments that were copied.
    pub input_copied: u64,
    /// Bytes of results that were not copied.
    pub result_shared: u64,
    /// Bytes of results that were copied.
    pub result_copied: u64,
}

/// Something that happened in a pool. Everything in it is valid until the callback returns.
#[repr(C)]
pub struct transom_event_t {
    /// `sizeof(transom_event_t)` of the library.
    pub size: usize,
    /// What happened: a `TRANSOM_EVENT_*`, which says what of the rest means something.
    pub kind: i32,
    /// The worker's process.
    pub pid: u32,
    /// The worker's place in the pool.
    pub worker: usize,
    /// Rows of the result, or events that were missed.
    pub rows: u64,
    /// How long the worker was busy with it.
    pub busy_nanoseconds: u64,
    /// What was printed, as it came: seldom one line exactly, and not ended by a zero byte.
    pub text: *const c_char,
    /// Bytes of `text`.
    pub text_length: usize,
    /// Why; borrowed.
    pub error: *const transom_error_t,
}

/// Is told what happens in a pool. It runs on a thread of the library's, one event at a time. It must return soon and must not unwind; of this
/// library it may call everything but `transom_pool_close`.
pub type transom_event_fn = Option<unsafe extern "C" fn(user_data: *mut c_void, event: *const transom_event_t)>;

/// Is given the outcome of a call, once. It runs on a thread of the library's. `code` is 0 and `array` and `schema` are filled, or it is an error
/// code and `error` is set. The callback moves out of `array` and `schema` what it wants to keep (what it leaves is released when it returns);
/// `error` is its own, to be freed by `transom_error_free`. It must return soon and must not unwind; of this library it may call everything but
/// `transom_pool_close` and what waits for other calls of this kind.
pub type transom_outcome_fn = Option<
    unsafe extern "C" fn(user_data: *mut c_void, code: i32, array: *mut FFI_ArrowArray, schema: *mut FFI_ArrowSchema, error: *mut transom_error_t),
>;

/// The call that a function in C is in. Borrowed: valid until the function returns, and for a batches function until its output is released.
#[repr(C)]
pub struct transom_call_t {
    /// `sizeof(transom_call_t)` of the program that runs the function.
    pub size: usize,
    /// That program's own.
    pub context: *mut c_void,
    /// What `transom_call_fail` calls.
    pub fail: Option<unsafe extern "C" fn(call: *mut transom_call_t, kind: *const c_char, message: *const c_char, row: i64) -> i32>,
}

/// A scalar function. It gets a struct array with one child for each argument, and the schema of it, borrowed until it returns. It gives one array of
/// the same length in `result`, which is empty at first; where the function declares no type for its result, also `result_schema`. It returns
/// 0, or what `transom_call_fail` returned.
///
/// `arguments` is the function's to move or release; what it leaves is released when it returns. The memory of the arguments cannot be written to.
/// It runs on the thread that serves the worker. It must not unwind, neither by a C++ exception nor by longjmp.
pub type transom_scalar_fn = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        call: *mut transom_call_t,
        arguments: *mut FFI_ArrowArray,
        schema: *const FFI_ArrowSchema,
        result: *mut FFI_ArrowArray,
        result_schema: *mut FFI_ArrowSchema,
    ) -> i32,
>;

/// A batches function. It gets a stream of batches and fills `output` with a stream of its own, which is then asked for its results: mostly it
/// moves `input` into the output's private data and reads it there. It returns 0, or what `transom_call_fail` returned. The output's
/// `get_next` returns 0, or an errno with a text from `get_last_error`, or what `transom_call_fail` returned.
///
/// `input` is the function's to move or release; what it leaves is released when it returns. Everything runs on the thread that serves the worker,
/// and must not unwind.
pub type transom_batches_fn = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        call: *mut transom_call_t,
        input: *mut FFI_ArrowArrayStream,
        output: *mut FFI_ArrowArrayStream,
    ) -> i32,
>;

/// A parameter of a function in C, or a column of its result.
#[repr(C)]
pub struct transom_field_t {
    /// `sizeof(transom_field_t)`.
    pub size: usize,
    /// Its name. The result of a scalar function may be without: it bears the function's.
    pub name: *const c_char,
    /// Its type as a format string of the C data interface, such as "l" for int64 and "u" for utf8. NULL where `schema` says it.
    pub format: *const c_char,
    /// Its type where a format string alone does not say it (nested types, dictionaries); borrowed for ever. NULL where `format` says it. A
    /// parameter with neither takes any type.
    pub schema: *const FFI_ArrowSchema,
    /// Whether a parameter may be left out. Of a column of a result: whether it has no nulls.
    pub flags: u32,
}

/// A parameter that may be left out.
pub const TRANSOM_FIELD_OPTIONAL: u32 = 1;
/// A column of a result that never has nulls.
pub const TRANSOM_FIELD_NOT_NULL: u32 = 2;

/// A function in C.
#[repr(C)]
pub struct transom_definition_t {
    /// `sizeof(transom_definition_t)`.
    pub size: usize,
    /// The name by which hosts ask for it.
    pub name: *const c_char,
    /// `TRANSOM_KIND_SCALAR` or `TRANSOM_KIND_BATCHES`.
    pub kind: i32,
    /// Whether a scalar function takes any number of columns more.
    pub variadic: bool,
    /// The parameters of a scalar function, `parameter_count` of them.
    pub parameters: *const transom_field_t,
    /// How many parameters there are.
    pub parameter_count: usize,
    /// The columns of the result, `result_count` of them: at most one for a scalar function. With none, the first result tells.
    pub results: *const transom_field_t,
    /// How many columns there are.
    pub result_count: usize,
    /// The longest that one batch may take before the worker is ended, in milliseconds; 0 for none. What the host says comes first.
    pub deadline_ms: u64,
    /// How often a batch may be tried again after its worker died.
    pub retries: u32,
    /// The function, where it is a scalar one.
    pub scalar: transom_scalar_fn,
    /// The function, where it is a batches one.
    pub batches: transom_batches_fn,
    /// Given to each call.
    pub user_data: *mut c_void,
}

/// The functions of a library, or of a worker program.
#[repr(C)]
pub struct transom_library_t {
    /// `sizeof(transom_library_t)`.
    pub size: usize,
    /// `TRANSOM_ABI_VERSION`.
    pub abi_version: u32,
    /// Bytes of one definition: `sizeof(transom_definition_t)`.
    pub definition_size: u32,
    /// The functions, `definition_count` of them.
    pub definitions: *const transom_definition_t,
    /// How many functions there are.
    pub definition_count: usize,
    /// The language and its version as hosts show it, such as "C++17"; NULL for "native".
    pub language: *const c_char,
}
