// Functions in a shared library, which transom-native-worker runs:
//
//	go build -buildmode=c-shared -o libexample.so ./library
package main

import _ "github.com/transom-io/transom/ffi/examples/go/functions"

func main() {}
