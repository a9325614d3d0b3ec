/* What is asked for where functions fail: limits, failure capsules, policies for rows, and dead letters. */
#include "misuse.h"

#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Calls a function of the library with so many rows; gives the code. The result is released, the error the caller's. */
static int32_t call(transom_pool_t *pool, transom_function_t *function, int64_t rows, int64_t *given, transom_error_t **error) {
    struct ArrowArray batch = x_batch(rows), result = {0};
    int32_t code = transom_pool_call(pool, function, &batch, &x_schema, &result, NULL, error);
    if (code == 0) {
        *given = result.length;
        release_array(&result);
    }
    return code;
}

void case_limits(void) {
    CASE;
    int64_t rows = 0;
    transom_pool_t *pool = NULL;
    transom_options_t *options = new_options();
    OK(transom_options_set_worker_memory(options, 0, &error));
    EXPECT(TRANSOM_CODE_BAD_OPTION, transom_pool_open(options, &pool, &error));
    OK(transom_options_set_worker_memory(options, UINT64_C(1) << 32, &error));
    OK(transom_options_set_worker_descriptors(options, 0, &error));
    EXPECT(TRANSOM_CODE_BAD_OPTION, transom_pool_open(options, &pool, &error));
    OK(transom_options_set_worker_descriptors(options, 64, &error));
    OK(transom_options_set_worker_processes(options, 0, &error));
    EXPECT(TRANSOM_CODE_BAD_OPTION, transom_pool_open(options, &pool, &error));
    transom_options_free(options);

    options = new_options();
    OK(transom_options_set_result_limit(options, 16, &error));
    pool = new_pool(options);
    OK(call(pool, plus_one, 2, &rows, &error));
    EXPECT(TRANSOM_CODE_RESULT_TOO_LARGE, call(pool, plus_one, 1000, &rows, &error));
    OK(transom_pool_close(pool, &error));

    /* A worker that never becomes ready. */
    options = new_options();
    OK(transom_options_set_native_worker(options, "/bin/sleep", &error)); /* as many seconds as the number of the descriptor that it is given */
    OK(transom_options_set_start_limit_ms(options, 1, &error));
    pool = new_pool(options);
    EXPECT(TRANSOM_CODE_START_TIMEOUT, call(pool, plus_one, 1, &rows, &error));
    OK(transom_pool_close(pool, &error));
}

static int removed(const char *path, const struct stat *status, int kind, struct FTW *walk) {
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

void case_capsules(void) {
    CASE;
    int64_t rows = 0;
    struct stat status;
    char folder[] = "/tmp/transom-capsules-XXXXXX";
    CHECK(mkdtemp(folder) != NULL);
    transom_options_t *options = new_options();
    OK(transom_options_set_capsules(options, folder, &error));
    OK(transom_options_set_capsule_bytes(options, 1 << 20, &error));
    OK(transom_options_set_capsule_count(options, 1, &error));
    transom_pool_t *pool = new_pool(options);
    transom_function_t *dies = native("dies");
    CHECK(call(pool, dies, 3, &rows, &error) == TRANSOM_CODE_WORKER_SIGNALLED);
    CHECK(transom_error_signal(error) == SIGABRT);
    const char *capsule = transom_error_capsule(error);
    CHECK(capsule != NULL && strncmp(capsule, folder, strlen(folder)) == 0 && stat(capsule, &status) == 0 && S_ISDIR(status.st_mode));
    transom_error_free(error);
    /* There is room for one. */
    CHECK(call(pool, dies, 3, &rows, &error) == TRANSOM_CODE_WORKER_SIGNALLED);
    CHECK(transom_error_capsule(error) == NULL && strstr(transom_error_text(error), "failing input not saved") != NULL);
    transom_error_free(error);
    transom_function_free(dies);
    OK(transom_pool_close(pool, &error));
    CHECK(nftw(folder, removed, 8, FTW_DEPTH | FTW_PHYS) == 0);
}

void case_policies(void) {
    CASE;
    int64_t rows = 0;
    transom_function_t *no_threes = native("no_threes");
    BAD(transom_function_set_on_error(no_threes, 3, &error));
    BAD(transom_function_set_on_error(no_threes, -1, &error));
    EXPECT(TRANSOM_CODE_FUNCTION_RAISED, call(shared_pool, no_threes, 5, &rows, &error));
    OK(transom_function_set_on_error(no_threes, TRANSOM_ON_ERROR_NULL, &error));
    struct ArrowArray batch = x_batch(5), result = {0};
    OK(transom_pool_call(shared_pool, no_threes, &batch, &x_schema, &result, NULL, &error));
    const struct ArrowArray *column = result.children[0];
    CHECK(result.length == 5 && column->null_count == 1 && ((const int64_t *)column->buffers[1])[column->offset + 4] == 5);
    release_array(&result);
    OK(transom_function_set_on_error(no_threes, TRANSOM_ON_ERROR_RAISE, &error));
    EXPECT(TRANSOM_CODE_FUNCTION_RAISED, call(shared_pool, no_threes, 5, &rows, &error));
    transom_function_free(no_threes);
    /* A function over a stream has no rows to blame. */
    transom_function_t *pass = native("pass");
    OK(transom_function_set_on_error(pass, TRANSOM_ON_ERROR_NULL, &error));
    CHECK(call(shared_pool, pass, 5, &rows, &error) != 0);
    transom_error_free(error);
    transom_function_free(pass);
}

/* The row of the stream that each of two dead letters has; -1 where there is none. */
static void rows_of(struct ArrowArray *letters, struct ArrowSchema *schema, int64_t rows[2]) {
    rows[0] = rows[1] = -1;
    if (letters->release == NULL) {
        CHECK(schema->release == NULL);
        return;
    }
    CHECK(letters->n_children == 7 && schema->n_children == 7 && strcmp(schema->children[3]->name, "transom_row") == 0);
    const struct ArrowArray *numbers = letters->children[3];
    for (int64_t row = 0; row < letters->length && row < 2; row++) rows[row] = ((const int64_t *)numbers->buffers[1])[numbers->offset + row];
    release_array(letters);
    schema->release(schema);
}

void case_dead_letters(void) {
    CASE;
    int64_t given = 0, rows[2];
    struct ArrowArray letters;
    struct ArrowSchema schema;
    transom_function_t *no_threes = native("no_threes");
    OK(transom_function_set_on_error(no_threes, TRANSOM_ON_ERROR_DEAD_LETTER, &error));
    OK(call(shared_pool, no_threes, 5, &given, &error));
    CHECK(given == 4);
    OK(transom_pool_dead_letters(shared_pool, &letters, &schema, &error));
    rows_of(&letters, &schema, rows);
    CHECK(rows[0] == 3 && rows[1] == -1);
    OK(transom_pool_dead_letters(shared_pool, &letters, &schema, &error));
    rows_of(&letters, &schema, rows);
    CHECK(rows[0] == -1);

    /* Those of a stream are its own, and there behind its end. */
    struct ArrowArrayStream source = x_stream(2, 0, NULL), results, copy;
    struct ArrowArray result;
    OK(transom_pool_map(shared_pool, no_threes, &source, NULL, &results, &error));
    for (int batch = 0; batch < 2; batch++) {
        CHECK(results.get_next(&results, &result) == 0 && result.length == 3);
        release_array(&result);
    }
    CHECK(results.get_next(&results, &result) == 0 && result.release == NULL);
    OK(transom_pool_dead_letters(shared_pool, &letters, NULL, &error));
    CHECK(letters.release == NULL);
    BAD(transom_stream_dead_letters(&results, NULL, &schema, &error));
    OK(transom_stream_dead_letters(&results, &letters, &schema, &error));
    rows_of(&letters, &schema, rows);
    CHECK(rows[0] == 3 && rows[1] == 7);
    OK(transom_stream_dead_letters(&results, &letters, &schema, &error));
    CHECK(letters.release == NULL);
    copy = results;
    results.release(&results);
    BAD(transom_stream_dead_letters(&results, &letters, &schema, &error));
    BAD(transom_stream_dead_letters(&copy, &letters, &schema, &error));
    struct ArrowArrayStream foreign = x_stream(0, 0, NULL);
    BAD(transom_stream_dead_letters(&foreign, &letters, &schema, &error));
    foreign.release(&foreign);
    transom_function_free(no_threes);
}
