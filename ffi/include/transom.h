/*
 * Transom runs user-defined functions over Arrow record batches in worker processes: isolated like a process, as cheap as a call.
 * This is its C ABI, made by cbindgen of the library's source: do not edit. docs/abi.md has a first program, and these rules at length:
 *
 * - transom_init(TRANSOM_ABI_VERSION, &error) comes first; until then every call fails with VERSION_MISMATCH, and touches nothing that it is given. What
 *   only reads a text or a number, and what frees, works without it.
 * - A function that can fail returns 0, or the code of the error, and gives the error itself where `error` is not NULL. `*error` is written in every
 *   case: NULL where 0 is returned, and else an error that is the caller's to free by transom_error_free. Codes are the same in every language, and
 *   docs/errors.md says what each means and what to do.
 * - A handle that a function gives by an `out` argument is the caller's, to be freed by its `_free` (of a pool: `_close`). Handles are numbers that the
 *   library looks up and never addresses that it follows: one that was freed, is of another kind or came over a fork is an error.
 *   Texts got from a handle are borrowed, and valid until the handle is freed.
 * - Data crosses as structs of the Arrow C data and C stream interfaces. An array or stream that is given to a function is moved in, whatever it returns:
 *   its `release` is NULL afterwards. A schema that is given is only read. What a function gives is the caller's to release, and may be
 *   released on any thread.
 * - Every function may be called on any thread, and by several at once, unless it says otherwise. Callbacks run on threads of the library's. They must
 *   not unwind: no C++ exception and no longjmp may leave one.
 * - After a fork, the child gets FORKED_HANDLE for the handles of its parent, and can make its own.
 * - A struct of this header starts with its size, which the program sets; it may grow in a later version of the library.
 */

#ifndef TRANSOM_H
#define TRANSOM_H


#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef ARROW_C_DATA_INTERFACE
#define ARROW_C_DATA_INTERFACE

#define ARROW_FLAG_DICTIONARY_ORDERED 1
#define ARROW_FLAG_NULLABLE 2
#define ARROW_FLAG_MAP_KEYS_SORTED 4

struct ArrowSchema {
    const char *format;
    const char *name;
    const char *metadata;
    int64_t flags;
    int64_t n_children;
    struct ArrowSchema **children;
    struct ArrowSchema *dictionary;
    void (*release)(struct ArrowSchema *);
    void *private_data;
};

struct ArrowArray {
    int64_t length;
    int64_t null_count;
    int64_t offset;
    int64_t n_buffers;
    int64_t n_children;
    const void **buffers;
    struct ArrowArray **children;
    struct ArrowArray *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};

#endif /* ARROW_C_DATA_INTERFACE */

#ifndef ARROW_C_STREAM_INTERFACE
#define ARROW_C_STREAM_INTERFACE

struct ArrowArrayStream {
    int (*get_schema)(struct ArrowArrayStream *, struct ArrowSchema *out);
    int (*get_next)(struct ArrowArrayStream *, struct ArrowArray *out);
    const char *(*get_last_error)(struct ArrowArrayStream *);
    void (*release)(struct ArrowArrayStream *);
    void *private_data;
};

#endif /* ARROW_C_STREAM_INTERFACE */

/** The codes of errors. Numbers keep their meaning for ever; codes may be added. */
enum transom_code {
    TRANSOM_OK = 0,
    TRANSOM_CODE_SHARED_MEMORY_FULL = 1001,
    TRANSOM_CODE_DESCRIPTOR_LIMIT = 1002,
    TRANSOM_CODE_SEALS_MISSING = 1003,
    TRANSOM_CODE_VERSION_MISMATCH = 1004,
    TRANSOM_CODE_INTERPRETER_MISSING = 1005,
    TRANSOM_CODE_PYARROW_MISSING = 1006,
    TRANSOM_CODE_TRANSOM_MISSING = 1007,
    TRANSOM_CODE_START_FAILED = 1008,
    TRANSOM_CODE_SYSTEM = 1009,
    TRANSOM_CODE_WORKING_DIRECTORY_MISSING = 1010,
    TRANSOM_CODE_FUNCTION_NOT_FOUND = 1101,
    TRANSOM_CODE_FUNCTION_IMPORT_FAILED = 1102,
    TRANSOM_CODE_FUNCTION_NOT_CALLABLE = 1103,
    TRANSOM_CODE_FUNCTION_SIGNATURE = 1104,
    TRANSOM_CODE_WORKER_EXITED = 2101,
    TRANSOM_CODE_WORKER_SIGNALLED = 2104,
    TRANSOM_CODE_WORKER_OUT_OF_MEMORY = 2105,
    TRANSOM_CODE_WORKER_STOPPED = 2106,
    TRANSOM_CODE_DEADLINE_EXCEEDED = 2107,
    TRANSOM_CODE_START_TIMEOUT = 2108,
    TRANSOM_CODE_HOST_GONE = 2109,
    TRANSOM_CODE_FORKED_HANDLE = 2110,
    TRANSOM_CODE_POOL_CLOSED = 2111,
    TRANSOM_CODE_CANCELLED = 2112,
    TRANSOM_CODE_PROTOCOL_VIOLATION = 2113,
    TRANSOM_CODE_FUNCTION_SUSPENDED = 2114,
    TRANSOM_CODE_FUNCTION_RAISED = 3001,
    TRANSOM_CODE_FUNCTION_EXIT = 3002,
    TRANSOM_CODE_WRONG_LENGTH = 4001,
    TRANSOM_CODE_WRONG_TYPE = 4002,
    TRANSOM_CODE_NOT_ARROW = 4003,
    TRANSOM_CODE_INVALID_DATA = 4004,
    TRANSOM_CODE_BAD_DESCRIPTOR = 4005,
    TRANSOM_CODE_BAD_SCHEMA = 4006,
    TRANSOM_CODE_MEMORY_LIMIT = 5001,
    TRANSOM_CODE_BATCH_TOO_LARGE = 5002,
    TRANSOM_CODE_POOL_BUSY = 5003,
    TRANSOM_CODE_RESULT_TOO_LARGE = 5004,
    TRANSOM_CODE_INPUT_RETAINED = 5005,
    TRANSOM_CODE_TOO_MANY_FAILURES = 5006,
    TRANSOM_CODE_COLUMN_NOT_FOUND = 6001,
    TRANSOM_CODE_WRONG_ARGUMENTS = 6002,
    TRANSOM_CODE_ARGUMENT_TYPE = 6003,
    TRANSOM_CODE_ARGUMENT_LENGTH = 6004,
    TRANSOM_CODE_SOURCE_FAILED = 6005,
    TRANSOM_CODE_BAD_OPTION = 6006,
    TRANSOM_CODE_SCHEMA_MISMATCH = 6007,
    TRANSOM_CODE_BAD_ARGUMENT = 6008,
    TRANSOM_CODE_CAPSULE_UNREADABLE = 6009,
    TRANSOM_CODE_INPUT_NOT_FOUND = 6101,
    TRANSOM_CODE_INPUT_UNREADABLE = 6102,
    TRANSOM_CODE_INPUT_FORMAT = 6103,
    TRANSOM_CODE_OUTPUT_FAILED = 6104,
    TRANSOM_CODE_INTERNAL = 9001
};


/** The version of this header. A program tells it to `transom_init`, a library of functions puts it into its table. */
#define TRANSOM_ABI_VERSION 1

/** How far workers are believed: what shapes the data is copied and checked, plain values stay where they are. The default. */
#define TRANSOM_MODE_GUARDED 0

/** How far workers are believed: everything is copied and then checked. */
#define TRANSOM_MODE_STRICT 1

/** How far workers are believed: only bounds are checked. */
#define TRANSOM_MODE_TRUSTED 2

/** A language of workers: Python. Several are added up. */
#define TRANSOM_LANGUAGE_PYTHON 1

/** A language of workers: functions of shared libraries, and worker programs of one's own. Several are added up. */
#define TRANSOM_LANGUAGE_NATIVE 2

/** A language of workers: a JVM. Several are added up. */
#define TRANSOM_LANGUAGE_JAVA 4

/** A function that takes arrays and gives one array of the same length. */
#define TRANSOM_KIND_SCALAR 0

/** A function that takes the values of one row and gives one value. Functions in C are not of this kind. */
#define TRANSOM_KIND_ROW 1

/** A function that takes a stream of batches and gives a stream of batches. */
#define TRANSOM_KIND_BATCHES 2

/** A batch fails as a whole. The default. */
#define TRANSOM_ON_ERROR_RAISE 0

/** The result of a row for which the function raises is null. */
#define TRANSOM_ON_ERROR_NULL 1

/** A row for which the function fails, or of which its worker dies, is taken out of the results and kept apart, with the reason. */
#define TRANSOM_ON_ERROR_DEAD_LETTER 2

/** A worker that is being started. */
#define TRANSOM_WORKER_STARTING 0

/** A worker that has nothing to do. */
#define TRANSOM_WORKER_IDLE 1

/** A worker that has something to do. */
#define TRANSOM_WORKER_BUSY 2

/** A worker that is gone, and whose place is empty. */
#define TRANSOM_WORKER_GONE 3

/** From the host to a worker. */
#define TRANSOM_DIRECTION_INPUT 0

/** From a worker to the host. */
#define TRANSOM_DIRECTION_RESULT 1

/** A worker process was started: `worker`, `pid`. */
#define TRANSOM_EVENT_WORKER_STARTED 0

/** A worker can take calls: `worker`. */
#define TRANSOM_EVENT_WORKER_READY 1

/** A worker is gone: `worker`, `error`. */
#define TRANSOM_EVENT_WORKER_ENDED 2

/** A worker printed something: `worker`, `text`, `text_length`. */
#define TRANSOM_EVENT_PRINTED 3

/** A result arrived: `worker`, `rows`, `busy_nanoseconds`. */
#define TRANSOM_EVENT_BATCH_DONE 4

/** A batch failed: `worker`, `error`. */
#define TRANSOM_EVENT_BATCH_FAILED 5

/** The callback was too slow, and missed as many events as `rows` says. */
#define TRANSOM_EVENT_MISSED 6

/** A parameter that may be left out. */
#define TRANSOM_FIELD_OPTIONAL 1

/** A column of a result that never has nulls. */
#define TRANSOM_FIELD_NOT_NULL 2

/** An error, or none. */
typedef struct transom_error_t transom_error_t;

/** A function: where it is, and how it is to be run. */
typedef struct transom_function_t transom_function_t;

/** A call that is under way or has ended. */
typedef struct transom_future_t transom_future_t;

/** Memory for arguments, which workers can read where it is. */
typedef struct transom_memory_t transom_memory_t;

/** The settings of a pool that is to be opened. */
typedef struct transom_options_t transom_options_t;

/** Workers that run functions. */
typedef struct transom_pool_t transom_pool_t;

/** What a function takes and gives. */
typedef struct transom_signature_t transom_signature_t;

/** Something that happened in a pool. Everything in it is valid until the callback returns. */
typedef struct transom_event_t {
    /** `sizeof(transom_event_t)` of the library. */
    size_t size;
    /** What happened: a `TRANSOM_EVENT_*`, which says what of the rest means something. */
    int32_t kind;
    /** The worker's process. */
    uint32_t pid;
    /** The worker's place in the pool. */
    size_t worker;
    /** Rows of the result, or events that were missed. */
    uint64_t rows;
    /** How long the worker was busy with it. */
    uint64_t busy_nanoseconds;
    /** What was printed, as it came: seldom one line exactly, and not ended by a zero byte. */
    const char *text;
    /** Bytes of `text`. */
    size_t text_length;
    /** Why; borrowed. */
    const struct transom_error_t *error;
} transom_event_t;

/**
 * Is told what happens in a pool. It runs on a thread of the library's, one event at a time. It must return soon and must not unwind; of this
 * library it may call everything but `transom_pool_close`.
 */
typedef void (*transom_event_fn)(void *user_data, const struct transom_event_t *event);

/** How a stream is mapped. `TRANSOM_MAP_OPTIONS_INIT` has the defaults. */
typedef struct transom_map_options_t {
    /** `sizeof(transom_map_options_t)`. */
    size_t size;
    /**
     * The names of the columns that the function is given, `column_count` of them. NULL: those with the names of its parameters, and all for
     * batches functions.
     */
    const char *const *columns;
    /** How many names there are. */
    size_t column_count;
    /** Whether a result has the input's columns too, before the function's. */
    bool append;
    /** Whether results may come as they are ready; otherwise they come in the order of the input. */
    bool unordered;
} transom_map_options_t;

/**
 * Is given the outcome of a call, once. It runs on a thread of the library's. `code` is 0 and `array` and `schema` are filled, or it is an error
 * code and `error` is set. The callback moves out of `array` and `schema` what it wants to keep (what it leaves is released when it returns);
 * `error` is its own, to be freed by `transom_error_free`. It must return soon and must not unwind; of this library it may call everything but
 * `transom_pool_close` and what waits for other calls of this kind.
 */
typedef void (*transom_outcome_fn)(void *user_data,
                                   int32_t code,
                                   struct ArrowArray *array,
                                   struct ArrowSchema *schema,
                                   struct transom_error_t *error);

/** Sums over a pool's life. */
typedef struct transom_stats_t {
    /** `sizeof(transom_stats_t)`; set by the caller. */
    size_t size;
    /** How many workers there are. */
    size_t workers;
    /** Bytes of all shared memory segments now. */
    uint64_t memory_used;
    /** Bytes that they may reach. */
    uint64_t memory_limit;
} transom_stats_t;

/** What one worker, and those before it in its place, have done. */
typedef struct transom_worker_stats_t {
    /** `sizeof(transom_worker_stats_t)`; set by the caller. */
    size_t size;
    /** The process; 0 where there is none now. */
    uint32_t pid;
    /** What it is doing: a `TRANSOM_WORKER_*`. */
    int32_t state;
    /** What it runs: a `TRANSOM_LANGUAGE_*`. */
    uint32_t language;
    /** Results that it gave. */
    uint64_t batches;
    /** Rows in them. */
    uint64_t rows;
    /** Batches that failed in it. */
    uint64_t failures;
    /** How often a new process took the place of one that ended. */
    uint64_t restarts;
    /** How long it was busy. */
    uint64_t busy_nanoseconds;
    /** Batches that it was given and has not let go of. */
    uint64_t leases;
} transom_worker_stats_t;

/** The copy ledger: bytes that crossed where they lay, and bytes that were copied. */
typedef struct transom_copies_t {
    /** `sizeof(transom_copies_t)`; set by the caller. */
    size_t size;
    /** Bytes of arguments that were not copied. */
    uint64_t input_shared;
    /** Bytes of arguments that were copied. */
    uint64_t input_copied;
    /** Bytes of results that were not copied. */
    uint64_t result_shared;
    /** Bytes of results that were copied. */
    uint64_t result_copied;
} transom_copies_t;

/** A parameter of a function in C, or a column of its result. */
typedef struct transom_field_t {
    /** `sizeof(transom_field_t)`. */
    size_t size;
    /** Its name. The result of a scalar function may be without: it bears the function's. */
    const char *name;
    /** Its type as a format string of the C data interface, such as "l" for int64 and "u" for utf8. NULL where `schema` says it. */
    const char *format;
    /**
     * Its type where a format string alone does not say it (nested types, dictionaries); borrowed for ever. NULL where `format` says it. A
     * parameter with neither takes any type.
     */
    const struct ArrowSchema *schema;
    /** Whether a parameter may be left out. Of a column of a result: whether it has no nulls. */
    uint32_t flags;
} transom_field_t;

/** The call that a function in C is in. Borrowed: valid until the function returns, and for a batches function until its output is released. */
typedef struct transom_call_t {
    /** `sizeof(transom_call_t)` of the program that runs the function. */
    size_t size;
    /** That program's own. */
    void *context;
    /** What `transom_call_fail` calls. */
    int32_t (*fail)(struct transom_call_t *call, const char *kind, const char *message, int64_t row);
} transom_call_t;

/**
 * A scalar function. It gets a struct array with one child for each argument, and the schema of it, borrowed until it returns. It gives one array of
 * the same length in `result`, which is empty at first; where the function declares no type for its result, also `result_schema`. It returns
 * 0, or what `transom_call_fail` returned.
 *
 * `arguments` is the function's to move or release; what it leaves is released when it returns. The memory of the arguments cannot be written to.
 * It runs on the thread that serves the worker. It must not unwind, neither by a C++ exception nor by longjmp.
 */
typedef int32_t (*transom_scalar_fn)(void *user_data,
                                     struct transom_call_t *call,
                                     struct ArrowArray *arguments,
                                     const struct ArrowSchema *schema,
                                     struct ArrowArray *result,
                                     struct ArrowSchema *result_schema);

/**
 * A batches function. It gets a stream of batches and fills `output` with a stream of its own, which is then asked for its results: mostly it
 * moves `input` into the output's private data and reads it there. It returns 0, or what `transom_call_fail` returned. The output's
 * `get_next` returns 0, or an errno with a text from `get_last_error`, or what `transom_call_fail` returned.
 *
 * `input` is the function's to move or release; what it leaves is released when it returns. Everything runs on the thread that serves the worker,
 * and must not unwind.
 */
typedef int32_t (*transom_batches_fn)(void *user_data,
                                      struct transom_call_t *call,
                                      struct ArrowArrayStream *input,
                                      struct ArrowArrayStream *output);

/** A function in C. */
typedef struct transom_definition_t {
    /** `sizeof(transom_definition_t)`. */
    size_t size;
    /** The name by which hosts ask for it. */
    const char *name;
    /** `TRANSOM_KIND_SCALAR` or `TRANSOM_KIND_BATCHES`. */
    int32_t kind;
    /** Whether a scalar function takes any number of columns more. */
    bool variadic;
    /** The parameters of a scalar function, `parameter_count` of them. */
    const struct transom_field_t *parameters;
    /** How many parameters there are. */
    size_t parameter_count;
    /** The columns of the result, `result_count` of them: at most one for a scalar function. With none, the first result tells. */
    const struct transom_field_t *results;
    /** How many columns there are. */
    size_t result_count;
    /** The longest that one batch may take before the worker is ended, in milliseconds; 0 for none. What the host says comes first. */
    uint64_t deadline_ms;
    /** How often a batch may be tried again after its worker died. */
    uint32_t retries;
    /** The function, where it is a scalar one. */
    transom_scalar_fn scalar;
    /** The function, where it is a batches one. */
    transom_batches_fn batches;
    /** Given to each call. */
    void *user_data;
} transom_definition_t;

/** The functions of a library, or of a worker program. */
typedef struct transom_library_t {
    /** `sizeof(transom_library_t)`. */
    size_t size;
    /** `TRANSOM_ABI_VERSION`. */
    uint32_t abi_version;
    /** Bytes of one definition: `sizeof(transom_definition_t)`. */
    uint32_t definition_size;
    /** The functions, `definition_count` of them. */
    const struct transom_definition_t *definitions;
    /** How many functions there are. */
    size_t definition_count;
    /** The language and its version as hosts show it, such as "C++17"; NULL for "native". */
    const char *language;
} transom_library_t;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/** The version of the ABI that the library has: what `transom_init` must be given. This is the one function that may be called before it. */
uint32_t transom_abi_version(void);

/** The version of Transom, such as "0.1.0"; borrowed for ever. May be called before `transom_init`. */
const char *transom_version(void);

/**
 * Must be called first, with `TRANSOM_ABI_VERSION`: it compares the header that the program was compiled with and the library that it runs with. Until
 * it has returned 0, every other function fails with `VERSION_MISMATCH`. It may be called again, and from several threads.
 *
 * The caller promises:
 * `error` is NULL or may be written.
 */
int32_t transom_init(uint32_t abi_version,
                     transom_error_t **error);

/** Frees an error, and with it the texts that were got from it. NULL, and an error that was freed before, do nothing. */
void transom_error_free(transom_error_t *error);

/** The error's code, such as 2104 (`TRANSOM_CODE_WORKER_SIGNALLED`); 0 for NULL and for what is not an error. */
int32_t transom_error_code(const transom_error_t *error);

/**
 * The code as people see it, such as "TRN-2104". This and all texts of an error are borrowed: valid until the error is freed. A text that the
 * error does not have is NULL.
 */
const char *transom_error_id(const transom_error_t *error);

/** The code's name, such as "WORKER_SIGNALLED". */
const char *transom_error_name(const transom_error_t *error);

/** One sentence: what happened, without the place. */
const char *transom_error_message(const transom_error_t *error);

/** The whole story: what happened, where, and what to do, in several lines. */
const char *transom_error_text(const transom_error_t *error);

/** The name of the function concerned. */
const char *transom_error_function(const transom_error_t *error);

/** The batch concerned, counted from 0 in its stream; -1 where there is none. */
int64_t transom_error_batch(const transom_error_t *error);

/** The first row concerned, counted from 0 in the stream; -1 where there is none. */
int64_t transom_error_first_row(const transom_error_t *error);

/** How many rows are concerned, from the first on; 0 where there is none. */
uint64_t transom_error_row_count(const transom_error_t *error);

/** The worker concerned, in words: language, number, process, age. */
const char *transom_error_worker(const transom_error_t *error);

/** The type of the exception that the function raised, such as "ValueError". */
const char *transom_error_remote_kind(const transom_error_t *error);

/** That exception's message. */
const char *transom_error_remote_message(const transom_error_t *error);

/** That exception's traceback. */
const char *transom_error_remote_traceback(const transom_error_t *error);

/** How many lines of the worker's output the error has. */
size_t transom_error_output_count(const transom_error_t *error);

/** One of the last lines that the worker printed; NULL where there is none with this number. */
const char *transom_error_output_line(const transom_error_t *error, size_t line);

/** The stack that the worker wrote when it died. */
const char *transom_error_stack(const transom_error_t *error);

/** The number of the signal by which the worker was killed, where it was not its host that did; 0 otherwise. */
int32_t transom_error_signal(const transom_error_t *error);

/** The folder in which the input that failed was saved, where `transom_options_set_capsules` or the environment asks for it. */
const char *transom_error_capsule(const transom_error_t *error);

/** What to do next. */
const char *transom_error_hint(const transom_error_t *error);

/**
 * Makes settings, with the default of each. To be freed with `transom_options_free`; a pool that was opened with them does not need them any
 * more. Setters may be called from any thread.
 *
 * The caller promises:
 * `out` may be written; `error` is NULL or may be written.
 */
int32_t transom_options_new(transom_options_t **out,
                            transom_error_t **error);

/** Frees settings. NULL, and settings that were freed before, do nothing. */
void transom_options_free(transom_options_t *options);

/**
 * How many workers there are for each language; by default one for each core.
 *
 * The caller promises:
 * `error` is NULL or may be written.
 */
int32_t transom_options_set_workers(transom_options_t *options, size_t workers, transom_error_t **error);

/**
 * The Python interpreter of the workers, such as a virtual environment's `bin/python`; by default `python3` of the path.
 *
 * The caller promises:
 * `interpreter` is a C string; `error` is NULL or may be written.
 */
int32_t transom_options_set_python(transom_options_t *options, const char *interpreter, transom_error_t **error);

/**
 * The program that runs functions of shared libraries, or a worker program of one's own; by default what `TRANSOM_NATIVE_WORKER` names, or else the
 * `transom-native-worker` beside the running program or on the path.
 *
 * The caller promises:
 * `program` is a C string; `error` is NULL or may be written.
 */
int32_t transom_options_set_native_worker(transom_options_t *options,
                                          const char *program,
                                          transom_error_t **error);

/**
 * The `java` program of JVM workers; by default that of `JAVA_HOME`, or else of the path.
 *
 * The caller promises:
 * `program` is a C string; `error` is NULL or may be written.
 */
int32_t transom_options_set_java(transom_options_t *options, const char *program, transom_error_t **error);

/**
 * The class path of JVM workers, entries parted by colons: transom-java and arrow-java must be on it. By default `TRANSOM_JAVA_CLASS_PATH`.
 *
 * The caller promises:
 * `class_path` is a C string; `error` is NULL or may be written.
 */
int32_t transom_options_set_java_class_path(transom_options_t *options, const char *class_path, transom_error_t **error);

/**
 * Options of JVM workers, such as "-Xmx1g"; `count` of them.
 *
 * The caller promises:
 * `java_options` points to as many C strings; `error` is NULL or may be written.
 */
int32_t transom_options_set_java_options(transom_options_t *options,
                                         const char *const *java_options,
                                         size_t count,
                                         transom_error_t **error);

/**
 * The languages, `TRANSOM_LANGUAGE_*` added up, whose workers start with the pool; those of others start with the first function of theirs. By default
 * Python's.
 *
 * The caller promises:
 * `error` is NULL or may be written.
 */
int32_t transom_options_set_prestart(transom_options_t *options,
                                     uint32_t languages,
                                     transom_error_t **error);

/**
 * An environment variable for the workers, besides those of this process. May be called for several.
 *
 * The caller promises:
 * `name` and `value` are C strings; `error` is NULL or may be written.
 */
int32_t transom_options_set_env(transom_options_t *options, const char *name, const char *value, transom_error_t **error);

/**
 * The working directory of the workers; by default that of this process.
 *
 * The caller promises:
 * `directory` is a C string; `error` is NULL or may be written.
 */
int32_t transom_options_set_directory(transom_options_t *options, const char *directory, transom_error_t **error);

/**
 * The most bytes of shared memory, arguments and results together; by default half of what the machine or the control group has left.
 *
 * The caller promises:
 * `error` is NULL or may be written.
 */
int32_t transom_options_set_memory_limit(transom_options_t *options, uint64_t bytes, transom_error_t **error);

/**
 * How far workers are believed: a `TRANSOM_MODE_*`; by default `TRANSOM_MODE_GUARDED`.
 *
 * The caller promises:
 * `error` is NULL or may be written.
 */
int32_t transom_options_set_mode(transom_options_t *options, int32_t mode, transom_error_t **error);

/**
 * How many batches a worker may have at a time: one that it works on, the others ready; 3 by default.
 *
 * The caller promises:
 * `error` is NULL or may be written.
 */
int32_t transom_options_set_window(transom_options_t *options, size_t batches, transom_error_t **error);

/**
 * The longest that a function may take for one batch before its worker is ended, in milliseconds; none by default. A function's own comes first.
 *
 * The caller promises:
 * `error` is NULL or may be written.
 */
int32_t transom_options_set_deadline_ms(transom_options_t *options,
                                        uint64_t deadline_ms,
                                        transom_error_t **error);

/**
 * The most bytes of memory that a worker may have of its own, with what it starts; no limit by default. The pool's shared memory does not count. A
 * worker that has more is ended, and its call fails with `WORKER_OUT_OF_MEMORY`.
 *
 * The caller promises:
 * `error` is NULL or may be written.
 */
int32_t transom_options_set_worker_memory(transom_options_t *options,
                                          uint64_t bytes,
                                          transom_error_t **error);

/**
 * The most descriptors that a worker may have open, the seven that it starts with included; by default as many as this process.
 *
 * The caller promises:
 * `error` is NULL or may be written.
 */
int32_t transom_options_set_worker_descriptors(transom_options_t *options, uint64_t descriptors, transom_error_t **error);

/**
 * The most processes and threads that functions may start in a worker, besides those that it has when it becomes ready; no limit by default. Where it
 * cannot be held to, the pool is refused.
 *
 * The caller promises:
 * `error` is NULL or may be written.
 */
int32_t transom_options_set_worker_processes(transom_options_t *options,
                                             uint64_t processes,
                                             transom_error_t **error);

/**
 * The most bytes of one batch of a result; what is larger is `RESULT_TOO_LARGE`. By default the pool's memory is the limit.
 *
 * The caller promises:
 * `error` is NULL or may be written.
 */
int32_t transom_options_set_result_limit(transom_options_t *options, uint64_t bytes, transom_error_t **error);

/**
 * How long a worker may take to become ready before it is ended with `START_TIMEOUT`, in milliseconds; 60,000 by default.
 *
 * The caller promises:
 * `error` is NULL or may be written.
 */
int32_t transom_options_set_start_limit_ms(transom_options_t *options, uint64_t limit_ms, transom_error_t **error);

/**
 * Saves a failure capsule in this folder for each batch that fails: its arguments, the function, and what is needed to see the failure again with
 * `transom replay`; `transom_error_capsule` says where. By default the folder that `TRANSOM_CAPSULES` names, and none where it is not set, since
 * capsules hold the data itself.
 *
 * The caller promises:
 * `folder` is a C string; `error` is NULL or may be written.
 */
int32_t transom_options_set_capsules(transom_options_t *options,
                                     const char *folder,
                                     transom_error_t **error);

/**
 * The most bytes of arguments in one capsule; 64 MiB by default. Of a larger batch the rows around the failing one are saved.
 *
 * The caller promises:
 * `error` is NULL or may be written.
 */
int32_t transom_options_set_capsule_bytes(transom_options_t *options, uint64_t bytes, transom_error_t **error);

/**
 * The most capsules that the pool saves; 16 by default.
 *
 * The caller promises:
 * `error` is NULL or may be written.
 */
int32_t transom_options_set_capsule_count(transom_options_t *options, size_t capsules, transom_error_t **error);

/**
 * Who is told what happens in pools that are opened with these settings: progress, what workers print, deaths. NULL for nobody, as by default.
 * `user_data` is given to each call, and must stay until the pool is closed.
 *
 * The caller promises:
 * `listener` may be called with `user_data` from any thread until the pools are closed; `error` is NULL or may be written.
 */
int32_t transom_options_set_events(transom_options_t *options,
                                   transom_event_fn listener,
                                   void *user_data,
                                   transom_error_t **error);

/**
 * A Python function by reference: "path/file.py:name" or "package.module:name". To be freed with `transom_function_free`; calls that are under way
 * do not need it any more. Functions may be used by several threads and pools.
 *
 * The caller promises:
 * `reference` is a C string; `out` may be written; `error` is NULL or may be written.
 */
int32_t transom_function_python(const char *reference,
                                transom_function_t **out,
                                transom_error_t **error);

/**
 * A function of a shared library, by the library's path and the name in its table. In a worker program of one's own, only the name counts.
 *
 * The caller promises:
 * `library` and `name` are C strings; `out` may be written; `error` is NULL or may be written.
 */
int32_t transom_function_native(const char *library, const char *name, transom_function_t **out, transom_error_t **error);

/**
 * A function for JVM workers by its class, such as "com.acme.Discount", or by the name of a service that a jar offers; its jars are its import path.
 *
 * The caller promises:
 * `class_name` is a C string; `out` may be written; `error` is NULL or may be written.
 */
int32_t transom_function_java(const char *class_name,
                              transom_function_t **out,
                              transom_error_t **error);

/**
 * Folders in which a worker looks for Python modules, besides its interpreter's own, or jars for a JVM function; `count` of them.
 *
 * The caller promises:
 * `paths` points to as many C strings; `error` is NULL or may be written.
 */
int32_t transom_function_set_import_path(transom_function_t *function,
                                         const char *const *paths,
                                         size_t count,
                                         transom_error_t **error);

/**
 * The longest that one batch may take before its worker is ended, in milliseconds; overrules the pool's.
 *
 * The caller promises:
 * `error` is NULL or may be written.
 */
int32_t transom_function_set_deadline_ms(transom_function_t *function, uint64_t deadline_ms, transom_error_t **error);

/**
 * How often a batch is tried again after its worker died. Only for functions that may run twice on the same rows; 0 by default.
 *
 * The caller promises:
 * `error` is NULL or may be written.
 */
int32_t transom_function_set_retries(transom_function_t *function, uint32_t retries, transom_error_t **error);

/**
 * What becomes of rows for which the function fails: a `TRANSOM_ON_ERROR_*`; overrules what the function's definition says. Dead letters are taken
 * with `transom_stream_dead_letters` and `transom_pool_dead_letters`. To find the rows to blame, rows may be run again, so the same rows must
 * give the same results.
 *
 * The caller promises:
 * `error` is NULL or may be written.
 */
int32_t transom_function_set_on_error(transom_function_t *function,
                                      int32_t on_error,
                                      transom_error_t **error);

/** Frees a function. NULL, and a function that was freed before, do nothing. */
void transom_function_free(transom_function_t *function);

/**
 * Opens a pool. `options` may be NULL: all defaults. Its workers start in the background; the first call waits for one.
 *
 * The caller promises:
 * `out` may be written; `error` is NULL or may be written.
 */
int32_t transom_pool_open(const transom_options_t *options, transom_pool_t **out, transom_error_t **error);

/**
 * Closes a pool and frees its handle: ends the workers and waits for their end, for two seconds at most. What is under way fails with
 * `POOL_CLOSED`; every outcome and event that is to be told has been told when this returns. Results that were given stay valid. It
 * fails, and does nothing, in a callback of the library's.
 *
 * The caller promises:
 * `error` is NULL or may be written.
 */
int32_t transom_pool_close(transom_pool_t *pool, transom_error_t **error);

/**
 * What a function takes and gives. Loads it in a worker, where that was not done before, and waits for that. The signature is to be freed with
 * `transom_signature_free`.
 *
 * The caller promises:
 * `out` may be written; `error` is NULL or may be written.
 */
int32_t transom_pool_describe(const transom_pool_t *pool,
                              const transom_function_t *function,
                              transom_signature_t **out,
                              transom_error_t **error);

/**
 * Calls a function with one batch and waits for the result. Scalar and row functions take the batch's columns by the names of their parameters and
 * give a batch of one column, named after the function; a batches function takes the batch as a stream of one.
 *
 * `array` is a struct array, which is moved in: it is the library's from here on, whatever is returned, and its `release` is NULL afterwards.
 * `schema` is only read, and can be used for many calls. The result is the caller's to release, on any thread; `out_schema` may be NULL where
 * the schema is known. Both are written only where 0 is returned, and what was in them is not read.
 *
 * The caller promises:
 * `array` and `schema` are filled by the rules of the Arrow C data interface; `out_array` may be written; `out_schema` and `error` are NULL or may be
 * written.
 */
int32_t transom_pool_call(const transom_pool_t *pool,
                          const transom_function_t *function,
                          struct ArrowArray *array,
                          const struct ArrowSchema *schema,
                          struct ArrowArray *out_array,
                          struct ArrowSchema *out_schema,
                          transom_error_t **error);

/**
 * Calls a function with each batch of a stream, several at a time; the results are a stream, too. A batches function sees the whole stream, in one
 * worker.
 *
 * `source` is moved in: it is the library's from here on, whatever is returned. It is read, and released, by whoever reads the results, on the
 * same thread. `options` may be NULL: all defaults. `out` is the caller's to release, which cancels what is under way; it may outlive the
 * function, and fails with `POOL_CLOSED` once the pool is closed. It may be used by one thread at a time, and waits in `get_next`, and in
 * `get_schema` where only the first result tells the schema.
 *
 * A batch that fails makes `get_next` return an errno once: `get_last_error` then has the text, `transom_stream_error` has all of it, and the next
 * call goes on behind the batch.
 *
 * The caller promises:
 * `source` is filled by the rules of the Arrow C stream interface, and can be read from any thread; `options` is NULL or a struct with what it says;
 * `out` may be written; `error` is NULL or may be written.
 */
int32_t transom_pool_map(const transom_pool_t *pool,
                         const transom_function_t *function,
                         struct ArrowArrayStream *source,
                         const transom_map_options_t *options,
                         struct ArrowArrayStream *out,
                         transom_error_t **error);

/**
 * Starts a call as `transom_pool_call` does, and returns at once. Where 0 is returned, `callback` is called once with the outcome, maybe before this
 * returns; otherwise it is not called. `user_data` is given to it.
 *
 * The caller promises:
 * `array` and `schema` are filled by the rules of the Arrow C data interface; `callback` may be called with `user_data` from any thread; `error` is NULL or
 * may be written.
 */
int32_t transom_pool_call_then(const transom_pool_t *pool,
                               const transom_function_t *function,
                               struct ArrowArray *array,
                               const struct ArrowSchema *schema,
                               transom_outcome_fn callback,
                               void *user_data,
                               transom_error_t **error);

/**
 * Starts a call as `transom_pool_call` does, and returns at once. The future is to be freed with `transom_future_free`.
 *
 * The caller promises:
 * `array` and `schema` are filled by the rules of the Arrow C data interface; `out` may be written; `error` is NULL or may be written.
 */
int32_t transom_pool_call_start(const transom_pool_t *pool,
                                const transom_function_t *function,
                                struct ArrowArray *array,
                                const struct ArrowSchema *schema,
                                transom_future_t **out,
                                transom_error_t **error);

/**
 * A descriptor that becomes readable when the outcome is there, for poll, epoll and event loops. It is borrowed: it must be neither read nor closed,
 * and is closed when the future is freed. -1 for what is not a future.
 */
int transom_future_descriptor(const transom_future_t *future);

/**
 * Waits until the outcome is there, for `timeout_ms` milliseconds at most: 0 only asks, -1 waits for ever. `ready` says whether it is there.
 *
 * The caller promises:
 * `ready` may be written; `error` is NULL or may be written.
 */
int32_t transom_future_wait(const transom_future_t *future,
                            int64_t timeout_ms,
                            bool *ready,
                            transom_error_t **error);

/**
 * Takes the outcome, and waits for it where it is not there yet: the result of the call, or its error. It can be taken once.
 *
 * The caller promises:
 * `out_array` may be written; `out_schema` and `error` are NULL or may be written.
 */
int32_t transom_future_take(const transom_future_t *future,
                            struct ArrowArray *out_array,
                            struct ArrowSchema *out_schema,
                            transom_error_t **error);

/**
 * Cancels a call that is under way: its outcome is `CANCELLED`, and comes soon. The worker may still work on it. Does nothing to a call that has ended.
 *
 * The caller promises:
 * `error` is NULL or may be written.
 */
int32_t transom_future_cancel(const transom_future_t *future,
                              transom_error_t **error);

/** Frees a future and its descriptor; a call that is under way is cancelled. NULL, and a future that was freed before, do nothing. */
void transom_future_free(transom_future_t *future);

/** Frees a signature, and with it the texts that were got from it. NULL, and a signature that was freed before, do nothing. */
void transom_signature_free(transom_signature_t *signature);

/** The function's name; borrowed: valid until the signature is freed. NULL for what is not a signature. */
const char *transom_signature_name(const transom_signature_t *signature);

/** The signature in words, such as "price(a, b)"; borrowed as the name is. */
const char *transom_signature_text(const transom_signature_t *signature);

/** The function's kind, a `TRANSOM_KIND_*`; -1 for what is not a signature. */
int32_t transom_signature_kind(const transom_signature_t *signature);

/** Whether the function takes any number of columns besides its parameters. */
bool transom_signature_variadic(const transom_signature_t *signature);

/** How many parameters the function has; none where it is a batches function. */
size_t transom_signature_parameter_count(const transom_signature_t *signature);

/** A parameter's name, borrowed as the function's name is; NULL where there is none with this number. */
const char *transom_signature_parameter_name(const transom_signature_t *signature, size_t parameter);

/** Whether a parameter may be left out. */
bool transom_signature_parameter_optional(const transom_signature_t *signature, size_t parameter);

/**
 * A parameter's type, under its name. The schema is the caller's to release. It is empty (its `release` is NULL) where the parameter takes any type.
 *
 * The caller promises:
 * `out` may be written; `error` is NULL or may be written.
 */
int32_t transom_signature_parameter_schema(const transom_signature_t *signature,
                                           size_t parameter,
                                           struct ArrowSchema *out,
                                           transom_error_t **error);

/**
 * The schema of the results, one field for scalar and row functions. The schema is the caller's to release. It is empty (its `release` is NULL) where
 * only the first result tells.
 *
 * The caller promises:
 * `out` may be written; `error` is NULL or may be written.
 */
int32_t transom_signature_schema(const transom_signature_t *signature,
                                 struct ArrowSchema *out,
                                 transom_error_t **error);

/** The longest that one batch may take by the function's definition, in milliseconds; 0 where it says nothing. */
uint64_t transom_signature_deadline_ms(const transom_signature_t *signature);

/** What becomes of rows for which the function fails, by the function's definition: a `TRANSOM_ON_ERROR_*`. */
int32_t transom_signature_on_error(const transom_signature_t *signature);

/** How often a batch may be tried again after its worker died, by the function's definition. */
uint32_t transom_signature_retries(const transom_signature_t *signature);

/**
 * Fills `out`, whose `size` the caller has set.
 *
 * The caller promises:
 * `out` may be written as far as its size says; `error` is NULL or may be written.
 */
int32_t transom_pool_stats(const transom_pool_t *pool, transom_stats_t *out, transom_error_t **error);

/**
 * Fills `out`, whose `size` the caller has set, with what one worker has done; workers are counted from 0.
 *
 * The caller promises:
 * `out` may be written as far as its size says; `error` is NULL or may be written.
 */
int32_t transom_pool_worker_stats(const transom_pool_t *pool,
                                  size_t worker,
                                  transom_worker_stats_t *out,
                                  transom_error_t **error);

/**
 * Fills `out`, whose `size` the caller has set, with the sums of the copy ledger.
 *
 * The caller promises:
 * `out` may be written as far as its size says; `error` is NULL or may be written.
 */
int32_t transom_pool_copies(const transom_pool_t *pool, transom_copies_t *out, transom_error_t **error);

/**
 * How many bytes were copied in one direction, a `TRANSOM_DIRECTION_*`, for one reason. Reasons are counted from 0; `transom_copy_reason` names them.
 *
 * The caller promises:
 * `bytes` may be written; `error` is NULL or may be written.
 */
int32_t transom_pool_copied(const transom_pool_t *pool,
                            int32_t direction,
                            uint32_t reason,
                            uint64_t *bytes,
                            transom_error_t **error);

/** A reason for copying in words, borrowed for ever; NULL where there is none with this number, as behind the last. */
const char *transom_copy_reason(uint32_t reason);

/**
 * Shared memory of `length` bytes for buffers of arguments, aligned to 64: an array whose buffers lie in it crosses without a copy. `data` is its first byte,
 * and its content is whatever was there before. Nothing may write to it while a call reads it. It belongs to the caller until
 * `transom_memory_free`, which is best called by the `release` of the array that lies in it; it may outlive the pool.
 *
 * The caller promises:
 * `data` and `out` may be written; `error` is NULL or may be written.
 */
int32_t transom_pool_allocate(const transom_pool_t *pool,
                              size_t length,
                              void **data,
                              transom_memory_t **out,
                              transom_error_t **error);

/** Gives memory back. No array may lie in it any more. NULL, and memory that was given back before, do nothing. Any thread may do it. */
void transom_memory_free(transom_memory_t *memory);

/**
 * The same batch in shared memory: it is copied once, here, and calls with it copy nothing. What is moved and what is written is as for
 * `transom_pool_call`.
 *
 * The caller promises:
 * As `transom_pool_call`.
 */
int32_t transom_pool_share(const transom_pool_t *pool,
                           struct ArrowArray *array,
                           const struct ArrowSchema *schema,
                           struct ArrowArray *out_array,
                           struct ArrowSchema *out_schema,
                           transom_error_t **error);

/**
 * The error of the last `get_schema` or `get_next` of a stream that `transom_pool_map` gave: returns its code, and gives the error itself, to be freed
 * with `transom_error_free`. Returns 0 where the last one succeeded, and `BAD_ARGUMENT` where the stream is not one of this library's or was released. The
 * stream must not be in use by another thread.
 *
 * The caller promises:
 * `stream` is NULL or a C stream, maybe released; `error` is NULL or may be written.
 */
int32_t transom_stream_error(const struct ArrowArrayStream *stream,
                             transom_error_t **error);

/**
 * Takes the dead letters of a stream of results that `transom_pool_map` gave: the rows that were taken out of the results so far, whose function has
 * the policy `TRANSOM_ON_ERROR_DEAD_LETTER`. Any thread may do so, as long as the stream is not released, also behind its end.
 *
 * They are a struct array with the columns that the function was given, and behind those `transom_function` (utf8), `transom_batch` and
 * `transom_row` (uint64, of the stream, from 0), `transom_code` and `transom_error` (utf8) and `transom_attempts` (uint32). Both structs are the
 * caller's to release; they are empty (their `release` is NULL) where there are none. `out_schema` may be NULL. At most 64 MiB are kept at a
 * time: a batch beyond that fails with `TOO_MANY_FAILURES`.
 *
 * The caller promises:
 * `stream` is NULL or a C stream, maybe released; `out_array` may be written; `out_schema` and `error` are NULL or may be written.
 */
int32_t transom_stream_dead_letters(const struct ArrowArrayStream *stream,
                                    struct ArrowArray *out_array,
                                    struct ArrowSchema *out_schema,
                                    transom_error_t **error);

/**
 * Takes dead letters of a pool's calls, streams apart, as `transom_stream_dead_letters` does: those of one function and schema at a time. There are
 * no more when the structs are empty.
 *
 * The caller promises:
 * `out_array` may be written; `out_schema` and `error` are NULL or may be written.
 */
int32_t transom_pool_dead_letters(const transom_pool_t *pool,
                                  struct ArrowArray *out_array,
                                  struct ArrowSchema *out_schema,
                                  transom_error_t **error);

/**
 * Serves the host at the other end of `descriptor` with the functions of a table, until the host says goodbye or is gone; the process ends with it in
 * the latter case. A pool starts a worker program (`transom_options_set_native_worker`) with the number of the descriptor as its last argument.
 *
 * To be called on one thread, on which the functions run. The table must stay as it is until this returns. The descriptor is the library's from here on.
 *
 * The caller promises:
 * `library` is a table with what it says; `descriptor` is open and nobody else uses it; `error` is NULL or may be written.
 */
int32_t transom_worker_serve(int descriptor,
                             const transom_library_t *library,
                             transom_error_t **error);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

/** The defaults of `transom_map_options_t`, to initialise one with. */
#define TRANSOM_MAP_OPTIONS_INIT { sizeof(transom_map_options_t), NULL, 0, false, false }

/** An empty `transom_stats_t` that knows its size, to be filled; and the same of others. */
#define TRANSOM_STATS_INIT { sizeof(transom_stats_t), 0, 0, 0 }
#define TRANSOM_WORKER_STATS_INIT { sizeof(transom_worker_stats_t), 0, 0, 0, 0, 0, 0, 0, 0, 0 }
#define TRANSOM_COPIES_INIT { sizeof(transom_copies_t), 0, 0, 0, 0 }

/** A field of a type that a format string says, to initialise a `transom_field_t` with. */
#define TRANSOM_FIELD(name, format) { sizeof(transom_field_t), name, format, NULL, 0 }

/** Says from within a function in C why it failed: the kind of the failure, such as "ValueError" (NULL for "Error"), a message, and the row of the
 * batch that is to blame, or -1. The function returns what this returns. It works in a shared library that is not linked with libtransom. */
static inline int32_t transom_call_fail(transom_call_t *call, const char *kind, const char *message, int64_t row) {
    return call->fail(call, kind, message, row);
}

/** Makes a function visible in a shared library, however that is compiled. */
#define TRANSOM_EXPORT __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

/**
 * What a shared library of functions has, and libtransom has not: the entry point that gives its table of functions, which must stay as it is for ever.
 * `abi_version` is that of the program that loads it; a library that cannot work with it may return NULL. The library needs this header
 * to be compiled, and nothing to be linked.
 */
TRANSOM_EXPORT const transom_library_t *transom_library(uint32_t abi_version);

#ifdef __cplusplus
}
#endif

#endif /* TRANSOM_H */
