// What goes wrong in a function is an exception here: in Python, in C++ by its own account, and in C++ by a defect. The program goes on.
//
//     ./errors PYTHON functions.py ./libexample.so
#include <iostream>

#include "../c/arrays.h"
#include "transom.hpp"

namespace {

std::string or_none(const std::string &text) { return text.empty() ? "none" : text; }

void report(const transom::Error &error) {
    std::cout << "code " << error.code() << " is TRN-" << error.code() << " " << error.name() << "\n"
              << "  message: " << error.message() << "\n"
              << "  function: " << or_none(error.function()) << ", row: " << error.first_row() << "\n"
              << "  raised: " << or_none(error.remote_kind()) << ", " << or_none(error.remote_message()) << "\n"
              << "  a stack: " << (error.stack().empty() ? "no" : "yes") << std::endl;
}

void call(const transom::Pool &pool, const transom::Function &function) {
    static const int64_t values[] = {5, 0, 2};
    transom::Array batch;
    transom::Schema schema;
    make_batch(batch.get(), values, 3);
    make_batch_schema(schema.get(), "x", "l");
    try {
        transom::Batch result = pool.call(function, std::move(batch), schema.get());
        print_column("result", result.array->children[0], "l");
        std::fflush(stdout);
    } catch (const transom::Error &error) {
        report(error);
    }
}

void run(const std::string &python, const std::string &functions, const std::string &library) {
    // The first call tells whether this program and the library fit together; without it every other call is an error.
    try {
        transom::Options early;
    } catch (const transom::Error &error) {
        std::cout << "before transom_init: code " << error.code() << std::endl;
    }
    transom::init();
    transom_pool_t *pool_of_c = nullptr;
    {
        transom::Pool pool(transom::Options().workers(1).python(python));
        call(pool, transom::Function::python(functions + ":ratio"));
        for (const char *name : {"thousandth", "crash", "not_there", "plus_one"}) {
            call(pool, transom::Function::native(library, name));
        }
    }
    // A handle that was freed is found out; in C++ it takes C to do that.
    transom_error_t *error = nullptr;
    transom_pool_open(nullptr, &pool_of_c, nullptr);
    const int32_t first = transom_pool_close(pool_of_c, nullptr);
    const int32_t second = transom_pool_close(pool_of_c, &error);
    const transom::Error found(second, error);
    std::cout << "closed: code " << first << ", and again: code " << second << ", " << found.message() << std::endl;
}

} // namespace

int main(int count, char **arguments) {
    if (count != 4) {
        std::cerr << "usage: errors PYTHON FUNCTIONS.py LIBRARY.so\n";
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
