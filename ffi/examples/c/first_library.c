/* A function in a shared library: cc -shared -fPIC -o libfirst.so first_library.c $(pkg-config --cflags transom) */
#include <stdlib.h>
#include <transom.h>

static void release(struct ArrowArray *array) {
    free((void *)array->buffers[1]);
    free((void *)array->buffers);
    array->release = NULL;
}

static int32_t plus_one(void *user_data, transom_call_t *call, struct ArrowArray *arguments, const struct ArrowSchema *schema,
                        struct ArrowArray *result, struct ArrowSchema *result_schema) {
    const struct ArrowArray *x = arguments->children[0];
    const int64_t *values = (const int64_t *)x->buffers[1] + x->offset;
    int64_t *sums = malloc((size_t)x->length * sizeof *sums);
    const void **buffers = malloc(2 * sizeof *buffers);
    (void)user_data, (void)schema, (void)result_schema;
    if (x->null_count != 0 || sums == NULL || buffers == NULL) {
        free(sums);
        free(buffers);
        return transom_call_fail(call, "ValueError", "this function is for columns without nulls", -1);
    }
    for (int64_t row = 0; row < x->length; row++) {
        sums[row] = values[row] + 1;
    }
    buffers[0] = NULL; /* nothing is null */
    buffers[1] = sums;
    *result = (struct ArrowArray){x->length, 0, 0, 2, 0, buffers, NULL, NULL, release, NULL};
    return 0;
}

static const transom_field_t parameters[] = {TRANSOM_FIELD("x", "l")}; /* "l" is int64 */
static const transom_field_t results[] = {TRANSOM_FIELD(NULL, "l")};
static const transom_definition_t definitions[] = {
    {sizeof(transom_definition_t), "plus_one", TRANSOM_KIND_SCALAR, false, parameters, 1, results, 1, 0, 0, plus_one, NULL, NULL},
};
static const transom_library_t library = {
    sizeof(transom_library_t), TRANSOM_ABI_VERSION, sizeof(transom_definition_t), definitions, 1, "C",
};

TRANSOM_EXPORT const transom_library_t *transom_library(uint32_t abi_version) {
    return abi_version == TRANSOM_ABI_VERSION ? &library : NULL;
}
