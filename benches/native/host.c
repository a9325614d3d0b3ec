/* A C host and a native worker: benches/native.py compares it with benches/src/native.rs, which does the same from Rust.
 *
 *     host LIBRARY.so */
#include <time.h>

#include "arrays.h"

#define WARM_UP_CALLS 200
#define CALLS 4000
#define ROWS (64 << 10)
#define DIFFERENT 80
#define BATCHES 320

static void check(int32_t code, transom_error_t *error) {
    if (code != 0) {
        fprintf(stderr, "%s\n", transom_error_text(error));
        exit(EXIT_FAILURE);
    }
}

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* Where sums go, so that nobody leaves them out. */
volatile uint64_t sum;

/* Reads every value. */
static void read_all(const struct ArrowArray *batch) {
    const struct ArrowArray *column = batch->children[0];
    uint64_t total = 0;
    for (int64_t row = 0; row < column->length; row++) {
        total += (uint64_t)int64_values(column)[row];
    }
    sum = total;
}

/* A batch over values that stay: it has nothing to free. */
struct lent {
    struct ArrowArray batch, column;
    struct ArrowArray *columns[1];
    const void *no_buffers[1];
    const void *buffers[2];
};

static void nothing(struct ArrowArray *array) {
    array->release = NULL;
}

static struct ArrowArray lend(struct lent *lent, const int64_t *values, int64_t length) {
    lent->buffers[1] = values;
    lent->column = (struct ArrowArray){.length = length, .n_buffers = 2, .buffers = lent->buffers, .release = nothing};
    lent->columns[0] = &lent->column;
    lent->batch = (struct ArrowArray){
        .length = length, .n_buffers = 1, .n_children = 1, .buffers = lent->no_buffers, .children = lent->columns, .release = nothing};
    return lent->batch;
}

/* Batches that are gone through in turn. */
struct source {
    const int64_t *values;
    struct lent *lent;
    int next, count;
};

static int source_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out) {
    (void)stream;
    make_batch_schema(out, "x", "l");
    return 0;
}

static int source_next(struct ArrowArrayStream *stream, struct ArrowArray *out) {
    struct source *source = stream->private_data;
    memset(out, 0, sizeof *out);
    if (source->next < source->count) {
        *out = lend(&source->lent[source->next], source->values + (int64_t)(source->next % DIFFERENT) * ROWS, ROWS);
        source->next++;
    }
    return 0;
}

static const char *source_error(struct ArrowArrayStream *stream) {
    (void)stream;
    return NULL;
}

static void source_release(struct ArrowArrayStream *stream) {
    stream->release = NULL;
}

/* How many nanoseconds a stream takes, until every value of its results was read. */
static int64_t stream(transom_pool_t *pool, transom_function_t *function, const int64_t *values, int count) {
    struct source state = {values, some((size_t)count * sizeof(struct lent)), 0, count};
    struct ArrowArrayStream source = {source_schema, source_next, source_error, source_release, &state}, results;
    struct ArrowArray result;
    transom_error_t *error = NULL;
    int64_t start = now();
    check(transom_pool_map(pool, function, &source, NULL, &results, &error), error);
    for (;;) {
        if (results.get_next(&results, &result) != 0) {
            check(transom_stream_error(&results, &error), error);
        }
        if (result.release == NULL) {
            break;
        }
        read_all(&result);
        result.release(&result);
    }
    int64_t took = now() - start;
    results.release(&results);
    free(state.lent);
    return took;
}

static int by_size(const void *one, const void *other) {
    int64_t a = *(const int64_t *)one, b = *(const int64_t *)other;
    return (a > b) - (a < b);
}

int main(int count, char **arguments) {
    static int64_t nanoseconds[CALLS];
    transom_error_t *error = NULL;
    transom_options_t *options = NULL;
    transom_pool_t *pool = NULL;
    transom_function_t *function = NULL;
    if (count != 2) {
        fprintf(stderr, "usage: host LIBRARY.so\n");
        return EXIT_FAILURE;
    }
    check(transom_init(TRANSOM_ABI_VERSION, &error), error);
    check(transom_options_new(&options, &error), error);
    check(transom_options_set_workers(options, 1, &error), error);
    check(transom_options_set_prestart(options, TRANSOM_LANGUAGE_NATIVE, &error), error);
    check(transom_pool_open(options, &pool, &error), error);
    check(transom_function_native(arguments[1], "plus_one", &function, &error), error);
    int64_t *values = some(sizeof *values * DIFFERENT * ROWS);
    for (int64_t row = 0; row < (int64_t)DIFFERENT * ROWS; row++) {
        values[row] = row;
    }
    struct ArrowSchema schema;
    make_batch_schema(&schema, "x", "l");
    for (int call = 0; call < WARM_UP_CALLS + CALLS; call++) {
        struct lent lent = {0};
        struct ArrowArray result;
        int64_t start = now();
        struct ArrowArray batch = lend(&lent, values, 1);
        check(transom_pool_call(pool, function, &batch, &schema, &result, NULL, &error), error);
        read_all(&result);
        result.release(&result);
        if (call >= WARM_UP_CALLS) {
            nanoseconds[call - WARM_UP_CALLS] = now() - start;
        }
    }
    /* The first round makes the segments. */
    stream(pool, function, values, DIFFERENT);
    double seconds = (double)stream(pool, function, values, BATCHES) / 1e9;
    check(transom_pool_close(pool, &error), error);
    qsort(nanoseconds, CALLS, sizeof *nanoseconds, by_size);
    printf("{\"p50\": %" PRId64 ", \"p99\": %" PRId64 ", \"rows_per_second\": %f}\n", nanoseconds[CALLS / 2], nanoseconds[CALLS * 99 / 100],
           (double)ROWS * BATCHES / seconds);
    return EXIT_SUCCESS;
}
