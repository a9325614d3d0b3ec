/*
 * The kit's functions in C, as a shared library for transom-native-worker. No Arrow library is needed: arrays are moved as a whole, or walked by
 * describe.c.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "describe.h"

/* ---- identity ---- */

static void release_schema(struct ArrowSchema *schema) {
    for (int64_t at = 0; at < schema->n_children; at++) {
        if (schema->children[at] != NULL && schema->children[at]->release != NULL) {
            schema->children[at]->release(schema->children[at]);
        }
        free(schema->children[at]);
    }
    if (schema->dictionary != NULL && schema->dictionary->release != NULL) {
        schema->dictionary->release(schema->dictionary);
    }
    free(schema->dictionary);
    free(schema->children);
    free((char *)schema->format);
    free((char *)schema->name);
    free((char *)schema->metadata);
    schema->release = NULL;
}

/* Metadata: a number of pairs, and each key and value with its length before it. */
static size_t metadata_size(const char *metadata) {
    int32_t pairs, length;
    size_t size = sizeof pairs;
    memcpy(&pairs, metadata, sizeof pairs);
    for (int32_t text = 0; text < 2 * pairs; text++) {
        memcpy(&length, metadata + size, sizeof length);
        size += sizeof length + (size_t)length;
    }
    return size;
}

static void *copied(const void *bytes, size_t size) {
    void *copy = malloc(size);
    return copy == NULL ? NULL : memcpy(copy, bytes, size);
}

static bool copy_schema(struct ArrowSchema *to, const struct ArrowSchema *from);

static struct ArrowSchema *new_copy(const struct ArrowSchema *from) {
    struct ArrowSchema *made = calloc(1, sizeof *made);
    if (made != NULL && !copy_schema(made, from)) {
        free(made);
        return NULL;
    }
    return made;
}

/* A schema that is the same all the way down. Gives false, and nothing to release, where there is no memory. */
static bool copy_schema(struct ArrowSchema *to, const struct ArrowSchema *from) {
    memset(to, 0, sizeof *to);
    to->flags = from->flags;
    to->release = release_schema;
    to->format = copied(from->format, strlen(from->format) + 1);
    to->name = from->name == NULL ? NULL : copied(from->name, strlen(from->name) + 1);
    to->metadata = from->metadata == NULL ? NULL : copied(from->metadata, metadata_size(from->metadata));
    to->dictionary = from->dictionary == NULL ? NULL : new_copy(from->dictionary);
    to->children = calloc((size_t)from->n_children + 1, sizeof *to->children);
    bool whole = to->format != NULL && to->children != NULL && !to->name == !from->name && !to->metadata == !from->metadata &&
                 !to->dictionary == !from->dictionary;
    while (whole && to->n_children < from->n_children) {
        to->children[to->n_children] = new_copy(from->children[to->n_children]);
        whole = to->children[to->n_children++] != NULL;
    }
    if (!whole) {
        release_schema(to);
    }
    return whole;
}

/* The one argument as the result. A child may be moved out of its parent: what was moved is marked as released, and the parent leaves it out. */
static int32_t identity(void *user_data, struct transom_call_t *call, struct ArrowArray *arguments, const struct ArrowSchema *schema,
                        struct ArrowArray *result, struct ArrowSchema *result_schema) {
    (void)user_data;
    if (!copy_schema(result_schema, schema->children[0])) {
        return transom_call_fail(call, "MemoryError", "there is no memory for the schema", -1);
    }
    bool whole = arguments->offset == 0 && arguments->length == arguments->children[0]->length;
    *result = *arguments->children[0];
    arguments->children[0]->release = NULL;
    /* A struct's offset and length count for its children. */
    result->offset += arguments->offset;
    result->length = arguments->length;
    result->null_count = whole ? result->null_count : -1;
    return 0;
}

/* A stream is moved like an array: its struct is copied, and the old one marked as released. */
static int32_t identity_batches(void *user_data, struct transom_call_t *call, struct ArrowArrayStream *input, struct ArrowArrayStream *output) {
    (void)user_data;
    (void)call;
    *output = *input;
    input->release = NULL;
    return 0;
}

/* ---- describe ---- */

/* A column of texts: no validity, offsets, and the bytes, in the order of the interface. */
struct texts {
    const void *buffers[3];
    int32_t *offsets;
    struct text bytes;
};

static void release_texts(struct ArrowArray *array) {
    struct texts *texts = array->private_data;
    free(texts->offsets);
    free(texts->bytes.data);
    free(texts);
    array->release = NULL;
}

static const char *fill(struct texts *texts, const struct ArrowSchema *type, const struct ArrowArray *array, int64_t first, int64_t rows) {
    texts->offsets = calloc((size_t)rows + 1, sizeof *texts->offsets);
    if (texts->offsets == NULL) {
        return "there is no memory for the offsets";
    }
    for (int64_t row = 0; row < rows; row++) {
        describe_row(&texts->bytes, type, array, first + row);
        if (texts->bytes.failure == NULL && texts->bytes.length > INT32_MAX) {
            texts->bytes.failure = "the batch has more text than one array of utf8 can hold";
        }
        if (texts->bytes.failure != NULL) {
            return texts->bytes.failure;
        }
        texts->offsets[row + 1] = (int32_t)texts->bytes.length;
    }
    return NULL;
}

static int32_t describe(void *user_data, struct transom_call_t *call, struct ArrowArray *arguments, const struct ArrowSchema *schema,
                        struct ArrowArray *result, struct ArrowSchema *result_schema) {
    (void)user_data;
    (void)result_schema; /* the result's type is declared */
    struct texts *texts = calloc(1, sizeof *texts);
    if (texts == NULL) {
        return transom_call_fail(call, "MemoryError", "there is no memory for the result", -1);
    }
    memset(result, 0, sizeof *result);
    result->private_data = texts;
    const char *failure = fill(texts, schema->children[0], arguments->children[0], arguments->offset, arguments->length);
    if (failure != NULL) {
        release_texts(result);
        return transom_call_fail(call, "TypeError", failure, -1);
    }
    texts->buffers[1] = texts->offsets;
    texts->buffers[2] = texts->bytes.data;
    result->length = arguments->length;
    result->n_buffers = 3;
    result->buffers = texts->buffers;
    result->release = release_texts;
    return 0;
}

/* ---- the table ---- */

static const transom_field_t X[] = {{sizeof(transom_field_t), "x", NULL, NULL, 0}};
static const transom_field_t TEXT[] = {{sizeof(transom_field_t), NULL, "u", NULL, TRANSOM_FIELD_NOT_NULL}};

static const transom_definition_t FUNCTIONS[] = {
    {.size = sizeof(transom_definition_t), .name = "identity", .kind = TRANSOM_KIND_SCALAR, .parameters = X, .parameter_count = 1, .scalar = identity},
    {.size = sizeof(transom_definition_t), .name = "identity_batches", .kind = TRANSOM_KIND_BATCHES, .batches = identity_batches},
    {.size = sizeof(transom_definition_t),
     .name = "describe",
     .kind = TRANSOM_KIND_SCALAR,
     .parameters = X,
     .parameter_count = 1,
     .results = TEXT,
     .result_count = 1,
     .scalar = describe},
};

static const transom_library_t LIBRARY = {
    .size = sizeof(transom_library_t),
    .abi_version = TRANSOM_ABI_VERSION,
    .definition_size = sizeof(transom_definition_t),
    .definitions = FUNCTIONS,
    .definition_count = sizeof FUNCTIONS / sizeof FUNCTIONS[0],
    .language = "C99",
};

TRANSOM_EXPORT const transom_library_t *transom_library(uint32_t abi_version) {
    return abi_version == TRANSOM_ABI_VERSION ? &LIBRARY : NULL;
}
