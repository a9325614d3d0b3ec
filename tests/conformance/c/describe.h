/* Values of Arrow arrays as JSON, read by hand from the structs of the Arrow C data interface. */

#ifndef CONFORMANCE_DESCRIBE_H
#define CONFORMANCE_DESCRIBE_H

#include <stdbool.h>
#include <stddef.h>

#include "transom.h"

/* A text that grows. Where there was no memory for it, or a type is not known, `failure` says so, and the text is of no use. */
struct text {
    char *data;
    size_t length;
    size_t capacity;
    const char *failure;
};

/* Appends one row of an array, counted from the array's own first row, in the notation of docs/conformance.md. */
void describe_row(struct text *out, const struct ArrowSchema *type, const struct ArrowArray *array, int64_t row);

#endif
