// A worker program of one's own, with the functions of the library:
//
//	go build -o worker ./worker
//
// A pool starts it where Options.NativeWorker, or the environment variable TRANSOM_NATIVE_WORKER, names it.
package main

import (
	"fmt"
	"os"

	_ "github.com/transom-io/transom/ffi/examples/go/functions"
	"github.com/transom-io/transom/ffi/examples/go/transom"
	"github.com/transom-io/transom/ffi/examples/go/udf"
)

func main() {
	if err := transom.Serve(udf.Table()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
