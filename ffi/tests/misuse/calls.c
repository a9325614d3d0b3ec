/* Misuse of calls: arguments that are no batches, results that are no arrays, libraries that are none, and workers that die. */
#include "misuse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void no_release(struct ArrowSchema *schema) {
    schema->release = NULL;
}

/* Calls `plus_one` with a batch and a schema; the batch is released, whatever comes. */
static int32_t call(struct ArrowArray batch, const struct ArrowSchema *schema, transom_error_t **error) {
    struct ArrowArray result = {0};
    int32_t code = transom_pool_call(shared_pool, plus_one, &batch, schema, &result, NULL, error);
    CHECK(batch.release == NULL);
    if (code == 0) release_array(&result);
    return code;
}

void case_arguments(void) {
    CASE;
    struct ArrowArray batch = x_batch(2), result;
    release_array(&batch);
    BAD(transom_pool_call(shared_pool, plus_one, &batch, &x_schema, &result, NULL, &error));
    struct ArrowSchema released = x_schema;
    released.release = NULL;
    BAD(call(x_batch(2), &released, &error));

    struct ArrowSchema field = *x_schema.children[0], *fields[] = {&field};
    struct ArrowSchema schema = x_schema;
    schema.children = fields;
    field.name = "y";
    EXPECT(TRANSOM_CODE_COLUMN_NOT_FOUND, call(x_batch(2), &schema, &error));
    field = (struct ArrowSchema){.format = "g", .name = "x", .release = no_release};
    EXPECT(TRANSOM_CODE_ARGUMENT_TYPE, call(x_batch(2), &schema, &error));
    /* No struct, so no batch. */
    EXPECT(TRANSOM_CODE_BAD_SCHEMA, call(x_batch(2), &field, &error));

    transom_function_t *function = native("no_such_function");
    batch = x_batch(2);
    EXPECT(TRANSOM_CODE_FUNCTION_NOT_FOUND, transom_pool_call(shared_pool, function, &batch, &x_schema, &result, NULL, &error));
    transom_signature_t *signature = NULL;
    EXPECT(TRANSOM_CODE_FUNCTION_NOT_FOUND, transom_pool_describe(shared_pool, function, &signature, &error));
    transom_function_free(function);
    OK(transom_function_native("/nowhere/library.so", "plus_one", &function, &error));
    batch = x_batch(2);
    EXPECT(TRANSOM_CODE_FUNCTION_NOT_FOUND, transom_pool_call(shared_pool, function, &batch, &x_schema, &result, NULL, &error));
    transom_function_free(function);
    /* A file that is no library. */
    OK(transom_function_native("/proc/self/exe/x", "plus_one", &function, &error));
    transom_function_free(function);
    OK(transom_function_native("/proc/version", "plus_one", &function, &error));
    batch = x_batch(2);
    EXPECT(TRANSOM_CODE_FUNCTION_IMPORT_FAILED, transom_pool_call(shared_pool, function, &batch, &x_schema, &result, NULL, &error));
    transom_function_free(function);
    OK(call(x_batch(0), &x_schema, &error));
}

static void absurd_schemas(void) {
    CASE;
    struct ArrowSchema field = *x_schema.children[0], *fields[] = {&field};
    struct ArrowSchema schema = x_schema;
    schema.children = fields;
    const int32_t bad_schema = TRANSOM_CODE_BAD_SCHEMA;
    static const char *const formats[] = {NULL, "", "no such type", "d:", "w:-1", "+w:", "\xff", "+", "ts", "+ud:", "+m", "+l", "+r", "vz "};
    for (size_t index = 0; index < sizeof formats / sizeof formats[0]; index++) {
        field.format = formats[index];
        EXPECT(bad_schema, call(x_batch(2), &schema, &error));
    }
    field = *x_schema.children[0];
    field.name = "\xff";
    EXPECT(bad_schema, call(x_batch(2), &schema, &error));
    field = *x_schema.children[0];
    field.n_children = -1;
    EXPECT(bad_schema, call(x_batch(2), &schema, &error));
    field.n_children = INT64_MAX;
    EXPECT(bad_schema, call(x_batch(2), &schema, &error));
    field.n_children = 1;
    EXPECT(bad_schema, call(x_batch(2), &schema, &error));
    struct ArrowSchema *nothing[] = {NULL};
    schema.children = nothing;
    EXPECT(bad_schema, call(x_batch(2), &schema, &error));
    /* A schema that contains itself is deeper than anything. */
    struct ArrowSchema *itself[] = {&schema};
    schema.children = itself;
    EXPECT(bad_schema, call(x_batch(2), &schema, &error));
    schema = x_schema;
    schema.dictionary = &schema;
    EXPECT(bad_schema, call(x_batch(2), &schema, &error));
}

void case_absurd_arguments(void) {
    CASE;
    absurd_schemas();
    static const int64_t numbers[] = {-1, -2, INT64_MAX, INT64_MIN, INT64_MAX / 8 + 1, 3};
    const int32_t invalid = TRANSOM_CODE_INVALID_DATA;
    struct ArrowArray batch;
#define SPOILT(change) (batch = x_batch(2), (change), call(batch, &x_schema, &error))
    for (size_t index = 0; index < sizeof numbers / sizeof numbers[0]; index++) {
        int64_t number = numbers[index];
        EXPECT(invalid, SPOILT(batch.length = number));
        EXPECT(invalid, SPOILT(batch.offset = number));
        EXPECT(invalid, SPOILT(batch.n_buffers = number));
        EXPECT(invalid, SPOILT(batch.n_children = number));
        if (number != 3) EXPECT(invalid, SPOILT(child_of(&batch)->length = number));
        if (number != 3) EXPECT(invalid, SPOILT(child_of(&batch)->offset = number));
        EXPECT(invalid, SPOILT(child_of(&batch)->n_buffers = number));
        EXPECT(invalid, SPOILT(child_of(&batch)->n_children = number));
        if (number != -1) EXPECT(invalid, SPOILT(batch.null_count = number));
        if (number != -1) EXPECT(invalid, SPOILT(child_of(&batch)->null_count = number));
    }
    EXPECT(invalid, SPOILT(child_of(&batch)->length = 1));
    EXPECT(invalid, SPOILT(child_of(&batch)->buffers = NULL));
    EXPECT(invalid, SPOILT(child_of(&batch)->buffers[1] = NULL));
    EXPECT(invalid, SPOILT(child_of(&batch)->dictionary = child_of(&batch)));
    EXPECT(invalid, SPOILT(batch.buffers = NULL));
    EXPECT(invalid, SPOILT(batch.children = NULL));
    EXPECT(invalid, SPOILT(batch.children[0] = NULL));
    EXPECT(invalid, SPOILT(child_of(&batch)->release(child_of(&batch))));
#undef SPOILT
    OK(call(x_batch(2), &x_schema, &error));
}

/* Calls a function of the library by name, with four rows, and looks that the next call still works. */
static int32_t call_named(const char *name, transom_error_t **error) {
    transom_function_t *function = native(name);
    struct ArrowArray batch = x_batch(4), result = {0};
    struct ArrowSchema schema = {0};
    int32_t code = transom_pool_call(shared_pool, function, &batch, &x_schema, &result, &schema, error);
    transom_function_free(function);
    CHECK((code == 0) == (result.release != NULL) && (code == 0) == (schema.release != NULL));
    if (code == 0) {
        release_array(&result);
        schema.release(&schema);
    }
    CHECK(call(x_batch(2), &x_schema, NULL) == 0);
    return code;
}

static uint64_t restarts(void) {
    CASE;
    transom_worker_stats_t worker = TRANSOM_WORKER_STATS_INIT;
    OK(transom_pool_worker_stats(shared_pool, 0, &worker, &error));
    return worker.restarts;
}

/* Results that are none. The worker survives each of them. */
void case_results(void) {
    CASE;
    uint64_t before = restarts();
    OK(call_named("plus_one", &error));
    EXPECT(TRANSOM_CODE_NOT_ARROW, call_named("says_nothing", &error));
    EXPECT(TRANSOM_CODE_NOT_ARROW, call_named("released", &error));
    EXPECT(TRANSOM_CODE_WRONG_LENGTH, call_named("short_result", &error));
    EXPECT(TRANSOM_CODE_WRONG_TYPE, call_named("wrong_type", &error));
    EXPECT(TRANSOM_CODE_NOT_ARROW, call_named("no_schema", &error));
    EXPECT(TRANSOM_CODE_BAD_SCHEMA, call_named("bad_format", &error));
    EXPECT(TRANSOM_CODE_FUNCTION_RAISED, call_named("returns_number", &error));
    EXPECT(TRANSOM_CODE_FUNCTION_RAISED, call_named("fails_plainly", &error));
    EXPECT(TRANSOM_CODE_FUNCTION_RAISED, call_named("fails_and_succeeds", &error));
    OK(call_named("keeps", &error));
    OK(call_named("keeps", &error));

    transom_error_t *raised = NULL;
    CHECK(call_named("fails_with_result", &raised) == TRANSOM_CODE_FUNCTION_RAISED);
    CHECK(strcmp(transom_error_remote_kind(raised), "ValueError") == 0);
    CHECK(strcmp(transom_error_remote_message(raised), "as asked") == 0);
    CHECK(strcmp(transom_error_function(raised), "fails_with_result") == 0);
    CHECK(transom_error_first_row(raised) == 2 && transom_error_row_count(raised) == 1);
    CHECK(transom_error_output_line(raised, 99) == NULL && transom_error_stack(raised) == NULL);
    transom_error_free(raised);
    CHECK(restarts() == before);
}

void case_absurd_results(void) {
    CASE;
    uint64_t before = restarts();
    for (int fault = 0; fault <= 9; fault++) {
        char name[16];
        snprintf(name, sizeof name, "absurd_%d", fault);
        EXPECT(TRANSOM_CODE_INVALID_DATA, call_named(name, &error));
    }
    /* A null count without a validity buffer: nothing is null. */
    OK(call_named("absurd_10", &error));
    CHECK(restarts() == before);
}

/* Asks a pool whose library gives a table with a fault. */
static int32_t with_table(const char *table, transom_error_t **error) {
    transom_options_t *options = new_options();
    CHECK(transom_options_set_env(options, "MISUSE_TABLE", table, NULL) == 0);
    transom_pool_t *pool = new_pool(options);
    transom_signature_t *signature = NULL;
    int32_t code = transom_pool_describe(pool, plus_one, &signature, error);
    transom_signature_free(signature);
    CHECK(transom_pool_close(pool, NULL) == 0);
    return code;
}

void case_tables(void) {
    CASE;
    EXPECT(TRANSOM_CODE_VERSION_MISMATCH, with_table("null", &error));
    EXPECT(TRANSOM_CODE_VERSION_MISMATCH, with_table("next_version", &error));
    EXPECT(TRANSOM_CODE_VERSION_MISMATCH, with_table("wrong_size", &error));
    EXPECT(TRANSOM_CODE_VERSION_MISMATCH, with_table("wrong_definition_size", &error));
    static const char *const holes[] = {"no_definitions", "no_name",       "no_code",   "small",       "row_kind",
                                        "no_kind",        "no_parameters", "bad_types", "no_parameter_name", "two_results", "bad_parameter"};
    for (size_t index = 0; index < sizeof holes / sizeof holes[0]; index++) {
        EXPECT(TRANSOM_CODE_FUNCTION_SIGNATURE, with_table(holes[index], &error));
    }
    /* The program itself is a library without the entry point. */
    transom_function_t *function = NULL;
    transom_signature_t *signature = NULL;
    OK(transom_function_native("/proc/self/exe", "plus_one", &function, &error));
    EXPECT(TRANSOM_CODE_FUNCTION_IMPORT_FAILED, transom_pool_describe(shared_pool, function, &signature, &error));
    transom_function_free(function);
}

void case_deaths(void) {
    CASE;
    transom_error_t *died = NULL;
    CHECK(call_named("dies", &died) == TRANSOM_CODE_WORKER_SIGNALLED);
    CHECK(strcmp(transom_error_id(died), "TRN-2104") == 0 && strcmp(transom_error_name(died), "WORKER_SIGNALLED") == 0);
    CHECK(strstr(transom_error_message(died), "SIGABRT") != NULL && transom_error_worker(died) != NULL);
    transom_error_free(died);
    EXPECT(TRANSOM_CODE_WORKER_EXITED, call_named("exits", &error));

    transom_function_t *function = native("held");
    OK(transom_function_set_deadline_ms(function, 50, &error));
    struct ArrowArray batch = x_batch(1), result;
    EXPECT(TRANSOM_CODE_DEADLINE_EXCEEDED, transom_pool_call(shared_pool, function, &batch, &x_schema, &result, NULL, &error));
    transom_function_free(function);
    CHECK(call(x_batch(2), &x_schema, NULL) == 0);
}
