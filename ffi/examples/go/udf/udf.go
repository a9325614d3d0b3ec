// Package udf is for functions in Go that Transom's workers run: in a shared library (go build -buildmode=c-shared), which transom-native-worker loads,
// or in a worker program (transom.Serve). A library needs the header transom.h to be compiled, and is linked with nothing of Transom's.
package udf

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/arrow/memory/mallocator"
)

// Allocator gives memory outside of Go's heap. Results are to be built with it: they are read by C after the function has returned, and C may not
// keep pointers into Go's heap.
var Allocator memory.Allocator = mallocator.NewMallocator()

// Scalar is a function that takes arrays, the columns of the batch, and gives one array of the same length. The batch is released when it returns, unless
// it was retained.
type Scalar func(arguments arrow.RecordBatch) (arrow.Array, error)

// Batches is a function that takes a stream of batches and gives one. Its input is released when the output is.
type Batches func(input array.RecordReader) (array.RecordReader, error)

// Function describes a function, which is either Scalar or Batches.
type Function struct {
	// Name is what hosts ask for.
	Name string
	// Parameters of a scalar function. One whose type is nil takes any type.
	Parameters []arrow.Field
	// Result of a scalar function. Where it is nil, the first result tells the type.
	Result  arrow.DataType
	Scalar  Scalar
	Batches Batches
}

// Error is what a function returns to say more than a message: the kind of the failure, and the row of the batch that is to blame.
type Error struct {
	Kind    string
	Message string
	// Row in the batch, or -1.
	Row int64
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s", e.Kind, e.Message) }

// recovered turns a panic into an error: it must not unwind into C.
func recovered(err *error) {
	if panicked := recover(); panicked != nil {
		*err = &Error{Kind: "panic", Message: fmt.Sprint(panicked), Row: -1}
	}
}

func (f Function) callScalar(arguments arrow.RecordBatch) (result arrow.Array, err error) {
	defer recovered(&err)
	result, err = f.Scalar(arguments)
	if err == nil && result == nil {
		err = &Error{Kind: "TypeError", Message: "the function returned neither an array nor an error", Row: -1}
	}
	return result, err
}

func (f Function) callBatches(input array.RecordReader) (output array.RecordReader, err error) {
	defer recovered(&err)
	output, err = f.Batches(input)
	if err == nil && output == nil {
		err = &Error{Kind: "TypeError", Message: "the function returned neither a reader nor an error", Row: -1}
	}
	return output, err
}

// guarded is a function's output, from which no panic leaves, and which holds its input.
type guarded struct {
	array.RecordReader
	input array.RecordReader
	err   error
}

func (g *guarded) Next() (more bool) {
	defer func() {
		recovered(&g.err)
		more = more && g.err == nil
	}()
	return g.RecordReader.Next()
}

func (g *guarded) Err() error {
	if g.err != nil {
		return g.err
	}
	return g.RecordReader.Err()
}

func (g *guarded) Release() {
	g.RecordReader.Release()
	g.input.Release()
}
