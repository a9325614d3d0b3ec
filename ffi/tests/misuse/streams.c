/* Misuse of streams and of calls that nobody waits for, and many threads at once. */
#include "misuse.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Maps a function of the library over a source, reads all results, and gives the code of the first error. */
static int32_t map_named(const char *name, struct ArrowArrayStream source, int64_t *rows, transom_error_t **error) {
    transom_function_t *function = native(name);
    struct ArrowArrayStream results = {0};
    int32_t code = transom_pool_map(shared_pool, function, &source, NULL, &results, error);
    transom_function_free(function);
    CHECK(source.release == NULL && (code == 0) == (results.release != NULL));
    *rows = 0;
    if (code != 0) return code;
    for (;;) {
        struct ArrowArray result = {0};
        int status = results.get_next(&results, &result);
        if (status != 0) {
            CHECK(results.get_last_error(&results) != NULL && result.release == NULL);
            if (code == 0) code = transom_stream_error(&results, error);
            CHECK(code != 0);
        } else if (result.release == NULL) {
            break;
        } else {
            *rows += result.length;
            release_array(&result);
        }
    }
    /* The end comes again when it is asked for again. */
    struct ArrowArray more = {0};
    CHECK(results.get_next(&results, &more) == 0 && more.release == NULL);
    results.release(&results);
    CHECK(results.release == NULL);
    return code;
}

static int32_t map_source(struct ArrowArrayStream source, int64_t *rows, transom_error_t **error) {
    return map_named("plus_one", source, rows, error);
}

static int schema_fails(struct ArrowArrayStream *stream, struct ArrowSchema *out) {
    (void)stream, (void)out;
    return EACCES;
}

static int schema_missing(struct ArrowArrayStream *stream, struct ArrowSchema *out) {
    (void)stream, (void)out;
    return 0;
}

static int next_is_no_batch(struct ArrowArrayStream *stream, struct ArrowArray *out) {
    (void)stream;
    *out = x_batch(2);
    out->n_children = 0;
    return 0;
}

void case_sources(void) {
    CASE;
    int64_t rows = 0;
    const int32_t failed_source = TRANSOM_CODE_SOURCE_FAILED;
    OK(map_source(x_stream(3, 0, NULL), &rows, &error));
    CHECK(rows == 12);
    OK(map_source(x_stream(0, 0, NULL), &rows, &error));
    EXPECT(failed_source, map_source(x_stream(2, EIO, NULL), &rows, &error));
    CHECK(rows == 8);
    transom_error_t *kept = NULL;
    CHECK(map_source(x_stream(0, ENOSPC, "the tape is torn"), &rows, &kept) == failed_source);
    CHECK(strstr(transom_error_message(kept), "the tape is torn") != NULL);
    transom_error_free(kept);

    struct ArrowArrayStream source = x_stream(1, 0, NULL);
    source.get_schema = schema_fails;
    EXPECT(failed_source, map_source(source, &rows, &error));
    source = x_stream(1, 0, NULL);
    source.get_schema = schema_missing;
    EXPECT(TRANSOM_CODE_BAD_SCHEMA, map_source(source, &rows, &error));
    source = x_stream(1, EIO, NULL);
    source.get_last_error = NULL;
    EXPECT(failed_source, map_source(source, &rows, &error));
    source = x_stream(1, 0, NULL);
    source.get_next = next_is_no_batch;
    EXPECT(TRANSOM_CODE_INVALID_DATA, map_source(source, &rows, &error));

    struct ArrowArrayStream results = {0};
    source = x_stream(1, 0, NULL);
    source.get_next = NULL;
    BAD(transom_pool_map(shared_pool, plus_one, &source, NULL, &results, &error));
    source = x_stream(1, 0, NULL);
    source.get_schema = NULL;
    BAD(transom_pool_map(shared_pool, plus_one, &source, NULL, &results, &error));
    source = x_stream(1, 0, NULL);
    source.release(&source);
    BAD(transom_pool_map(shared_pool, plus_one, &source, NULL, &results, &error));
    transom_map_options_t options = TRANSOM_MAP_OPTIONS_INIT;
    const char *columns[] = {"y"};
    options.columns = columns;
    options.column_count = 1;
    source = x_stream(1, 0, NULL);
    OK(transom_pool_map(shared_pool, plus_one, &source, &options, &results, &error));
    struct ArrowArray result;
    CHECK(results.get_next(&results, &result) == EINVAL);
    EXPECT(TRANSOM_CODE_COLUMN_NOT_FOUND, transom_stream_error(&results, &error));
    results.release(&results);
}

/* Batches functions that give no stream, or one that fails. */
void case_results_of_streams(void) {
    CASE;
    int64_t rows = 0;
#define MAP(name) map_named(name, x_stream(3, 0, NULL), &rows, &error)
    OK(MAP("pass"));
    CHECK(rows == 12);
    OK(MAP("no_last_error"));
    EXPECT(TRANSOM_CODE_NOT_ARROW, MAP("no_output"));
    EXPECT(TRANSOM_CODE_NOT_ARROW, MAP("no_next"));
    EXPECT(TRANSOM_CODE_FUNCTION_RAISED, MAP("refuses"));
    EXPECT(TRANSOM_CODE_FUNCTION_RAISED, MAP("schema_fails"));
    EXPECT(TRANSOM_CODE_BAD_SCHEMA, MAP("schema_missing"));
    EXPECT(TRANSOM_CODE_FUNCTION_RAISED, MAP("next_fails"));
    EXPECT(TRANSOM_CODE_FUNCTION_RAISED, MAP("next_fails_by_call"));
    EXPECT(TRANSOM_CODE_INVALID_DATA, MAP("no_struct"));
    EXPECT(TRANSOM_CODE_WORKER_EXITED, MAP("dies_in_stream"));
#undef MAP
    transom_error_t *kept = NULL;
    CHECK(map_named("next_fails_with_message", x_stream(1, 0, NULL), &rows, &kept) == TRANSOM_CODE_FUNCTION_RAISED);
    CHECK(strstr(transom_error_message(kept), "the disk is full") != NULL);
    transom_error_free(kept);
    /* A source that fails within a batches function is still the source's failure. */
    EXPECT(TRANSOM_CODE_SOURCE_FAILED, map_named("pass", x_stream(1, EIO, NULL), &rows, &error));
}

/* Streams that are dropped half-way, used after their end, or left open when the pool is closed. */
void case_dropped_streams(void) {
    CASE;
    struct ArrowArrayStream source = x_stream(100, 0, NULL), results, copy;
    struct ArrowArray result;
    OK(transom_pool_map(shared_pool, plus_one, &source, NULL, &results, &error));
    CHECK(results.get_next(&results, &result) == 0 && result.length == 4);
    release_array(&result);
    copy = results;
    results.release(&results);
    CHECK(results.release == NULL);
    /* A copy of what was released is found out. */
    CHECK(copy.get_next(&copy, &result) == EINVAL && copy.get_last_error(&copy) == NULL);
    copy.release(&copy);
    BAD(transom_stream_error(&copy, &error));
    struct ArrowArrayStream foreign = x_stream(0, 0, NULL);
    BAD(transom_stream_error(&foreign, &error));
    foreign.release(&foreign);
    /* Dropped before the first batch. */
    source = x_stream(100, 0, NULL);
    OK(transom_pool_map(shared_pool, plus_one, &source, NULL, &results, &error));
    OK(transom_stream_error(&results, &error));
    results.release(&results);

    /* Dropped while the function waits at its gate, or before it came there. */
    transom_function_t *held = native("held");
    source = x_stream(2, 0, NULL);
    OK(transom_pool_map(shared_pool, held, &source, NULL, &results, &error));
    results.release(&results);
    pass_gate();

    transom_pool_t *pool = new_pool(new_options());
    source = x_stream(100, 0, NULL);
    OK(transom_pool_map(pool, plus_one, &source, NULL, &results, &error));
    CHECK(results.get_next(&results, &result) == 0);
    OK(transom_pool_close(pool, &error));
    release_array(&result);
    for (int reads = 0; reads < 100 && transom_stream_error(&results, NULL) == 0; reads++) {
        if (results.get_next(&results, &result) == 0) release_array(&result);
    }
    EXPECT(TRANSOM_CODE_POOL_CLOSED, transom_stream_error(&results, &error));
    results.release(&results);
    transom_function_free(held);
}

/* Outcomes that callbacks were given, and a way to wait for them. */
struct outcomes {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    transom_pool_t *pool;
    int count, succeeded, last_code;
    int order[64];
};

struct numbered {
    struct outcomes *outcomes;
    int number;
};

static void told(void *user_data, int32_t code, struct ArrowArray *array, struct ArrowSchema *schema, transom_error_t *error) {
    struct numbered *numbered = user_data;
    struct outcomes *outcomes = numbered->outcomes;
    CHECK((code == 0) == (array->release != NULL) && (code == 0) == (schema->release != NULL) && (code == 0) == (error == NULL));
    CHECK(transom_error_code(error) == code);
    transom_error_free(error);
    /* A pool cannot be closed here: closing waits for this. */
    transom_error_t *refused = NULL;
    CHECK(transom_pool_close(outcomes->pool, &refused) == TRANSOM_CODE_BAD_ARGUMENT);
    transom_error_free(refused);
    pthread_mutex_lock(&outcomes->lock);
    outcomes->order[outcomes->count++] = numbered->number;
    outcomes->succeeded += code == 0;
    outcomes->last_code = code;
    pthread_cond_broadcast(&outcomes->changed);
    pthread_mutex_unlock(&outcomes->lock);
}

static void wait_for(struct outcomes *outcomes, int count) {
    pthread_mutex_lock(&outcomes->lock);
    while (outcomes->count < count) pthread_cond_wait(&outcomes->changed, &outcomes->lock);
    pthread_mutex_unlock(&outcomes->lock);
}

#define OUTCOMES(pool) {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, pool, 0, 0, 0, {0}}

/* Each callback is called once, also for calls that fail; with one worker the order of the calls is that of their outcomes. */
void case_callbacks(void) {
    CASE;
    struct outcomes outcomes = OUTCOMES(shared_pool);
    struct numbered numbered[32];
    for (int number = 0; number < 32; number++) {
        numbered[number] = (struct numbered){&outcomes, number};
        struct ArrowArray batch = x_batch(3);
        OK(transom_pool_call_then(shared_pool, plus_one, &batch, &x_schema, told, &numbered[number], &error));
        wait_for(&outcomes, number + 1);
        CHECK(outcomes.order[number] == number);
    }
    transom_function_t *dies = native("dies");
    struct ArrowArray batch = x_batch(3);
    OK(transom_pool_call_then(shared_pool, dies, &batch, &x_schema, told, &numbered[0], &error));
    wait_for(&outcomes, 33);
    CHECK(outcomes.succeeded == 32 && outcomes.last_code == TRANSOM_CODE_WORKER_SIGNALLED);
    transom_function_free(dies);
    /* Refused at once: the callback is not called. */
    batch = x_batch(3);
    BAD(transom_pool_call_then(shared_pool, (transom_function_t *)1, &batch, &x_schema, told, &numbered[0], &error));
    CHECK(batch.release == NULL && outcomes.count == 33);
}

void case_futures(void) {
    CASE;
    struct ArrowArray batch = x_batch(3), result = {0};
    transom_future_t *future = NULL;
    bool ready = false;
    OK(transom_pool_call_start(shared_pool, plus_one, &batch, &x_schema, &future, &error));
    struct pollfd descriptor = {.fd = transom_future_descriptor(future), .events = POLLIN};
    CHECK(poll(&descriptor, 1, -1) == 1);
    OK(transom_future_wait(future, 0, &ready, &error));
    CHECK(ready);
    BAD(transom_future_wait(future, 0, NULL, &error));
    BAD(transom_future_take(future, NULL, NULL, &error));
    OK(transom_future_take(future, &result, NULL, &error));
    CHECK(((const int64_t *)result.children[0]->buffers[1])[2] == 3);
    release_array(&result);
    BAD(transom_future_take(future, &result, NULL, &error));
    OK(transom_future_cancel(future, &error));
    transom_future_free(future);
    transom_future_free(future);
    BAD(transom_future_take(future, &result, NULL, &error));
    CHECK(transom_future_descriptor(future) == -1);

    /* One that waits at its gate: asked, cancelled, and freed. */
    transom_function_t *held = native("held");
    batch = x_batch(3);
    OK(transom_pool_call_start(shared_pool, held, &batch, &x_schema, &future, &error));
    OK(transom_future_wait(future, 0, &ready, &error));
    CHECK(!ready);
    OK(transom_future_wait(future, 10, &ready, &error));
    CHECK(!ready);
    OK(transom_future_cancel(future, &error));
    OK(transom_future_cancel(future, &error));
    EXPECT(TRANSOM_CODE_CANCELLED, transom_future_take(future, &result, NULL, &error));
    transom_future_free(future);
    pass_gate();
    batch = x_batch(3);
    OK(transom_pool_call_start(shared_pool, held, &batch, &x_schema, &future, &error));
    transom_future_free(future);
    transom_function_free(held);
    pass_gate();
}

/* A pool is closed while calls are under way: each is told, and by then the pool is gone. */
void case_close_with_calls(void) {
    CASE;
    transom_pool_t *pool = new_pool(new_options());
    transom_function_t *held = native("held");
    struct outcomes outcomes = OUTCOMES(pool);
    struct numbered numbered = {&outcomes, 0};
    transom_future_t *futures[4];
    for (int index = 0; index < 4; index++) {
        struct ArrowArray batch = x_batch(3);
        OK(transom_pool_call_start(pool, held, &batch, &x_schema, &futures[index], &error));
        batch = x_batch(3);
        OK(transom_pool_call_then(pool, held, &batch, &x_schema, told, &numbered, &error));
    }
    OK(transom_pool_close(pool, &error));
    CHECK(outcomes.count == 4 && outcomes.succeeded == 0);
    for (int index = 0; index < 4; index++) {
        struct ArrowArray result;
        EXPECT(TRANSOM_CODE_POOL_CLOSED, transom_future_take(futures[index], &result, NULL, &error));
        transom_future_free(futures[index]);
    }
    transom_function_free(held);
}

/* What many threads do to one pool at once, one of which closes it. */
struct crowd {
    transom_pool_t *pool;
    atomic_int calls;
};

static bool expected_of_closed(int32_t code) {
    return code == 0 || code == TRANSOM_CODE_POOL_CLOSED || code == TRANSOM_CODE_BAD_ARGUMENT;
}

static void *work(void *data) {
    struct crowd *crowd = data;
    int32_t code = 0;
    while (code == 0) {
        transom_function_t *function = native("plus_one");
        struct ArrowArray batch = x_batch(100), result;
        code = transom_pool_call(crowd->pool, function, &batch, &x_schema, &result, NULL, NULL);
        if (code == 0) {
            CHECK(((const int64_t *)result.children[0]->buffers[1])[99] == 100);
            release_array(&result);
        }
        struct ArrowArrayStream source = x_stream(3, 0, NULL), results;
        int32_t mapped = transom_pool_map(crowd->pool, function, &source, NULL, &results, NULL);
        if (mapped == 0) {
            if (results.get_next(&results, &result) == 0) release_array(&result);
            results.release(&results);
        }
        batch = x_batch(100);
        transom_future_t *future = NULL;
        int32_t started = transom_pool_call_start(crowd->pool, function, &batch, &x_schema, &future, NULL);
        if (started == 0 && transom_future_take(future, &result, NULL, NULL) == 0) release_array(&result);
        transom_future_free(future);
        transom_function_free(function);
        CHECK(expected_of_closed(code) && expected_of_closed(mapped) && expected_of_closed(started));
        crowd->calls++;
    }
    return NULL;
}

void case_threads(void) {
    CASE;
    transom_options_t *options = new_options();
    OK(transom_options_set_workers(options, 2, &error));
    struct crowd crowd = {new_pool(options), 0};
    pthread_t threads[8];
    for (int index = 0; index < 8; index++) CHECK(pthread_create(&threads[index], NULL, work, &crowd) == 0);
    /* Not before all have done something. */
    struct ArrowArray batch, result;
    while (crowd.calls < 64) {
        batch = x_batch(1);
        OK(transom_pool_call(crowd.pool, plus_one, &batch, &x_schema, &result, NULL, &error));
        release_array(&result);
    }
    OK(transom_pool_close(crowd.pool, &error));
    for (int index = 0; index < 8; index++) CHECK(pthread_join(threads[index], NULL) == 0);
}
