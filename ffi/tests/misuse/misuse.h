/* What the misuse tests share: checks, small batches made by hand, and a count of what the process holds. */
#ifndef MISUSE_H
#define MISUSE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <transom.h>

/* Says where a check failed, and goes on: the program's exit status tells in the end. */
void failed(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));

#define CHECK(condition)                                                                                                                             \
    do {                                                                                                                                             \
        if (!(condition)) failed(__FILE__, __LINE__, "%s", #condition);                                                                              \
    } while (0)

/* Compares what a call returned with the code that it must return, and the error that it gave with that code. Frees the error. */
void expect_at(const char *file, int line, const char *what, int32_t code, int32_t wanted, transom_error_t **error);

/* A call that must return `code`; `error` is where it puts its error. */
#define EXPECT(code, call) expect_at(__FILE__, __LINE__, #call, (call), (code), &error)
#define OK(call) EXPECT(0, call)
#define BAD(call) EXPECT(TRANSOM_CODE_BAD_ARGUMENT, call)

/* A place for errors, which every case needs. */
#define CASE transom_error_t *error = NULL

/* Batches of one int64 column `x`, counted as long as they live. */
extern atomic_int live_arrays;
extern struct ArrowSchema x_schema;
struct ArrowArray x_batch(int64_t length);
/* The same, with `x` at hand, to be spoilt. */
struct ArrowArray *child_of(struct ArrowArray *batch);
void release_array(struct ArrowArray *array);

/* A source of batches with `count` batches, which then fails where `error` is not 0; `message` may be NULL. Counted as long as it lives. */
struct ArrowArrayStream x_stream(int count, int error, const char *message);
extern atomic_int live_streams;

/* What every case uses: the path of the library with good and bad functions, a pool with one worker, and the good function `plus_one`. */
extern const char *library;
extern transom_pool_t *shared_pool;
extern transom_function_t *plus_one;
transom_options_t *new_options(void);
transom_pool_t *new_pool(transom_options_t *options);
transom_function_t *native(const char *name);

/* A named pipe in which functions of the library wait; its path is in the workers' environment. `pass_gate` returns when the shared pool's worker is free
 * again, whether a cancelled call had reached its function or not. */
extern char gate[];
void pass_gate(void);

/* The cases, one file each group. */
void case_before_init(void);
void case_nulls(void);
void case_strangers(void);
void case_freed(void);
void case_close_elsewhere(void);
void case_options(void);
void case_sizes(void);
void case_fork(void);
void case_memory(void);
void case_serve(void);

void case_arguments(void);
void case_absurd_arguments(void);
void case_results(void);
void case_absurd_results(void);
void case_tables(void);
void case_deaths(void);

void case_sources(void);
void case_results_of_streams(void);
void case_dropped_streams(void);
void case_callbacks(void);
void case_futures(void);
void case_close_with_calls(void);
void case_threads(void);

void case_limits(void);
void case_capsules(void);
void case_policies(void);
void case_dead_letters(void);

#endif
