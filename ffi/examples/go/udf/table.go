package udf

/*
// The header beside these examples; a program elsewhere has `#cgo pkg-config: transom`, or CGO_CFLAGS, for the installed one.
#cgo CFLAGS: -I${SRCDIR}/../../../include
#include <stdlib.h>
#include <string.h>
#include <transom.h>

extern int32_t transomGoScalar(void *, transom_call_t *, struct ArrowArray *, struct ArrowSchema *, struct ArrowArray *, struct ArrowSchema *);
extern int32_t transomGoBatches(void *, transom_call_t *, struct ArrowArrayStream *, struct ArrowArrayStream *);

static void release_copy(struct ArrowSchema *copy) {
    for (int64_t child = 0; child < copy->n_children; child++) {
        if (copy->children[child]->release != NULL) release_copy(copy->children[child]);
        free(copy->children[child]);
    }
    if (copy->dictionary != NULL && copy->dictionary->release != NULL) release_copy(copy->dictionary);
    free(copy->dictionary);
    free(copy->children);
    copy->release = NULL;
}

// The schema of the arguments is lent, and arrow-go releases what it imports, and each child of it: it gets a copy, whose texts are still lent.
static struct ArrowSchema *copy_schema(const struct ArrowSchema *schema, struct ArrowSchema *copy) {
    *copy = *schema;
    copy->release = release_copy;
    copy->children = calloc(schema->n_children + 1, sizeof *copy->children);
    for (int64_t child = 0; child < schema->n_children; child++) {
        copy->children[child] = copy_schema(schema->children[child], malloc(sizeof *copy));
    }
    if (schema->dictionary != NULL) copy->dictionary = copy_schema(schema->dictionary, malloc(sizeof *copy));
    return copy;
}

static int32_t scalar(void *user_data, transom_call_t *call, struct ArrowArray *arguments, const struct ArrowSchema *schema,
                      struct ArrowArray *result, struct ArrowSchema *result_schema) {
    struct ArrowSchema copy;
    return transomGoScalar(user_data, call, arguments, copy_schema(schema, &copy), result, result_schema);
}

// Go cannot call function pointers of C, nor macros.
static int32_t fail(transom_call_t *call, const char *kind, const char *message, int64_t row) { return transom_call_fail(call, kind, message, row); }
static void set_scalar(transom_definition_t *definition) { definition->scalar = scalar; }
static void set_batches(transom_definition_t *definition) { definition->batches = transomGoBatches; }
*/
import "C"

import (
	"errors"
	"runtime"
	"runtime/cgo"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/cdata"
)

// table is what workers read: C memory that stays for ever.
var table = (*C.transom_library_t)(C.calloc(1, C.sizeof_transom_library_t))

// Register describes the program's or library's functions. To be called once, before Serve or, in a library, in an init function.
func Register(functions ...Function) {
	definitions := unsafe.Slice((*C.transom_definition_t)(C.calloc(C.size_t(len(functions)+1), C.sizeof_transom_definition_t)), len(functions))
	for index, function := range functions {
		describe(&definitions[index], function)
	}
	table.size = C.sizeof_transom_library_t
	table.abi_version = C.TRANSOM_ABI_VERSION
	table.definition_size = C.sizeof_transom_definition_t
	table.definitions = unsafe.SliceData(definitions)
	table.definition_count = C.size_t(len(functions))
	table.language = C.CString(runtime.Version())
}

// Table is the address of the C struct that Register filled, for transom.Serve.
func Table() unsafe.Pointer { return unsafe.Pointer(table) }

func describe(definition *C.transom_definition_t, function Function) {
	definition.size = C.sizeof_transom_definition_t
	definition.name = C.CString(function.Name)
	// The number of a handle in C memory, of which C gets the address: a number is no pointer to C's tools.
	handle := (*C.uintptr_t)(C.malloc(C.sizeof_uintptr_t))
	*handle = C.uintptr_t(cgo.NewHandle(function))
	definition.user_data = unsafe.Pointer(handle)
	if function.Batches != nil {
		definition.kind = C.TRANSOM_KIND_BATCHES
		C.set_batches(definition)
		return
	}
	definition.kind = C.TRANSOM_KIND_SCALAR
	C.set_scalar(definition)
	definition.parameters, definition.parameter_count = fields(function.Parameters)
	if function.Result != nil {
		definition.results, definition.result_count = fields([]arrow.Field{{Name: function.Name, Type: function.Result, Nullable: true}})
	}
}

func fields(described []arrow.Field) (*C.transom_field_t, C.size_t) {
	list := unsafe.Slice((*C.transom_field_t)(C.calloc(C.size_t(len(described)+1), C.sizeof_transom_field_t)), len(described))
	for index, field := range described {
		list[index].size = C.sizeof_transom_field_t
		list[index].name = C.CString(field.Name)
		if field.Type != nil {
			schema := C.calloc(1, C.sizeof_struct_ArrowSchema)
			cdata.ExportArrowSchema(arrow.NewSchema([]arrow.Field{field}, nil), (*cdata.CArrowSchema)(schema))
			list[index].schema = *(*C.struct_ArrowSchema)(schema).children
		}
	}
	return unsafe.SliceData(list), C.size_t(len(described))
}

func functionOf(userData unsafe.Pointer) Function {
	return cgo.Handle(*(*C.uintptr_t)(userData)).Value().(Function)
}

// failed tells the host why a function failed.
func failed(call *C.transom_call_t, err error) C.int32_t {
	detail := &Error{Kind: "error", Message: err.Error(), Row: -1}
	errors.As(err, &detail)
	kind, message := C.CString(detail.Kind), C.CString(detail.Message)
	defer C.free(unsafe.Pointer(kind))
	defer C.free(unsafe.Pointer(message))
	return C.fail(call, kind, message, C.int64_t(detail.Row))
}

//export transomGoScalar
func transomGoScalar(userData unsafe.Pointer, call *C.transom_call_t, arguments *C.struct_ArrowArray, schema *C.struct_ArrowSchema,
	result *C.struct_ArrowArray, resultSchema *C.struct_ArrowSchema) C.int32_t {
	batch, err := cdata.ImportCRecordBatch((*cdata.CArrowArray)(unsafe.Pointer(arguments)), (*cdata.CArrowSchema)(unsafe.Pointer(schema)))
	if err != nil {
		return failed(call, err)
	}
	defer batch.Release()
	function := functionOf(userData)
	given, err := function.callScalar(batch)
	if err != nil {
		return failed(call, err)
	}
	defer given.Release()
	cdata.ExportArrowArray(given, (*cdata.CArrowArray)(unsafe.Pointer(result)), (*cdata.CArrowSchema)(unsafe.Pointer(resultSchema)))
	return 0
}

//export transomGoBatches
func transomGoBatches(userData unsafe.Pointer, call *C.transom_call_t, input, output *C.struct_ArrowArrayStream) C.int32_t {
	reader, err := cdata.ImportCRecordReader((*cdata.CArrowArrayStream)(unsafe.Pointer(input)), nil)
	if err != nil {
		return failed(call, err)
	}
	source := reader.(array.RecordReader)
	given, err := functionOf(userData).callBatches(source)
	if err != nil {
		source.Release()
		return failed(call, err)
	}
	results := &guarded{RecordReader: given, input: source}
	cdata.ExportRecordReader(results, (*cdata.CArrowArrayStream)(unsafe.Pointer(output)))
	given.Release() // the stream has a reference of its own
	return 0
}

//export transomGoLibrary
func transomGoLibrary() unsafe.Pointer { return Table() }
