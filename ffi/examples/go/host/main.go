// A program that calls functions: one in Python, some in a shared library. It prints what comes back.
//
//	go run ./host PYTHON functions.py ./libexample.so
package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/transom-io/transom/ffi/examples/go/transom"
)

// must ends the example where something went wrong.
func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

// printColumn prints the first column of a batch, and releases the batch.
func printColumn(title string, batch arrow.RecordBatch) {
	defer batch.Release()
	column := batch.Column(0)
	texts := make([]string, column.Len())
	for row := range texts {
		texts[row] = "null"
		if column.IsValid(row) {
			texts[row] = column.ValueStr(row)
			if column.DataType().ID() == arrow.STRING {
				texts[row] = fmt.Sprintf("%q", texts[row])
			}
		}
	}
	fmt.Printf("%s: [%s]\n", title, strings.Join(texts, ", "))
}

func numbers(allocator memory.Allocator, values []int64, valid []bool) arrow.RecordBatch {
	builder := array.NewInt64Builder(allocator)
	defer builder.Release()
	builder.AppendValues(values, valid)
	return batchOf("x", builder.NewArray())
}

func words() arrow.RecordBatch {
	builder := array.NewStringBuilder(transom.Allocator)
	defer builder.Release()
	builder.AppendValues([]string{"over", "", "the door"}, []bool{true, false, true})
	return batchOf("text", builder.NewArray())
}

func batchOf(name string, column arrow.Array) arrow.RecordBatch {
	defer column.Release()
	schema := arrow.NewSchema([]arrow.Field{{Name: name, Type: column.DataType(), Nullable: true}}, nil)
	return array.NewRecordBatch(schema, []arrow.Array{column}, int64(column.Len()))
}

func call(pool *transom.Pool, function *transom.Function, batch arrow.RecordBatch) arrow.RecordBatch {
	defer batch.Release()
	return must(pool.Call(function, batch))
}

// callLater waits for a call in a goroutine of its own.
func callLater(pool *transom.Pool, function *transom.Function, batch arrow.RecordBatch) arrow.RecordBatch {
	result := make(chan arrow.RecordBatch)
	go func() { result <- call(pool, function, batch) }()
	return <-result
}

// callShared makes its arguments in the pool's shared memory: they cross without a copy.
func callShared(pool *transom.Pool, function *transom.Function) {
	batch := numbers(pool.Allocator(), []int64{0, 100, 200}, nil)
	before := must(pool.Copies())
	printColumn("plus_one, in shared memory", call(pool, function, batch))
	after := must(pool.Copies())
	fmt.Printf("of the arguments %d bytes were shared and %d copied\n", after.InputShared-before.InputShared, after.InputCopied-before.InputCopied)
}

func printMapped(pool *transom.Pool, function *transom.Function, title string) {
	batches := make([]arrow.RecordBatch, 3)
	for index := range batches {
		batches[index] = numbers(transom.Allocator, []int64{int64(10*index + 1), int64(10*index + 2)}, nil)
		defer batches[index].Release()
	}
	reader := must(array.NewRecordReader(batches[0].Schema(), batches))
	defer reader.Release()
	results := must(pool.Map(function, reader))
	defer results.Release()
	for {
		batch, err := results.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		printColumn(title, must(batch, err))
	}
}

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: host PYTHON FUNCTIONS.py LIBRARY.so")
	}
	pool := must(transom.Open(transom.Options{Workers: 2, Python: os.Args[1]}))
	defer pool.Close()
	twice := must(transom.Python(os.Args[2] + ":twice"))
	defer twice.Close()
	plusOne := must(transom.Native(os.Args[3], "plus_one"))
	defer plusOne.Close()
	upper := must(transom.Native(os.Args[3], "upper"))
	defer upper.Close()
	runningTotal := must(transom.Native(os.Args[3], "running_total"))
	defer runningTotal.Close()

	x := func() arrow.RecordBatch {
		return numbers(transom.Allocator, []int64{1, 2, 0, 4}, []bool{true, true, false, true})
	}
	signature := must(pool.Describe(plusOne))
	fmt.Printf("%s gives %s\n", signature.Text, signature.Format)
	printColumn("plus_one", call(pool, plusOne, x()))
	printColumn("twice, in Python", call(pool, twice, x()))
	printColumn("upper", call(pool, upper, words()))
	printColumn("plus_one, later", callLater(pool, plusOne, x()))
	callShared(pool, plusOne)
	printMapped(pool, plusOne, "plus_one of a stream")
	printMapped(pool, runningTotal, "running_total")
}
