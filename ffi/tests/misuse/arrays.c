/* Batches and streams by hand, as any producer makes them, with a count of those that live. */
#include "misuse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

atomic_int live_arrays;
atomic_int live_streams;

/* A struct array and its one child. The child may be moved out, so what both lie in is freed with the later of the two. */
struct owner {
    atomic_int users;
    struct ArrowArray child;
    struct ArrowArray *children[1];
    const void *struct_buffers[1];
    const void *buffers[2];
    int64_t values[];
};

static void leave(struct owner *owner) {
    if (atomic_fetch_sub(&owner->users, 1) == 1) {
        free(owner);
        live_arrays--;
    }
}

static void release_child(struct ArrowArray *array) {
    struct owner *owner = array->private_data;
    array->release = NULL;
    leave(owner);
}

static void release_batch(struct ArrowArray *array) {
    struct owner *owner = array->private_data;
    if (owner->child.release != NULL) owner->child.release(&owner->child);
    array->release = NULL;
    leave(owner);
}

struct ArrowArray x_batch(int64_t length) {
    struct owner *owner = calloc(1, sizeof *owner + (size_t)length * sizeof(int64_t));
    live_arrays++;
    owner->users = 2;
    owner->children[0] = &owner->child;
    owner->buffers[1] = owner->values;
    for (int64_t row = 0; row < length; row++) owner->values[row] = row;
    owner->child = (struct ArrowArray){
        .length = length, .n_buffers = 2, .buffers = owner->buffers, .release = release_child, .private_data = owner};
    return (struct ArrowArray){.length = length,
                               .n_buffers = 1,
                               .n_children = 1,
                               .buffers = owner->struct_buffers,
                               .children = owner->children,
                               .release = release_batch,
                               .private_data = owner};
}

struct ArrowArray *child_of(struct ArrowArray *batch) {
    return batch->children[0];
}

void release_array(struct ArrowArray *array) {
    if (array->release != NULL) array->release(array);
}

/* Schemas that lie in the program: there is nothing to free. */
static void release_schema(struct ArrowSchema *schema) {
    schema->release = NULL;
}

static struct ArrowSchema x_field = {.format = "l", .name = "x", .flags = ARROW_FLAG_NULLABLE, .release = release_schema};
static struct ArrowSchema *x_fields[] = {&x_field};
struct ArrowSchema x_schema = {.format = "+s", .name = "", .n_children = 1, .children = x_fields, .release = release_schema};

struct source {
    int left;
    int error;
    const char *message;
};

static int source_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out) {
    (void)stream;
    *out = x_schema;
    return 0;
}

static int source_next(struct ArrowArrayStream *stream, struct ArrowArray *out) {
    struct source *source = stream->private_data;
    if (source->left-- > 0) {
        *out = x_batch(4);
        return 0;
    }
    if (source->error == 0) memset(out, 0, sizeof *out);
    return source->error;
}

static const char *source_error(struct ArrowArrayStream *stream) {
    return ((struct source *)stream->private_data)->message;
}

static void release_source(struct ArrowArrayStream *stream) {
    free(stream->private_data);
    stream->release = NULL;
    live_streams--;
}

struct ArrowArrayStream x_stream(int count, int error, const char *message) {
    struct source *source = malloc(sizeof *source);
    *source = (struct source){count, error, message};
    live_streams++;
    return (struct ArrowArrayStream){source_schema, source_next, source_error, release_source, source};
}
