// What transom.hpp owns is freed once, by whoever has it last: ./owned libexample.so
#include <condition_variable>
#include <iostream>
#include <mutex>
#include <type_traits>

#include "arrays.h"
#include "transom.hpp"

// What would free something twice does not compile.
static_assert(!std::is_copy_constructible<transom::Array>::value && !std::is_copy_assignable<transom::Array>::value, "an array has one owner");
static_assert(!std::is_copy_constructible<transom::Schema>::value, "a schema has one owner");
static_assert(!std::is_copy_constructible<transom::Stream>::value, "a stream has one owner");
static_assert(!std::is_copy_constructible<transom::Pool>::value, "a pool has one owner");
static_assert(!std::is_copy_constructible<transom::Function>::value, "a function has one owner");
static_assert(!std::is_copy_constructible<transom::Future>::value, "a future has one owner");
static_assert(!std::is_copy_constructible<transom::Library>::value, "a library points to its own parts");
static_assert(std::is_move_constructible<transom::Pool>::value && std::is_move_constructible<transom::Array>::value, "owners can change");
static_assert(std::is_copy_constructible<transom::Error>::value, "exceptions are copied");

#define IS(condition)                                                                                                                    \
    do {                                                                                                                                 \
        if (!(condition)) {                                                                                                              \
            std::cerr << "line " << __LINE__ << ": not " << #condition << "\n";                                                         \
            std::exit(EXIT_FAILURE);                                                                                                     \
        }                                                                                                                                \
    } while (0)

namespace {

int releases = 0;

transom::Array numbers(std::initializer_list<int64_t> values) {
    transom::Array batch;
    make_batch(batch.get(), values.begin(), static_cast<int64_t>(values.size()));
    batch->release = [](ArrowArray *array) {
        releases++;
        release_array(array);
    };
    return batch;
}

void arrays() {
    {
        transom::Array one = numbers({1}), two(std::move(one));
        IS(!one && two);
        one = std::move(two);
        IS(one && !two);
        // What was there is released first.
        one = numbers({2});
        IS(releases == 1);
        ArrowArray place;
        one.move_to(&place);
        IS(!one && place.release != nullptr);
        transom::Array back(&place);
        IS(back && place.release == nullptr);
    }
    IS(releases == 2);
}

/// Waits for an outcome, which comes on another thread.
struct Told {
    std::mutex mutex;
    std::condition_variable changed;
    int times = 0;
    int64_t value = 0;
    int32_t code = 0;

    void wait() {
        std::unique_lock<std::mutex> lock(mutex);
        changed.wait(lock, [&] { return times > 0; });
    }
};

void outcomes(const transom::Pool &pool, const std::string &library, const transom::Schema &schema) {
    for (const char *name : {"plus_one", "thousandth"}) {
        Told told;
        pool.then(transom::Function::native(library, name), numbers({0}), schema.get(), [&](transom::Batch result, const transom::Error *error) {
            std::unique_lock<std::mutex> lock(told.mutex);
            told.value = result.array ? *int64_values(result.array->children[0]) : -1;
            told.code = error != nullptr ? error->code() : 0;
            told.times++;
            told.changed.notify_one();
        });
        told.wait();
        const bool works = std::string(name) == "plus_one";
        IS(told.value == (works ? 1 : -1) && told.code == (works ? 0 : TRANSOM_CODE_FUNCTION_RAISED));
    }
    try {
        pool.then(transom::Function::native(library, "plus_one"), transom::Array(), schema.get(), [](transom::Batch, const transom::Error *) { std::abort(); });
        IS(false);
    } catch (const transom::Error &error) {
        const transom::Error copy = error;
        IS(copy.code() == TRANSOM_CODE_BAD_ARGUMENT && copy.name() == "BAD_ARGUMENT" && copy.message() == error.message() && copy.stack().empty());
    }
}

void streams(const transom::Pool &pool, const std::string &library, const transom::Schema &schema) {
    // The results of one stream are the source of another, and the first is not read to its end.
    transom::Function running_total = transom::Function::native(library, "running_total");
    transom::Batch shared = pool.share(numbers({1, 2, 3}), schema.get());
    struct Once {
        transom::Array batch;
    };
    ArrowArrayStream stream = {};
    stream.private_data = new Once{std::move(shared.array)};
    stream.get_schema = [](ArrowArrayStream *, ArrowSchema *out) {
        make_batch_schema(out, "x", "l");
        return 0;
    };
    stream.get_next = [](ArrowArrayStream *from, ArrowArray *out) {
        static_cast<Once *>(from->private_data)->batch.move_to(out);
        return 0;
    };
    stream.get_last_error = [](ArrowArrayStream *) -> const char * { return nullptr; };
    stream.release = [](ArrowArrayStream *from) {
        delete static_cast<Once *>(from->private_data);
        from->release = nullptr;
    };
    transom::Stream totals = pool.map(running_total, transom::Source(&stream));
    IS(stream.release == nullptr && std::string(totals.schema()->children[0]->name) == "total");
    transom::Array batch = totals.next();
    IS(batch && int64_values(batch->children[0])[2] == 6);
    IS(!transom::dead_letters(totals).array && !pool.dead_letters().array);
    const transom_copies_t copies = pool.copies();
    IS(copies.input_shared >= 3 * sizeof(int64_t));
}

void run(const std::string &library) {
    transom::init();
    arrays();
    transom::Schema schema;
    make_batch_schema(schema.get(), "x", "l");
    int done = 0;
    transom::Options options;
    options.workers(1).prestart(TRANSOM_LANGUAGE_NATIVE).events([&](const transom_event_t &event) { done += event.kind == TRANSOM_EVENT_BATCH_DONE; });
    transom::Pool pool(options);
    outcomes(pool, library, schema);
    streams(pool, library, schema);
    IS(pool.stats().workers == 1);
    transom::Future dropped = pool.start(transom::Function::native(library, "plus_one"), numbers({1}), schema.get());
    IS(dropped.wait() && dropped.wait(0) && dropped.descriptor() >= 0);
    transom::Batch kept = dropped.take();
    transom::Pool moved(std::move(pool));
    moved.close();
    // All events were told, and results outlive their pool.
    IS(done == 3 && *int64_values(kept.array->children[0]) == 2);
}

} // namespace

int main(int, char **arguments) {
    try {
        run(arguments[1]);
    } catch (const std::exception &exception) {
        std::cerr << exception.what() << "\n";
        return EXIT_FAILURE;
    }
    std::cout << "ok\n";
    return EXIT_SUCCESS;
}
