/*
 * Transom for C++11 and later: handles that free themselves, errors as exceptions, and functions written as lambdas. Everything is inline and over transom.h,
 * so no C++ crosses the library's border and any compiler will do. docs/abi.md has the rules.
 */
#ifndef TRANSOM_HPP
#define TRANSOM_HPP

#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "transom.h"

namespace transom {

/** What a call failed with. `what()` is the whole story; the parts can be asked for one by one. Texts that an error does not have are empty. */
class Error : public std::runtime_error {
public:
    /** Takes over an error that a function of transom.h gave; `code` is what it returned. */
    Error(int32_t code, transom_error_t *error)
        : std::runtime_error(error != nullptr ? transom_error_text(error) : "an error of Transom"), code_(code), error_(error, transom_error_free) {}

    /** Such as 2104, TRANSOM_CODE_WORKER_SIGNALLED. */
    int32_t code() const noexcept { return code_; }
    /** Such as "WORKER_SIGNALLED". */
    std::string name() const { return text(transom_error_name); }
    /** One sentence: what happened, without the place. */
    std::string message() const { return text(transom_error_message); }
    std::string function() const { return text(transom_error_function); }
    std::string worker() const { return text(transom_error_worker); }
    /** The first row concerned; -1 where there is none. */
    int64_t first_row() const noexcept { return transom_error_first_row(error_.get()); }
    /** The type, message and traceback of the exception that the function raised. */
    std::string remote_kind() const { return text(transom_error_remote_kind); }
    std::string remote_message() const { return text(transom_error_remote_message); }
    std::string remote_traceback() const { return text(transom_error_remote_traceback); }
    /** The stack that the worker wrote when it died. */
    std::string stack() const { return text(transom_error_stack); }
    /** The signal by which the worker was killed, where it was not its host that did; 0 otherwise. */
    int32_t signal() const noexcept { return transom_error_signal(error_.get()); }
    /** The folder in which the input that failed was saved. */
    std::string capsule() const { return text(transom_error_capsule); }
    std::string hint() const { return text(transom_error_hint); }

private:
    std::string text(const char *(*part)(const transom_error_t *)) const {
        const char *found = part(error_.get());
        return found != nullptr ? found : "";
    }

    int32_t code_;
    // Exceptions are copied.
    std::shared_ptr<transom_error_t> error_;
};

namespace detail {

/** Calls a function of transom.h, whose last argument is a place for its error. */
template <typename F, typename... Arguments> void checked(F function, Arguments... arguments) {
    transom_error_t *error = nullptr;
    int32_t code = function(arguments..., &error);
    if (code != 0) {
        throw Error(code, error);
    }
}

/** One of the structs of the Arrow C data interface, which is released at its end, unless it was moved elsewhere. */
template <typename Struct> class Owned {
public:
    Owned() noexcept { std::memset(&value_, 0, sizeof value_); }
    /** Moves the struct out of a place. */
    explicit Owned(Struct *from) noexcept : value_(*from) { from->release = nullptr; }
    Owned(Owned &&other) noexcept : Owned(&other.value_) {}
    Owned &operator=(Owned &&other) noexcept {
        if (this != &other) {
            reset();
            value_ = other.value_;
            other.value_.release = nullptr;
        }
        return *this;
    }
    Owned(const Owned &) = delete;
    Owned &operator=(const Owned &) = delete;
    ~Owned() { reset(); }

    /** Whether there is something. */
    explicit operator bool() const noexcept { return value_.release != nullptr; }
    Struct *get() noexcept { return &value_; }
    const Struct *get() const noexcept { return &value_; }
    Struct *operator->() noexcept { return &value_; }
    const Struct *operator->() const noexcept { return &value_; }
    /** Moves the struct to a place. */
    void move_to(Struct *place) noexcept {
        *place = value_;
        value_.release = nullptr;
    }
    void reset() noexcept {
        if (value_.release != nullptr) {
            value_.release(&value_);
        }
    }

private:
    Struct value_;
};

/** A handle of transom.h, which is freed at its end. */
template <typename T> using Handle = std::unique_ptr<T, void (*)(T *)>;

} // namespace detail

using Array = detail::Owned<ArrowArray>;
using Schema = detail::Owned<ArrowSchema>;

/** A batch: a struct array and its schema. */
struct Batch {
    Array array;
    Schema schema;
};

/** A stream of batches; `Failed` throws what went wrong in it. */
template <void (*Failed)(ArrowArrayStream *, int)> class BasicStream : public detail::Owned<ArrowArrayStream> {
public:
    BasicStream() = default;
    /** Moves the stream out of a place. */
    explicit BasicStream(ArrowArrayStream *from) noexcept : Owned(from) {}

    /** The schema of the batches. */
    Schema schema() {
        Schema schema;
        check(get()->get_schema(get(), schema.get()));
        return schema;
    }

    /** The next batch; an empty one at the end. */
    Array next() {
        Array batch;
        check(get()->get_next(get(), batch.get()));
        return batch;
    }

private:
    void check(int status) {
        if (status != 0) {
            Failed(get(), status);
        }
    }
};

namespace detail {

inline void throw_text(ArrowArrayStream *stream, int status) {
    const char *text = stream->get_last_error(stream);
    throw std::runtime_error(text != nullptr ? text : std::strerror(status));
}

inline void throw_error(ArrowArrayStream *stream, int status) {
    transom_error_t *error = nullptr;
    int32_t code = transom_stream_error(stream, &error);
    if (code == 0) {
        throw_text(stream, status);
    }
    throw Error(code, error);
}

} // namespace detail

/** A stream that anybody may have made: it fails with a std::runtime_error. It needs no libtransom. */
using Source = BasicStream<detail::throw_text>;

/** The results of `Pool::map`: a batch that fails throws an Error, and the next call goes on behind it. Where the function does not declare its results,
 * `schema` waits for the first. */
using Stream = BasicStream<detail::throw_error>;

/** Takes the rows that were taken out of the results of `Pool::map` so far; an empty batch where there are none. */
inline Batch dead_letters(const Stream &results) {
    Batch letters;
    detail::checked(transom_stream_dead_letters, results.get(), letters.array.get(), letters.schema.get());
    return letters;
}

/** Must be called first: compares the header that the program was compiled with and the library that it runs with. */
inline void init() { detail::checked(transom_init, uint32_t{TRANSOM_ABI_VERSION}); }

/** The settings of a pool; transom.h says what each means. */
class Options {
public:
    using Listener = std::function<void(const transom_event_t &)>;

    Options() : handle_(nullptr, transom_options_free) {
        transom_options_t *options = nullptr;
        detail::checked(transom_options_new, &options);
        handle_.reset(options);
    }

    Options &workers(size_t workers) { return set(transom_options_set_workers, workers); }
    Options &python(const std::string &interpreter) { return set(transom_options_set_python, interpreter.c_str()); }
    Options &native_worker(const std::string &program) { return set(transom_options_set_native_worker, program.c_str()); }
    Options &java(const std::string &program) { return set(transom_options_set_java, program.c_str()); }
    Options &java_class_path(const std::string &paths) { return set(transom_options_set_java_class_path, paths.c_str()); }
    Options &prestart(uint32_t languages) { return set(transom_options_set_prestart, languages); }
    Options &env(const std::string &name, const std::string &value) { return set(transom_options_set_env, name.c_str(), value.c_str()); }
    Options &directory(const std::string &directory) { return set(transom_options_set_directory, directory.c_str()); }
    Options &memory_limit(uint64_t bytes) { return set(transom_options_set_memory_limit, bytes); }
    Options &mode(int32_t mode) { return set(transom_options_set_mode, mode); }
    Options &window(size_t batches) { return set(transom_options_set_window, batches); }
    Options &deadline_ms(uint64_t milliseconds) { return set(transom_options_set_deadline_ms, milliseconds); }

    Options &worker_memory(uint64_t bytes) { return set(transom_options_set_worker_memory, bytes); }
    Options &worker_descriptors(uint64_t descriptors) { return set(transom_options_set_worker_descriptors, descriptors); }
    Options &worker_processes(uint64_t processes) { return set(transom_options_set_worker_processes, processes); }
    Options &result_limit(uint64_t bytes) { return set(transom_options_set_result_limit, bytes); }
    Options &start_limit_ms(uint64_t milliseconds) { return set(transom_options_set_start_limit_ms, milliseconds); }
    Options &capsules(const std::string &folder) { return set(transom_options_set_capsules, folder.c_str()); }
    Options &capsule_bytes(uint64_t bytes) { return set(transom_options_set_capsule_bytes, bytes); }
    Options &capsule_count(size_t capsules) { return set(transom_options_set_capsule_count, capsules); }

    /** Who is told what happens in the pool, on a thread of the library's. An exception that leaves it ends the program. */
    Options &events(Listener listener) {
        listener_ = std::make_shared<Listener>(std::move(listener));
        transom_event_fn tell = [](void *user_data, const transom_event_t *event) noexcept { (*static_cast<Listener *>(user_data))(*event); };
        return set(transom_options_set_events, tell, static_cast<void *>(listener_.get()));
    }

private:
    friend class Pool;

    template <typename F, typename... Arguments> Options &set(F setter, Arguments... arguments) {
        detail::checked(setter, handle_.get(), arguments...);
        return *this;
    }

    detail::Handle<transom_options_t> handle_;
    std::shared_ptr<Listener> listener_;
};

/** A function: where it is, and how it is to be run. */
class Function {
public:
    /** "path/file.py:name" or "package.module:name". */
    static Function python(const std::string &reference) { return made(transom_function_python, reference.c_str()); }
    /** A name in a shared library; in a worker program of one's own, only the name counts. */
    static Function native(const std::string &library, const std::string &name) { return made(transom_function_native, library.c_str(), name.c_str()); }
    /** A class for JVM workers. */
    static Function java(const std::string &class_name) { return made(transom_function_java, class_name.c_str()); }

    Function &deadline_ms(uint64_t milliseconds) {
        detail::checked(transom_function_set_deadline_ms, handle_.get(), milliseconds);
        return *this;
    }
    Function &retries(uint32_t retries) {
        detail::checked(transom_function_set_retries, handle_.get(), retries);
        return *this;
    }
    /** A `TRANSOM_ON_ERROR_*`. */
    Function &on_error(int32_t on_error) {
        detail::checked(transom_function_set_on_error, handle_.get(), on_error);
        return *this;
    }
    Function &import_path(const std::vector<std::string> &paths) {
        std::vector<const char *> texts;
        for (const std::string &path : paths) {
            texts.push_back(path.c_str());
        }
        detail::checked(transom_function_set_import_path, handle_.get(), texts.data(), texts.size());
        return *this;
    }

private:
    friend class Pool;

    explicit Function(transom_function_t *function) : handle_(function, transom_function_free) {}

    template <typename F, typename... Arguments> static Function made(F make, Arguments... arguments) {
        transom_function_t *function = nullptr;
        detail::checked(make, arguments..., &function);
        return Function(function);
    }

    detail::Handle<transom_function_t> handle_;
};

/** What a function takes and gives. */
class Signature {
public:
    std::string name() const { return transom_signature_name(handle_.get()); }
    /** Such as "price(a, b)". */
    std::string text() const { return transom_signature_text(handle_.get()); }
    int32_t kind() const noexcept { return transom_signature_kind(handle_.get()); }
    /** The schema of the results; empty where only the first result tells. */
    Schema schema() const {
        Schema schema;
        detail::checked(transom_signature_schema, handle_.get(), schema.get());
        return schema;
    }

private:
    friend class Pool;

    explicit Signature(transom_signature_t *signature) : handle_(signature, transom_signature_free) {}

    detail::Handle<transom_signature_t> handle_;
};

/** A call that is under way or has ended. At its end a call that is under way is cancelled. */
class Future {
public:
    /** Becomes readable when the outcome is there; must be neither read nor closed. */
    int descriptor() const noexcept { return transom_future_descriptor(handle_.get()); }
    /** Waits for `timeout_ms` milliseconds at most (-1: for ever); says whether the outcome is there. */
    bool wait(int64_t timeout_ms = -1) const {
        bool ready = false;
        detail::checked(transom_future_wait, handle_.get(), timeout_ms, &ready);
        return ready;
    }
    /** The result, once; throws what the call failed with. */
    Batch take() {
        Batch result;
        detail::checked(transom_future_take, handle_.get(), result.array.get(), result.schema.get());
        return result;
    }
    void cancel() { detail::checked(transom_future_cancel, handle_.get()); }

private:
    friend class Pool;

    explicit Future(transom_future_t *future) : handle_(future, transom_future_free) {}

    detail::Handle<transom_future_t> handle_;
};

/** Shared memory for buffers of arguments. */
class Memory {
public:
    void *data() const noexcept { return data_; }
    /** Gives the memory to whoever calls `transom_memory_free`, such as the `release` of the array that lies in it. */
    transom_memory_t *leak() noexcept { return handle_.release(); }

private:
    friend class Pool;

    Memory(transom_memory_t *memory, void *data) : handle_(memory, transom_memory_free), data_(data) {}

    detail::Handle<transom_memory_t> handle_;
    void *data_;
};

/** Workers that run functions. They are ended at its end. */
class Pool {
public:
    explicit Pool(const Options &options = Options()) : listener_(options.listener_), handle_(nullptr, close_quietly) {
        transom_pool_t *pool = nullptr;
        detail::checked(transom_pool_open, options.handle_.get(), &pool);
        handle_.reset(pool);
    }

    Signature describe(const Function &function) const {
        transom_signature_t *signature = nullptr;
        detail::checked(transom_pool_describe, handle_.get(), function.handle_.get(), &signature);
        return Signature(signature);
    }

    /** Calls a function with one batch, which is used up, and waits for the result. */
    Batch call(const Function &function, Array array, const ArrowSchema *schema) const {
        Batch result;
        detail::checked(transom_pool_call, handle_.get(), function.handle_.get(), array.get(), schema, result.array.get(), result.schema.get());
        return result;
    }

    /** Starts a call, and returns at once. */
    Future start(const Function &function, Array array, const ArrowSchema *schema) const {
        transom_future_t *future = nullptr;
        detail::checked(transom_pool_call_start, handle_.get(), function.handle_.get(), array.get(), schema, &future);
        return Future(future);
    }

    /** Is given the result of a call, or what it failed with, once. */
    using Outcome = std::function<void(Batch result, const Error *error)>;

    /** Starts a call, and returns at once. `outcome` is called on a thread of the library's; an exception that leaves it ends the program. */
    void then(const Function &function, Array array, const ArrowSchema *schema, Outcome outcome) const {
        std::unique_ptr<Outcome> kept(new Outcome(std::move(outcome)));
        transom_outcome_fn tell = [](void *user_data, int32_t code, ArrowArray *result, ArrowSchema *its, transom_error_t *error) noexcept {
            std::unique_ptr<Outcome> told(static_cast<Outcome *>(user_data));
            if (code == 0) {
                (*told)(Batch{Array(result), Schema(its)}, nullptr);
            } else {
                const Error failed(code, error);
                (*told)(Batch(), &failed);
            }
        };
        detail::checked(transom_pool_call_then, handle_.get(), function.handle_.get(), array.get(), schema, tell, static_cast<void *>(kept.get()));
        // From the moment on that the call was started it is the callback's.
        kept.release();
    }

    /** Calls a function with each batch of a stream, which is used up. Once the pool is closed the results fail. */
    Stream map(const Function &function, Source source, const transom_map_options_t &options = TRANSOM_MAP_OPTIONS_INIT) const {
        Stream results;
        detail::checked(transom_pool_map, handle_.get(), function.handle_.get(), source.get(), &options, results.get());
        return results;
    }

    /** Takes rows that were taken out of the results of calls, those of one function and schema; an empty batch where there are none left. */
    Batch dead_letters() const {
        Batch letters;
        detail::checked(transom_pool_dead_letters, handle_.get(), letters.array.get(), letters.schema.get());
        return letters;
    }

    /** The same batch in shared memory: calls with it copy nothing. */
    Batch share(Array array, const ArrowSchema *schema) const {
        Batch shared;
        detail::checked(transom_pool_share, handle_.get(), array.get(), schema, shared.array.get(), shared.schema.get());
        return shared;
    }

    Memory allocate(size_t length) const {
        void *data = nullptr;
        transom_memory_t *memory = nullptr;
        detail::checked(transom_pool_allocate, handle_.get(), length, &data, &memory);
        return Memory(memory, data);
    }

    transom_stats_t stats() const {
        transom_stats_t stats = TRANSOM_STATS_INIT;
        detail::checked(transom_pool_stats, handle_.get(), &stats);
        return stats;
    }

    transom_copies_t copies() const {
        transom_copies_t copies = TRANSOM_COPIES_INIT;
        detail::checked(transom_pool_copies, handle_.get(), &copies);
        return copies;
    }

    /** Closes the pool now, and says what went wrong. */
    void close() {
        detail::checked(transom_pool_close, handle_.release());
        listener_.reset();
    }

private:
    static void close_quietly(transom_pool_t *pool) { transom_pool_close(pool, nullptr); }

    // Before the handle, so that it outlives it.
    std::shared_ptr<Options::Listener> listener_;
    detail::Handle<transom_pool_t> handle_;
};

/** What a function in C++ throws to say which row is to blame. Any other exception fails its batch, too. */
class Failure : public std::runtime_error {
public:
    Failure(std::string kind, const std::string &message, int64_t row = -1) : std::runtime_error(message), kind_(std::move(kind)), row_(row) {}
    const char *kind() const noexcept { return kind_.c_str(); }
    int64_t row() const noexcept { return row_; }

private:
    std::string kind_;
    int64_t row_;
};

namespace detail {

/** Runs a function's code. An exception must not leave a callback: it becomes the failure of the batch. */
template <typename F> int32_t guarded(transom_call_t *call, F run) noexcept {
    try {
        run();
        return 0;
    } catch (const Failure &failure) {
        return transom_call_fail(call, failure.kind(), failure.what(), failure.row());
    } catch (const std::exception &exception) {
        return transom_call_fail(call, "std::exception", exception.what(), -1);
    } catch (...) {
        return transom_call_fail(call, "exception", "something was thrown that is no std::exception", -1);
    }
}

} // namespace detail

/**
 * The functions of a shared library or of a worker program, written as lambdas. It must live as long as the process: make it a static local of
 * `transom_library`, and return its `table()`.
 */
class Library {
public:
    /** Given the arguments, one child for each, and their schema; fills the result. */
    using Scalar = std::function<void(const ArrowArray &arguments, const ArrowSchema &schema, ArrowArray *result)>;
    /** Gives the next batch, or none at the end. */
    using Next = std::function<Array()>;
    /** Given the input, gives what gives the results. */
    using Batches = std::function<Next(Source input)>;
    /** The name and the format string of a parameter or a column. */
    using Field = std::pair<std::string, std::string>;

    explicit Library(std::string language = "C++") : language_(std::move(language)) {}
    Library(const Library &) = delete;
    Library &operator=(const Library &) = delete;

    /** Adds a scalar function, which gives arrays of the format `result`. */
    Library &scalar(std::string name, std::vector<Field> parameters, std::string result, Scalar run) {
        Entry &entry = add(std::move(name), std::move(parameters), {Field(std::string(), std::move(result))});
        entry.scalar = std::move(run);
        return *this;
    }

    /** Adds a batches function, which gives batches with these columns. */
    Library &batches(std::string name, std::vector<Field> columns, Batches run) {
        Entry &entry = add(std::move(name), {}, std::move(columns));
        entry.batches = std::move(run);
        return *this;
    }

    /** What `transom_library` returns, once all functions were added. */
    const transom_library_t *table() {
        definitions_.clear();
        for (const std::unique_ptr<Entry> &entry : entries_) {
            definitions_.push_back(entry->definition());
        }
        table_ = {sizeof table_, TRANSOM_ABI_VERSION, sizeof(transom_definition_t), definitions_.data(), definitions_.size(), language_.c_str()};
        return &table_;
    }

private:
    /** A function and all that its definition points to. */
    struct Entry {
        std::string name;
        std::vector<Field> parameters, results;
        std::vector<transom_field_t> parameter_fields, result_fields;
        Scalar scalar;
        Batches batches;

        transom_definition_t definition() {
            parameter_fields = fields(parameters);
            result_fields = fields(results);
            return {sizeof(transom_definition_t), name.c_str(), scalar ? TRANSOM_KIND_SCALAR : TRANSOM_KIND_BATCHES, false,
                    parameter_fields.data(), parameter_fields.size(), result_fields.data(), result_fields.size(), 0, 0,
                    scalar ? run_scalar : nullptr, scalar ? nullptr : run_batches, this};
        }
    };

    /** The stream that a batches function gives. */
    struct Output {
        const Entry *entry;
        transom_call_t *call;
        Next next;

        static Output *of(ArrowArrayStream *stream) { return static_cast<Output *>(stream->private_data); }

        static int get_schema(ArrowArrayStream *stream, ArrowSchema *out) noexcept {
            return detail::guarded(of(stream)->call, [=] { batch_schema(of(stream)->entry->result_fields, out); });
        }
        static int get_next(ArrowArrayStream *stream, ArrowArray *out) noexcept {
            std::memset(out, 0, sizeof *out);
            return detail::guarded(of(stream)->call, [=] { of(stream)->next().move_to(out); });
        }
        // Failures are told by the call.
        static const char *get_last_error(ArrowArrayStream *) noexcept { return nullptr; }
        static void release(ArrowArrayStream *stream) noexcept {
            delete of(stream);
            stream->release = nullptr;
        }
    };

    Entry &add(std::string name, std::vector<Field> parameters, std::vector<Field> results) {
        entries_.emplace_back(new Entry());
        entries_.back()->name = std::move(name);
        entries_.back()->parameters = std::move(parameters);
        entries_.back()->results = std::move(results);
        return *entries_.back();
    }

    static std::vector<transom_field_t> fields(const std::vector<Field> &from) {
        std::vector<transom_field_t> fields;
        for (const Field &field : from) {
            fields.push_back(TRANSOM_FIELD(field.first.empty() ? nullptr : field.first.c_str(), field.second.c_str()));
        }
        return fields;
    }

    static int32_t run_scalar(void *user_data, transom_call_t *call, ArrowArray *arguments, const ArrowSchema *schema, ArrowArray *result,
                              ArrowSchema *) noexcept {
        const Entry *entry = static_cast<const Entry *>(user_data);
        return detail::guarded(call, [=] { entry->scalar(*arguments, *schema, result); });
    }

    static int32_t run_batches(void *user_data, transom_call_t *call, ArrowArrayStream *input, ArrowArrayStream *output) noexcept {
        const Entry *entry = static_cast<const Entry *>(user_data);
        return detail::guarded(call, [=] {
            std::unique_ptr<Output> made(new Output{entry, call, entry->batches(Source(input))});
            *output = {Output::get_schema, Output::get_next, Output::get_last_error, Output::release, made.release()};
        });
    }

    /** A schema whose texts are those of the fields, which stay. */
    static void batch_schema(const std::vector<transom_field_t> &columns, ArrowSchema *out) {
        std::unique_ptr<SchemaParts> parts(new SchemaParts(columns.size()));
        for (size_t i = 0; i < columns.size(); i++) {
            parts->columns[i] = {columns[i].format, columns[i].name, nullptr, ARROW_FLAG_NULLABLE, 0, nullptr, nullptr, release_column, nullptr};
            parts->children[i] = &parts->columns[i];
        }
        int64_t count = static_cast<int64_t>(columns.size());
        *out = {"+s", "", nullptr, 0, count, parts->children.data(), nullptr, release_schema, nullptr};
        out->private_data = parts.release();
    }

    struct SchemaParts {
        explicit SchemaParts(size_t count) : columns(count), children(count) {}
        std::vector<ArrowSchema> columns;
        std::vector<ArrowSchema *> children;
    };

    static void release_column(ArrowSchema *column) { column->release = nullptr; }

    static void release_schema(ArrowSchema *schema) {
        delete static_cast<SchemaParts *>(schema->private_data);
        schema->release = nullptr;
    }

    std::string language_;
    std::vector<std::unique_ptr<Entry>> entries_;
    std::vector<transom_definition_t> definitions_;
    transom_library_t table_{};
};

/** Serves the host at the other end of a descriptor, the last argument of a worker program, until it says goodbye. */
inline void serve(int descriptor, const transom_library_t *library) { detail::checked(transom_worker_serve, descriptor, library); }

} // namespace transom

#endif
