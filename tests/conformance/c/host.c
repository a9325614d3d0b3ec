/* See host.h. What a host in C does, from the first call to the last. */

#include "host.h"

#include <string.h>

static transom_pool_t *pool;
static struct ArrowArrayStream results;
static transom_error_t *error;
static char language[8];

/* Where a function of the library puts its error: the one before is no longer asked for. */
static transom_error_t **fresh(void) {
    transom_error_free(error);
    error = NULL;
    return &error;
}

static int32_t set_program(transom_options_t *options, const char *program) {
    if (strcmp(language, "native") == 0) {
        return transom_options_set_native_worker(options, program, fresh());
    }
    if (strcmp(language, "java") == 0) {
        return transom_options_set_java(options, program, fresh());
    }
    return transom_options_set_python(options, program, fresh());
}

static uint32_t language_bit(void) {
    if (strcmp(language, "native") == 0) {
        return TRANSOM_LANGUAGE_NATIVE;
    }
    return strcmp(language, "java") == 0 ? TRANSOM_LANGUAGE_JAVA : TRANSOM_LANGUAGE_PYTHON;
}

static int32_t open_with(transom_options_t *options, const char *program, const char *class_path, const char *const *java_options, size_t count) {
    int32_t code = transom_options_set_workers(options, 1, fresh());
    if (code == 0) {
        code = set_program(options, program);
    }
    if (code == 0) {
        code = transom_options_set_prestart(options, language_bit(), fresh());
    }
    if (code == 0 && *class_path != '\0') {
        code = transom_options_set_java_class_path(options, class_path, fresh());
    }
    if (code == 0 && count > 0) {
        code = transom_options_set_java_options(options, java_options, count, fresh());
    }
    return code != 0 ? code : transom_pool_open(options, &pool, fresh());
}

int32_t conformance_open(const char *of, const char *program, const char *class_path, const char *const *java_options, size_t count) {
    transom_options_t *options = NULL;
    strncpy(language, of, sizeof language - 1);
    int32_t code = transom_init(TRANSOM_ABI_VERSION, fresh());
    if (code == 0) {
        code = transom_options_new(&options, fresh());
    }
    if (code == 0) {
        code = open_with(options, program, class_path, java_options, count);
    }
    transom_options_free(options);
    return code;
}

/* "library:name" for a native function; what the language itself says for others. */
static int32_t find(const char *reference, transom_function_t **function) {
    if (strcmp(language, "java") == 0) {
        return transom_function_java(reference, function, fresh());
    }
    if (strcmp(language, "python") == 0) {
        return transom_function_python(reference, function, fresh());
    }
    char library[4096];
    const char *colon = strrchr(reference, ':');
    if (colon == NULL || (size_t)(colon - reference) >= sizeof library) {
        return transom_function_native("", "", function, fresh());
    }
    memcpy(library, reference, (size_t)(colon - reference));
    library[colon - reference] = '\0';
    return transom_function_native(library, colon + 1, function, fresh());
}

int32_t conformance_share(struct ArrowArray *array, const struct ArrowSchema *schema, struct ArrowArray *shared) {
    return transom_pool_share(pool, array, schema, shared, NULL, fresh());
}

int32_t conformance_map(const char *reference, struct ArrowArrayStream *source) {
    transom_function_t *function = NULL;
    int32_t code = find(reference, &function);
    if (code == 0) {
        code = transom_pool_map(pool, function, source, NULL, &results, fresh());
    } else if (source->release != NULL) {
        source->release(source);
    }
    transom_function_free(function);
    return code;
}

int32_t conformance_schema(struct ArrowSchema *schema) {
    return results.get_schema(&results, schema) == 0 ? 0 : transom_stream_error(&results, fresh());
}

int32_t conformance_next(struct ArrowArray *array) {
    return results.get_next(&results, array) == 0 ? 0 : transom_stream_error(&results, fresh());
}

void conformance_end(void) {
    if (results.release != NULL) {
        results.release(&results);
    }
}

int32_t conformance_leases(uint64_t *leases) {
    transom_stats_t stats = TRANSOM_STATS_INIT;
    int32_t code = transom_pool_stats(pool, &stats, fresh());
    *leases = 0;
    for (size_t worker = 0; code == 0 && worker < stats.workers; worker++) {
        transom_worker_stats_t one = TRANSOM_WORKER_STATS_INIT;
        code = transom_pool_worker_stats(pool, worker, &one, fresh());
        *leases += one.leases;
    }
    return code;
}

int32_t conformance_close(void) {
    int32_t code = transom_pool_close(pool, fresh());
    pool = NULL;
    return code;
}

const transom_error_t *conformance_error(void) {
    return error;
}
