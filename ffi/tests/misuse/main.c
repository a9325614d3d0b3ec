/* Misuse of the C ABI: each case does what callers must not do, and looks for the error with the right code. None may crash, hang, or leave anything
 * behind: descriptors, shared memory maps, children, arrays and streams are counted before and after each case.
 *
 *     misuse LIBRARY NATIVE_WORKER [CASE...]
 *
 * LIBRARY is what library.c is compiled to. Without the name of a case all of them run. */
#include "misuse.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    {"before_init", case_before_init}, /* must be the first */
    {"nulls", case_nulls},
    {"strangers", case_strangers},
    {"freed", case_freed},
    {"close_elsewhere", case_close_elsewhere},
    {"options", case_options},
    {"sizes", case_sizes},
    {"fork", case_fork},
    {"memory", case_memory},
    {"serve", case_serve},
    {"arguments", case_arguments},
    {"absurd_arguments", case_absurd_arguments},
    {"results", case_results},
    {"absurd_results", case_absurd_results},
    {"tables", case_tables},
    {"deaths", case_deaths},
    {"sources", case_sources},
    {"results_of_streams", case_results_of_streams},
    {"dropped_streams", case_dropped_streams},
    {"callbacks", case_callbacks},
    {"futures", case_futures},
    {"close_with_calls", case_close_with_calls},
    {"threads", case_threads},
    {"limits", case_limits},
    {"capsules", case_capsules},
    {"policies", case_policies},
    {"dead_letters", case_dead_letters},
};

const char *library;
transom_pool_t *shared_pool;
transom_function_t *plus_one;
char gate[64];

static const char *native_worker;
static char folder[] = "/tmp/transom-misuse-XXXXXX";
static atomic_int failures;

void failed(const char *file, int line, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s:%d: ", file, line);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    failures++;
}

void expect_at(const char *file, int line, const char *what, int32_t code, int32_t wanted, transom_error_t **error) {
    const char *text = transom_error_text(*error);
    if (code != wanted) failed(file, line, "%s gave %d, not %d\n  %s", what, code, wanted, text ? text : "without an error");
    if (code != transom_error_code(*error)) failed(file, line, "%s gave %d, and its error has %d", what, code, transom_error_code(*error));
    if (code != 0 && (text == NULL || strlen(transom_error_message(*error)) == 0)) failed(file, line, "%s gave an error without a message", what);
    transom_error_free(*error);
    *error = NULL;
}

transom_options_t *new_options(void) {
    CASE;
    transom_options_t *options = NULL;
    OK(transom_options_new(&options, &error));
    OK(transom_options_set_workers(options, 1, &error));
    OK(transom_options_set_prestart(options, TRANSOM_LANGUAGE_NATIVE, &error));
    OK(transom_options_set_native_worker(options, native_worker, &error));
    OK(transom_options_set_env(options, "MISUSE_GATE", gate, &error));
    return options;
}

transom_pool_t *new_pool(transom_options_t *options) {
    CASE;
    transom_pool_t *pool = NULL;
    OK(transom_pool_open(options, &pool, &error));
    transom_options_free(options);
    return pool;
}

transom_function_t *native(const char *name) {
    CASE;
    transom_function_t *function = NULL;
    OK(transom_function_native(library, name, &function, &error));
    return function;
}

void pass_gate(void) {
    CASE;
    int descriptor = open(gate, O_RDWR); /* does not wait for a reader, who may never have come */
    CHECK(descriptor >= 0);
    struct ArrowArray batch = x_batch(1), result = {0};
    OK(transom_pool_call(shared_pool, plus_one, &batch, &x_schema, &result, NULL, &error));
    release_array(&result);
    close(descriptor);
}

/* How many entries a folder has. */
static int entries(const char *path) {
    int count = 0;
    DIR *listing = opendir(path);
    if (listing == NULL) return 0;
    while (readdir(listing) != NULL) count++;
    closedir(listing);
    return count;
}

/* How many lines of a file have a text in them. */
static int lines_with(const char *path, const char *text) {
    char line[4096];
    int count = 0;
    FILE *file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) count += strstr(line, text) != NULL;
    if (file != NULL) fclose(file);
    return count;
}

/* How many children all threads of this process have, by the kernel's own list. */
static int children(void) {
    char path[64];
    int count = 0;
    DIR *threads = opendir("/proc/self/task");
    for (struct dirent *thread; threads != NULL && (thread = readdir(threads)) != NULL;) {
        if (thread->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "/proc/self/task/%.16s/children", thread->d_name);
        FILE *file = fopen(path, "r");
        for (int pid; file != NULL && fscanf(file, "%d", &pid) == 1;) count++;
        if (file != NULL) fclose(file);
    }
    if (threads != NULL) closedir(threads);
    return count;
}

/* What the process holds. */
struct balance {
    int descriptors, maps, children, segments, arrays, streams;
};

static struct balance balance(void) {
    return (struct balance){
        .descriptors = entries("/proc/self/fd"),
        .maps = lines_with("/proc/self/maps", "memfd:"),
        .children = children(),
        .segments = entries("/dev/shm"),
        .arrays = live_arrays,
        .streams = live_streams,
    };
}

/* A pool that has had nothing to do for five seconds gives segments back; one that has a call to do does not. */
static void call_once(void) {
    CASE;
    struct ArrowArray batch = x_batch(3), result = {0};
    OK(transom_pool_call(shared_pool, plus_one, &batch, &x_schema, &result, NULL, &error));
    release_array(&result);
}

/* Until a pool's segments are all made, which goes on behind its first call: nothing has changed for a fifth of a second. Who starts this program limits its time. */
static void settle(void) {
    struct balance before = balance();
    for (int same = 0; same < 20; same++) {
        usleep(10000);
        struct balance now = balance();
        if (memcmp(&before, &now, sizeof now) != 0) same = 0;
        before = now;
    }
}

/* Runs a case between two balances. What ends in the background has ten seconds for it. */
static void run(const char *name, void (*run)(void)) {
    int before = failures;
    struct balance first = balance(), last;
    run();
    for (int patience = 1000; patience > 0; patience--) {
        last = balance();
        if (memcmp(&first, &last, sizeof first) == 0) break;
        usleep(10000);
        if (patience % 100 == 1) call_once();
    }
    if (memcmp(&first, &last, sizeof first) != 0) {
        failed(__FILE__, __LINE__, "%s left something behind: descriptors %+d, maps %+d, children %+d, /dev/shm %+d, arrays %+d, streams %+d", name,
               last.descriptors - first.descriptors, last.maps - first.maps, last.children - first.children, last.segments - first.segments,
               last.arrays - first.arrays, last.streams - first.streams);
    }
    printf("%s: %s\n", name, failures == before ? "ok" : "FAILED");
    fflush(stdout);
}

/* Opens what all cases share. One call makes the segments, which the pool then keeps. */
static void set_up(void) {
    CASE;
    OK(transom_init(TRANSOM_ABI_VERSION, &error));
    CHECK(mkdtemp(folder) != NULL);
    snprintf(gate, sizeof gate, "%s/gate", folder);
    CHECK(mkfifo(gate, 0600) == 0);
    shared_pool = new_pool(new_options());
    plus_one = native("plus_one");
    call_once();
    settle();
}

static void tear_down(void) {
    CASE;
    transom_function_free(plus_one);
    OK(transom_pool_close(shared_pool, &error));
    unlink(gate);
    rmdir(folder);
}

static bool chosen(const char *name, int count, char **names) {
    for (int index = 0; index < count; index++) {
        if (strcmp(names[index], name) == 0) return true;
    }
    return count == 0;
}

int main(int count, char **arguments) {
    if (count < 3) {
        fprintf(stderr, "usage: misuse LIBRARY NATIVE_WORKER [CASE...]\n");
        return 2;
    }
    library = arguments[1];
    native_worker = arguments[2];
    if (chosen(cases[0].name, count - 3, arguments + 3)) run(cases[0].name, cases[0].run);
    set_up();
    for (size_t index = 1; index < sizeof cases / sizeof cases[0]; index++) {
        if (chosen(cases[index].name, count - 3, arguments + 3)) run(cases[index].name, cases[index].run);
    }
    tear_down();
    return failures != 0;
}
