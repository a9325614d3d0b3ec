/* libtransom for Node.js: what transom.js is made of. A handle is a number in JavaScript, too: the library looks it up and never follows it. */
#include <stdlib.h>
#include <string.h>

#include "columns.h"

#define MOST_ARGUMENTS 4

/* The arguments of a call; those that are missing are undefined. */
static void arguments_of(napi_env env, napi_callback_info info, napi_value *arguments) {
    size_t count = MOST_ARGUMENTS;
    napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
}

static napi_value handle_value(napi_env env, const void *handle) {
    napi_value value = NULL;
    napi_create_int64(env, (int64_t)(intptr_t)handle, &value);
    return value;
}

static void *handle_of(napi_env env, napi_value value) {
    return (void *)(intptr_t)number_of(env, value);
}

static void set_text(napi_env env, napi_value object, const char *name, const char *text) {
    napi_set_named_property(env, object, name, text_value(env, text));
}

static void set_number(napi_env env, napi_value object, const char *name, int64_t number) {
    napi_value value = NULL;
    napi_create_int64(env, number, &value);
    napi_set_named_property(env, object, name, value);
}

/* An Error with what the library's has, which is freed. `code` is "TRN-3001" and so on, as Node's errors have texts there. */
static napi_value error_value(napi_env env, transom_error_t *error) {
    napi_value made = NULL;
    napi_create_error(env, text_value(env, transom_error_id(error)), text_value(env, transom_error_text(error)), &made);
    set_number(env, made, "number", transom_error_code(error));
    set_text(env, made, "codeName", transom_error_name(error));
    set_text(env, made, "what", transom_error_message(error));
    set_text(env, made, "functionName", transom_error_function(error));
    set_number(env, made, "row", transom_error_first_row(error));
    set_text(env, made, "remoteKind", transom_error_remote_kind(error));
    set_text(env, made, "remoteMessage", transom_error_remote_message(error));
    set_text(env, made, "workerStack", transom_error_stack(error));
    set_text(env, made, "hint", transom_error_hint(error));
    transom_error_free(error);
    return made;
}

napi_value throw_failure(napi_env env, transom_error_t *error) {
    napi_throw(env, error_value(env, error));
    return NULL;
}

static napi_value init(napi_env env, napi_callback_info info) {
    transom_error_t *error = NULL;
    (void)info;
    return transom_init(TRANSOM_ABI_VERSION, &error) == 0 ? NULL : throw_failure(env, error);
}

/* Sets one option of type text where it was given. */
static int32_t set_path(napi_env env, napi_value given, const char *name, transom_options_t *options, transom_error_t **error,
                        int32_t (*set)(transom_options_t *, const char *, transom_error_t **)) {
    char *text = text_of(env, member(env, given, name));
    int32_t code = text == NULL ? 0 : set(options, text, error);
    free(text);
    return code;
}

/* open({ workers, python, nativeWorker }) */
static napi_value open_pool(napi_env env, napi_callback_info info) {
    napi_value arguments[MOST_ARGUMENTS];
    arguments_of(env, info, arguments);
    transom_error_t *error = NULL;
    transom_options_t *options = NULL;
    transom_pool_t *pool = NULL;
    int32_t code = transom_options_new(&options, &error);
    int64_t workers = number_of(env, member(env, arguments[0], "workers"));
    if (code == 0 && workers != 0) code = transom_options_set_workers(options, (size_t)workers, &error);
    if (code == 0) code = set_path(env, arguments[0], "python", options, &error, transom_options_set_python);
    if (code == 0) code = set_path(env, arguments[0], "nativeWorker", options, &error, transom_options_set_native_worker);
    if (code == 0) code = transom_pool_open(options, &pool, &error);
    transom_options_free(options);
    return code == 0 ? handle_value(env, pool) : throw_failure(env, error);
}

static napi_value close_pool(napi_env env, napi_callback_info info) {
    napi_value arguments[MOST_ARGUMENTS];
    arguments_of(env, info, arguments);
    transom_error_t *error = NULL;
    return transom_pool_close(handle_of(env, arguments[0]), &error) == 0 ? NULL : throw_failure(env, error);
}

/* python(reference), native(library, name), freeFunction(function) */
static napi_value python_function(napi_env env, napi_callback_info info) {
    napi_value arguments[MOST_ARGUMENTS];
    arguments_of(env, info, arguments);
    transom_error_t *error = NULL;
    transom_function_t *function = NULL;
    char *reference = text_of(env, arguments[0]);
    int32_t code = transom_function_python(reference, &function, &error);
    free(reference);
    return code == 0 ? handle_value(env, function) : throw_failure(env, error);
}

static napi_value native_function(napi_env env, napi_callback_info info) {
    napi_value arguments[MOST_ARGUMENTS];
    arguments_of(env, info, arguments);
    transom_error_t *error = NULL;
    transom_function_t *function = NULL;
    char *library = text_of(env, arguments[0]), *name = text_of(env, arguments[1]);
    int32_t code = transom_function_native(library, name, &function, &error);
    free(library);
    free(name);
    return code == 0 ? handle_value(env, function) : throw_failure(env, error);
}

static napi_value free_function(napi_env env, napi_callback_info info) {
    napi_value arguments[MOST_ARGUMENTS];
    arguments_of(env, info, arguments);
    transom_function_free(handle_of(env, arguments[0]));
    return NULL;
}

/* describe(pool, function) gives { text, format } */
static napi_value describe(napi_env env, napi_callback_info info) {
    napi_value arguments[MOST_ARGUMENTS], made = NULL;
    arguments_of(env, info, arguments);
    transom_error_t *error = NULL;
    transom_signature_t *signature = NULL;
    struct ArrowSchema schema;
    int32_t code = transom_pool_describe(handle_of(env, arguments[0]), handle_of(env, arguments[1]), &signature, &error);
    if (code == 0) code = transom_signature_schema(signature, &schema, &error);
    if (code == 0) {
        napi_create_object(env, &made);
        set_text(env, made, "text", transom_signature_text(signature));
        set_text(env, made, "format", schema.release == NULL ? NULL : schema.children[0]->format);
        if (schema.release != NULL) schema.release(&schema);
    }
    transom_signature_free(signature);
    return code == 0 ? made : throw_failure(env, error);
}

/* copies(pool) gives { inputShared, inputCopied, resultShared, resultCopied } */
static napi_value copies(napi_env env, napi_callback_info info) {
    napi_value arguments[MOST_ARGUMENTS], made = NULL;
    arguments_of(env, info, arguments);
    transom_error_t *error = NULL;
    transom_copies_t sums = TRANSOM_COPIES_INIT;
    if (transom_pool_copies(handle_of(env, arguments[0]), &sums, &error) != 0) return throw_failure(env, error);
    napi_create_object(env, &made);
    set_number(env, made, "inputShared", (int64_t)sums.input_shared);
    set_number(env, made, "inputCopied", (int64_t)sums.input_copied);
    set_number(env, made, "resultShared", (int64_t)sums.result_shared);
    set_number(env, made, "resultCopied", (int64_t)sums.result_copied);
    return made;
}

/* A call whose outcome is awaited. */
struct awaited {
    napi_deferred deferred;
    napi_threadsafe_function wake;
    struct ArrowArray array;
    struct ArrowSchema schema;
    transom_error_t *error;
};

/* On a thread of the library's: JavaScript is told on its own. */
static void told(void *user_data, int32_t code, struct ArrowArray *array, struct ArrowSchema *schema, transom_error_t *error) {
    struct awaited *awaited = user_data;
    napi_threadsafe_function wake = awaited->wake;
    (void)code;
    awaited->array = *array;
    awaited->schema = *schema;
    awaited->error = error;
    array->release = NULL;
    schema->release = NULL;
    napi_call_threadsafe_function(wake, awaited, napi_tsfn_blocking);
    napi_release_threadsafe_function(wake, napi_tsfn_release);
}

/* On JavaScript's thread; without an environment where that is being torn down. */
static void settle(napi_env env, napi_value callback, void *context, void *data) {
    struct awaited *awaited = data;
    (void)callback, (void)context;
    if (env == NULL) {
        transom_error_free(awaited->error);
    } else if (awaited->error != NULL) {
        napi_reject_deferred(env, awaited->deferred, error_value(env, awaited->error));
    } else {
        napi_value reason = NULL, result = batch_to_js(env, &awaited->array, &awaited->schema);
        if (result != NULL) {
            napi_resolve_deferred(env, awaited->deferred, result);
        } else {
            napi_get_and_clear_last_exception(env, &reason);
            napi_reject_deferred(env, awaited->deferred, reason);
        }
    }
    if (awaited->array.release != NULL) awaited->array.release(&awaited->array);
    if (awaited->schema.release != NULL) awaited->schema.release(&awaited->schema);
    free(awaited);
}

/* call(pool, function, batch) gives a promise of a batch */
static napi_value call(napi_env env, napi_callback_info info) {
    napi_value arguments[MOST_ARGUMENTS], promise = NULL;
    arguments_of(env, info, arguments);
    transom_pool_t *pool = handle_of(env, arguments[0]);
    struct ArrowArray array;
    struct ArrowSchema schema;
    if (!batch_to_c(env, arguments[2], pool, &array, &schema)) return NULL;
    struct awaited *awaited = calloc(1, sizeof *awaited);
    napi_status made = awaited == NULL ? napi_generic_failure : napi_create_promise(env, &awaited->deferred, &promise);
    if (made == napi_ok) {
        made = napi_create_threadsafe_function(env, NULL, NULL, text_value(env, "transom"), 0, 1, NULL, NULL, NULL, settle, &awaited->wake);
    }
    if (made != napi_ok) {
        array.release(&array);
        schema.release(&schema);
        free(awaited);
        return thrown(env, "no promise can be made");
    }
    transom_error_t *error = NULL;
    int32_t code = transom_pool_call_then(pool, handle_of(env, arguments[1]), &array, &schema, told, awaited, &error);
    schema.release(&schema);
    if (code != 0) {
        napi_reject_deferred(env, awaited->deferred, error_value(env, error));
        napi_release_threadsafe_function(awaited->wake, napi_tsfn_release);
        free(awaited);
    }
    return promise;
}

static napi_value export_function(napi_env env, napi_value exports, const char *name, napi_callback function) {
    napi_value made = NULL;
    napi_create_function(env, name, NAPI_AUTO_LENGTH, function, NULL, &made);
    napi_set_named_property(env, exports, name, made);
    return exports;
}

/* streams.c */
napi_value map(napi_env env, napi_callback_info info);
napi_value read_stream(napi_env env, napi_callback_info info);
napi_value release_stream(napi_env env, napi_callback_info info);
napi_value serve(napi_env env, napi_callback_info info);

NAPI_MODULE_INIT() {
    export_function(env, exports, "init", init);
    export_function(env, exports, "open", open_pool);
    export_function(env, exports, "close", close_pool);
    export_function(env, exports, "python", python_function);
    export_function(env, exports, "native", native_function);
    export_function(env, exports, "freeFunction", free_function);
    export_function(env, exports, "describe", describe);
    export_function(env, exports, "copies", copies);
    export_function(env, exports, "call", call);
    export_function(env, exports, "map", map);
    export_function(env, exports, "read", read_stream);
    export_function(env, exports, "release", release_stream);
    return export_function(env, exports, "serve", serve);
}
