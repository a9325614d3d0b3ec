// What goes wrong in a function is an error here: in Python, in a library by its own account, and in a library by a defect. The program goes on.
//
//	go run ./errors PYTHON functions.py ./libexample.so
package main

import (
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/transom-io/transom/ffi/examples/go/transom"
)

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

func report(failure *transom.Error) {
	stack := "yes"
	if failure.Stack == "" {
		stack = "no"
	}
	fmt.Printf("code %d is %s %s\n", failure.Code, failure.ID, failure.Name)
	fmt.Printf("  message: %s\n", failure.Message)
	fmt.Printf("  function: %s, row: %d\n", orNone(failure.Function), failure.FirstRow)
	fmt.Printf("  raised: %s, %s\n", orNone(failure.RemoteKind), orNone(failure.RemoteMessage))
	fmt.Printf("  a stack: %s\n", stack)
}

func call(pool *transom.Pool, function *transom.Function, err error) {
	if err != nil {
		log.Fatal(err)
	}
	defer function.Close()
	builder := array.NewInt64Builder(transom.Allocator)
	defer builder.Release()
	builder.AppendValues([]int64{5, 0, 2}, nil)
	column := builder.NewArray()
	defer column.Release()
	schema := arrow.NewSchema([]arrow.Field{{Name: "x", Type: column.DataType(), Nullable: true}}, nil)
	batch := array.NewRecordBatch(schema, []arrow.Array{column}, 3)
	defer batch.Release()

	result, err := pool.Call(function, batch)
	var failure *transom.Error
	if errors.As(err, &failure) {
		report(failure)
		return
	}
	defer result.Release()
	values := result.Column(0).(*array.Int64).Int64Values()
	fmt.Printf("result: [%d, %d, %d]\n", values[0], values[1], values[2])
}

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: errors PYTHON FUNCTIONS.py LIBRARY.so")
	}
	fmt.Printf("before transom_init: code %d\n", transom.BeforeInit())
	pool, err := transom.Open(transom.Options{Workers: 1, Python: os.Args[1]})
	if err != nil {
		log.Fatal(err)
	}
	function, err := transom.Python(os.Args[2] + ":ratio")
	call(pool, function, err)
	for _, name := range []string{"thousandth", "crash", "not_there", "plus_one"} {
		function, err := transom.Native(os.Args[3], name)
		call(pool, function, err)
	}
	// A pool that was closed is found out.
	first, second := pool.Close(), pool.Close()
	var failure *transom.Error
	if first != nil || !errors.As(second, &failure) || !errors.Is(second, transom.BadArgument) {
		log.Fatalf("closed: %v, and again: %v", first, second)
	}
	fmt.Printf("closed: code 0, and again: code %d, %s\n", failure.Code, failure.Message)
}
