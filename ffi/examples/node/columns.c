#include "columns.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

napi_value thrown(napi_env env, const char *message) {
    bool pending = false;
    napi_is_exception_pending(env, &pending);
    if (!pending) napi_throw_error(env, NULL, message);
    return NULL;
}

napi_value member(napi_env env, napi_value object, const char *name) {
    napi_value value = NULL;
    if (napi_get_named_property(env, object, name, &value) != napi_ok) napi_get_undefined(env, &value);
    return value;
}

int64_t number_of(napi_env env, napi_value value) {
    int64_t number = 0;
    return napi_get_value_int64(env, value, &number) == napi_ok ? number : 0;
}

char *text_of(napi_env env, napi_value value) {
    size_t length = 0;
    if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok) return NULL;
    char *text = malloc(length + 1);
    if (text != NULL) napi_get_value_string_utf8(env, value, text, length + 1, &length);
    return text;
}

napi_value text_value(napi_env env, const char *text) {
    napi_value value = NULL;
    if (text == NULL || napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value) != napi_ok) napi_get_null(env, &value);
    return value;
}

/* The types: how many bits a value has, or how many bytes an offset. */
struct kind {
    char format;
    int bits;
    int offset_bytes;
};

static const struct kind kinds[] = {{'b', 1, 0},  {'c', 8, 0},  {'C', 8, 0},  {'s', 16, 0}, {'S', 16, 0}, {'i', 32, 0}, {'I', 32, 0},
                                    {'l', 64, 0}, {'L', 64, 0}, {'f', 32, 0}, {'g', 64, 0}, {'u', 0, 4},  {'U', 0, 8},  {'z', 0, 4},
                                    {'Z', 0, 8}};

static const struct kind *kind_of(napi_env env, const char *format) {
    char message[128];
    for (size_t index = 0; format != NULL && format[0] != 0 && format[1] == 0 && index < sizeof kinds / sizeof kinds[0]; index++) {
        if (kinds[index].format == format[0]) return &kinds[index];
    }
    snprintf(message, sizeof message, "the bridge has no columns of the format %.40s", format == NULL ? "NULL" : format);
    thrown(env, message);
    return NULL;
}

/* What a batch of JavaScript's lies in for C. Its columns may be moved out, so it is freed with the last of them. */
struct block {
    atomic_int users;
    transom_memory_t *memory;
    struct ArrowArray **pointers;
    struct ArrowArray *columns;
    const void *struct_buffers[1];
    const void *buffers[];
};

static void leave(struct ArrowArray *array) {
    struct block *block = array->private_data;
    array->release = NULL;
    if (atomic_fetch_sub(&block->users, 1) > 1) return;
    transom_memory_free(block->memory);
    free(block->pointers);
    free(block->columns);
    free(block);
}

static void release_batch(struct ArrowArray *array) {
    for (int64_t index = 0; index < array->n_children; index++) {
        struct ArrowArray *column = array->children[index];
        if (column->release != NULL) column->release(column);
    }
    leave(array);
}

static void release_schema(struct ArrowSchema *schema) {
    for (int64_t index = 0; index < schema->n_children; index++) {
        struct ArrowSchema *child = schema->children[index];
        if (child->release != NULL) child->release(child);
        free(child);
    }
    free(schema->children);
    free((void *)schema->format);
    free((void *)schema->name);
    schema->release = NULL;
}

static struct ArrowSchema schema_of(char *format, char *name, int64_t children) {
    return (struct ArrowSchema){.format = format,
                                .name = name,
                                .flags = children > 0 ? 0 : ARROW_FLAG_NULLABLE,
                                .n_children = children,
                                .children = calloc((size_t)children + 1, sizeof(struct ArrowSchema *)),
                                .release = release_schema};
}

/* One buffer of a column in JavaScript. */
static bool bytes_of(napi_env env, napi_value column, uint32_t index, const void **data, size_t *length) {
    napi_value buffer;
    napi_typedarray_type type;
    *data = NULL;
    *length = 0;
    if (napi_get_element(env, member(env, column, "buffers"), index, &buffer) != napi_ok) return false;
    if (napi_get_typedarray_info(env, buffer, &type, length, (void **)data, NULL, NULL) != napi_ok) return true; /* null: there is none */
    return type == napi_uint8_array;
}

static size_t aligned(size_t bytes) {
    return (bytes + 63) & ~(size_t)63;
}

/* Room for all buffers of a batch: shared memory where there is a pool, and else behind the block itself. */
static char *room_for(napi_env env, napi_value columns, uint32_t count, transom_pool_t *pool, struct block **made) {
    size_t total = 0, length;
    const void *data;
    napi_value column;
    for (uint32_t index = 0; index < count; index++) {
        if (napi_get_element(env, columns, index, &column) != napi_ok) return NULL;
        for (uint32_t buffer = 0; buffer < 3; buffer++) {
            if (!bytes_of(env, column, buffer, &data, &length)) return NULL;
            total += aligned(length);
        }
    }
    size_t head = aligned(sizeof **made + 3 * count * sizeof(void *));
    struct block *block = calloc(1, head + (pool == NULL ? total : 0));
    void *room = (char *)block + head;
    transom_error_t *error = NULL;
    if (block == NULL || (pool != NULL && transom_pool_allocate(pool, total, &room, &block->memory, &error) != 0)) {
        if (error != NULL) throw_failure(env, error);
        free(block);
        return NULL;
    }
    *made = block;
    return room;
}

bool batch_to_c(napi_env env, napi_value batch, transom_pool_t *pool, struct ArrowArray *out, struct ArrowSchema *schema) {
    napi_value columns = member(env, batch, "columns"), column;
    uint32_t count = 0;
    struct block *block = NULL;
    char *room = napi_get_array_length(env, columns, &count) == napi_ok ? room_for(env, columns, count, pool, &block) : NULL;
    if (room == NULL) return thrown(env, "a batch is { length, columns }, and there is memory for it") != NULL;
    int64_t rows = number_of(env, member(env, batch, "length"));
    block->users = (int)count + 1;
    block->columns = calloc(count + 1, sizeof *block->columns);
    block->pointers = calloc(count + 1, sizeof *block->pointers);
    *schema = schema_of(strdup("+s"), strdup(""), count);
    schema->flags = 0;
    for (uint32_t index = 0; index < count; index++) {
        const void **buffers = block->buffers + 3 * (size_t)index;
        napi_get_element(env, columns, index, &column);
        for (uint32_t buffer = 0; buffer < 3; buffer++) {
            const void *data;
            size_t length;
            bytes_of(env, column, buffer, &data, &length);
            if (data == NULL) continue;
            buffers[buffer] = memcpy(room, data, length);
            room += aligned(length);
        }
        schema->children[index] = malloc(sizeof **schema->children);
        *schema->children[index] = schema_of(text_of(env, member(env, column, "format")), text_of(env, member(env, column, "name")), 0);
        const struct kind *kind = kind_of(env, schema->children[index]->format);
        block->columns[index] = (struct ArrowArray){.length = rows,
                                                    .null_count = number_of(env, member(env, column, "nullCount")),
                                                    .n_buffers = kind != NULL && kind->offset_bytes > 0 ? 3 : 2,
                                                    .buffers = buffers,
                                                    .release = leave,
                                                    .private_data = block};
        block->pointers[index] = &block->columns[index];
    }
    *out = (struct ArrowArray){.length = rows,
                               .n_buffers = 1,
                               .n_children = count,
                               .buffers = block->struct_buffers,
                               .children = block->pointers,
                               .release = release_batch,
                               .private_data = block};
    bool pending = false;
    napi_is_exception_pending(env, &pending);
    if (pending) {
        out->release(out);
        schema->release(schema);
    }
    return !pending;
}

bool column_to_c(napi_env env, napi_value batch, struct ArrowArray *out, struct ArrowSchema *schema) {
    struct ArrowArray array;
    struct ArrowSchema whole;
    if (!batch_to_c(env, batch, NULL, &array, &whole)) return false;
    bool one = array.n_children == 1;
    if (one) {
        *out = *array.children[0];
        *schema = *whole.children[0];
        array.children[0]->release = NULL;
        whole.children[0]->release = NULL;
    }
    array.release(&array);
    whole.release(&whole);
    return one || thrown(env, "a scalar function gives one column") != NULL;
}

static napi_value copy_of(napi_env env, const void *data, size_t length) {
    void *copy = NULL;
    napi_value buffer = NULL;
    if (napi_create_arraybuffer(env, length, &copy, &buffer) == napi_ok && length > 0) memcpy(copy, data, length);
    return buffer;
}

/* Bits from an offset on, as bits from 0 on. */
static napi_value bits_of(napi_env env, const uint8_t *bits, int64_t offset, int64_t length) {
    void *data = NULL;
    napi_value buffer = NULL;
    if (bits == NULL || napi_create_arraybuffer(env, (size_t)(length + 7) / 8, &data, &buffer) != napi_ok) return text_value(env, NULL);
    for (int64_t row = 0; row < length; row++) {
        int64_t at = offset + row;
        ((uint8_t *)data)[row / 8] |= (uint8_t)((bits[at / 8] >> (at % 8) & 1) << (row % 8));
    }
    return buffer;
}

/* The buffers of a column, without its offset. */
static bool set_buffers(napi_env env, napi_value buffers, const struct ArrowArray *column, const struct kind *kind) {
    const char *values = column->buffers[1];
    int64_t from = column->offset, rows = column->length;
    napi_set_element(env, buffers, 0, bits_of(env, column->buffers[0], from, rows));
    if (kind->bits == 1) {
        return napi_set_element(env, buffers, 1, bits_of(env, (const uint8_t *)values, from, rows)) == napi_ok;
    }
    if (kind->bits > 1) {
        int width = kind->bits / 8;
        return napi_set_element(env, buffers, 1, copy_of(env, rows == 0 ? NULL : values + from * width, (size_t)(rows * width))) == napi_ok;
    }
    static const int64_t no_offsets[] = {0};
    const char *offsets = rows == 0 ? (const char *)no_offsets : values + from * kind->offset_bytes;
    int64_t end = kind->offset_bytes == 4 ? ((const int32_t *)offsets)[rows] : ((const int64_t *)offsets)[rows];
    napi_set_element(env, buffers, 1, copy_of(env, offsets, (size_t)((rows + 1) * kind->offset_bytes)));
    return napi_set_element(env, buffers, 2, copy_of(env, column->buffers[2], (size_t)end)) == napi_ok;
}

static napi_value column_to_js(napi_env env, const struct ArrowArray *column, const struct ArrowSchema *schema) {
    const struct kind *kind = kind_of(env, schema->format);
    napi_value made, buffers, count;
    if (kind == NULL || napi_create_object(env, &made) != napi_ok || napi_create_array(env, &buffers) != napi_ok) return NULL;
    napi_create_int64(env, column->buffers[0] == NULL ? 0 : column->null_count, &count);
    napi_set_named_property(env, made, "name", text_value(env, schema->name));
    napi_set_named_property(env, made, "format", text_value(env, schema->format));
    napi_set_named_property(env, made, "nullCount", count);
    napi_set_named_property(env, made, "buffers", buffers);
    return set_buffers(env, buffers, column, kind) ? made : NULL;
}

napi_value batch_to_js(napi_env env, const struct ArrowArray *array, const struct ArrowSchema *schema) {
    napi_value made, columns, length;
    if (napi_create_object(env, &made) != napi_ok || napi_create_array(env, &columns) != napi_ok) return thrown(env, "no memory");
    napi_create_int64(env, array->length, &length);
    napi_set_named_property(env, made, "length", length);
    napi_set_named_property(env, made, "columns", columns);
    for (int64_t index = 0; index < array->n_children; index++) {
        napi_value column = column_to_js(env, array->children[index], schema->children[index]);
        if (column == NULL) return thrown(env, "the column cannot be copied");
        napi_set_element(env, columns, (uint32_t)index, column);
    }
    return made;
}
