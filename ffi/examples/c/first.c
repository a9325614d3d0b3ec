/* A program that calls it: cc -o first first.c $(pkg-config --cflags --libs transom) && ./first */
#include <inttypes.h>
#include <stdio.h>
#include <transom.h>

/* These structs lie on the stack, so there is nothing to be freed. */
static void release_array(struct ArrowArray *array) { array->release = NULL; }
static void release_schema(struct ArrowSchema *schema) { schema->release = NULL; }

int main(void) {
    int64_t values[] = {1, 2, 3};
    const void *buffers[] = {NULL, values}, *no_nulls[] = {NULL};
    struct ArrowArray x = {3, 0, 0, 2, 0, buffers, NULL, NULL, release_array, NULL}, *columns[] = {&x};
    struct ArrowArray batch = {3, 0, 0, 1, 1, no_nulls, columns, NULL, release_array, NULL};
    struct ArrowSchema field = {"l", "x", NULL, ARROW_FLAG_NULLABLE, 0, NULL, NULL, release_schema, NULL}, *fields[] = {&field};
    struct ArrowSchema schema = {"+s", "", NULL, 0, 1, fields, NULL, release_schema, NULL};

    transom_pool_t *pool = NULL;
    transom_options_t *options = NULL;
    transom_function_t *plus_one = NULL;
    transom_error_t *error = NULL;
    struct ArrowArray result;
    int32_t failed = transom_init(TRANSOM_ABI_VERSION, &error) || transom_options_new(&options, &error) ||
                     transom_options_set_prestart(options, TRANSOM_LANGUAGE_NATIVE, &error) || transom_pool_open(options, &pool, &error) ||
                     transom_function_native("libfirst.so", "plus_one", &plus_one, &error) ||
                     transom_pool_call(pool, plus_one, &batch, &schema, &result, NULL, &error);
    if (failed) {
        fprintf(stderr, "%s\n", transom_error_text(error));
        transom_error_free(error);
    } else {
        const struct ArrowArray *column = result.children[0];
        for (int64_t row = 0; row < column->length; row++) {
            printf("%" PRId64 "\n", ((const int64_t *)column->buffers[1])[column->offset + row]);
        }
        result.release(&result);
    }
    transom_function_free(plus_one);
    transom_options_free(options);
    transom_pool_close(pool, NULL);
    return failed != 0;
}
