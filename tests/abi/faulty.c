/* A library of functions that do what they must not do, and, with a macro set, a table that does not hold together. */
#include <fcntl.h>
#include <unistd.h>

#include "arrays.h"

#ifndef VERSION
#define VERSION TRANSOM_ABI_VERSION
#endif
#ifndef SIZE
#define SIZE sizeof(transom_library_t)
#endif
#ifndef DEFINITION_SIZE
#define DEFINITION_SIZE sizeof(transom_definition_t)
#endif
#ifndef TABLE
#define TABLE &library
#endif

#define FUNCTION(name)                                                                                                                     \
    static int32_t name(void *user_data, transom_call_t *call, struct ArrowArray *arguments, const struct ArrowSchema *schema,             \
                        struct ArrowArray *result, struct ArrowSchema *result_schema)
#define UNUSED (void)user_data, (void)call, (void)arguments, (void)schema, (void)result, (void)result_schema

/* Waits until the test lets it go on: opening a named pipe takes until somebody has opened the other end. */
FUNCTION(hold) {
    UNUSED;
    int gate = open(getenv("TEST_GATE"), O_RDONLY);
    close(gate);
    make_int64(result, int64_values(arguments->children[0]), arguments->length);
    return 0;
}

FUNCTION(gives_nothing) {
    UNUSED;
    return 0;
}

FUNCTION(says_nothing) {
    UNUSED;
    return 7;
}

FUNCTION(gives_less) {
    UNUSED;
    make_int64(result, int64_values(arguments->children[0]), arguments->length - 1);
    return 0;
}

FUNCTION(gives_text) {
    UNUSED;
    make_array(result, arguments->length, 3, 0);
    result->buffers[1] = some((size_t)(arguments->length + 1) * sizeof(int32_t));
    result->buffers[2] = some(1);
    make_schema(result_schema, "u", "", 0);
    return 0;
}

FUNCTION(gives_nonsense) {
    UNUSED;
    make_int64(result, int64_values(arguments->children[0]), arguments->length);
    result->n_buffers = 1;
    result->null_count = 99;
    return 0;
}

/* Moves its arguments out and gives its first column back: no copy is made. */
static void release_moved(struct ArrowArray *array) {
    struct ArrowArray *whole = (struct ArrowArray *)array->private_data;
    whole->release(whole);
    free(whole);
    array->release = NULL;
}

FUNCTION(gives_back) {
    UNUSED;
    struct ArrowArray *whole = (struct ArrowArray *)some(sizeof *whole);
    *whole = *arguments;
    arguments->release = NULL;
    *result = *whole->children[0];
    result->private_data = whole;
    result->release = release_moved;
    return 0;
}

/* Fails, and says why although it returns 0. */
FUNCTION(forgets) {
    UNUSED;
    transom_call_fail(call, NULL, "said but not returned", 1);
    return 0;
}

static int32_t no_output(void *user_data, transom_call_t *call, struct ArrowArrayStream *input, struct ArrowArrayStream *output) {
    (void)user_data, (void)call, (void)input, (void)output;
    return 0;
}

static int32_t refuses(void *user_data, transom_call_t *call, struct ArrowArrayStream *input, struct ArrowArrayStream *output) {
    (void)user_data, (void)input, (void)output;
    return transom_call_fail(call, "Refused", "no streams today", -1);
}

static const transom_field_t x[] = {TRANSOM_FIELD("x", "l")};
static const transom_field_t int64_result[] = {TRANSOM_FIELD(NULL, "l")};
static const transom_field_t no_type[] = {TRANSOM_FIELD("x", "?")};
static const transom_field_t small[] = {{8, "x", "l", NULL, 0}};

#define DEFINITION(name, kind, parameters, scalar, batches) \
    {sizeof(transom_definition_t), name, kind, false, parameters, 1, int64_result, 1, 0, 0, scalar, batches, NULL}
#define SCALAR(name) DEFINITION(#name, TRANSOM_KIND_SCALAR, x, name, NULL)
#define BATCHES(name) {sizeof(transom_definition_t), #name, TRANSOM_KIND_BATCHES, false, NULL, 0, NULL, 0, 0, 0, NULL, name, NULL}

static const transom_definition_t definitions[] = {
    SCALAR(hold),
    SCALAR(gives_nothing),
    SCALAR(says_nothing),
    SCALAR(gives_less),
    SCALAR(gives_text),
    SCALAR(gives_nonsense),
    SCALAR(gives_back),
    SCALAR(forgets),
    {sizeof(transom_definition_t), "undeclared", TRANSOM_KIND_SCALAR, false, x, 1, NULL, 0, 0, 0, gives_back, NULL, NULL},
    BATCHES(no_output),
    BATCHES(refuses),
    DEFINITION("no_kind", 7, x, hold, NULL),
    DEFINITION("no_callback", TRANSOM_KIND_SCALAR, x, NULL, NULL),
    DEFINITION("two_callbacks", TRANSOM_KIND_SCALAR, x, hold, no_output),
    DEFINITION("no_type", TRANSOM_KIND_SCALAR, no_type, hold, NULL),
    DEFINITION("small_field", TRANSOM_KIND_SCALAR, small, hold, NULL),
    {sizeof(transom_definition_t), "null_parameters", TRANSOM_KIND_SCALAR, false, NULL, 2, NULL, 0, 0, 0, hold, NULL, NULL},
    {3, "small", TRANSOM_KIND_SCALAR, false, NULL, 0, NULL, 0, 0, 0, hold, NULL, NULL},
};

static const transom_library_t library = {
    SIZE, VERSION, DEFINITION_SIZE, definitions, sizeof definitions / sizeof definitions[0], NULL,
};

TRANSOM_EXPORT const transom_library_t *transom_library(uint32_t abi_version) {
    (void)abi_version, (void)library;
    return TABLE;
}
