/* A library of functions that do what functions must not, beside one that is right. MISUSE_TABLE in the environment chooses a table with faults. */
#include <transom.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* An int64 array of one block of memory: two pointers, and the values behind them. */
static void release_values(struct ArrowArray *array) {
    free(array->buffers);
    array->release = NULL;
}

static struct ArrowArray values_array(int64_t length) {
    const void **buffers = calloc(1, 2 * sizeof(void *) + (size_t)length * sizeof(int64_t));
    buffers[1] = buffers + 2;
    return (struct ArrowArray){.length = length, .n_buffers = 2, .buffers = buffers, .release = release_values};
}

/* The arguments' first column plus one. */
static struct ArrowArray sum(const struct ArrowArray *arguments) {
    const struct ArrowArray *x = arguments->children[0];
    struct ArrowArray result = values_array(x->length);
    int64_t *values = (int64_t *)result.buffers[1];
    for (int64_t row = 0; row < x->length; row++) values[row] = ((const int64_t *)x->buffers[1])[x->offset + row] + 1;
    return result;
}

#define SCALAR(name)                                                                                                                                 \
    static int32_t name(void *user_data, transom_call_t *call, struct ArrowArray *arguments, const struct ArrowSchema *schema,                       \
                        struct ArrowArray *result, struct ArrowSchema *result_schema)
#define UNUSED ((void)user_data, (void)call, (void)arguments, (void)schema, (void)result, (void)result_schema)

SCALAR(plus_one) {
    UNUSED;
    *result = sum(arguments);
    return 0;
}

/* Waits at the gate: opening a named pipe takes until somebody opens the other end. */
SCALAR(held) {
    UNUSED;
    int descriptor = open(getenv("MISUSE_GATE"), O_RDONLY);
    if (descriptor < 0) return transom_call_fail(call, "OSError", "no gate", -1);
    close(descriptor);
    *result = sum(arguments);
    return 0;
}

SCALAR(says_nothing) {
    UNUSED;
    return 0;
}

SCALAR(released) {
    UNUSED;
    *result = sum(arguments);
    result->release(result);
    return 0;
}

/* Gives back what it was lent without moving it: the array is the library's still. */
SCALAR(short_result) {
    UNUSED;
    *result = values_array(arguments->length - 1);
    return 0;
}

static void release_schema(struct ArrowSchema *schema) {
    schema->release = NULL;
}

/* Declares int64 and gives float64 with a schema that says so. */
SCALAR(wrong_type) {
    UNUSED;
    *result = sum(arguments);
    *result_schema = (struct ArrowSchema){.format = "g", .name = "", .flags = ARROW_FLAG_NULLABLE, .release = release_schema};
    return 0;
}

/* Declares nothing, and says nothing. */
SCALAR(no_schema) {
    UNUSED;
    *result = sum(arguments);
    return 0;
}

SCALAR(bad_format) {
    UNUSED;
    *result = sum(arguments);
    *result_schema = (struct ArrowSchema){.format = "no such type", .name = "", .release = release_schema};
    return 0;
}

/* Fails, and its result is there all the same: it must be released. */
SCALAR(fails_with_result) {
    UNUSED;
    *result = sum(arguments);
    return transom_call_fail(call, "ValueError", "as asked", 2);
}

/* Fails for batches with a three in them, whichever row that is. */
SCALAR(no_threes) {
    UNUSED;
    const struct ArrowArray *x = arguments->children[0];
    for (int64_t row = 0; row < x->length; row++) {
        if (((const int64_t *)x->buffers[1])[x->offset + row] == 3) return transom_call_fail(call, "ValueError", "three", -1);
    }
    *result = sum(arguments);
    return 0;
}

SCALAR(fails_plainly) {
    UNUSED;
    return transom_call_fail(call, NULL, NULL, INT64_MIN);
}

/* Returns a number of its own without having said why. */
SCALAR(returns_number) {
    UNUSED;
    return 12345;
}

/* Says why it failed, and then returns 0. */
SCALAR(fails_and_succeeds) {
    UNUSED;
    transom_call_fail(call, "ValueError", "as asked", -1);
    *result = sum(arguments);
    return 0;
}

SCALAR(dies) {
    UNUSED;
    abort();
}

SCALAR(exits) {
    UNUSED;
    _exit(7);
}

/* Moves its arguments out and keeps them until the process ends. */
static struct ArrowArray kept;
SCALAR(keeps) {
    UNUSED;
    *result = sum(arguments);
    if (kept.release != NULL) kept.release(&kept);
    kept = *arguments;
    arguments->release = NULL;
    return 0;
}

/* Results that no array can be; `user_data` is the number of the fault. */
SCALAR(absurd) {
    UNUSED;
    *result = sum(arguments);
    switch (*(const char *)user_data) {
    case '0': result->length = -1; break;
    case '1': result->length = INT64_MAX; break;
    case '2': result->offset = -8; break;
    case '3': result->offset = INT64_MAX; break;
    case '4': result->null_count = INT64_MAX; break;
    case '5': result->n_buffers = 1; break;
    case '6': result->n_buffers = INT64_MAX; break;
    case '7': result->n_children = INT64_MAX; break;
    case '8': result->n_children = -1; break;
    case '9': result->buffers[1] = NULL; break;
    default: result->null_count = 1; break; /* but there is no validity buffer */
    }
    return 0;
}

/* A stream of faults; which one `user_data` of its function says. */
struct faulty {
    struct ArrowArrayStream input;
    transom_call_t *call;
    char fault;
};

static int faulty_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out) {
    struct faulty *faulty = stream->private_data;
    if (faulty->fault == 's') return EIO;
    if (faulty->fault == 'n') return 0; /* and writes nothing */
    return faulty->input.get_schema(&faulty->input, out);
}

static int faulty_next(struct ArrowArrayStream *stream, struct ArrowArray *out) {
    struct faulty *faulty = stream->private_data;
    switch (faulty->fault) {
    case 'e': return EIO;
    case 'm': return ENOSPC;
    case 'f': return transom_call_fail(faulty->call, "ValueError", "no more", 1);
    case 'c': /* not a struct array, as batches are */
        *out = values_array(4);
        return 0;
    case 'k': _exit(9);
    default: return faulty->input.get_next(&faulty->input, out);
    }
}

static const char *faulty_error(struct ArrowArrayStream *stream) {
    return ((struct faulty *)stream->private_data)->fault == 'm' ? "the disk is full" : NULL;
}

static void faulty_release(struct ArrowArrayStream *stream) {
    struct faulty *faulty = stream->private_data;
    faulty->input.release(&faulty->input);
    free(faulty);
    stream->release = NULL;
}

static int32_t batches(void *user_data, transom_call_t *call, struct ArrowArrayStream *input, struct ArrowArrayStream *output) {
    char fault = *(const char *)user_data;
    if (fault == '0') return 0; /* without an output */
    if (fault == 'r') return transom_call_fail(call, "ValueError", "not today", -1);
    struct faulty *faulty = malloc(sizeof *faulty);
    *faulty = (struct faulty){*input, call, fault};
    input->release = NULL;
    *output = (struct ArrowArrayStream){faulty_schema, faulty_next, faulty_error, faulty_release, faulty};
    if (fault == 'h') output->get_next = NULL;
    if (fault == 'l') output->get_last_error = NULL;
    return 0;
}

static const transom_field_t x = TRANSOM_FIELD("x", "l");
#define DEFINITION(given_name, function, data)                                                                                                       \
    {                                                                                                                                                \
        .size = sizeof(transom_definition_t), .name = given_name, .kind = TRANSOM_KIND_SCALAR, .parameters = &x, .parameter_count = 1, .results = &x, \
        .result_count = 1, .scalar = function, .user_data = data                                                                                     \
    }
#define UNDECLARED(given_name, function)                                                                                                             \
    {                                                                                                                                                \
        .size = sizeof(transom_definition_t), .name = given_name, .kind = TRANSOM_KIND_SCALAR, .parameters = &x, .parameter_count = 1,               \
        .scalar = function                                                                                                                           \
    }
#define BATCHES(given_name, data)                                                                                                                    \
    { .size = sizeof(transom_definition_t), .name = given_name, .kind = TRANSOM_KIND_BATCHES, .batches = batches, .user_data = data }

static const transom_definition_t good[] = {
    DEFINITION("plus_one", plus_one, NULL),
    DEFINITION("held", held, NULL),
    DEFINITION("says_nothing", says_nothing, NULL),
    DEFINITION("released", released, NULL),
    DEFINITION("short_result", short_result, NULL),
    DEFINITION("wrong_type", wrong_type, NULL),
    UNDECLARED("no_schema", no_schema),
    UNDECLARED("bad_format", bad_format),
    DEFINITION("fails_with_result", fails_with_result, NULL),
    DEFINITION("no_threes", no_threes, NULL),
    DEFINITION("fails_plainly", fails_plainly, NULL),
    DEFINITION("returns_number", returns_number, NULL),
    DEFINITION("fails_and_succeeds", fails_and_succeeds, NULL),
    DEFINITION("dies", dies, NULL),
    DEFINITION("exits", exits, NULL),
    DEFINITION("keeps", keeps, NULL),
    DEFINITION("absurd_0", absurd, "0"),
    DEFINITION("absurd_1", absurd, "1"),
    DEFINITION("absurd_2", absurd, "2"),
    DEFINITION("absurd_3", absurd, "3"),
    DEFINITION("absurd_4", absurd, "4"),
    DEFINITION("absurd_5", absurd, "5"),
    DEFINITION("absurd_6", absurd, "6"),
    DEFINITION("absurd_7", absurd, "7"),
    DEFINITION("absurd_8", absurd, "8"),
    DEFINITION("absurd_9", absurd, "9"),
    DEFINITION("absurd_10", absurd, "x"),
    BATCHES("pass", "p"),
    BATCHES("no_output", "0"),
    BATCHES("refuses", "r"),
    BATCHES("schema_fails", "s"),
    BATCHES("schema_missing", "n"),
    BATCHES("next_fails", "e"),
    BATCHES("next_fails_with_message", "m"),
    BATCHES("next_fails_by_call", "f"),
    BATCHES("no_struct", "c"),
    BATCHES("no_next", "h"),
    BATCHES("no_last_error", "l"),
    BATCHES("dies_in_stream", "k"),
};

/* One table for each fault that a table can have. */
static const transom_definition_t no_name[] = {DEFINITION(NULL, plus_one, NULL)};
static const transom_definition_t no_code[] = {DEFINITION("plus_one", NULL, NULL)};
static const transom_definition_t small[] = {{.size = 8, .name = "plus_one", .scalar = plus_one}};
static const transom_definition_t row_kind[] = {{.size = sizeof(transom_definition_t), .name = "plus_one", .kind = TRANSOM_KIND_ROW, .scalar = plus_one}};
static const transom_definition_t no_kind[] = {{.size = sizeof(transom_definition_t), .name = "plus_one", .kind = 9, .scalar = plus_one}};
static const transom_definition_t no_parameters[] = {
    {.size = sizeof(transom_definition_t), .name = "plus_one", .parameter_count = 1, .scalar = plus_one}};
static const transom_field_t small_field = {.size = 1, .name = "x", .format = "l"};
static const transom_definition_t bad_parameter[] = {
    {.size = sizeof(transom_definition_t), .name = "plus_one", .parameters = &small_field, .parameter_count = 1, .scalar = plus_one}};
static const transom_field_t bad_type = TRANSOM_FIELD("x", "no such type");
static const transom_definition_t bad_types[] = {
    {.size = sizeof(transom_definition_t), .name = "plus_one", .parameters = &bad_type, .parameter_count = 1, .scalar = plus_one}};
static const transom_field_t nameless = TRANSOM_FIELD(NULL, "l");
static const transom_definition_t no_parameter_name[] = {
    {.size = sizeof(transom_definition_t), .name = "plus_one", .parameters = &nameless, .parameter_count = 1, .scalar = plus_one}};
static const transom_field_t two[] = {TRANSOM_FIELD("x", "l"), TRANSOM_FIELD("y", "l")};
static const transom_definition_t two_results[] = {
    {.size = sizeof(transom_definition_t), .name = "plus_one", .results = two, .result_count = 2, .scalar = plus_one}};

#define TABLE(list)                                                                                                                                  \
    {                                                                                                                                                \
        .size = sizeof(transom_library_t), .abi_version = TRANSOM_ABI_VERSION, .definition_size = sizeof(transom_definition_t), .definitions = list, \
        .definition_count = sizeof(list) / sizeof((list)[0])                                                                                         \
    }

const transom_library_t *transom_library(uint32_t abi_version) {
    static const transom_library_t right = TABLE(good);
    static const transom_library_t next_version = {.size = sizeof(transom_library_t), .abi_version = TRANSOM_ABI_VERSION + 1};
    static const transom_library_t wrong_size = {.size = 3, .abi_version = TRANSOM_ABI_VERSION};
    static const transom_library_t wrong_definition_size = {.size = sizeof(transom_library_t),
                                                            .abi_version = TRANSOM_ABI_VERSION,
                                                            .definition_size = 1,
                                                            .definitions = good,
                                                            .definition_count = 1};
    static const transom_library_t no_definitions = {.size = sizeof(transom_library_t),
                                                     .abi_version = TRANSOM_ABI_VERSION,
                                                     .definition_size = sizeof(transom_definition_t),
                                                     .definition_count = 1};
    static const struct {
        const char *name;
        transom_library_t table;
    } tables[] = {
        {"no_name", TABLE(no_name)},
        {"no_code", TABLE(no_code)},
        {"small", TABLE(small)},
        {"row_kind", TABLE(row_kind)},
        {"no_kind", TABLE(no_kind)},
        {"no_parameters", TABLE(no_parameters)},
        {"bad_parameter", TABLE(bad_parameter)},
        {"bad_types", TABLE(bad_types)},
        {"no_parameter_name", TABLE(no_parameter_name)},
        {"two_results", TABLE(two_results)},
    };
    const char *wanted = getenv("MISUSE_TABLE");
    if (abi_version != TRANSOM_ABI_VERSION) return NULL;
    if (wanted == NULL) return &right;
    if (strcmp(wanted, "null") == 0) return NULL;
    if (strcmp(wanted, "next_version") == 0) return &next_version;
    if (strcmp(wanted, "wrong_size") == 0) return &wrong_size;
    if (strcmp(wanted, "wrong_definition_size") == 0) return &wrong_definition_size;
    if (strcmp(wanted, "no_definitions") == 0) return &no_definitions;
    for (size_t index = 0; index < sizeof tables / sizeof tables[0]; index++) {
        if (strcmp(wanted, tables[index].name) == 0) return &tables[index].table;
    }
    return &right;
}
