package transom

/*
#include <transom.h>
*/
import "C"

import (
	"fmt"
	"os"
	"strconv"
	"unsafe"
)

// Serve runs the functions of a table, udf.Table(), for the host that started this program as a worker, until the host says goodbye. The host gives the
// link's descriptor as the program's last argument.
func Serve(table unsafe.Pointer) error {
	descriptor, err := strconv.Atoi(os.Args[len(os.Args)-1])
	if err != nil {
		return fmt.Errorf("a worker is started by a pool: %w", err)
	}
	var raised *C.transom_error_t
	if C.transom_init(C.TRANSOM_ABI_VERSION, &raised) != 0 {
		return failure(raised)
	}
	C.transom_worker_serve(C.int(descriptor), (*C.transom_library_t)(table), &raised)
	return failure(raised)
}
