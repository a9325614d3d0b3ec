/* A worker program of one's own, with the functions of library.c:
 *
 *     cc -std=c99 -I PREFIX/include -o worker worker.c library.c -L PREFIX/lib -ltransom
 *
 * A pool starts it where `transom_options_set_native_worker`, or the environment variable TRANSOM_NATIVE_WORKER, names it. */
#include <stdio.h>
#include <stdlib.h>

#include "transom.h"

int main(int count, char **arguments) {
    transom_error_t *error = NULL;
    int32_t code = transom_init(TRANSOM_ABI_VERSION, &error);
    if (code == 0) {
        code = transom_worker_serve(atoi(arguments[count - 1]), transom_library(TRANSOM_ABI_VERSION), &error);
    }
    if (code != 0) {
        fprintf(stderr, "%s\n", transom_error_text(error));
        transom_error_free(error);
    }
    return code == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
