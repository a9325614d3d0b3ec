// Functions in a shared library, as lambdas:
//
//     c++ -std=c++11 -shared -fPIC -I PREFIX/include -o libexample.so library.cpp
//
// It is linked with nothing of Transom's. What is thrown here is an error in the program that calls it.
#include <memory>

#include "../c/arrays.h"
#include "transom.hpp"

namespace {

const ArrowArray &first(const ArrowArray &arguments) { return *arguments.children[0]; }

/// Fills `result` with what `change` makes of each number that is not null.
template <typename F> void each(const ArrowArray &x, ArrowArray *result, F change) {
    make_int64(result, int64_values(&x), x.length);
    int64_t *values = static_cast<int64_t *>(const_cast<void *>(result->buffers[1]));
    for (int64_t row = 0; row < x.length; row++) {
        if (is_null(&x, row)) {
            set_null(result, row);
        } else {
            values[row] = change(values[row], row);
        }
    }
}

void upper(const ArrowArray &text, ArrowArray *result) {
    const int32_t *from = text_offsets(&text);
    const char *bytes = static_cast<const char *>(text.buffers[2]);
    make_array(result, text.length, 3, 0);
    int32_t *to = static_cast<int32_t *>(some(static_cast<size_t>(text.length + 1) * sizeof(int32_t)));
    char *copy = static_cast<char *>(some(static_cast<size_t>(from[text.length] - from[0])));
    for (int64_t row = 0; row <= text.length; row++) {
        to[row] = from[row] - from[0];
    }
    for (int32_t i = 0; i < to[text.length]; i++) {
        char byte = bytes[from[0] + i];
        copy[i] = byte >= 'a' && byte <= 'z' ? static_cast<char>(byte - 'a' + 'A') : byte;
    }
    result->buffers[1] = to;
    result->buffers[2] = copy;
    for (int64_t row = 0; row < text.length; row++) {
        if (is_null(&text, row)) {
            set_null(result, row);
        }
    }
}

transom::Library::Next running_total(transom::Source input) {
    // std::function wants to be copied, and a stream cannot be.
    auto from = std::make_shared<transom::Source>(std::move(input));
    int64_t sum = 0;
    return [from, sum]() mutable {
        transom::Array batch = from->next(), totals;
        if (batch) {
            const ArrowArray &x = *batch->children[0];
            make_array(totals.get(), x.length, 1, 1);
            each(x, totals->children[0], [&](int64_t value, int64_t) { return sum += value; });
        }
        return totals;
    };
}

} // namespace

TRANSOM_EXPORT const transom_library_t *transom_library(uint32_t abi_version) {
    if (abi_version != TRANSOM_ABI_VERSION) {
        return nullptr;
    }
    static transom::Library library;
    static const transom_library_t *table =
        library
            .scalar("plus_one", {{"x", "l"}}, "l",
                    [](const ArrowArray &arguments, const ArrowSchema &, ArrowArray *result) {
                        each(first(arguments), result, [](int64_t x, int64_t) { return x + 1; });
                    })
            .scalar("upper", {{"text", "u"}}, "u",
                    [](const ArrowArray &arguments, const ArrowSchema &, ArrowArray *result) { upper(first(arguments), result); })
            .scalar("thousandth", {{"x", "l"}}, "l",
                    [](const ArrowArray &arguments, const ArrowSchema &, ArrowArray *result) {
                        each(first(arguments), result, [](int64_t x, int64_t row) {
                            return x != 0 ? 1000 / x : throw transom::Failure("DivisionByZero", "x is zero", row);
                        });
                    })
            .scalar("crash", {{"x", "l"}}, "l",
                    [](const ArrowArray &, const ArrowSchema &, ArrowArray *result) {
                        volatile int64_t *nowhere = nullptr;
                        result->length = *nowhere;
                    })
            .batches("running_total", {{"total", "l"}}, running_total)
            .table();
    return table;
}
