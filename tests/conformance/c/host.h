/* The kit's host in C: one pool and one call at a time, for a program that has an Arrow IPC reader. Functions that can fail return 0 or a code. */

#ifndef CONFORMANCE_HOST_H
#define CONFORMANCE_HOST_H

#include <stddef.h>

#include "transom.h"

/* Makes the pool, with one worker. `language` is "python", "native" or "java"; class path and options are for JVM workers. */
TRANSOM_EXPORT int32_t conformance_open(const char *language, const char *program, const char *class_path, const char *const *options, size_t count);

/* The batch in shared memory. The array is moved in, the schema only read. */
TRANSOM_EXPORT int32_t conformance_share(struct ArrowArray *array, const struct ArrowSchema *schema, struct ArrowArray *shared);

/* Begins to map a stream, which is moved in. `function` names the function in the way of the worker's language. */
TRANSOM_EXPORT int32_t conformance_map(const char *function, struct ArrowArrayStream *source);

/* The schema of the results. */
TRANSOM_EXPORT int32_t conformance_schema(struct ArrowSchema *schema);

/* The next result; its `release` is NULL when there is none. */
TRANSOM_EXPORT int32_t conformance_next(struct ArrowArray *array);

/* Ends the call. */
TRANSOM_EXPORT void conformance_end(void);

/* How many batches the workers hold. */
TRANSOM_EXPORT int32_t conformance_leases(uint64_t *leases);

/* Ends the pool. */
TRANSOM_EXPORT int32_t conformance_close(void);

/* The last failure, until the next call. */
TRANSOM_EXPORT const transom_error_t *conformance_error(void);

#endif
