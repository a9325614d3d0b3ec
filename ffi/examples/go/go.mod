module github.com/transom-io/transom/ffi/examples/go

go 1.26.8

require github.com/apache/arrow-go/v18 v18.8.0 // indirect
