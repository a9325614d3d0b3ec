// Package transom calls functions in worker processes over Arrow record batches, by libtransom.
//
// Arguments are to be built with Allocator, or with a pool's, which is shared memory, so that they cross without a copy: C reads them after the call into it
// has returned, and may not keep pointers into Go's heap. Results are released as all batches of arrow-go are, on any goroutine.
package transom

/*
#cgo pkg-config: transom
#include <stdlib.h>
#include <transom.h>

static int next(struct ArrowArrayStream *stream, struct ArrowArray *out) { return stream->get_next(stream, out); }
static int schema_of(struct ArrowArrayStream *stream, struct ArrowSchema *out) { return stream->get_schema(stream, out); }
static void release_stream(struct ArrowArrayStream *stream) { stream->release(stream); }
*/
import "C"

import (
	"io"
	"time"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/cdata"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/arrow/memory/mallocator"
)

// Allocator gives memory outside of Go's heap, for arguments.
var Allocator memory.Allocator = mallocator.NewMallocator()

// Options of a pool; what is zero has the default of docs/abi.md.
type Options struct {
	// Workers for each language: one for each core by default.
	Workers int
	// NativeWorker is the program that runs shared libraries, or a worker program of one's own.
	NativeWorker string
	// Python is the interpreter of Python workers.
	Python string
	// MemoryLimit is the most bytes of shared memory.
	MemoryLimit uint64
	// Deadline is the longest that a function may take for one batch.
	Deadline time.Duration
}

// cText runs with a C string, which is freed afterwards.
func cText(text string, run func(*C.char) C.int32_t) C.int32_t {
	made := C.CString(text)
	defer C.free(unsafe.Pointer(made))
	return run(made)
}

// set fills a handle of C's with what is given here.
func (o Options) set(made *C.transom_options_t) error {
	var raised *C.transom_error_t
	if o.Workers != 0 && C.transom_options_set_workers(made, C.size_t(o.Workers), &raised) != 0 {
		return failure(raised)
	}
	native := func(path *C.char) C.int32_t { return C.transom_options_set_native_worker(made, path, &raised) }
	if o.NativeWorker != "" && cText(o.NativeWorker, native) != 0 {
		return failure(raised)
	}
	python := func(path *C.char) C.int32_t { return C.transom_options_set_python(made, path, &raised) }
	if o.Python != "" && cText(o.Python, python) != 0 {
		return failure(raised)
	}
	languages := C.uint32_t(0)
	if o.Python != "" {
		languages |= C.TRANSOM_LANGUAGE_PYTHON
	}
	if o.NativeWorker != "" {
		languages |= C.TRANSOM_LANGUAGE_NATIVE
	}
	if C.transom_options_set_prestart(made, languages, &raised) != 0 {
		return failure(raised)
	}
	if o.MemoryLimit != 0 && C.transom_options_set_memory_limit(made, C.uint64_t(o.MemoryLimit), &raised) != 0 {
		return failure(raised)
	}
	if o.Deadline != 0 && C.transom_options_set_deadline_ms(made, C.uint64_t(o.Deadline.Milliseconds()), &raised) != 0 {
		return failure(raised)
	}
	return nil
}

// Pool is workers that run functions. All its methods may be used by several goroutines at once; each blocks one thread while it waits.
type Pool struct{ handle *C.transom_pool_t }

// Open opens a pool. Its workers start in the background; the first call waits for one.
func Open(options Options) (*Pool, error) {
	var raised *C.transom_error_t
	if C.transom_init(C.TRANSOM_ABI_VERSION, &raised) != 0 {
		return nil, failure(raised)
	}
	var made *C.transom_options_t
	if C.transom_options_new(&made, &raised) != 0 {
		return nil, failure(raised)
	}
	defer C.transom_options_free(made)
	if err := options.set(made); err != nil {
		return nil, err
	}
	pool := &Pool{}
	if C.transom_pool_open(made, &pool.handle, &raised) != 0 {
		return nil, failure(raised)
	}
	return pool, nil
}

// Close ends the workers. What is under way fails with PoolClosed; results that were given stay valid.
func (p *Pool) Close() error {
	var raised *C.transom_error_t
	C.transom_pool_close(p.handle, &raised)
	return failure(raised)
}

// Function is a function's place and how it is to be run.
type Function struct{ handle *C.transom_function_t }

// Native is a function of a shared library, by the library's path and the function's name in it.
func Native(library, name string) (*Function, error) {
	var raised *C.transom_error_t
	function := &Function{}
	cText(library, func(library *C.char) C.int32_t {
		return cText(name, func(name *C.char) C.int32_t {
			return C.transom_function_native(library, name, &function.handle, &raised)
		})
	})
	if raised != nil {
		return nil, failure(raised)
	}
	return function, nil
}

// Python is a Python function by reference: "path/file.py:name" or "package.module:name".
func Python(reference string) (*Function, error) {
	var raised *C.transom_error_t
	function := &Function{}
	cText(reference, func(reference *C.char) C.int32_t {
		return C.transom_function_python(reference, &function.handle, &raised)
	})
	if raised != nil {
		return nil, failure(raised)
	}
	return function, nil
}

// Close frees the function; calls that are under way do not need it any more.
func (f *Function) Close() { C.transom_function_free(f.handle) }

// cStructs are Arrow structs in C memory: C may not keep pointers to Go's.
type cStructs struct {
	array  C.struct_ArrowArray
	schema C.struct_ArrowSchema
	stream C.struct_ArrowArrayStream
}

func newStructs() *cStructs { return (*cStructs)(C.calloc(1, C.size_t(unsafe.Sizeof(cStructs{})))) }

func (s *cStructs) free() {
	cdata.ReleaseCArrowSchema(s.cSchema())
	C.free(unsafe.Pointer(s))
}

func (s *cStructs) cArray() *cdata.CArrowArray { return (*cdata.CArrowArray)(unsafe.Pointer(&s.array)) }
func (s *cStructs) cSchema() *cdata.CArrowSchema {
	return (*cdata.CArrowSchema)(unsafe.Pointer(&s.schema))
}
func (s *cStructs) cStream() *cdata.CArrowArrayStream {
	return (*cdata.CArrowArrayStream)(unsafe.Pointer(&s.stream))
}

// Call calls a function with one batch and waits for its result, which is the caller's to release.
func (p *Pool) Call(function *Function, batch arrow.RecordBatch) (arrow.RecordBatch, error) {
	given, result := newStructs(), newStructs()
	defer given.free()
	defer result.free()
	cdata.ExportArrowRecordBatch(batch, given.cArray(), given.cSchema())
	var raised *C.transom_error_t
	if C.transom_pool_call(p.handle, function.handle, &given.array, &given.schema, &result.array, &result.schema, &raised) != 0 {
		return nil, failure(raised)
	}
	made, err := cdata.ImportCRecordBatch(result.cArray(), result.cSchema())
	if err != nil {
		cdata.ReleaseCArrowArray(result.cArray())
	}
	return made, err
}

// Map calls a function with each batch of a reader, several at a time; results come in order. A batches function sees the whole stream, in one worker.
// The reader is read, by the goroutine that reads the results, until these are released.
func (p *Pool) Map(function *Function, reader array.RecordReader) (*Results, error) {
	given := newStructs()
	defer given.free()
	cdata.ExportRecordReader(reader, given.cStream())
	results := &Results{structs: newStructs()}
	var raised *C.transom_error_t
	if C.transom_pool_map(p.handle, function.handle, &given.stream, nil, &results.structs.stream, &raised) != 0 {
		results.structs.free()
		return nil, failure(raised)
	}
	return results, nil
}

// Results are those of Map, an arrio.Reader: one goroutine at a time may use it.
type Results struct {
	structs *cStructs
	schema  *arrow.Schema
}

// Schema waits for the first result where the function does not declare its type.
func (r *Results) Schema() (*arrow.Schema, error) {
	if r.schema != nil {
		return r.schema, nil
	}
	if C.schema_of(&r.structs.stream, &r.structs.schema) != 0 {
		return nil, r.failure()
	}
	schema, err := cdata.ImportCArrowSchema(r.structs.cSchema())
	r.schema = schema
	return schema, err
}

// Read gives the next result, which is the caller's to release, and io.EOF behind the last. The error of a batch that failed comes in its place: what is
// read next is what comes behind it.
func (r *Results) Read() (arrow.RecordBatch, error) {
	schema, err := r.Schema()
	if err != nil {
		return nil, err
	}
	if C.next(&r.structs.stream, &r.structs.array) != 0 {
		return nil, r.failure()
	}
	if r.structs.array.release == nil {
		return nil, io.EOF
	}
	batch, err := cdata.ImportCRecordBatchWithSchema(r.structs.cArray(), schema)
	if err != nil {
		cdata.ReleaseCArrowArray(r.structs.cArray())
	}
	return batch, err
}

func (r *Results) failure() error {
	var raised *C.transom_error_t
	C.transom_stream_error(&r.structs.stream, &raised)
	return failure(raised)
}

// Release ends the stream; what is under way is cancelled.
func (r *Results) Release() {
	C.release_stream(&r.structs.stream)
	r.structs.free()
}

// Signature is what a function takes and gives.
type Signature struct {
	// Text is the signature in words, such as "price(a, b)".
	Text string
	// Format of the first column of its results, by the C data interface; empty where only the first result tells.
	Format string
}

// Describe loads a function in a worker, where that was not done before, and says what it takes and gives.
func (p *Pool) Describe(function *Function) (*Signature, error) {
	var raised *C.transom_error_t
	var described *C.transom_signature_t
	if C.transom_pool_describe(p.handle, function.handle, &described, &raised) != 0 {
		return nil, failure(raised)
	}
	defer C.transom_signature_free(described)
	given := newStructs()
	defer given.free()
	if C.transom_signature_schema(described, &given.schema, &raised) != 0 {
		return nil, failure(raised)
	}
	signature := &Signature{Text: C.GoString(C.transom_signature_text(described))}
	if given.schema.release != nil {
		signature.Format = C.GoString((*given.schema.children).format)
	}
	return signature, nil
}

// BeforeInit is the code that functions of the library fail with until Open has compared the library with the header.
func BeforeInit() Code {
	var made *C.transom_options_t
	code := Code(C.transom_options_new(&made, nil))
	C.transom_options_free(made)
	return code
}
