package transom

/*
#include <transom.h>
*/
import "C"

import (
	"sync"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow/memory"
)

// Allocator gives shared memory of the pool: arguments that are built with it cross without a copy. It panics where the pool has no more, as Go does.
func (p *Pool) Allocator() memory.Allocator {
	return &shared{pool: p, pieces: map[unsafe.Pointer]*C.transom_memory_t{}}
}

type shared struct {
	pool   *Pool
	lock   sync.Mutex
	pieces map[unsafe.Pointer]*C.transom_memory_t
}

func (s *shared) Allocate(size int) []byte {
	if size == 0 {
		return nil
	}
	var data unsafe.Pointer
	var piece *C.transom_memory_t
	var raised *C.transom_error_t
	if C.transom_pool_allocate(s.pool.handle, C.size_t(size), &data, &piece, &raised) != 0 {
		panic(failure(raised))
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	s.pieces[data] = piece
	bytes := unsafe.Slice((*byte)(data), size)
	clear(bytes) // arrow-go counts on zeros
	return bytes
}

func (s *shared) Reallocate(size int, old []byte) []byte {
	if size <= cap(old) {
		return old[:size]
	}
	grown := s.Allocate(size)
	copy(grown, old)
	s.Free(old)
	return grown
}

func (s *shared) Free(bytes []byte) {
	if cap(bytes) == 0 {
		return
	}
	data := unsafe.Pointer(unsafe.SliceData(bytes))
	s.lock.Lock()
	defer s.lock.Unlock()
	C.transom_memory_free(s.pieces[data])
	delete(s.pieces, data)
}

// Copies says how many bytes of arguments and results crossed where they lay, and how many were copied.
type Copies struct{ InputShared, InputCopied, ResultShared, ResultCopied uint64 }

// Copies of the pool so far.
func (p *Pool) Copies() (Copies, error) {
	var raised *C.transom_error_t
	var made C.transom_copies_t
	made.size = C.sizeof_transom_copies_t
	C.transom_pool_copies(p.handle, &made, &raised)
	return Copies{uint64(made.input_shared), uint64(made.input_copied), uint64(made.result_shared), uint64(made.result_copied)}, failure(raised)
}
