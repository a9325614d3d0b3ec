/* Arrow arrays by hand, as little as the examples need: C programs that have an Arrow library such as nanoarrow use that. Everything that is made here
 * frees itself by its `release`, whoever calls that. */
#ifndef TRANSOM_EXAMPLES_ARRAYS_H
#define TRANSOM_EXAMPLES_ARRAYS_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transom.h"

/* Memory, or the end: an example has no better idea. */
static inline void *some(size_t bytes) {
    void *memory = calloc(1, bytes > 0 ? bytes : 1);
    if (memory == NULL) {
        abort();
    }
    return memory;
}

static inline void release_array(struct ArrowArray *array) {
    for (int64_t i = 0; i < array->n_buffers; i++) {
        free((void *)array->buffers[i]);
    }
    for (int64_t i = 0; i < array->n_children; i++) {
        if (array->children[i]->release != NULL) {
            array->children[i]->release(array->children[i]);
        }
        free(array->children[i]);
    }
    free((void *)array->buffers);
    free(array->children);
    array->release = NULL;
}

/* An array whose buffers and children are still to be filled. */
static inline void make_array(struct ArrowArray *array, int64_t length, int64_t buffers, int64_t children) {
    memset(array, 0, sizeof *array);
    array->length = length;
    array->n_buffers = buffers;
    array->buffers = (const void **)some((size_t)buffers * sizeof(void *));
    array->n_children = children;
    array->children = (struct ArrowArray **)some((size_t)children * sizeof(struct ArrowArray *));
    for (int64_t i = 0; i < children; i++) {
        array->children[i] = (struct ArrowArray *)some(sizeof(struct ArrowArray));
    }
    array->release = release_array;
}

static inline void release_schema(struct ArrowSchema *schema) {
    for (int64_t i = 0; i < schema->n_children; i++) {
        if (schema->children[i]->release != NULL) {
            schema->children[i]->release(schema->children[i]);
        }
        free(schema->children[i]);
    }
    free(schema->children);
    schema->release = NULL;
}

/* A nullable field. `format` and `name` are literals. */
static inline void make_schema(struct ArrowSchema *schema, const char *format, const char *name, int64_t children) {
    memset(schema, 0, sizeof *schema);
    schema->format = format;
    schema->name = name;
    schema->flags = ARROW_FLAG_NULLABLE;
    schema->n_children = children;
    schema->children = (struct ArrowSchema **)some((size_t)children * sizeof(struct ArrowSchema *));
    for (int64_t i = 0; i < children; i++) {
        schema->children[i] = (struct ArrowSchema *)some(sizeof(struct ArrowSchema));
    }
    schema->release = release_schema;
}

/* The schema of a batch with one column. A batch is a struct array that is never null. */
static inline void make_batch_schema(struct ArrowSchema *schema, const char *name, const char *format) {
    make_schema(schema, "+s", "", 1);
    schema->flags = 0;
    make_schema(schema->children[0], format, name, 0);
}

static inline int is_null(const struct ArrowArray *array, int64_t row) {
    const uint8_t *bits = (const uint8_t *)array->buffers[0];
    int64_t at = array->offset + row;
    return bits != NULL && !(bits[at / 8] >> (at % 8) & 1);
}

/* Room for `rows` bits, all of them set. */
static inline uint8_t *all_valid(int64_t rows) {
    size_t bytes = (size_t)(rows + 7) / 8;
    return (uint8_t *)memset(some(bytes), 0xff, bytes);
}

static inline void set_null(struct ArrowArray *array, int64_t row) {
    uint8_t *bits = (uint8_t *)array->buffers[0];
    if (bits == NULL) {
        bits = all_valid(array->length);
        array->buffers[0] = bits;
    }
    bits[row / 8] &= (uint8_t)~(1u << (row % 8));
    array->null_count++;
}

static inline void make_int64(struct ArrowArray *array, const int64_t *values, int64_t length) {
    make_array(array, length, 2, 0);
    int64_t *copy = (int64_t *)some((size_t)length * sizeof *values);
    memcpy(copy, values, (size_t)length * sizeof *values);
    array->buffers[1] = copy;
}

/* A batch with one column of numbers, none of them null. */
static inline void make_batch(struct ArrowArray *batch, const int64_t *values, int64_t length) {
    make_array(batch, length, 1, 1);
    make_int64(batch->children[0], values, length);
}

static inline const int64_t *int64_values(const struct ArrowArray *array) {
    return (const int64_t *)array->buffers[1] + array->offset;
}

static inline const int32_t *text_offsets(const struct ArrowArray *array) {
    return (const int32_t *)array->buffers[1] + array->offset;
}

/* Prints a column of int64 or utf8, and what it is. */
static inline void print_column(const char *title, const struct ArrowArray *column, const char *format) {
    printf("%s: [", title);
    for (int64_t row = 0; row < column->length; row++) {
        printf("%s", row > 0 ? ", " : "");
        if (is_null(column, row)) {
            printf("null");
        } else if (strcmp(format, "u") == 0) {
            const int32_t *offsets = text_offsets(column);
            printf("\"%.*s\"", (int)(offsets[row + 1] - offsets[row]), (const char *)column->buffers[2] + offsets[row]);
        } else {
            printf("%" PRId64, int64_values(column)[row]);
        }
    }
    printf("]\n");
}

#endif
