/* A program that calls functions: one in Python, some in a shared library. It prints what comes back.
 *
 *     cc -std=c99 -I PREFIX/include -o host host.c -L PREFIX/lib -ltransom
 *     ./host PYTHON functions.py ./libexample.so */
#include <poll.h>

#include "arrays.h"

/* What went wrong ends an example. The error is given by its place: arguments are evaluated in any order, and the call that fills it is one of them. */
static void check(int32_t code, transom_error_t **error) {
    if (code != 0) {
        fprintf(stderr, "%s\n", transom_error_text(*error));
        transom_error_free(*error);
        exit(EXIT_FAILURE);
    }
}

static void print_result(const char *title, struct ArrowArray *array, struct ArrowSchema *schema) {
    print_column(title, array->children[0], schema->children[0]->format);
    array->release(array);
    schema->release(schema);
}

static void call(transom_pool_t *pool, transom_function_t *function, const char *title, struct ArrowArray *batch, struct ArrowSchema *schema) {
    struct ArrowArray result;
    struct ArrowSchema result_schema;
    transom_error_t *error = NULL;
    check(transom_pool_call(pool, function, batch, schema, &result, &result_schema, &error), &error);
    print_result(title, &result, &result_schema);
}

static void describe(transom_pool_t *pool, transom_function_t *function) {
    transom_signature_t *signature = NULL;
    struct ArrowSchema schema;
    transom_error_t *error = NULL;
    check(transom_pool_describe(pool, function, &signature, &error), &error);
    check(transom_signature_schema(signature, &schema, &error), &error);
    printf("%s gives %s\n", transom_signature_text(signature), schema.children[0]->format);
    schema.release(&schema);
    transom_signature_free(signature);
}

static void call_text(transom_pool_t *pool, transom_function_t *function) {
    static const char *const words[] = {"over", NULL, "the door"};
    struct ArrowArray batch;
    struct ArrowSchema schema;
    make_batch_schema(&schema, "text", "u");
    make_array(&batch, 3, 1, 1);
    struct ArrowArray *column = batch.children[0];
    make_array(column, 3, 3, 0);
    int32_t *offsets = (int32_t *)some(4 * sizeof *offsets);
    char *bytes = (char *)some(64);
    column->buffers[1] = offsets;
    column->buffers[2] = bytes;
    for (int row = 0; row < 3; row++) {
        size_t length = words[row] == NULL ? 0 : strlen(words[row]);
        if (length > 0) {
            memcpy(bytes + offsets[row], words[row], length);
        } else {
            set_null(column, row);
        }
        offsets[row + 1] = offsets[row] + (int32_t)length;
    }
    call(pool, function, "upper", &batch, &schema);
    schema.release(&schema);
}

/* A call that nobody waits for: its descriptor becomes readable when the result is there. */
static void call_later(transom_pool_t *pool, transom_function_t *function, struct ArrowArray *batch, struct ArrowSchema *schema) {
    transom_future_t *future = NULL;
    struct ArrowArray result;
    struct ArrowSchema result_schema;
    transom_error_t *error = NULL;
    check(transom_pool_call_start(pool, function, batch, schema, &future, &error), &error);
    struct pollfd ready = {transom_future_descriptor(future), POLLIN, 0};
    while (poll(&ready, 1, -1) < 0) {
    }
    check(transom_future_take(future, &result, &result_schema, &error), &error);
    transom_future_free(future);
    print_result("plus_one, later", &result, &result_schema);
}

/* An array in the pool's shared memory: it crosses without a copy. */
static void release_shared(struct ArrowArray *array) {
    transom_memory_free((transom_memory_t *)array->private_data);
    free((void *)array->buffers);
    array->release = NULL;
}

static void call_shared(transom_pool_t *pool, transom_function_t *function, struct ArrowSchema *schema) {
    struct ArrowArray batch;
    void *data = NULL;
    transom_memory_t *memory = NULL;
    transom_copies_t before = TRANSOM_COPIES_INIT;
    transom_copies_t after = TRANSOM_COPIES_INIT;
    transom_error_t *error = NULL;
    check(transom_pool_allocate(pool, 3 * sizeof(int64_t), &data, &memory, &error), &error);
    for (int row = 0; row < 3; row++) {
        ((int64_t *)data)[row] = 100 * row;
    }
    make_array(&batch, 3, 1, 1);
    struct ArrowArray *column = batch.children[0];
    column->length = 3;
    column->n_buffers = 2;
    column->buffers = (const void **)some(2 * sizeof(void *));
    column->buffers[1] = data;
    column->private_data = memory;
    column->release = release_shared;
    check(transom_pool_copies(pool, &before, &error), &error);
    call(pool, function, "plus_one, in shared memory", &batch, schema);
    check(transom_pool_copies(pool, &after, &error), &error);
    printf("of the arguments %" PRIu64 " bytes were shared and %" PRIu64 " copied\n", after.input_shared - before.input_shared,
           after.input_copied - before.input_copied);
}

/* A source of three batches. */
static int source_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out) {
    (void)stream;
    make_batch_schema(out, "x", "l");
    return 0;
}

static int source_next(struct ArrowArrayStream *stream, struct ArrowArray *out) {
    int64_t *batch = (int64_t *)stream->private_data;
    memset(out, 0, sizeof *out);
    if (*batch < 3) {
        int64_t values[2] = {10 * *batch + 1, 10 * *batch + 2};
        make_batch(out, values, 2);
        ++*batch;
    }
    return 0;
}

static const char *source_error(struct ArrowArrayStream *stream) {
    (void)stream;
    return NULL;
}

static void source_release(struct ArrowArrayStream *stream) {
    free(stream->private_data);
    stream->release = NULL;
}

static void map(transom_pool_t *pool, transom_function_t *function, const char *title) {
    struct ArrowArrayStream source = {source_schema, source_next, source_error, source_release, some(sizeof(int64_t))};
    struct ArrowArrayStream results;
    transom_map_options_t options = TRANSOM_MAP_OPTIONS_INIT;
    transom_error_t *error = NULL;
    check(transom_pool_map(pool, function, &source, &options, &results, &error), &error);
    for (;;) {
        struct ArrowArray batch;
        if (results.get_next(&results, &batch) != 0) {
            check(transom_stream_error(&results, &error), &error);
        }
        if (batch.release == NULL) {
            break;
        }
        print_column(title, batch.children[0], "l");
        batch.release(&batch);
    }
    results.release(&results);
}

static void numbers(struct ArrowArray *batch) {
    static const int64_t values[] = {1, 2, 3, 4};
    make_batch(batch, values, 4);
    set_null(batch->children[0], 2);
}

int main(int count, char **arguments) {
    if (count != 4) {
        fprintf(stderr, "usage: host PYTHON FUNCTIONS.py LIBRARY.so\n");
        return EXIT_FAILURE;
    }
    transom_error_t *error = NULL;
    check(transom_init(TRANSOM_ABI_VERSION, &error), &error);

    transom_options_t *options = NULL;
    transom_pool_t *pool = NULL;
    check(transom_options_new(&options, &error), &error);
    check(transom_options_set_workers(options, 2, &error), &error);
    check(transom_options_set_python(options, arguments[1], &error), &error);
    check(transom_pool_open(options, &pool, &error), &error);
    transom_options_free(options);

    char reference[4096];
    snprintf(reference, sizeof reference, "%s:twice", arguments[2]);
    transom_function_t *twice = NULL, *plus_one = NULL, *upper = NULL, *running_total = NULL;
    check(transom_function_python(reference, &twice, &error), &error);
    check(transom_function_native(arguments[3], "plus_one", &plus_one, &error), &error);
    check(transom_function_native(arguments[3], "upper", &upper, &error), &error);
    check(transom_function_native(arguments[3], "running_total", &running_total, &error), &error);

    struct ArrowSchema schema;
    struct ArrowArray batch;
    make_batch_schema(&schema, "x", "l");
    describe(pool, plus_one);
    numbers(&batch);
    call(pool, plus_one, "plus_one", &batch, &schema);
    numbers(&batch);
    call(pool, twice, "twice, in Python", &batch, &schema);
    call_text(pool, upper);
    numbers(&batch);
    call_later(pool, plus_one, &batch, &schema);
    call_shared(pool, plus_one, &schema);
    map(pool, plus_one, "plus_one of a stream");
    map(pool, running_total, "running_total");
    schema.release(&schema);

    transom_function_free(running_total);
    transom_function_free(upper);
    transom_function_free(plus_one);
    transom_function_free(twice);
    check(transom_pool_close(pool, &error), &error);
    return EXIT_SUCCESS;
}
