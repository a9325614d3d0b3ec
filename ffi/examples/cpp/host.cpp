// A program that calls functions: one in Python, some in a shared library. It prints what comes back.
//
//     c++ -std=c++11 -I PREFIX/include -o host host.cpp -L PREFIX/lib -ltransom
//     ./host PYTHON functions.py ./libexample.so
#include <iostream>

#include <poll.h>

#include "../c/arrays.h"
#include "transom.hpp"

namespace {

void print(const char *title, const transom::Batch &batch) { print_column(title, batch.array->children[0], batch.schema->children[0]->format); }

transom::Array numbers() {
    static const int64_t values[] = {1, 2, 3, 4};
    transom::Array batch;
    make_batch(batch.get(), values, 4);
    set_null(batch->children[0], 2);
    return batch;
}

transom::Array words() {
    static const char bytes[] = "overthe door";
    static const int32_t offsets[] = {0, 4, 4, 12};
    transom::Array batch;
    make_array(batch.get(), 3, 1, 1);
    ArrowArray *column = batch->children[0];
    make_array(column, 3, 3, 0);
    column->buffers[1] = std::memcpy(some(sizeof offsets), offsets, sizeof offsets);
    column->buffers[2] = std::memcpy(some(sizeof bytes), bytes, sizeof bytes);
    set_null(column, 1);
    return batch;
}

/// A call that nobody waits for: its descriptor becomes readable when the result is there.
void call_later(const transom::Pool &pool, const transom::Function &function, const transom::Schema &schema) {
    transom::Future future = pool.start(function, numbers(), schema.get());
    pollfd ready = {future.descriptor(), POLLIN, 0};
    while (poll(&ready, 1, -1) < 0) {
    }
    print("plus_one, later", future.take());
}

/// An array in the pool's shared memory: it crosses without a copy.
void call_shared(const transom::Pool &pool, const transom::Function &function, const transom::Schema &schema) {
    transom::Memory memory = pool.allocate(3 * sizeof(int64_t));
    for (int row = 0; row < 3; row++) {
        static_cast<int64_t *>(memory.data())[row] = 100 * row;
    }
    transom::Array batch;
    make_array(batch.get(), 3, 1, 1);
    ArrowArray *column = batch->children[0];
    column->length = 3;
    column->n_buffers = 2;
    column->buffers = static_cast<const void **>(some(2 * sizeof(void *)));
    column->buffers[1] = memory.data();
    column->private_data = memory.leak();
    column->release = [](ArrowArray *array) {
        transom_memory_free(static_cast<transom_memory_t *>(array->private_data));
        std::free(array->buffers);
        array->release = nullptr;
    };
    const transom_copies_t before = pool.copies();
    print("plus_one, in shared memory", pool.call(function, std::move(batch), schema.get()));
    const transom_copies_t after = pool.copies();
    // One program's output should not wait in two places.
    std::printf("of the arguments %" PRIu64 " bytes were shared and %" PRIu64 " copied\n", after.input_shared - before.input_shared,
                after.input_copied - before.input_copied);
}

/// A source of three batches.
transom::Source source() {
    ArrowArrayStream stream = {};
    stream.private_data = new int64_t(0);
    stream.get_schema = [](ArrowArrayStream *, ArrowSchema *out) {
        make_batch_schema(out, "x", "l");
        return 0;
    };
    stream.get_next = [](ArrowArrayStream *from, ArrowArray *out) {
        int64_t &batch = *static_cast<int64_t *>(from->private_data);
        std::memset(out, 0, sizeof *out);
        if (batch < 3) {
            const int64_t values[] = {10 * batch + 1, 10 * batch + 2};
            make_batch(out, values, 2);
            ++batch;
        }
        return 0;
    };
    stream.get_last_error = [](ArrowArrayStream *) -> const char * { return nullptr; };
    stream.release = [](ArrowArrayStream *from) {
        delete static_cast<int64_t *>(from->private_data);
        from->release = nullptr;
    };
    return transom::Source(&stream);
}

void map(const transom::Pool &pool, const transom::Function &function, const char *title) {
    transom::Stream results = pool.map(function, source());
    while (transom::Array batch = results.next()) {
        print_column(title, batch->children[0], "l");
    }
}

void run(const std::string &python, const std::string &functions, const std::string &library) {
    transom::init();
    transom::Pool pool(transom::Options().workers(2).python(python));
    const transom::Function plus_one = transom::Function::native(library, "plus_one");

    transom::Schema schema, text;
    make_batch_schema(schema.get(), "x", "l");
    make_batch_schema(text.get(), "text", "u");
    const transom::Signature signature = pool.describe(plus_one);
    std::printf("%s gives %s\n", signature.text().c_str(), signature.schema()->children[0]->format);
    print("plus_one", pool.call(plus_one, numbers(), schema.get()));
    print("twice, in Python", pool.call(transom::Function::python(functions + ":twice"), numbers(), schema.get()));
    print("upper", pool.call(transom::Function::native(library, "upper"), words(), text.get()));
    call_later(pool, plus_one, schema);
    call_shared(pool, plus_one, schema);
    map(pool, plus_one, "plus_one of a stream");
    map(pool, transom::Function::native(library, "running_total"), "running_total");
    pool.close();
}

} // namespace

int main(int count, char **arguments) {
    if (count != 4) {
        std::cerr << "usage: host PYTHON FUNCTIONS.py LIBRARY.so\n";
        return EXIT_FAILURE;
    }
    try {
        run(arguments[1], arguments[2], arguments[3]);
    } catch (const std::exception &exception) {
        std::cerr << exception.what() << "\n";
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
