/* Functions in a shared library:
 *
 *     cc -std=c99 -shared -fPIC -I PREFIX/include -o libexample.so library.c
 *
 * It is linked with nothing. Transom loads it in a worker process, so what goes wrong here is an error in the program that calls it. */
#include "arrays.h"

/* The first argument. The offset of a struct array is one of its children, too; a batch from Transom has none. */
static const struct ArrowArray *first(const struct ArrowArray *arguments) {
    return arguments->children[0];
}

/* Takes the nulls of the argument over into the result. */
static void same_nulls(const struct ArrowArray *from, struct ArrowArray *to) {
    for (int64_t row = 0; row < from->length; row++) {
        if (is_null(from, row)) {
            set_null(to, row);
        }
    }
}

static int32_t plus_one(void *user_data, transom_call_t *call, struct ArrowArray *arguments, const struct ArrowSchema *schema,
                        struct ArrowArray *result, struct ArrowSchema *result_schema) {
    const struct ArrowArray *x = first(arguments);
    make_int64(result, int64_values(x), x->length);
    int64_t *values = (int64_t *)result->buffers[1];
    for (int64_t row = 0; row < x->length; row++) {
        values[row] = (int64_t)((uint64_t)values[row] + 1);
    }
    same_nulls(x, result);
    (void)user_data, (void)call, (void)schema, (void)result_schema;
    return 0;
}

static int32_t upper(void *user_data, transom_call_t *call, struct ArrowArray *arguments, const struct ArrowSchema *schema,
                     struct ArrowArray *result, struct ArrowSchema *result_schema) {
    const struct ArrowArray *text = first(arguments);
    const int32_t *from = text_offsets(text);
    const char *bytes = (const char *)text->buffers[2];
    int32_t length = from[text->length] - from[0];
    make_array(result, text->length, 3, 0);
    int32_t *to = (int32_t *)some((size_t)(text->length + 1) * sizeof *to);
    char *copy = (char *)some((size_t)length);
    for (int64_t row = 0; row <= text->length; row++) {
        to[row] = from[row] - from[0];
    }
    for (int32_t i = 0; i < length; i++) {
        char byte = bytes[from[0] + i];
        copy[i] = byte >= 'a' && byte <= 'z' ? (char)(byte - 'a' + 'A') : byte;
    }
    result->buffers[1] = to;
    result->buffers[2] = copy;
    same_nulls(text, result);
    (void)user_data, (void)call, (void)schema, (void)result_schema;
    return 0;
}

/* A function that says why it cannot go on, and in which row. */
static int32_t thousandth(void *user_data, transom_call_t *call, struct ArrowArray *arguments, const struct ArrowSchema *schema,
                          struct ArrowArray *result, struct ArrowSchema *result_schema) {
    const struct ArrowArray *x = first(arguments);
    for (int64_t row = 0; row < x->length; row++) {
        if (!is_null(x, row) && int64_values(x)[row] == 0) {
            return transom_call_fail(call, "DivisionByZero", "x is zero", row);
        }
    }
    make_int64(result, int64_values(x), x->length);
    for (int64_t row = 0; row < x->length; row++) {
        if (!is_null(x, row)) {
            ((int64_t *)result->buffers[1])[row] = 1000 / int64_values(x)[row];
        }
    }
    same_nulls(x, result);
    (void)user_data, (void)schema, (void)result_schema;
    return 0;
}

/* A function with a defect. */
static int32_t crash(void *user_data, transom_call_t *call, struct ArrowArray *arguments, const struct ArrowSchema *schema,
                     struct ArrowArray *result, struct ArrowSchema *result_schema) {
    volatile int *nowhere = NULL;
    (void)user_data, (void)call, (void)arguments, (void)schema, (void)result, (void)result_schema;
    return *nowhere;
}

/* A batches function keeps what it needs in the stream that it gives: here its input, and the sum so far. */
struct totals {
    struct ArrowArrayStream input;
    int64_t sum;
};

static int totals_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out) {
    (void)stream;
    make_batch_schema(out, "total", "l");
    return 0;
}

static int totals_next(struct ArrowArrayStream *stream, struct ArrowArray *out) {
    struct totals *totals = (struct totals *)stream->private_data;
    struct ArrowArray batch;
    int status = totals->input.get_next(&totals->input, &batch);
    memset(out, 0, sizeof *out);
    /* The end of the input is the end of the output, and a failed input a failed output. */
    if (status != 0 || batch.release == NULL) {
        return status;
    }
    const struct ArrowArray *x = first(&batch);
    make_batch(out, int64_values(x), x->length);
    for (int64_t row = 0; row < x->length; row++) {
        totals->sum += is_null(x, row) ? 0 : int64_values(x)[row];
        ((int64_t *)out->children[0]->buffers[1])[row] = totals->sum;
    }
    batch.release(&batch);
    return 0;
}

static const char *totals_error(struct ArrowArrayStream *stream) {
    struct totals *totals = (struct totals *)stream->private_data;
    return totals->input.get_last_error(&totals->input);
}

static void totals_release(struct ArrowArrayStream *stream) {
    struct totals *totals = (struct totals *)stream->private_data;
    totals->input.release(&totals->input);
    free(totals);
    stream->release = NULL;
}

static int32_t running_total(void *user_data, transom_call_t *call, struct ArrowArrayStream *input, struct ArrowArrayStream *output) {
    struct totals *totals = (struct totals *)some(sizeof *totals);
    /* The input is moved: it belongs to the output from here on. */
    totals->input = *input;
    input->release = NULL;
    output->get_schema = totals_schema;
    output->get_next = totals_next;
    output->get_last_error = totals_error;
    output->release = totals_release;
    output->private_data = totals;
    (void)user_data, (void)call;
    return 0;
}

static const transom_field_t x[] = {TRANSOM_FIELD("x", "l")};
static const transom_field_t text[] = {TRANSOM_FIELD("text", "u")};
static const transom_field_t int64_result[] = {TRANSOM_FIELD(NULL, "l")};
static const transom_field_t text_result[] = {TRANSOM_FIELD(NULL, "u")};
static const transom_field_t total[] = {TRANSOM_FIELD("total", "l")};

#define SCALAR(name, parameter, result) \
    {sizeof(transom_definition_t), #name, TRANSOM_KIND_SCALAR, false, parameter, 1, result, 1, 0, 0, name, NULL, NULL}

static const transom_definition_t definitions[] = {
    SCALAR(plus_one, x, int64_result),
    SCALAR(upper, text, text_result),
    SCALAR(thousandth, x, int64_result),
    SCALAR(crash, x, int64_result),
    {sizeof(transom_definition_t), "running_total", TRANSOM_KIND_BATCHES, false, NULL, 0, total, 1, 0, 0, NULL, running_total, NULL},
};

static const transom_library_t library = {
    sizeof(transom_library_t),
    TRANSOM_ABI_VERSION,
    sizeof(transom_definition_t),
    definitions,
    sizeof definitions / sizeof definitions[0],
    "C",
};

TRANSOM_EXPORT const transom_library_t *transom_library(uint32_t abi_version) {
    return abi_version == TRANSOM_ABI_VERSION ? &library : NULL;
}
