"""The native half of the package. `transom.Pool` and `transom.udf` are what users call; of these classes they meet `Batches` alone."""

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import pyarrow as pa

__version__: str

class Function:
    """A function as the core knows it."""

    @staticmethod
    def python(reference: str, import_path: list[str]) -> Function: ...
    @staticmethod
    def pickled(name: str, data: bytes, import_path: list[str]) -> Function: ...
    @staticmethod
    def native(library: str, name: str) -> Function: ...
    @staticmethod
    def java(class_name: str, jars: list[str]) -> Function: ...
    @property
    def name(self) -> str: ...
    def with_policies(self, deadline: float | None, retries: int, on_error: str | None) -> Function: ...

class Arrays:
    """A function over arrays in a worker, prepared for a schema."""

    def __new__(
        cls, prepared: Any, function: Callable[..., Any], columns: list[tuple[str, Callable[[Any], Any] | None]], nullable: bool
    ) -> Arrays: ...

class Rows:
    """A row function in a worker, prepared for a schema."""

    def __new__(
        cls,
        prepared: Any,
        function: Callable[..., Any],
        columns: list[tuple[str, Callable[[Any], Any] | None, Callable[[Any], Any], bool]],
        returns: pa.DataType | None,
        nullable: bool,
    ) -> Rows: ...
    @staticmethod
    def builds(kind: pa.DataType) -> bool:
        """Whether columns of this type are made here; pyarrow makes the others."""

class Batches:
    """The results of `Pool.map`: an iterator of record batches that is also an Arrow C stream. Dropping it cancels what is under way."""

    @property
    def schema(self) -> pa.Schema:
        """The schema of the results. Where the function does not declare it, this waits for the first result."""

    def __iter__(self) -> Iterator[pa.RecordBatch]: ...
    def __next__(self) -> pa.RecordBatch: ...
    def __enter__(self) -> Batches: ...
    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None, /) -> None: ...
    def close(self) -> None:
        """Cancels what is under way. Batches that were given stay valid."""

    def read_all(self) -> pa.Table:
        """All results as one table."""

    def dead_letters(self) -> pa.Table:
        """Takes the rows that were taken out of the results so far: a table of what the function was given, with the reasons."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> Any:
        """The results as an Arrow C stream, read once."""

class Pool:
    """The core's pool, behind `transom.Pool`."""

    def __new__(
        cls,
        *,
        workers: int | None,
        python: str,
        env: list[tuple[str, str]],
        cwd: str | None,
        memory_limit: int | None,
        mode: str,
        deadline: float | None,
        window: int,
        worker_memory: int | None,
        worker_descriptors: int | None,
        worker_processes: int | None,
        result_limit: int | None,
        native_worker: str | None,
        java: str | None,
        java_class_path: list[str],
        java_options: list[str],
        capsules: str | None,
        capsule_bytes: int | None,
        capsule_count: int | None,
        trace_leases: bool | None,
    ) -> Pool: ...
    def call(self, function: Function, batch: pa.RecordBatch) -> pa.Array | pa.RecordBatch: ...
    def call_arrays(self, function: Function, arrays: list[pa.Array]) -> pa.Array: ...
    def map_reader(self, function: Function, reader: pa.RecordBatchReader, columns: list[str] | None, append: bool, ordered: bool) -> Batches: ...
    def map_iterator(
        self, function: Function, batches: Iterator[pa.RecordBatch], columns: list[str] | None, append: bool, ordered: bool
    ) -> Batches: ...
    def share(self, batch: pa.RecordBatch) -> pa.RecordBatch: ...
    def dead_letters(self) -> list[pa.RecordBatch]: ...
    def stats(self) -> dict[str, Any]: ...
    def leases(self) -> list[dict[str, Any]]: ...
    def copies(self) -> dict[str, Any]: ...
    def close(self) -> None: ...

def bytes_in(text: str) -> int: ...
def write_stacks() -> int | None: ...
def share_heap() -> str | None: ...
def write_addresses(descriptor: int) -> None:
    """From now on a fault in this process first writes its address to `descriptor`."""

def split(link: int, faults: int | None) -> tuple[int, int] | None: ...
def obstacle_to_forks() -> str | None: ...
def serve(descriptor: int, runtime: object) -> None:
    """Serves the host at the other end of `descriptor` until it says goodbye or is gone."""

def replay(path: str, rows: tuple[int, int] | None, python: str | None, env: list[tuple[str, str]], deadline: float | None) -> list[pa.RecordBatch]:
    """Calls a capsule's function once more in a fresh worker, and gives what it returns."""

def replay_here(path: str, rows: tuple[int, int], runtime: object) -> list[pa.RecordBatch]:
    """Calls a capsule's function in this process."""

def replay_command(path: str, rows: tuple[int, int] | None, python: str | None) -> tuple[list[str], str | None]:
    """The command that calls it in a process of its own, and the working directory for it."""
