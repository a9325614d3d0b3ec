/* Asks a pool for a function of a library, and prints why it cannot be had.
 *
 *     ./probe ./library.so name */
#include "arrays.h"

int main(int count, char **arguments) {
    transom_options_t *options = NULL;
    transom_pool_t *pool = NULL;
    transom_function_t *function = NULL;
    transom_signature_t *signature = NULL;
    transom_error_t *error = NULL;
    int failed = count != 3 || transom_init(TRANSOM_ABI_VERSION, &error) != 0 || transom_options_new(&options, &error) != 0 ||
                 transom_options_set_workers(options, 1, &error) != 0 ||
                 transom_options_set_prestart(options, TRANSOM_LANGUAGE_NATIVE, &error) != 0 || transom_pool_open(options, &pool, &error) != 0 ||
                 transom_function_native(arguments[1], arguments[2], &function, &error) != 0;
    if (!failed && transom_pool_describe(pool, function, &signature, &error) == 0) {
        printf("%s\n", transom_signature_text(signature));
    } else if (!failed) {
        printf("%s\n", transom_error_text(error));
    }
    transom_signature_free(signature);
    transom_error_free(error);
    transom_function_free(function);
    transom_pool_close(pool, NULL);
    transom_options_free(options);
    return failed;
}
