/*
 * Every type of Arrow, walked by hand. What the C data interface asks of a reader is all here:
 *
 * - An array's `offset` counts in all of its own buffers. The children of structs, fixed-size lists and sparse unions are read from that offset on
 *   as well, before their own offset is added; those of lists, maps, dense unions and run-end encoding only from where the offsets say.
 * - Validity is buffer 0, one bit a row, the lowest first. It may be missing where there are no nulls; `null_count` may be -1. Nulls, unions and
 *   run-end encoded arrays have none.
 * - A dictionary-encoded array is one of its keys; `dictionary` has the values, and the schema's format is that of the keys.
 * - Buffers of arrays without rows may be missing.
 */

#include "describe.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- text ---- */

static void append(struct text *out, const char *bytes, size_t length) {
    if (out->failure != NULL) {
        return;
    }
    if (out->capacity - out->length < length) {
        size_t capacity = 2 * (out->length + length);
        char *grown = realloc(out->data, capacity);
        if (grown == NULL) {
            out->failure = "there is no memory for the text";
            return;
        }
        out->data = grown;
        out->capacity = capacity;
    }
    memcpy(out->data + out->length, bytes, length);
    out->length += length;
}

static void put(struct text *out, const char *words) {
    append(out, words, strlen(words));
}

/* A short text by a format, such as a number. */
#define PUT(out, ...)                                                                                                                                  \
    do {                                                                                                                                               \
        char short_text[96];                                                                                                                           \
        snprintf(short_text, sizeof short_text, __VA_ARGS__);                                                                                          \
        put(out, short_text);                                                                                                                          \
    } while (0)

/* A JSON string of UTF-8. */
static void put_string(struct text *out, const uint8_t *bytes, int64_t length) {
    put(out, "\"");
    for (int64_t at = 0; at < length; at++) {
        if (bytes[at] == '"' || bytes[at] == '\\') {
            PUT(out, "\\%c", bytes[at]);
        } else if (bytes[at] < 0x20) {
            PUT(out, "\\u%04x", bytes[at]);
        } else {
            append(out, (const char *)&bytes[at], 1);
        }
    }
    put(out, "\"");
}

static void put_hex(struct text *out, const uint8_t *bytes, int64_t length) {
    put(out, "\"");
    for (int64_t at = 0; at < length; at++) {
        PUT(out, "%02X", bytes[at]);
    }
    put(out, "\"");
}

/* ---- buffers ---- */

static const uint8_t *buffer(const struct ArrowArray *array, int64_t number) {
    return array->buffers[number];
}

static bool bit(const uint8_t *bits, int64_t at) {
    return (bits[at / 8] >> (at % 8)) & 1;
}

/* Integers are read byte by byte, so that no alignment is asked for. */
static uint64_t read_unsigned(const uint8_t *bytes, int width) {
    uint64_t value = 0;
    for (int at = width - 1; at >= 0; at--) {
        value = value << 8 | bytes[at];
    }
    return value;
}

static int64_t read_signed(const uint8_t *bytes, int width) {
    int unused = 64 - 8 * width;
    uint64_t value = read_unsigned(bytes, width) << unused;
    /* An arithmetic shift, written so that it is one on every machine. */
    return value >> 63 ? ~(int64_t)(~value >> unused) : (int64_t)(value >> unused);
}

/* The entry `at` of a buffer of integers. */
static int64_t entry(const struct ArrowArray *array, int64_t number, int width, int64_t at) {
    return read_signed(buffer(array, number) + at * width, width);
}

static bool starts(const char *format, const char *with) {
    return strncmp(format, with, strlen(with)) == 0;
}

static bool has_validity(const char *format) {
    return !(strcmp(format, "n") == 0 || starts(format, "+u") || strcmp(format, "+r") == 0);
}

static bool is_null(const struct ArrowSchema *type, const struct ArrowArray *array, int64_t row) {
    if (strcmp(type->format, "n") == 0) {
        return true;
    }
    return has_validity(type->format) && buffer(array, 0) != NULL && !bit(buffer(array, 0), array->offset + row);
}

/* ---- values of a fixed width ---- */

/* How an integer is written: as a number, as the text of one, or its bits. */
enum form { NUMBER, DIGITS, BITS };

struct fixed {
    const char *format;
    int width;
    bool is_signed;
    enum form form;
};

/* A format that ends in ":" has parameters behind it. */
static const struct fixed FIXED[] = {
    {"c", 1, true, NUMBER},   {"C", 1, false, NUMBER},  {"s", 2, true, NUMBER},   {"S", 2, false, NUMBER},  {"i", 4, true, NUMBER},
    {"I", 4, false, NUMBER},  {"l", 8, true, DIGITS},   {"L", 8, false, DIGITS},  {"e", 2, false, BITS},    {"f", 4, false, BITS},
    {"g", 8, false, BITS},    {"tdD", 4, true, NUMBER}, {"tdm", 8, true, DIGITS}, {"tts", 4, true, NUMBER}, {"ttm", 4, true, NUMBER},
    {"ttu", 8, true, DIGITS}, {"ttn", 8, true, DIGITS}, {"tss:", 8, true, DIGITS}, {"tsm:", 8, true, DIGITS}, {"tsu:", 8, true, DIGITS},
    {"tsn:", 8, true, DIGITS}, {"tDs", 8, true, DIGITS}, {"tDm", 8, true, DIGITS}, {"tDu", 8, true, DIGITS}, {"tDn", 8, true, DIGITS},
    {"tiM", 4, true, NUMBER},
};

static const struct fixed *fixed_format(const char *format) {
    for (size_t at = 0; at < sizeof FIXED / sizeof FIXED[0]; at++) {
        const char *known = FIXED[at].format;
        if (strcmp(known, format) == 0 || (known[strlen(known) - 1] == ':' && starts(format, known))) {
            return &FIXED[at];
        }
    }
    return NULL;
}

static void put_fixed(struct text *out, const struct fixed *fixed, const uint8_t *bytes) {
    const char *quote = fixed->form == NUMBER ? "" : "\"";
    if (fixed->form == BITS) {
        PUT(out, "\"%0*" PRIX64 "\"", 2 * fixed->width, read_unsigned(bytes, fixed->width));
    } else if (fixed->is_signed) {
        PUT(out, "%s%" PRId64 "%s", quote, read_signed(bytes, fixed->width), quote);
    } else {
        PUT(out, "%s%" PRIu64 "%s", quote, read_unsigned(bytes, fixed->width), quote);
    }
}

/* A two's complement number of up to 256 bits in decimal: nine digits at a time by long division. */
static void put_decimal(struct text *out, const uint8_t *bytes, int width) {
    uint32_t limbs[8];
    char digits[9 * 9 + 2];
    int count = width / 4, at = sizeof digits - 1;
    bool negative = bytes[width - 1] >> 7;
    uint64_t carry = negative;
    for (int limb = 0; limb < count; limb++) {
        uint32_t value = (uint32_t)read_unsigned(bytes + 4 * limb, 4);
        carry += negative ? (uint32_t)~value : value;
        limbs[limb] = (uint32_t)carry;
        carry >>= 32;
    }
    digits[at] = '\0';
    bool more = true;
    while (more) {
        uint64_t rest = 0;
        more = false;
        for (int limb = count - 1; limb >= 0; limb--) {
            rest = rest << 32 | limbs[limb];
            limbs[limb] = (uint32_t)(rest / 1000000000);
            rest %= 1000000000;
            more = more || limbs[limb] != 0;
        }
        for (int digit = 0; digit < 9 && (more || rest != 0 || digit == 0); digit++) {
            digits[--at] = (char)('0' + rest % 10);
            rest /= 10;
        }
    }
    PUT(out, "\"%s%s\"", negative ? "-" : "", digits + at);
}

/* The width of a decimal from its format, "d:precision,scale" or "d:precision,scale,bits". */
static int decimal_width(const char *format) {
    const char *comma = strchr(format, ',');
    comma = comma == NULL ? NULL : strchr(comma + 1, ',');
    return comma == NULL ? 16 : atoi(comma + 1) / 8;
}

static void put_days(struct text *out, const uint8_t *bytes) {
    PUT(out, "{\"days\":%" PRId64 ",\"milliseconds\":%" PRId64 "}", read_signed(bytes, 4), read_signed(bytes + 4, 4));
}

static void put_months(struct text *out, const uint8_t *bytes) {
    PUT(out, "{\"months\":%" PRId64 ",\"days\":%" PRId64 ",\"nanoseconds\":%" PRId64 "}", read_signed(bytes, 4), read_signed(bytes + 4, 4),
        read_signed(bytes + 8, 8));
}

/* ---- text and binary ---- */

static void put_bytes(struct text *out, bool utf8, const uint8_t *bytes, int64_t length) {
    (utf8 ? put_string : put_hex)(out, bytes, length);
}

static void put_between_offsets(struct text *out, const struct ArrowArray *array, bool utf8, int width, int64_t at) {
    int64_t start = entry(array, 1, width, at), end = entry(array, 1, width, at + 1);
    put_bytes(out, utf8, end > start ? buffer(array, 2) + start : NULL, end - start);
}

/* A view: the length, then up to twelve bytes, or a prefix of four, the number of a data buffer and a place in it. */
static void put_view(struct text *out, const struct ArrowArray *array, bool utf8, int64_t at) {
    const uint8_t *view = buffer(array, 1) + 16 * at;
    int64_t length = read_signed(view, 4);
    const uint8_t *bytes = length <= 12 ? view + 4 : buffer(array, 2 + read_signed(view + 8, 4)) + read_signed(view + 12, 4);
    put_bytes(out, utf8, bytes, length);
}

/* ---- nested types ---- */

/* The rows of the first child from `first` on, as a JSON array. */
static void put_rows(struct text *out, const struct ArrowSchema *type, const struct ArrowArray *array, int64_t first, int64_t count) {
    put(out, "[");
    for (int64_t row = 0; row < count; row++) {
        put(out, row > 0 ? "," : "");
        describe_row(out, type->children[0], array->children[0], first + row);
    }
    put(out, "]");
}

/* Lists and maps: between two offsets. */
static void put_list(struct text *out, const struct ArrowSchema *type, const struct ArrowArray *array, int width, int64_t at) {
    int64_t start = entry(array, 1, width, at);
    put_rows(out, type, array, start, entry(array, 1, width, at + 1) - start);
}

static void put_struct(struct text *out, const struct ArrowSchema *type, const struct ArrowArray *array, int64_t at) {
    put(out, "[");
    for (int64_t child = 0; child < array->n_children; child++) {
        put(out, child > 0 ? "," : "");
        describe_row(out, type->children[child], array->children[child], at);
    }
    put(out, "]");
}

/* The format is "+ud:" or "+us:" and the type ids, in the order of the children. */
static void put_union(struct text *out, const struct ArrowSchema *type, const struct ArrowArray *array, int64_t at) {
    long id = (long)entry(array, 0, 1, at), child = 0;
    char *ids = (char *)type->format + 4;
    while (child < array->n_children && strtol(ids, &ids, 10) != id) {
        ids++;
        child++;
    }
    if (child == array->n_children) {
        out->failure = "a type id is none of the union's";
        return;
    }
    int64_t place = type->format[2] == 'd' ? entry(array, 1, 4, at) : at;
    PUT(out, "[%ld,", id);
    describe_row(out, type->children[child], array->children[child], place);
    put(out, "]");
}

/* The first run that ends behind the row. */
static void put_run(struct text *out, const struct ArrowSchema *type, const struct ArrowArray *array, int64_t at) {
    const struct ArrowArray *ends = array->children[0];
    int width = fixed_format(type->children[0]->format)->width;
    int64_t low = 0, high = ends->length;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (entry(ends, 1, width, ends->offset + middle) > at) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    describe_row(out, type->children[1], array->children[1], low);
}

static void put_coded(struct text *out, const struct ArrowSchema *type, const struct ArrowArray *array, int64_t at) {
    const struct fixed *keys = fixed_format(type->format);
    const uint8_t *key = buffer(array, 1) + keys->width * at;
    int64_t place = keys->is_signed ? read_signed(key, keys->width) : (int64_t)read_unsigned(key, keys->width);
    describe_row(out, type->dictionary, array->dictionary, place);
}

/* A value whose type has no parts, and which is not null. Gives false where the format is another one. */
static bool put_plain(struct text *out, const char *format, const struct ArrowArray *array, int64_t at) {
    const struct fixed *fixed = fixed_format(format);
    if (fixed != NULL) {
        put_fixed(out, fixed, buffer(array, 1) + fixed->width * at);
    } else if (strcmp(format, "b") == 0) {
        put(out, bit(buffer(array, 1), at) ? "true" : "false");
    } else if (starts(format, "d:")) {
        put_decimal(out, buffer(array, 1) + decimal_width(format) * at, decimal_width(format));
    } else if (strcmp(format, "tiD") == 0) {
        put_days(out, buffer(array, 1) + 8 * at);
    } else if (strcmp(format, "tin") == 0) {
        put_months(out, buffer(array, 1) + 16 * at);
    } else if (strcmp(format, "u") == 0 || strcmp(format, "z") == 0) {
        put_between_offsets(out, array, *format == 'u', 4, at);
    } else if (strcmp(format, "U") == 0 || strcmp(format, "Z") == 0) {
        put_between_offsets(out, array, *format == 'U', 8, at);
    } else if (strcmp(format, "vu") == 0 || strcmp(format, "vz") == 0) {
        put_view(out, array, format[1] == 'u', at);
    } else if (starts(format, "w:")) {
        put_bytes(out, false, buffer(array, 1) + atoi(format + 2) * at, atoi(format + 2));
    } else {
        return false;
    }
    return true;
}

/* A value whose type has children, and which is not null. */
static bool put_nested(struct text *out, const struct ArrowSchema *type, const struct ArrowArray *array, int64_t at) {
    const char *format = type->format;
    if (strcmp(format, "+s") == 0) {
        put_struct(out, type, array, at);
    } else if (strcmp(format, "+l") == 0 || strcmp(format, "+m") == 0) {
        put_list(out, type, array, 4, at);
    } else if (strcmp(format, "+L") == 0) {
        put_list(out, type, array, 8, at);
    } else if (strcmp(format, "+vl") == 0) {
        put_rows(out, type, array, entry(array, 1, 4, at), entry(array, 2, 4, at));
    } else if (strcmp(format, "+vL") == 0) {
        put_rows(out, type, array, entry(array, 1, 8, at), entry(array, 2, 8, at));
    } else if (starts(format, "+w:")) {
        put_rows(out, type, array, atoi(format + 3) * at, atoi(format + 3));
    } else if (starts(format, "+u")) {
        put_union(out, type, array, at);
    } else if (strcmp(format, "+r") == 0) {
        put_run(out, type, array, at);
    } else {
        return false;
    }
    return true;
}

void describe_row(struct text *out, const struct ArrowSchema *type, const struct ArrowArray *array, int64_t row) {
    int64_t at = array->offset + row;
    if (is_null(type, array, row)) {
        put(out, "null");
    } else if (type->dictionary != NULL) {
        put_coded(out, type, array, at);
    } else if (!put_plain(out, type->format, array, at) && !put_nested(out, type, array, at)) {
        out->failure = "a format that the conformance driver does not know";
    }
}
