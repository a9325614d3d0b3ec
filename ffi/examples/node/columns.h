/* Columns of JavaScript as structs of the Arrow C data interface, and back. apache-arrow for JavaScript has no C data interface of its own, so this
 * is a bridge for flat types: integers, floats, booleans, utf8 and binary, with 32-bit or 64-bit offsets. A nested, dictionary or temporal
 * type is an error that names its format. Each way copies once: memory that JavaScript's collector frees some day cannot be lent.
 *
 * In JavaScript a batch is { length, columns: [{ name, format, nullCount, buffers: [Uint8Array | null, ...] }] }. */
#ifndef TRANSOM_NODE_COLUMNS_H
#define TRANSOM_NODE_COLUMNS_H

#include <node_api.h>
#include <stdbool.h>
#include <transom.h>

/* Throws, where nothing was thrown yet; gives NULL, which is undefined for JavaScript. */
napi_value thrown(napi_env env, const char *message);

/* Throws an error of the library's as an Error of JavaScript's, and frees it. */
napi_value throw_failure(napi_env env, transom_error_t *error);

/* A batch for C. Where there is a pool it lies in the pool's shared memory, and crosses without another copy. False where it threw. */
bool batch_to_c(napi_env env, napi_value batch, transom_pool_t *pool, struct ArrowArray *out, struct ArrowSchema *schema);

/* The only column of a batch, as a function gives it. */
bool column_to_c(napi_env env, napi_value batch, struct ArrowArray *out, struct ArrowSchema *schema);

/* A batch for JavaScript. The structs stay the caller's to release. NULL where it threw. */
napi_value batch_to_js(napi_env env, const struct ArrowArray *array, const struct ArrowSchema *schema);

/* A member of an object; undefined where there is none. */
napi_value member(napi_env env, napi_value object, const char *name);
int64_t number_of(napi_env env, napi_value value);
/* A text, to be freed; NULL where the value is none. */
char *text_of(napi_env env, napi_value value);
napi_value text_value(napi_env env, const char *text);

#endif
