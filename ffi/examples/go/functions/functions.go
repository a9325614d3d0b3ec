// Package functions has the functions of the examples, for the library and for the worker program.
package functions

/*
#include <string.h>
*/
import "C"

import (
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/transom-io/transom/ffi/examples/go/udf"
)

// eachInt64 builds an array from the first column, null where that is null.
func eachInt64(arguments arrow.RecordBatch, value func(row int, x int64) (int64, error)) (arrow.Array, error) {
	x := arguments.Column(0).(*array.Int64)
	builder := array.NewInt64Builder(udf.Allocator)
	defer builder.Release()
	builder.Reserve(x.Len())
	for row := range x.Len() {
		if x.IsNull(row) {
			builder.UnsafeAppendBoolToBitmap(false)
			continue
		}
		result, err := value(row, x.Value(row))
		if err != nil {
			return nil, err
		}
		builder.UnsafeAppend(result)
	}
	return builder.NewArray(), nil
}

func plusOne(arguments arrow.RecordBatch) (arrow.Array, error) {
	return eachInt64(arguments, func(_ int, x int64) (int64, error) { return x + 1, nil })
}

func upper(arguments arrow.RecordBatch) (arrow.Array, error) {
	text := arguments.Column(0).(*array.String)
	builder := array.NewStringBuilder(udf.Allocator)
	defer builder.Release()
	for row := range text.Len() {
		if text.IsNull(row) {
			builder.AppendNull()
		} else {
			builder.Append(strings.ToUpper(text.Value(row)))
		}
	}
	return builder.NewArray(), nil
}

// thousandth says why it cannot go on, and in which row.
func thousandth(arguments arrow.RecordBatch) (arrow.Array, error) {
	return eachInt64(arguments, func(row int, x int64) (int64, error) {
		if x == 0 {
			return 0, &udf.Error{Kind: "DivisionByZero", Message: "x is zero", Row: int64(row)}
		}
		return 1000 / x, nil
	})
}

// crash calls C code with a defect. A panic in Go would be an error like any other.
func crash(arrow.RecordBatch) (arrow.Array, error) {
	C.strlen(nil)
	return nil, nil
}

// totals is a stream with the sum of all rows so far.
type totals struct {
	array.RecordReader
	current arrow.RecordBatch
	sum     int64
}

var totalSchema = arrow.NewSchema([]arrow.Field{{Name: "total", Type: arrow.PrimitiveTypes.Int64, Nullable: true}}, nil)

func (t *totals) Schema() *arrow.Schema          { return totalSchema }
func (t *totals) RecordBatch() arrow.RecordBatch { return t.current }

func (t *totals) Next() bool {
	t.drop()
	if !t.RecordReader.Next() {
		return false
	}
	batch := t.RecordReader.RecordBatch()
	column, err := eachInt64(batch, func(_ int, x int64) (int64, error) {
		t.sum += x
		return t.sum, nil
	})
	if err != nil {
		panic(err)
	}
	defer column.Release()
	t.current = array.NewRecordBatch(totalSchema, []arrow.Array{column}, batch.NumRows())
	return true
}

func (t *totals) drop() {
	if t.current != nil {
		t.current.Release()
		t.current = nil
	}
}

func (t *totals) Release() { t.drop() }
func (t *totals) Retain()  {}

func runningTotal(input array.RecordReader) (array.RecordReader, error) {
	return &totals{RecordReader: input}, nil
}

func init() {
	int64s := arrow.PrimitiveTypes.Int64
	x := []arrow.Field{{Name: "x", Type: int64s, Nullable: true}}
	text := []arrow.Field{{Name: "text", Type: arrow.BinaryTypes.String, Nullable: true}}
	udf.Register(
		udf.Function{Name: "plus_one", Parameters: x, Result: int64s, Scalar: plusOne},
		udf.Function{Name: "upper", Parameters: text, Result: arrow.BinaryTypes.String, Scalar: upper},
		udf.Function{Name: "thousandth", Parameters: x, Result: int64s, Scalar: thousandth},
		udf.Function{Name: "crash", Parameters: x, Result: int64s, Scalar: crash},
		udf.Function{Name: "running_total", Batches: runningTotal},
	)
}
