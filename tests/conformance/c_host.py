"""The C host of the kit: pyarrow reads and writes the files, and every batch goes through `c/host.c` and the C ABI."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from host import serve, source, write


class Structure(ctypes.Structure):
    """Room for a struct of the C data or C stream interface, the greatest of which has 80 bytes."""

    _fields_ = (("words", ctypes.c_uint64 * 10),)


class Failed(Exception):
    """A call of the library failed."""


class Host:
    """The pool behind the shared library."""

    def __init__(self, libtransom: str, library: str) -> None:
        # Loaded first, and so found by its name, wherever it lies.
        self.transom = ctypes.CDLL(libtransom, mode=ctypes.RTLD_GLOBAL)
        self.library = ctypes.CDLL(library)
        self.library.conformance_error.restype = ctypes.c_void_p

    def call(self, name: str, *arguments: Any) -> None:
        """Calls a function; raises Failed where it says so."""
        if getattr(self.library, f"conformance_{name}")(*arguments):
            raise Failed

    def open(self, request: dict[str, Any]) -> dict[str, Any]:
        options = [option.encode() for option in request["options"]]
        texts = [request["language"].encode(), request["program"].encode(), ":".join(request["class_path"]).encode()]
        self.call("open", *texts, (ctypes.c_char_p * len(options))(*options), ctypes.c_size_t(len(options)))
        return {"host": "C99, over libtransom"}

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        given = Structure()
        source(request, self.share)._export_to_c(ctypes.addressof(given))
        try:
            self.call("map", request["function"].encode(), ctypes.byref(given))
            found = Structure()
            self.call("schema", ctypes.byref(found))
            try:
                schema = pa.Schema._import_from_c(ctypes.addressof(found))
            except pa.ArrowInvalid as error:
                # The results are C's; it is this program that cannot write them to a file.
                return {"failed": {"code": "pyarrow", "message": f"pyarrow imports types of 63 levels at most: {error}"}}
            return {"batches": write(schema, self.results(schema), request["output"])}
        except Failed:
            return {"failed": {"code": self.part("id") or "", "message": self.part("text") or "", "parts": self.parts()}}
        except (pa.ArrowException, KeyError) as error:
            return {"failed": {"code": "", "message": repr(error)}}
        finally:
            self.library.conformance_end()

    def part(self, name: str, *arguments: Any, kind: Any = ctypes.c_char_p) -> Any:
        """What the C ABI says of the last error."""
        function = getattr(self.transom, f"transom_error_{name}")
        function.restype = kind
        said = function(ctypes.c_void_p(self.library.conformance_error()), *arguments)
        return said.decode() if isinstance(said, bytes) else said

    def parts(self) -> dict[str, Any]:
        """All that the error says; numbers that it does not have are negative."""
        batch, first = self.part("batch", kind=ctypes.c_int64), self.part("first_row", kind=ctypes.c_int64)
        remote = [self.part(f"remote_{name}") for name in ("kind", "message", "traceback")]
        lines = self.part("output_count", kind=ctypes.c_size_t)
        return {
            "batch": None if batch < 0 else batch,
            "rows": None if first < 0 else [first, first + self.part("row_count", kind=ctypes.c_uint64)],
            "remote": None if remote[0] is None else remote,
            "output": [self.part("output_line", ctypes.c_size_t(line)) for line in range(lines)],
            **{name: self.part(name) for name in ("name", "message", "function", "worker", "stack", "hint")},
        }

    def share(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        array, schema, shared = Structure(), Structure(), Structure()
        batch._export_to_c(ctypes.addressof(array), ctypes.addressof(schema))
        self.call("share", ctypes.byref(array), ctypes.byref(schema), ctypes.byref(shared))
        # The schema was only read, and is moved in here.
        return pa.RecordBatch._import_from_c(ctypes.addressof(shared), ctypes.addressof(schema))

    def results(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        while True:
            array = Structure()
            self.call("next", ctypes.byref(array))
            if not array.words[8]:  # `release`
                return
            yield pa.RecordBatch._import_from_c(ctypes.addressof(array), schema)

    def held(self, _: dict[str, Any]) -> dict[str, Any]:
        gc.collect()
        leases = ctypes.c_uint64()
        self.call("leases", ctypes.byref(leases))
        return {"leases": leases.value, "allocated": pa.total_allocated_bytes()}

    def close(self, _: dict[str, Any]) -> dict[str, Any]:
        self.call("close")
        return {}


if __name__ == "__main__":
    serve(Host(*sys.argv[1:]))
