package transom

/*
#include <transom.h>
*/
import "C"

import "fmt"

// Code says what kind of failure an Error is; docs/errors.md has all of them. It is an error itself, for errors.Is(err, transom.FunctionRaised).
type Code int32

// The codes that programs ask for most.
const (
	VersionMismatch  = Code(C.TRANSOM_CODE_VERSION_MISMATCH)
	FunctionNotFound = Code(C.TRANSOM_CODE_FUNCTION_NOT_FOUND)
	WorkerSignalled  = Code(C.TRANSOM_CODE_WORKER_SIGNALLED)
	DeadlineExceeded = Code(C.TRANSOM_CODE_DEADLINE_EXCEEDED)
	PoolClosed       = Code(C.TRANSOM_CODE_POOL_CLOSED)
	FunctionRaised   = Code(C.TRANSOM_CODE_FUNCTION_RAISED)
	WrongLength      = Code(C.TRANSOM_CODE_WRONG_LENGTH)
	ColumnNotFound   = Code(C.TRANSOM_CODE_COLUMN_NOT_FOUND)
	SourceFailed     = Code(C.TRANSOM_CODE_SOURCE_FAILED)
	BadArgument      = Code(C.TRANSOM_CODE_BAD_ARGUMENT)
)

func (c Code) Error() string { return fmt.Sprintf("TRN-%d", int32(c)) }

// Error is a failure of Transom or of a function: what happened, where, and what to do.
type Error struct {
	Code Code
	// ID and Name of the code, such as "TRN-3001" and "FUNCTION_RAISED".
	ID, Name string
	// Message is one sentence, Text the whole story in several lines.
	Message, Text string
	// Function and Worker concerned; empty where there is none.
	Function, Worker string
	// RemoteKind, RemoteMessage and RemoteTraceback are what the function raised.
	RemoteKind, RemoteMessage, RemoteTraceback string
	// Batch and FirstRow concerned, counted from 0 in the stream; -1 where there is none.
	Batch, FirstRow int64
	// Output has the last lines that a worker printed before it died, Stack what it wrote of its stack.
	Output []string
	Stack  string
	Hint   string
}

func (e *Error) Error() string { return e.Text }

// Is says whether target is the error's code.
func (e *Error) Is(target error) bool {
	code, ok := target.(Code)
	return ok && code == e.Code
}

// failure copies an error out of C and frees it; nil for none.
func failure(raised *C.transom_error_t) error {
	if raised == nil {
		return nil
	}
	defer C.transom_error_free(raised)
	made := &Error{
		Code:            Code(C.transom_error_code(raised)),
		ID:              C.GoString(C.transom_error_id(raised)),
		Name:            C.GoString(C.transom_error_name(raised)),
		Message:         C.GoString(C.transom_error_message(raised)),
		Text:            C.GoString(C.transom_error_text(raised)),
		Function:        C.GoString(C.transom_error_function(raised)),
		Worker:          C.GoString(C.transom_error_worker(raised)),
		RemoteKind:      C.GoString(C.transom_error_remote_kind(raised)),
		RemoteMessage:   C.GoString(C.transom_error_remote_message(raised)),
		RemoteTraceback: C.GoString(C.transom_error_remote_traceback(raised)),
		Batch:           int64(C.transom_error_batch(raised)),
		FirstRow:        int64(C.transom_error_first_row(raised)),
		Stack:           C.GoString(C.transom_error_stack(raised)),
		Hint:            C.GoString(C.transom_error_hint(raised)),
	}
	for line := C.size_t(0); line < C.transom_error_output_count(raised); line++ {
		made.Output = append(made.Output, C.GoString(C.transom_error_output_line(raised, line)))
	}
	return made
}
