/* What goes wrong in a function is an error here: in Python, in C by its own account, and in C by a defect. The program goes on.
 *
 *     ./errors PYTHON functions.py ./libexample.so */
#include "arrays.h"

static const char *or_none(const char *text) {
    return text == NULL ? "none" : text;
}

static void report(int32_t code, transom_error_t *error) {
    printf("code %" PRId32 " is %s %s\n", code, transom_error_id(error), transom_error_name(error));
    printf("  message: %s\n", transom_error_message(error));
    printf("  function: %s, row: %" PRId64 "\n", or_none(transom_error_function(error)), transom_error_first_row(error));
    printf("  raised: %s, %s\n", or_none(transom_error_remote_kind(error)), or_none(transom_error_remote_message(error)));
    printf("  a stack: %s\n", transom_error_stack(error) == NULL ? "no" : "yes");
    transom_error_free(error);
}

static void call(transom_pool_t *pool, transom_function_t *function) {
    static const int64_t values[] = {5, 0, 2};
    struct ArrowArray batch, result;
    struct ArrowSchema schema;
    transom_error_t *error = NULL;
    make_batch(&batch, values, 3);
    make_batch_schema(&schema, "x", "l");
    int32_t code = transom_pool_call(pool, function, &batch, &schema, &result, NULL, &error);
    if (code == 0) {
        print_column("result", result.children[0], "l");
        result.release(&result);
    } else {
        report(code, error);
    }
    schema.release(&schema);
    transom_function_free(function);
}

int main(int count, char **arguments) {
    transom_error_t *error = NULL;
    transom_options_t *options = NULL;
    transom_pool_t *pool = NULL;
    transom_function_t *function = NULL;
    char reference[4096];
    if (count != 4) {
        fprintf(stderr, "usage: errors PYTHON FUNCTIONS.py LIBRARY.so\n");
        return EXIT_FAILURE;
    }
    /* The first call tells whether this program and the library fit together; without it every other call is an error. */
    printf("before transom_init: code %" PRId32 "\n", transom_options_new(&options, NULL));
    if (transom_init(TRANSOM_ABI_VERSION, NULL) != 0 || transom_options_new(&options, NULL) != 0) {
        return EXIT_FAILURE;
    }
    transom_options_set_workers(options, 1, NULL);
    transom_options_set_python(options, arguments[1], NULL);
    if (transom_pool_open(options, &pool, &error) != 0) {
        fprintf(stderr, "%s\n", transom_error_text(error));
        return EXIT_FAILURE;
    }
    transom_options_free(options);

    static const char *const names[] = {"thousandth", "crash", "not_there", "plus_one"};
    snprintf(reference, sizeof reference, "%s:ratio", arguments[2]);
    if (transom_function_python(reference, &function, NULL) == 0) {
        call(pool, function);
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (transom_function_native(arguments[3], names[i], &function, NULL) == 0) {
            call(pool, function);
        }
    }
    /* A handle that was freed is found out. */
    int32_t first = transom_pool_close(pool, NULL);
    int32_t second = transom_pool_close(pool, &error);
    printf("closed: code %" PRId32 ", and again: code %" PRId32 ", %s\n", first, second, transom_error_message(error));
    transom_error_free(error);
    return EXIT_SUCCESS;
}
