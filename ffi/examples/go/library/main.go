package main

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/transom-io/transom/ffi/examples/go/udf"
)

func plusOne(arguments arrow.RecordBatch) (arrow.Array, error) {
	x := arguments.Column(0).(*array.Int64)
	builder := array.NewInt64Builder(udf.Allocator)
	defer builder.Release()
	builder.Reserve(x.Len())
	for row := range x.Len() {
		if x.IsNull(row) {
			builder.AppendNull()
		} else {
			builder.Append(x.Value(row) + 1)
		}
	}
	return builder.NewArray(), nil
}

func init() {
	udf.Register(udf.Function{Name: "plus_one", Parameters: []arrow.Field{{Name: "x", Type: arrow.PrimitiveTypes.Int64}}, Result: arrow.PrimitiveTypes.Int64, Scalar: plusOne})
}

func main() {}
