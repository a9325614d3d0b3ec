/* Streams, and functions in JavaScript. Everything here runs on JavaScript's thread: a stream is read by who asks for its results, and a worker serves
 * with the thread that it has. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "columns.h"

#define MOST_ARGUMENTS 4

/* A function of JavaScript's that gives a batch each time, and null at the end. */
struct source {
    napi_env env;
    napi_ref next;
    char *error;
    char *formats;
    struct ArrowSchema schema;
    struct ArrowArray first;
    bool began;
};

static void say(char **error, char *text) {
    free(*error);
    *error = text;
}

/* Calls a function, and keeps what it threw as a text. */
static napi_value called(napi_env env, napi_ref reference, size_t count, const napi_value *arguments, char **error) {
    napi_value function = NULL, result = NULL, thrown_value = NULL, nothing = NULL;
    napi_get_reference_value(env, reference, &function);
    napi_get_undefined(env, &nothing);
    if (napi_call_function(env, nothing, function, count, arguments, &result) == napi_ok) return result;
    napi_get_and_clear_last_exception(env, &thrown_value);
    say(error, text_of(env, member(env, thrown_value, "message")));
    return NULL;
}

/* The first batch's schema is kept for who asks; the formats of all others must be its. */
static int keep_schema(struct source *source, struct ArrowSchema *schema) {
    char *formats = calloc((size_t)schema->n_children + 1, 1);
    for (int64_t index = 0; index < schema->n_children; index++) formats[index] = schema->children[index]->format[0];
    bool first = source->formats == NULL, same = first || strcmp(source->formats, formats) == 0;
    if (first) {
        source->formats = formats;
        source->schema = *schema;
        return 0;
    }
    free(formats);
    schema->release(schema);
    if (!same) say(&source->error, strdup("the batches of one stream differ in their types"));
    return same ? 0 : EINVAL;
}

/* The next batch; with `release` NULL at the end. */
static int pull(struct source *source, struct ArrowArray *out) {
    napi_env env = source->env;
    napi_handle_scope scope;
    napi_valuetype type = napi_null;
    memset(out, 0, sizeof *out);
    if (napi_open_handle_scope(env, &scope) != napi_ok) return ENOMEM;
    napi_value batch = called(env, source->next, 0, NULL, &source->error);
    int status = batch == NULL ? EIO : 0;
    if (batch != NULL) napi_typeof(env, batch, &type);
    if (type == napi_object) {
        struct ArrowSchema schema;
        napi_value reason;
        if (!batch_to_c(env, batch, NULL, out, &schema)) {
            napi_get_and_clear_last_exception(env, &reason);
            say(&source->error, text_of(env, member(env, reason, "message")));
            status = EINVAL;
        } else {
            status = keep_schema(source, &schema);
            if (status != 0) out->release(out);
        }
    }
    napi_close_handle_scope(env, scope);
    return status;
}

/* The first batch tells the schema. Without any there are no columns. */
static int source_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out) {
    struct source *source = stream->private_data;
    if (!source->began) {
        source->began = true;
        int status = pull(source, &source->first);
        if (status != 0) return status;
    }
    *out = source->schema;
    memset(&source->schema, 0, sizeof source->schema);
    return out->release == NULL ? EINVAL : 0;
}

static int source_next(struct ArrowArrayStream *stream, struct ArrowArray *out) {
    struct source *source = stream->private_data;
    if (source->first.release != NULL) {
        *out = source->first;
        source->first.release = NULL;
        return 0;
    }
    return pull(source, out);
}

static const char *source_error(struct ArrowArrayStream *stream) {
    const char *error = ((struct source *)stream->private_data)->error;
    return error != NULL ? error : "a stream of JavaScript needs at least one batch, which tells its columns";
}

static void source_release(struct ArrowArrayStream *stream) {
    struct source *source = stream->private_data;
    if (source->first.release != NULL) source->first.release(&source->first);
    if (source->schema.release != NULL) source->schema.release(&source->schema);
    napi_delete_reference(source->env, source->next);
    free(source->error);
    free(source->formats);
    free(source);
    stream->release = NULL;
}

static bool new_source(napi_env env, napi_value next, struct ArrowArrayStream *out) {
    struct source *source = calloc(1, sizeof *source);
    if (source == NULL || napi_create_reference(env, next, 1, &source->next) != napi_ok) {
        free(source);
        return thrown(env, "a stream needs a function that gives batches") != NULL;
    }
    source->env = env;
    *out = (struct ArrowArrayStream){source_schema, source_next, source_error, source_release, source};
    return true;
}

/* A stream that JavaScript reads: an external value, which its finalizer releases if nobody did before. */
static void drop_stream(napi_env env, void *data, void *hint) {
    struct ArrowArrayStream *stream = data;
    (void)env, (void)hint;
    if (stream->release != NULL) stream->release(stream);
    free(stream);
}

static napi_value stream_value(napi_env env, struct ArrowArrayStream moved) {
    struct ArrowArrayStream *stream = malloc(sizeof *stream);
    napi_value value = NULL;
    *stream = moved;
    napi_create_external(env, stream, drop_stream, NULL, &value);
    return value;
}

/* map(pool, function, next) gives a stream of results */
napi_value map(napi_env env, napi_callback_info info) {
    napi_value arguments[MOST_ARGUMENTS];
    size_t count = MOST_ARGUMENTS;
    napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
    struct ArrowArrayStream source, results;
    transom_error_t *error = NULL;
    if (!new_source(env, arguments[2], &source)) return NULL;
    transom_pool_t *pool = (transom_pool_t *)(intptr_t)number_of(env, arguments[0]);
    transom_function_t *function = (transom_function_t *)(intptr_t)number_of(env, arguments[1]);
    if (transom_pool_map(pool, function, &source, NULL, &results, &error) != 0) return throw_failure(env, error);
    return stream_value(env, results);
}

/* read(stream) gives a batch, or null at the end */
napi_value read_stream(napi_env env, napi_callback_info info) {
    napi_value argument, result;
    size_t count = 1;
    void *data = NULL;
    struct ArrowArray array;
    struct ArrowSchema schema;
    napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
    if (napi_get_value_external(env, argument, &data) != napi_ok) return thrown(env, "this is no stream");
    struct ArrowArrayStream *stream = data;
    if (stream->release == NULL) return thrown(env, "the stream was released");
    if (stream->get_schema(stream, &schema) != 0 || stream->get_next(stream, &array) != 0) {
        transom_error_t *error = NULL;
        const char *text = stream->get_last_error(stream);
        transom_stream_error(stream, &error);
        return error != NULL ? throw_failure(env, error) : thrown(env, text != NULL ? text : "the stream failed");
    }
    result = array.release == NULL ? text_value(env, NULL) : batch_to_js(env, &array, &schema);
    if (array.release != NULL) array.release(&array);
    schema.release(&schema);
    return result;
}

napi_value release_stream(napi_env env, napi_callback_info info) {
    napi_value argument;
    size_t count = 1;
    void *data = NULL;
    napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
    if (napi_get_value_external(env, argument, &data) != napi_ok) return thrown(env, "this is no stream");
    struct ArrowArrayStream *stream = data;
    if (stream->release != NULL) stream->release(stream);
    return NULL;
}

/* A function in JavaScript. */
struct function {
    napi_env env;
    napi_ref call;
};

/* Says why a function failed: an Error with `kind` and `row` says more than its message. */
static int32_t failed(napi_env env, transom_call_t *call) {
    napi_value reason = NULL, row = NULL;
    napi_get_and_clear_last_exception(env, &reason);
    char *kind = text_of(env, member(env, reason, "kind")), *name = text_of(env, member(env, reason, "name"));
    char *message = text_of(env, member(env, reason, "message"));
    int64_t number = -1;
    row = member(env, reason, "row");
    if (napi_get_value_int64(env, row, &number) != napi_ok) number = -1;
    int32_t code = transom_call_fail(call, kind != NULL ? kind : name, message != NULL ? message : "", number);
    free(kind);
    free(name);
    free(message);
    return code;
}

static int32_t scalar(void *user_data, transom_call_t *call, struct ArrowArray *arguments, const struct ArrowSchema *schema,
                      struct ArrowArray *result, struct ArrowSchema *result_schema) {
    struct function *function = user_data;
    napi_env env = function->env;
    napi_handle_scope scope;
    napi_value batch, given = NULL, callee, nothing;
    if (napi_open_handle_scope(env, &scope) != napi_ok) return transom_call_fail(call, "RangeError", "no memory", -1);
    batch = batch_to_js(env, arguments, schema);
    napi_get_undefined(env, &nothing);
    napi_get_reference_value(env, function->call, &callee);
    bool done = batch != NULL && napi_call_function(env, nothing, callee, 1, &batch, &given) == napi_ok
                && column_to_c(env, given, result, result_schema);
    int32_t code = done ? 0 : failed(env, call);
    napi_close_handle_scope(env, scope);
    return code;
}

/* A batches function is given a stream to read, and gives a function like a source's. */
static int32_t batches(void *user_data, transom_call_t *call, struct ArrowArrayStream *input, struct ArrowArrayStream *output) {
    struct function *function = user_data;
    napi_env env = function->env;
    napi_handle_scope scope;
    napi_value stream, next = NULL, callee, nothing;
    if (napi_open_handle_scope(env, &scope) != napi_ok) return transom_call_fail(call, "RangeError", "no memory", -1);
    stream = stream_value(env, *input);
    input->release = NULL;
    napi_get_undefined(env, &nothing);
    napi_get_reference_value(env, function->call, &callee);
    bool done = napi_call_function(env, nothing, callee, 1, &stream, &next) == napi_ok && new_source(env, next, output);
    int32_t code = done ? 0 : failed(env, call);
    napi_close_handle_scope(env, scope);
    return code;
}

static transom_field_t *field_of(napi_env env, napi_value described) {
    transom_field_t *field = calloc(1, sizeof *field);
    *field = (transom_field_t){sizeof *field, text_of(env, member(env, described, "name")), text_of(env, member(env, described, "format")), NULL, 0};
    return field;
}

/* What describes a function stays for ever, as the table does. */
static transom_definition_t definition_of(napi_env env, napi_value described) {
    struct function *function = calloc(1, sizeof *function);
    function->env = env;
    napi_create_reference(env, member(env, described, "call"), 1, &function->call);
    transom_definition_t definition = {.size = sizeof definition, .name = text_of(env, member(env, described, "name")), .user_data = function};
    definition.results = field_of(env, member(env, described, "result"));
    definition.result_count = 1;
    napi_valuetype type = napi_undefined;
    napi_value parameter = member(env, described, "parameter");
    napi_typeof(env, parameter, &type);
    if (type == napi_object) {
        definition.kind = TRANSOM_KIND_SCALAR;
        definition.parameters = field_of(env, parameter);
        definition.parameter_count = 1;
        definition.scalar = scalar;
    } else {
        definition.kind = TRANSOM_KIND_BATCHES;
        definition.batches = batches;
    }
    return definition;
}

/* serve(descriptor, functions): functions are [{ name, parameter, result, call }]; one without a parameter is a batches function. It returns when the
 * host says goodbye. */
napi_value serve(napi_env env, napi_callback_info info) {
    napi_value arguments[MOST_ARGUMENTS], described;
    size_t given = MOST_ARGUMENTS;
    uint32_t count = 0;
    napi_get_cb_info(env, info, &given, arguments, NULL, NULL);
    if (napi_get_array_length(env, arguments[1], &count) != napi_ok) return thrown(env, "a worker needs a list of functions");
    transom_definition_t *definitions = calloc(count + 1, sizeof *definitions);
    transom_library_t *library = malloc(sizeof *library);
    for (uint32_t index = 0; index < count; index++) {
        napi_get_element(env, arguments[1], index, &described);
        definitions[index] = definition_of(env, described);
    }
    *library = (transom_library_t){sizeof *library, TRANSOM_ABI_VERSION, sizeof *definitions, definitions, count, "Node.js"};
    transom_error_t *error = NULL;
    return transom_worker_serve((int)number_of(env, arguments[0]), library, &error) == 0 ? NULL : throw_failure(env, error);
}
