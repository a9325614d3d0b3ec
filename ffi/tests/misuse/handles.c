/* Misuse of handles, options and structs with sizes. */
#include "misuse.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

void case_before_init(void) {
    CASE;
    transom_pool_t *pool = NULL;
    transom_options_t *options = NULL;
    struct ArrowArray batch = x_batch(1), result;
    EXPECT(TRANSOM_CODE_VERSION_MISMATCH, transom_pool_open(NULL, &pool, &error));
    EXPECT(TRANSOM_CODE_VERSION_MISMATCH, transom_options_new(&options, &error));
    EXPECT(TRANSOM_CODE_VERSION_MISMATCH, transom_pool_call(NULL, NULL, &batch, &x_schema, &result, NULL, &error));
    EXPECT(TRANSOM_CODE_VERSION_MISMATCH, transom_worker_serve(0, NULL, &error));
    CHECK(pool == NULL && options == NULL);
    CHECK(transom_signature_kind(NULL) == -1);
    release_array(&batch);
    EXPECT(TRANSOM_CODE_VERSION_MISMATCH, transom_init(0, &error));
    EXPECT(TRANSOM_CODE_VERSION_MISMATCH, transom_init(TRANSOM_ABI_VERSION + 1, &error));
    CHECK(transom_init(0, NULL) == TRANSOM_CODE_VERSION_MISMATCH);
    EXPECT(TRANSOM_CODE_VERSION_MISMATCH, transom_options_new(&options, &error));
    CHECK(transom_abi_version() == TRANSOM_ABI_VERSION);
    CHECK(strlen(transom_version()) > 0);
    OK(transom_init(TRANSOM_ABI_VERSION, &error));
    OK(transom_init(TRANSOM_ABI_VERSION, &error));
}

/* Every function of options, functions and signatures with each pointer NULL in turn. */
static void nulls_of_settings(void) {
    CASE;
    transom_options_t *options = new_options();
    const char *texts[] = {"-Xmx1g", NULL};
    BAD(transom_options_new(NULL, &error));
    BAD(transom_options_set_workers(NULL, 1, &error));
    BAD(transom_options_set_python(NULL, "python3", &error));
    BAD(transom_options_set_python(options, NULL, &error));
    BAD(transom_options_set_native_worker(NULL, "worker", &error));
    BAD(transom_options_set_native_worker(options, NULL, &error));
    BAD(transom_options_set_java(NULL, "java", &error));
    BAD(transom_options_set_java(options, NULL, &error));
    BAD(transom_options_set_java_class_path(NULL, "a.jar", &error));
    BAD(transom_options_set_java_class_path(options, NULL, &error));
    BAD(transom_options_set_java_options(NULL, texts, 1, &error));
    BAD(transom_options_set_java_options(options, NULL, 1, &error));
    BAD(transom_options_set_java_options(options, texts, 2, &error));
    OK(transom_options_set_java_options(options, NULL, 0, &error));
    BAD(transom_options_set_prestart(NULL, TRANSOM_LANGUAGE_NATIVE, &error));
    BAD(transom_options_set_env(NULL, "A", "B", &error));
    BAD(transom_options_set_env(options, NULL, "B", &error));
    BAD(transom_options_set_env(options, "A", NULL, &error));
    BAD(transom_options_set_directory(NULL, "/", &error));
    BAD(transom_options_set_directory(options, NULL, &error));
    BAD(transom_options_set_memory_limit(NULL, 1 << 30, &error));
    BAD(transom_options_set_mode(NULL, TRANSOM_MODE_GUARDED, &error));
    BAD(transom_options_set_window(NULL, 2, &error));
    BAD(transom_options_set_deadline_ms(NULL, 1, &error));
    BAD(transom_options_set_worker_memory(NULL, 1 << 30, &error));
    BAD(transom_options_set_worker_descriptors(NULL, 64, &error));
    BAD(transom_options_set_worker_processes(NULL, 1, &error));
    BAD(transom_options_set_result_limit(NULL, 1 << 20, &error));
    BAD(transom_options_set_start_limit_ms(NULL, 1000, &error));
    BAD(transom_options_set_capsules(NULL, "/tmp", &error));
    BAD(transom_options_set_capsules(options, NULL, &error));
    BAD(transom_options_set_capsule_bytes(NULL, 1, &error));
    BAD(transom_options_set_capsule_count(NULL, 1, &error));
    BAD(transom_options_set_events(NULL, NULL, NULL, &error));
    transom_options_free(options);
    transom_options_free(NULL);

    transom_function_t *function = NULL;
    BAD(transom_function_python(NULL, &function, &error));
    BAD(transom_function_python("module:name", NULL, &error));
    BAD(transom_function_native(NULL, "name", &function, &error));
    BAD(transom_function_native(library, NULL, &function, &error));
    BAD(transom_function_native(library, "name", NULL, &error));
    BAD(transom_function_java(NULL, &function, &error));
    BAD(transom_function_java("a.B", NULL, &error));
    BAD(transom_function_set_import_path(NULL, NULL, 0, &error));
    BAD(transom_function_set_import_path(plus_one, NULL, 1, &error));
    BAD(transom_function_set_deadline_ms(NULL, 1, &error));
    BAD(transom_function_set_retries(NULL, 1, &error));
    CHECK(function == NULL);
    transom_function_free(NULL);

    struct ArrowSchema schema;
    CHECK(transom_signature_name(NULL) == NULL && transom_signature_text(NULL) == NULL && transom_signature_kind(NULL) == -1);
    CHECK(transom_signature_parameter_count(NULL) == 0 && transom_signature_parameter_name(NULL, 0) == NULL);
    CHECK(!transom_signature_variadic(NULL) && !transom_signature_parameter_optional(NULL, 0));
    CHECK(transom_signature_deadline_ms(NULL) == 0 && transom_signature_retries(NULL) == 0);
    BAD(transom_signature_schema(NULL, &schema, &error));
    BAD(transom_signature_parameter_schema(NULL, 0, &schema, &error));
    transom_signature_free(NULL);
}

/* Every function that runs something with each pointer NULL in turn. What was moved in is released all the same. */
static void nulls_of_calls(void) {
    CASE;
    struct ArrowArray batch, result;
    struct ArrowSchema schema;
    struct ArrowArrayStream source, results;
    transom_future_t *future = NULL;
    transom_signature_t *signature = NULL;
    transom_pool_t *pool = shared_pool;
    BAD(transom_pool_open(NULL, NULL, &error));
    BAD(transom_pool_close(NULL, &error));
    BAD(transom_pool_describe(NULL, plus_one, &signature, &error));
    BAD(transom_pool_describe(pool, NULL, &signature, &error));
    BAD(transom_pool_describe(pool, plus_one, NULL, &error));

    BAD((batch = x_batch(1), transom_pool_call(NULL, plus_one, &batch, &x_schema, &result, &schema, &error)));
    BAD((batch = x_batch(1), transom_pool_call(pool, NULL, &batch, &x_schema, &result, &schema, &error)));
    BAD(transom_pool_call(pool, plus_one, NULL, &x_schema, &result, &schema, &error));
    BAD((batch = x_batch(1), transom_pool_call(pool, plus_one, &batch, NULL, &result, &schema, &error)));
    BAD((batch = x_batch(1), transom_pool_call(pool, plus_one, &batch, &x_schema, NULL, &schema, &error)));
    CHECK(batch.release == NULL);

    BAD((source = x_stream(1, 0, NULL), transom_pool_map(NULL, plus_one, &source, NULL, &results, &error)));
    BAD((source = x_stream(1, 0, NULL), transom_pool_map(pool, NULL, &source, NULL, &results, &error)));
    BAD(transom_pool_map(pool, plus_one, NULL, NULL, &results, &error));
    BAD((source = x_stream(1, 0, NULL), transom_pool_map(pool, plus_one, &source, NULL, NULL, &error)));
    CHECK(source.release == NULL);
    BAD(transom_stream_error(NULL, &error));

    BAD((batch = x_batch(1), transom_pool_call_start(NULL, plus_one, &batch, &x_schema, &future, &error)));
    BAD((batch = x_batch(1), transom_pool_call_start(pool, plus_one, &batch, &x_schema, NULL, &error)));
    BAD((batch = x_batch(1), transom_pool_call_then(pool, plus_one, &batch, &x_schema, NULL, NULL, &error)));
    bool ready;
    BAD(transom_future_wait(NULL, 0, &ready, &error));
    BAD(transom_future_take(NULL, &result, &schema, &error));
    BAD(transom_future_cancel(NULL, &error));
    CHECK(transom_future_descriptor(NULL) == -1);
    transom_future_free(NULL);
    CHECK(future == NULL && signature == NULL);
}

void case_nulls(void) {
    CASE;
    nulls_of_settings();
    nulls_of_calls();
    transom_stats_t stats = {.size = sizeof stats};
    transom_worker_stats_t worker = {.size = sizeof worker};
    transom_copies_t copies = {.size = sizeof copies};
    uint64_t bytes;
    void *data;
    transom_memory_t *memory = NULL;
    BAD(transom_pool_stats(NULL, &stats, &error));
    BAD(transom_pool_stats(shared_pool, NULL, &error));
    BAD(transom_pool_worker_stats(NULL, 0, &worker, &error));
    BAD(transom_pool_worker_stats(shared_pool, 0, NULL, &error));
    struct ArrowArray letters;
    BAD(transom_pool_dead_letters(NULL, &letters, NULL, &error));
    BAD(transom_pool_dead_letters(shared_pool, NULL, NULL, &error));
    BAD(transom_stream_dead_letters(NULL, &letters, NULL, &error));
    BAD(transom_function_set_on_error(NULL, TRANSOM_ON_ERROR_NULL, &error));
    BAD(transom_pool_copies(NULL, &copies, &error));
    BAD(transom_pool_copies(shared_pool, NULL, &error));
    BAD(transom_pool_copied(NULL, TRANSOM_DIRECTION_INPUT, 0, &bytes, &error));
    BAD(transom_pool_copied(shared_pool, TRANSOM_DIRECTION_INPUT, 0, NULL, &error));
    BAD(transom_pool_allocate(NULL, 64, &data, &memory, &error));
    BAD(transom_pool_allocate(shared_pool, 64, NULL, &memory, &error));
    BAD(transom_pool_allocate(shared_pool, 64, &data, NULL, &error));
    transom_memory_free(NULL);
    CHECK(memory == NULL);

    CHECK(transom_error_code(NULL) == 0 && transom_error_id(NULL) == NULL && transom_error_name(NULL) == NULL);
    CHECK(transom_error_message(NULL) == NULL && transom_error_text(NULL) == NULL && transom_error_function(NULL) == NULL);
    CHECK(transom_error_batch(NULL) == -1 && transom_error_first_row(NULL) == -1 && transom_error_row_count(NULL) == 0);
    CHECK(transom_error_output_count(NULL) == 0 && transom_error_output_line(NULL, 0) == NULL && transom_error_hint(NULL) == NULL);
    CHECK(transom_error_capsule(NULL) == NULL && transom_error_signal(NULL) == 0 && transom_signature_on_error(NULL) == TRANSOM_ON_ERROR_RAISE);
    transom_error_free(NULL);
    /* Nobody need ask for the error. */
    CHECK(transom_options_new(NULL, NULL) == TRANSOM_CODE_BAD_ARGUMENT);
}

/* Pointers that are no handles, and handles of another kind: none is followed. */
void case_strangers(void) {
    CASE;
    int local = 0;
    void *strangers[] = {(void *)1, (void *)0x100000000, &local, plus_one, (void *)-1};
    for (size_t index = 0; index < sizeof strangers / sizeof strangers[0]; index++) {
        void *stranger = strangers[index];
        transom_stats_t stats = {.size = sizeof stats};
        BAD(transom_pool_stats(stranger, &stats, &error));
        BAD(transom_pool_close(stranger, &error));
        BAD(transom_options_set_workers(stranger, 1, &error));
        BAD(transom_future_cancel(stranger, &error));
        CHECK(transom_error_code(stranger) == 0 && transom_error_text(stranger) == NULL);
        CHECK(transom_signature_kind(stranger) == -1);
        transom_error_free(stranger);
        transom_options_free(stranger);
        transom_memory_free(stranger);
        transom_future_free(stranger);
        transom_signature_free(stranger);
    }
    transom_function_free((transom_function_t *)shared_pool);
    struct ArrowArray batch = x_batch(1), result;
    OK(transom_pool_call(shared_pool, plus_one, &batch, &x_schema, &result, NULL, &error));
    release_array(&result);
}

/* Everything that is freed twice, or used after it was. */
void case_freed(void) {
    CASE;
    transom_options_t *options = new_options();
    transom_pool_t *pool = NULL;
    OK(transom_pool_open(options, &pool, &error));
    transom_options_free(options);
    transom_options_free(options);
    BAD(transom_options_set_workers(options, 1, &error));
    BAD(transom_pool_open(options, &pool, &error));

    transom_function_t *function = native("plus_one");
    transom_signature_t *signature = NULL;
    OK(transom_pool_describe(pool, function, &signature, &error));
    transom_function_free(function);
    transom_function_free(function);
    BAD(transom_function_set_retries(function, 1, &error));
    struct ArrowArray batch = x_batch(1), result;
    BAD(transom_pool_call(pool, function, &batch, &x_schema, &result, NULL, &error));

    struct ArrowSchema schema;
    CHECK(transom_signature_parameter_name(signature, 7) == NULL && !transom_signature_parameter_optional(signature, 7));
    BAD(transom_signature_parameter_schema(signature, 7, &schema, &error));
    BAD(transom_signature_parameter_schema(signature, 0, NULL, &error));
    BAD(transom_signature_schema(signature, NULL, &error));
    transom_signature_free(signature);
    transom_signature_free(signature);
    CHECK(transom_signature_name(signature) == NULL);

    OK(transom_pool_close(pool, &error));
    BAD(transom_pool_close(pool, &error));
    batch = x_batch(1);
    BAD(transom_pool_call(pool, plus_one, &batch, &x_schema, &result, NULL, &error));
    struct ArrowArrayStream source = x_stream(1, 0, NULL), results;
    BAD(transom_pool_map(pool, plus_one, &source, NULL, &results, &error));

    transom_error_t *kept = NULL;
    CHECK(transom_pool_close(pool, &kept) == TRANSOM_CODE_BAD_ARGUMENT);
    transom_error_free(kept);
    transom_error_free(kept);
    CHECK(transom_error_code(kept) == 0 && transom_error_message(kept) == NULL);
}

static void *close_pool(void *pool) {
    CASE;
    OK(transom_pool_close(pool, &error));
    return NULL;
}

/* A pool that one thread opened and used, and two others close: one of them is too late. */
void case_close_elsewhere(void) {
    CASE;
    transom_pool_t *pool = new_pool(new_options());
    struct ArrowArray batch = x_batch(2), result;
    struct ArrowSchema schema;
    OK(transom_pool_call(pool, plus_one, &batch, &x_schema, &result, &schema, &error));
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, close_pool, pool) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    BAD(transom_pool_close(pool, &error));
    /* A result outlives its pool. */
    CHECK(((const int64_t *)result.children[0]->buffers[1])[1] == 2);
    release_array(&result);
    schema.release(&schema);
}

void case_options(void) {
    CASE;
    transom_options_t *options = new_options();
    transom_pool_t *pool = NULL;
    BAD(transom_options_set_mode(options, 3, &error));
    BAD(transom_options_set_mode(options, -1, &error));
    BAD(transom_options_set_prestart(options, 1u << 31, &error));
    BAD(transom_options_set_env(options, "", "B", &error));
    BAD(transom_options_set_env(options, "A=B", "C", &error));
    BAD(transom_options_set_env(options, "\xff", "C", &error));
    OK(transom_options_set_workers(options, 0, &error));
    EXPECT(TRANSOM_CODE_BAD_OPTION, transom_pool_open(options, &pool, &error));
    OK(transom_options_set_workers(options, SIZE_MAX, &error));
    EXPECT(TRANSOM_CODE_BAD_OPTION, transom_pool_open(options, &pool, &error));
    OK(transom_options_set_workers(options, 1, &error));
    OK(transom_options_set_window(options, 0, &error));
    EXPECT(TRANSOM_CODE_BAD_OPTION, transom_pool_open(options, &pool, &error));
    OK(transom_options_set_window(options, SIZE_MAX, &error));
    EXPECT(TRANSOM_CODE_BAD_OPTION, transom_pool_open(options, &pool, &error));
    OK(transom_options_set_window(options, 2, &error));
    OK(transom_options_set_memory_limit(options, 0, &error));
    EXPECT(TRANSOM_CODE_BAD_OPTION, transom_pool_open(options, &pool, &error));
    transom_options_free(options);

    options = new_options();
    OK(transom_options_set_native_worker(options, "/nowhere/worker", &error));
    EXPECT(TRANSOM_CODE_INTERPRETER_MISSING, transom_pool_open(options, &pool, &error));
    transom_options_free(options);
    options = new_options();
    OK(transom_options_set_directory(options, "/nowhere", &error));
    transom_pool_t *nowhere = new_pool(options);
    struct ArrowArray batch = x_batch(1), result;
    EXPECT(TRANSOM_CODE_WORKING_DIRECTORY_MISSING, transom_pool_call(nowhere, plus_one, &batch, &x_schema, &result, NULL, &error));
    OK(transom_pool_close(nowhere, &error));

    transom_function_t *function = NULL;
    EXPECT(TRANSOM_CODE_BAD_OPTION, transom_function_python("no colon", &function, &error));
    EXPECT(TRANSOM_CODE_BAD_OPTION, transom_function_native("", "name", &function, &error));
    EXPECT(TRANSOM_CODE_BAD_OPTION, transom_function_java("a/b", &function, &error));
    BAD(transom_function_native(library, "\xff", &function, &error));
    CHECK(pool == NULL && function == NULL);
}

/* Structs that say a size which is not theirs. */
void case_sizes(void) {
    CASE;
    union {
        size_t size;
        transom_stats_t stats;
        transom_worker_stats_t worker;
        transom_copies_t copies;
        unsigned char bytes[256];
    } place;
    const size_t wrong[] = {0, 1, sizeof(size_t), sizeof(transom_stats_t) - 8};
    for (size_t index = 0; index < sizeof wrong / sizeof wrong[0]; index++) {
        memset(&place, 0xaa, sizeof place);
        place.size = wrong[index];
        BAD(transom_pool_stats(shared_pool, &place.stats, &error));
        BAD(transom_pool_worker_stats(shared_pool, 0, &place.worker, &error));
        BAD(transom_pool_copies(shared_pool, &place.copies, &error));
        for (size_t byte = sizeof(size_t); byte < sizeof place; byte++) CHECK(place.bytes[byte] == 0xaa);
    }
    /* A longer struct, of a newer header, is filled as far as the library knows it. */
    place.size = sizeof place;
    OK(transom_pool_stats(shared_pool, &place.stats, &error));
    CHECK(place.stats.workers == 1 && place.bytes[sizeof(transom_stats_t)] == 0xaa);
    transom_worker_stats_t worker = {.size = sizeof worker};
    BAD(transom_pool_worker_stats(shared_pool, 1, &worker, &error));
    BAD(transom_pool_worker_stats(shared_pool, SIZE_MAX, &worker, &error));

    uint64_t bytes;
    BAD(transom_pool_copied(shared_pool, 2, 0, &bytes, &error));
    BAD(transom_pool_copied(shared_pool, TRANSOM_DIRECTION_RESULT, UINT32_MAX, &bytes, &error));
    CHECK(transom_copy_reason(0) != NULL && transom_copy_reason(1u << 8) == NULL);

    transom_map_options_t options = TRANSOM_MAP_OPTIONS_INIT;
    struct ArrowArrayStream source = x_stream(1, 0, NULL), results;
    options.size--;
    BAD(transom_pool_map(shared_pool, plus_one, &source, &options, &results, &error));
    options = (transom_map_options_t)TRANSOM_MAP_OPTIONS_INIT;
    options.column_count = 1;
    source = x_stream(1, 0, NULL);
    BAD(transom_pool_map(shared_pool, plus_one, &source, &options, &results, &error));
}

/* Runs something in a forked child, and gives what it gave: 0, or the line of the first thing that is wrong. The child ends by a signal: it has the
 * memory of threads that it has not, so what a leak checker would say of it at an ordinary end means nothing. */
static int in_fork(int (*run)(void *), void *data) {
    int verdict = -1, ends[2];
    CHECK(pipe(ends) == 0);
    pid_t child = fork();
    if (child == 0) {
        verdict = run(data);
        if (write(ends[1], &verdict, sizeof verdict) == sizeof verdict) raise(SIGKILL);
        _exit(1);
    }
    close(ends[1]);
    CHECK(read(ends[0], &verdict, sizeof verdict) == sizeof verdict);
    close(ends[0]);
    CHECK(waitpid(child, NULL, 0) == child);
    return verdict;
}

/* Handles of the parent. */
struct inherited {
    transom_signature_t *signature;
    struct ArrowArrayStream results;
};

#define CHILD(condition) do { if (!(condition)) return __LINE__; } while (0)

static int use_inherited(void *data) {
    struct inherited *inherited = data;
    transom_signature_t *signature = inherited->signature;
    struct ArrowArrayStream *results = &inherited->results;
    transom_error_t *error = NULL;
    struct ArrowArray batch = x_batch(1), result;
    CHILD(transom_pool_call(shared_pool, plus_one, &batch, &x_schema, &result, NULL, &error) == TRANSOM_CODE_FORKED_HANDLE);
    CHILD(batch.release == NULL && transom_error_code(error) == TRANSOM_CODE_FORKED_HANDLE && transom_error_hint(error) != NULL);
    transom_error_free(error);
    CHILD(transom_pool_close(shared_pool, NULL) == TRANSOM_CODE_FORKED_HANDLE);
    CHILD(transom_function_set_retries(plus_one, 1, NULL) == TRANSOM_CODE_FORKED_HANDLE);
    CHILD(transom_signature_name(signature) == NULL);
    CHILD(results->get_next(results, &result) == EINVAL && results->get_last_error(results) == NULL);
    CHILD(transom_stream_error(results, NULL) == TRANSOM_CODE_FORKED_HANDLE);
    results->release(results);
    transom_function_free(plus_one);
    transom_signature_free(signature);

    /* A pool of the child's own works. */
    transom_pool_t *pool = new_pool(new_options());
    transom_function_t *function = native("plus_one");
    batch = x_batch(1);
    CHILD(transom_pool_call(pool, function, &batch, &x_schema, &result, NULL, NULL) == 0);
    CHILD(((const int64_t *)result.children[0]->buffers[1])[0] == 1);
    release_array(&result);
    CHILD(transom_pool_close(pool, NULL) == 0);
    return 0;
}

void case_fork(void) {
    CASE;
    struct inherited inherited = {0};
    OK(transom_pool_describe(shared_pool, plus_one, &inherited.signature, &error));
    struct ArrowArrayStream source = x_stream(2, 0, NULL), *results = &inherited.results;
    OK(transom_pool_map(shared_pool, plus_one, &source, NULL, results, &error));
    int wrong = in_fork(use_inherited, &inherited);
    if (wrong != 0) failed(__FILE__, wrong, "this is wrong in a forked child");
    /* The parent's are as they were. */
    struct ArrowArray result;
    CHECK(results->get_next(results, &result) == 0 && result.length == 4);
    release_array(&result);
    results->release(results);
    CHECK(strcmp(transom_signature_name(inherited.signature), "plus_one") == 0);
    transom_signature_free(inherited.signature);
}

void case_memory(void) {
    CASE;
    void *data = NULL;
    transom_memory_t *memory = NULL;
    EXPECT(TRANSOM_CODE_BATCH_TOO_LARGE, transom_pool_allocate(shared_pool, SIZE_MAX, &data, &memory, &error));
    EXPECT(TRANSOM_CODE_BATCH_TOO_LARGE, transom_pool_allocate(shared_pool, SIZE_MAX / 2, &data, &memory, &error));
    CHECK(memory == NULL);
    OK(transom_pool_allocate(shared_pool, 0, &data, &memory, &error));
    transom_memory_free(memory);
    transom_memory_free(memory);

    /* It may outlive the pool. */
    transom_pool_t *pool = new_pool(new_options());
    OK(transom_pool_allocate(pool, 100, &data, &memory, &error));
    CHECK((uintptr_t)data % 64 == 0);
    OK(transom_pool_close(pool, &error));
    memset(data, 1, 100);
    transom_memory_free(memory);
    BAD(transom_pool_allocate(pool, 100, &data, &memory, &error));

    struct ArrowArray batch = x_batch(1), shared;
    BAD(transom_pool_share(pool, &batch, &x_schema, &shared, NULL, &error));
    CHECK(batch.release == NULL);
    BAD(transom_pool_share(shared_pool, &batch, &x_schema, &shared, NULL, &error));
}

/* Serves a host that says nonsense. A worker's process ends with its host, so it is done in a child that is both. */
static int serve_nonsense(void *data) {
    transom_library_t none = {.size = sizeof none, .abi_version = TRANSOM_ABI_VERSION, .definition_size = sizeof(transom_definition_t)};
    int sockets[2];
    (void)data;
    CHILD(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets) == 0);
    CHILD(write(sockets[1], "nonsense", 8) == 8);
    CHILD(transom_worker_serve(sockets[0], &none, NULL) == TRANSOM_CODE_PROTOCOL_VIOLATION);
    return 0;
}

/* Serving what is no link, or without a table. */
void case_serve(void) {
    CASE;
    transom_library_t table = {.size = sizeof table, .abi_version = TRANSOM_ABI_VERSION, .definition_size = sizeof(transom_definition_t)};
    int sockets[2];
    BAD(transom_worker_serve(-1, &table, &error));
    BAD(transom_worker_serve(1 << 20, &table, &error));
    /* The descriptor is the library's, whatever it returns: it closes it. */
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets) == 0);
    BAD(transom_worker_serve(sockets[0], NULL, &error));
    table.abi_version++;
    EXPECT(TRANSOM_CODE_VERSION_MISMATCH, transom_worker_serve(dup(sockets[1]), &table, &error));
    CHECK(close(sockets[1]) == 0);
    int wrong = in_fork(serve_nonsense, NULL);
    if (wrong != 0) failed(__FILE__, wrong, "this is wrong in a forked child");
}
