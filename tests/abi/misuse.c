/* What a C program can do wrong is an error with a code, and nothing is left behind: descriptors, mappings and processes are counted before and after.
 *
 *     ./misuse ./libexample.so ./libfaulty.so */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arrays.h"

static transom_error_t *error;
static transom_pool_t *pool;
static transom_function_t *plus_one;
static const char *faulty;

/* The call gives this code, and an error that has it, too, and the words. */
#define EXPECT(wanted, words, call)                                                                                                      \
    do {                                                                                                                                 \
        error = NULL;                                                                                                                    \
        int32_t code_ = (call);                                                                                                          \
        const char *said_ = error == NULL ? "" : transom_error_text(error);                                                              \
        if (code_ != (wanted) || transom_error_code(error) != (wanted) || strstr(said_, words) == NULL) {                                \
            fprintf(stderr, "line %d: %d for %d, with %s\n", __LINE__, code_, (int)(wanted), said_);                                     \
            exit(EXIT_FAILURE);                                                                                                          \
        }                                                                                                                                \
        transom_error_free(error);                                                                                                       \
    } while (0)
#define WORKS(call) EXPECT(TRANSOM_OK, "", call)
#define REFUSED(words, call) EXPECT(TRANSOM_CODE_BAD_ARGUMENT, words, call)
#define IS(condition)                                                                                                                    \
    do {                                                                                                                                 \
        if (!(condition)) {                                                                                                              \
            fprintf(stderr, "line %d: not %s\n", __LINE__, #condition);                                                                  \
            exit(EXIT_FAILURE);                                                                                                          \
        }                                                                                                                                \
    } while (0)

static int entries(const char *folder) {
    DIR *opened = opendir(folder);
    int count = 0;
    while (opened != NULL && readdir(opened) != NULL) {
        count++;
    }
    closedir(opened);
    return count;
}

static int mappings(void) {
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[4096];
    int count = 0;
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
        count += strstr(line, "memfd:transom") != NULL;
    }
    fclose(maps);
    return count;
}

static void batch_of(struct ArrowArray *batch) {
    static const int64_t values[] = {1, 2, 3};
    make_batch(batch, values, 3);
}

/* A call of a function by its name, in the library at `path`. */
static int32_t call_of(const char *path, const char *name) {
    struct ArrowArray batch, result;
    struct ArrowSchema schema;
    transom_function_t *function = NULL;
    batch_of(&batch);
    make_batch_schema(&schema, "x", "l");
    int32_t code = transom_function_native(path, name, &function, &error);
    if (code == 0) {
        code = transom_pool_call(pool, function, &batch, &schema, &result, NULL, &error);
    }
    if (code == 0) {
        result.release(&result);
    }
    IS(batch.release == NULL);
    schema.release(&schema);
    transom_function_free(function);
    return code;
}

static void before_init(void) {
    transom_options_t *options = NULL;
    EXPECT(TRANSOM_CODE_VERSION_MISMATCH, "transom_init was not called", transom_options_new(&options, &error));
    EXPECT(TRANSOM_CODE_VERSION_MISMATCH, "transom_init was not called", transom_pool_open(NULL, &pool, &error));
    EXPECT(TRANSOM_CODE_VERSION_MISMATCH, "transom_init was not called", transom_worker_serve(0, NULL, &error));
    EXPECT(TRANSOM_CODE_VERSION_MISMATCH, "version 99", transom_init(99, &error));
    IS(transom_abi_version() == TRANSOM_ABI_VERSION && strlen(transom_version()) > 0);
    WORKS(transom_init(TRANSOM_ABI_VERSION, &error));
}

static void handles(void) {
    transom_options_t *options = NULL;
    transom_pool_t *other = NULL;
    int here = 0;
    /* An error that nobody wants to have. */
    IS(transom_options_new(NULL, NULL) == TRANSOM_CODE_BAD_ARGUMENT);
    REFUSED("`out` is NULL", transom_options_new(NULL, &error));
    WORKS(transom_options_new(&options, &error));
    REFUSED("not NULL", transom_options_set_workers(NULL, 1, &error));
    REFUSED("`interpreter` is NULL", transom_options_set_python(options, NULL, &error));
    REFUSED("not UTF-8", transom_function_python("\xff.py:f", &plus_one, &error));
    REFUSED("no mode 9", transom_options_set_mode(options, 9, &error));
    REFUSED("no language", transom_options_set_prestart(options, 64, &error));
    REFUSED("variable", transom_options_set_env(options, "a=b", "c", &error));
    REFUSED("of another kind", transom_options_set_workers((transom_options_t *)(void *)pool, 1, &error));
    REFUSED("no handle of this library", transom_options_set_workers((transom_options_t *)(void *)&here, 1, &error));
    WORKS(transom_options_set_workers(options, 0, &error));
    EXPECT(TRANSOM_CODE_BAD_OPTION, "at least one worker", transom_pool_open(options, &other, &error));
    transom_options_free(options);
    transom_options_free(options);
    transom_options_free(NULL);
    REFUSED("freed already", transom_options_set_workers(options, 1, &error));
    IS(transom_error_code(NULL) == 0 && transom_error_text(NULL) == NULL && transom_signature_kind(NULL) == -1);
    EXPECT(TRANSOM_CODE_BAD_OPTION, "does not name a function", transom_function_python("nonsense", &plus_one, &error));
}

static int releases;

static void count_release(struct ArrowArray *array) {
    releases++;
    release_array(array);
}

/* Calls with a column that is spoilt, or a schema that is, and looks whether the array was released once. */
static void spoilt(int32_t wanted, const char *words, void (*spoil)(struct ArrowArray *, struct ArrowSchema *)) {
    struct ArrowArray batch, result;
    struct ArrowSchema schema;
    batch_of(&batch);
    make_batch_schema(&schema, "x", "l");
    batch.release = count_release;
    spoil(&batch, &schema);
    releases = 0;
    EXPECT(wanted, words, transom_pool_call(pool, plus_one, &batch, &schema, &result, NULL, &error));
    IS(releases == 1 && batch.release == NULL);
    schema.release(&schema);
}

#define SPOIL(name) static void name(struct ArrowArray *batch, struct ArrowSchema *schema)
SPOIL(negative_length) { (void)schema, batch->children[0]->length = -1; }
SPOIL(negative_offset) { (void)schema, batch->children[0]->offset = -5; }
SPOIL(huge_length) { (void)schema, batch->length = batch->children[0]->length = INT64_MAX; }
SPOIL(short_child) { (void)schema, batch->children[0]->length = 2; }
SPOIL(too_many_nulls) { (void)schema, batch->children[0]->null_count = 4; }
SPOIL(no_values) {
    (void)schema;
    free((void *)batch->children[0]->buffers[1]);
    batch->children[0]->buffers[1] = NULL;
}
SPOIL(few_buffers) {
    (void)schema;
    free((void *)batch->children[0]->buffers[1]);
    batch->children[0]->n_buffers = 1;
}
SPOIL(other_type) { (void)batch, schema->children[0]->format = "u"; }
SPOIL(no_format) { (void)batch, schema->children[0]->format = NULL; }
SPOIL(bad_format) { (void)batch, schema->children[0]->format = "no such"; }
SPOIL(bad_name) { (void)batch, schema->children[0]->name = "\xc3"; }
SPOIL(negative_width) { (void)batch, schema->children[0]->format = "w:-1"; }
SPOIL(no_struct) { (void)batch, schema->format = "l"; }
SPOIL(lost_dictionary) {
    (void)batch;
    static struct ArrowSchema text;
    make_schema(&text, "u", "", 0);
    schema->children[0]->dictionary = &text;
    free(text.children);
    text.children = NULL;
}

static void arrays(void) {
    struct ArrowArray batch, result;
    struct ArrowSchema schema;
    spoilt(TRANSOM_CODE_INVALID_DATA, "length -1", negative_length);
    spoilt(TRANSOM_CODE_INVALID_DATA, "offset -5", negative_offset);
    spoilt(TRANSOM_CODE_INVALID_DATA, "length", huge_length);
    spoilt(TRANSOM_CODE_INVALID_DATA, "2 rows for 3", short_child);
    spoilt(TRANSOM_CODE_INVALID_DATA, "4 nulls in 3 rows", too_many_nulls);
    spoilt(TRANSOM_CODE_INVALID_DATA, "null", no_values);
    spoilt(TRANSOM_CODE_INVALID_DATA, "1 buffers", few_buffers);
    spoilt(TRANSOM_CODE_INVALID_DATA, "2 buffers", other_type);
    spoilt(TRANSOM_CODE_INVALID_DATA, "no dictionary", lost_dictionary);
    spoilt(TRANSOM_CODE_BAD_SCHEMA, "format is NULL", no_format);
    spoilt(TRANSOM_CODE_BAD_SCHEMA, "", bad_format);
    spoilt(TRANSOM_CODE_BAD_SCHEMA, "UTF-8", bad_name);
    spoilt(TRANSOM_CODE_BAD_SCHEMA, "", negative_width);
    spoilt(TRANSOM_CODE_BAD_SCHEMA, "", no_struct);

    batch_of(&batch);
    make_batch_schema(&schema, "x", "l");
    REFUSED("`array` is NULL", transom_pool_call(pool, plus_one, NULL, &schema, &result, NULL, &error));
    /* The array is moved in, even where there is no place for the result, no schema and no pool. */
    REFUSED("`out_array` is NULL", transom_pool_call(pool, plus_one, &batch, &schema, NULL, NULL, &error));
    REFUSED("released already", transom_pool_call(pool, plus_one, &batch, &schema, &result, NULL, &error));
    batch_of(&batch);
    REFUSED("schema is NULL", transom_pool_call(pool, plus_one, &batch, NULL, &result, NULL, &error));
    batch_of(&batch);
    REFUSED("a pool is needed", transom_pool_call(NULL, plus_one, &batch, &schema, &result, NULL, &error));
    batch_of(&batch);
    REFUSED("a function is needed", transom_pool_call(pool, NULL, &batch, &schema, &result, NULL, &error));
    IS(batch.release == NULL);
    schema.release(&schema);
    batch_of(&batch);
    REFUSED("schema was released", transom_pool_call(pool, plus_one, &batch, &schema, &result, NULL, &error));

    /* More levels than anything has. */
    struct ArrowSchema deep[100];
    struct ArrowSchema *below[100];
    make_batch_schema(&schema, "x", "l");
    for (int level = 0; level < 100; level++) {
        below[level] = &deep[level];
        memset(&deep[level], 0, sizeof deep[level]);
        deep[level].format = level < 99 ? "+l" : "l";
        deep[level].n_children = level < 99;
        deep[level].children = level < 99 ? &below[level] + 1 : NULL;
        deep[level].release = release_schema;
    }
    struct ArrowSchema *real = schema.children[0];
    schema.children[0] = &deep[0];
    batch_of(&batch);
    EXPECT(TRANSOM_CODE_BAD_SCHEMA, "nested", transom_pool_call(pool, plus_one, &batch, &schema, &result, NULL, &error));
    schema.children[0] = real;
    schema.release(&schema);
}

static void structs(void) {
    transom_stats_t stats = TRANSOM_STATS_INIT;
    transom_worker_stats_t worker = TRANSOM_WORKER_STATS_INIT;
    transom_copies_t copies = TRANSOM_COPIES_INIT;
    uint64_t bytes = 0;
    WORKS(transom_pool_stats(pool, &stats, &error));
    IS(stats.size == sizeof stats && stats.workers >= 1 && stats.memory_limit > 0);
    stats.size = 8;
    REFUSED("has 8 bytes", transom_pool_stats(pool, &stats, &error));
    REFUSED("`out` is NULL", transom_pool_stats(pool, NULL, &error));
    WORKS(transom_pool_worker_stats(pool, 0, &worker, &error));
    REFUSED("no worker 99", transom_pool_worker_stats(pool, 99, &worker, &error));
    WORKS(transom_pool_copies(pool, &copies, &error));
    WORKS(transom_pool_copied(pool, TRANSOM_DIRECTION_INPUT, 0, &bytes, &error));
    REFUSED("no reason 99", transom_pool_copied(pool, TRANSOM_DIRECTION_INPUT, 99, &bytes, &error));
    REFUSED("no direction 9", transom_pool_copied(pool, 9, 0, &bytes, &error));
    IS(transom_copy_reason(0) != NULL && transom_copy_reason(99) == NULL);
}

/* A source that gives one batch and then fails. */
static int failing_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out) {
    (void)stream;
    make_batch_schema(out, "x", "l");
    return 0;
}

static int failing_next(struct ArrowArrayStream *stream, struct ArrowArray *out) {
    int *asked = (int *)stream->private_data;
    memset(out, 0, sizeof *out);
    if (++*asked > 1) {
        return 5;
    }
    batch_of(out);
    return 0;
}

static const char *failing_error(struct ArrowArrayStream *stream) {
    (void)stream;
    return "the disk is on fire";
}

static void failing_release(struct ArrowArrayStream *stream) { stream->release = NULL; }

static void streams(void) {
    int asked = 0;
    struct ArrowArrayStream source = {failing_schema, failing_next, failing_error, failing_release, &asked};
    struct ArrowArrayStream results;
    struct ArrowArray batch;
    transom_map_options_t options = TRANSOM_MAP_OPTIONS_INIT;
    WORKS(transom_pool_map(pool, plus_one, &source, &options, &results, &error));
    IS(source.release == NULL);
    REFUSED("released already", transom_pool_map(pool, plus_one, &source, &options, &results, &error));
    IS(results.get_next(&results, &batch) == 0);
    batch.release(&batch);
    WORKS(transom_stream_error(&results, &error));
    IS(results.get_next(&results, &batch) != 0);
    IS(strstr(results.get_last_error(&results), "the disk is on fire") != NULL);
    EXPECT(TRANSOM_CODE_SOURCE_FAILED, "the disk is on fire", transom_stream_error(&results, &error));
    /* The end, again and again; and a copy of a stream that was released is none any more. */
    IS(results.get_next(&results, &batch) == 0 && batch.release == NULL);
    struct ArrowArrayStream copy = results;
    results.release(&results);
    IS(results.release == NULL);
    IS(copy.get_next(&copy, &batch) != 0 && copy.get_last_error(&copy) == NULL);
    copy.release(&copy);
    REFUSED("stream of this library", transom_stream_error(&source, &error));
    REFUSED("NULL", transom_stream_error(NULL, &error));

    asked = 0;
    struct ArrowArrayStream fresh = {failing_schema, failing_next, failing_error, failing_release, &asked};
    options.size = 1;
    REFUSED("1 bytes", transom_pool_map(pool, plus_one, &fresh, &options, &results, &error));
    IS(fresh.release == NULL && asked == 0);
}

static void waits(const char *gate) {
    struct ArrowArray batch, result;
    struct ArrowSchema schema;
    transom_function_t *hold = NULL;
    transom_future_t *future = NULL;
    bool ready = true;
    make_batch_schema(&schema, "x", "l");
    WORKS(transom_function_native(faulty, "hold", &hold, &error));

    batch_of(&batch);
    WORKS(transom_pool_call_start(pool, hold, &batch, &schema, &future, &error));
    WORKS(transom_future_wait(future, 0, &ready, &error));
    IS(!ready && transom_future_descriptor(future) >= 0);
    close(open(gate, O_WRONLY));
    WORKS(transom_future_wait(future, -1, &ready, &error));
    IS(ready);
    WORKS(transom_future_take(future, &result, NULL, &error));
    result.release(&result);
    REFUSED("taken already", transom_future_take(future, &result, NULL, &error));
    transom_future_free(future);
    transom_future_free(future);
    IS(transom_future_descriptor(future) == -1);
    REFUSED("freed already", transom_future_cancel(future, &error));

    batch_of(&batch);
    WORKS(transom_pool_call_start(pool, hold, &batch, &schema, &future, &error));
    WORKS(transom_future_cancel(future, &error));
    EXPECT(TRANSOM_CODE_CANCELLED, "cancelled", transom_future_take(future, &result, NULL, &error));
    transom_future_free(future);
    schema.release(&schema);
    transom_function_free(hold);
}

/* Outcomes by callback: it is called once, and cannot close its pool. */
struct told {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int times;
    int32_t code, close_code;
};

static void tell(void *user_data, int32_t code, struct ArrowArray *array, struct ArrowSchema *schema, transom_error_t *why) {
    struct told *told = (struct told *)user_data;
    IS((code == 0) == (array->release != NULL) && (code == 0) == (schema->release != NULL) && transom_error_code(why) == code);
    transom_error_free(why);
    pthread_mutex_lock(&told->mutex);
    told->times++;
    told->code = code;
    told->close_code = transom_pool_close(pool, NULL);
    pthread_cond_signal(&told->changed);
    pthread_mutex_unlock(&told->mutex);
}

static void callbacks(void) {
    struct told told = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, -1, -1};
    struct ArrowArray batch;
    struct ArrowSchema schema;
    make_batch_schema(&schema, "x", "l");
    batch_of(&batch);
    REFUSED("`callback` is NULL", transom_pool_call_then(pool, plus_one, &batch, &schema, NULL, &told, &error));
    IS(batch.release == NULL);
    batch_of(&batch);
    WORKS(transom_pool_call_then(pool, plus_one, &batch, &schema, tell, &told, &error));
    pthread_mutex_lock(&told.mutex);
    while (told.times == 0) {
        pthread_cond_wait(&told.changed, &told.mutex);
    }
    pthread_mutex_unlock(&told.mutex);
    IS(told.times == 1 && told.code == 0 && told.close_code == TRANSOM_CODE_BAD_ARGUMENT);
    schema.release(&schema);
}

static void forks(void) {
    pid_t child = fork();
    if (child == 0) {
        struct ArrowArray batch, result;
        struct ArrowSchema schema;
        transom_options_t *own = NULL;
        batch_of(&batch);
        make_batch_schema(&schema, "x", "l");
        EXPECT(TRANSOM_CODE_FORKED_HANDLE, "forked", transom_pool_call(pool, plus_one, &batch, &schema, &result, NULL, &error));
        EXPECT(TRANSOM_CODE_FORKED_HANDLE, "forked", transom_pool_close(pool, &error));
        WORKS(transom_options_new(&own, &error));
        WORKS(transom_options_set_workers(own, 1, &error));
        _exit(0);
    }
    int status = -1;
    IS(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void functions(void) {
    EXPECT(TRANSOM_CODE_NOT_ARROW, "gave no array", call_of(faulty, "gives_nothing"));
    EXPECT(TRANSOM_CODE_FUNCTION_RAISED, "returned 7", call_of(faulty, "says_nothing"));
    EXPECT(TRANSOM_CODE_WRONG_LENGTH, "2 rows for 3", call_of(faulty, "gives_less"));
    EXPECT(TRANSOM_CODE_WRONG_TYPE, "", call_of(faulty, "gives_text"));
    EXPECT(TRANSOM_CODE_INVALID_DATA, "99 nulls", call_of(faulty, "gives_nonsense"));
    EXPECT(TRANSOM_CODE_FUNCTION_RAISED, "said but not returned", call_of(faulty, "forgets"));
    EXPECT(TRANSOM_CODE_NOT_ARROW, "no schema", call_of(faulty, "undeclared"));
    EXPECT(TRANSOM_CODE_NOT_ARROW, "no stream", call_of(faulty, "no_output"));
    EXPECT(TRANSOM_CODE_FUNCTION_RAISED, "no streams today", call_of(faulty, "refuses"));
    WORKS(call_of(faulty, "gives_back"));
    EXPECT(TRANSOM_CODE_FUNCTION_SIGNATURE, "no kind 7", call_of(faulty, "no_kind"));
    EXPECT(TRANSOM_CODE_FUNCTION_SIGNATURE, "`scalar` set", call_of(faulty, "no_callback"));
    EXPECT(TRANSOM_CODE_FUNCTION_SIGNATURE, "`batches` NULL", call_of(faulty, "two_callbacks"));
    EXPECT(TRANSOM_CODE_FUNCTION_SIGNATURE, "format", call_of(faulty, "no_type"));
    EXPECT(TRANSOM_CODE_FUNCTION_SIGNATURE, "8 bytes", call_of(faulty, "small_field"));
    EXPECT(TRANSOM_CODE_FUNCTION_SIGNATURE, "NULL, with 2", call_of(faulty, "null_parameters"));
    EXPECT(TRANSOM_CODE_FUNCTION_SIGNATURE, "3 bytes", call_of(faulty, "small"));
    EXPECT(TRANSOM_CODE_FUNCTION_NOT_FOUND, "it has hold, gives_nothing", call_of(faulty, "not_there"));
}

static void *close_pool(void *closing) {
    IS(transom_pool_close((transom_pool_t *)closing, NULL) == 0);
    return NULL;
}

/* Closing a pool on another thread, with a call under way: the call is told. */
static void closes(void) {
    struct ArrowArray batch, result;
    struct ArrowSchema schema;
    transom_function_t *hold = NULL;
    transom_future_t *future = NULL;
    pthread_t thread;
    make_batch_schema(&schema, "x", "l");
    batch_of(&batch);
    WORKS(transom_function_native(faulty, "hold", &hold, &error));
    WORKS(transom_pool_call_start(pool, hold, &batch, &schema, &future, &error));
    IS(pthread_create(&thread, NULL, close_pool, pool) == 0);
    EXPECT(TRANSOM_CODE_POOL_CLOSED, "", transom_future_take(future, &result, NULL, &error));
    IS(pthread_join(thread, NULL) == 0);
    REFUSED("freed already", transom_pool_close(pool, &error));
    batch_of(&batch);
    REFUSED("freed already", transom_pool_call(pool, hold, &batch, &schema, &result, NULL, &error));
    transom_future_free(future);
    transom_function_free(hold);
    schema.release(&schema);
}

int main(int count, char **arguments) {
    char gate[64];
    IS(count == 3);
    faulty = arguments[2];
    before_init();
    int descriptors = entries("/proc/self/fd");
    int tasks = entries("/proc/self/task");
    snprintf(gate, sizeof gate, "/tmp/transom-gate-%d", (int)getpid());
    IS(mkfifo(gate, 0600) == 0);
    setenv("TEST_GATE", gate, 1);

    transom_options_t *options = NULL;
    WORKS(transom_options_new(&options, &error));
    WORKS(transom_options_set_workers(options, 2, &error));
    WORKS(transom_options_set_prestart(options, TRANSOM_LANGUAGE_NATIVE, &error));
    WORKS(transom_pool_open(options, &pool, &error));
    transom_options_free(options);
    handles();
    WORKS(transom_function_native(arguments[1], "plus_one", &plus_one, &error));
    arrays();
    structs();
    streams();
    waits(gate);
    callbacks();
    forks();
    functions();
    closes();
    transom_function_free(plus_one);

    unlink(gate);
    /* A worker that was being started when the pool was closed takes a moment to go. */
    for (int waited = 0; waited < 1000 && (entries("/proc/self/fd") != descriptors || entries("/proc/self/task") != tasks); waited++) {
        usleep(10000);
    }
    IS(entries("/proc/self/fd") == descriptors);
    IS(entries("/proc/self/task") == tasks);
    IS(mappings() == 0);
    IS(waitpid(-1, NULL, WNOHANG) == -1);
    return EXIT_SUCCESS;
}
