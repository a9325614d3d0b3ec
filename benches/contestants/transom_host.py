"""Transom with Python on both sides: one worker, its defaults in everything else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import transom

import functions
from contestants.base import Contestant, serve
from contestants.peer import WINDOW
from functions import Case


class TransomHost(Contestant):
    """A pool of one worker."""

    _function: Any

    def __init__(self, pool: transom.Pool) -> None:
        self._pool = pool

    def function(self, name: str) -> Any:
        """What the pool is given for a function of this name."""
        return getattr(functions, name)

    def stream(self, case: Case, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return iter(self._pool.map(self.function(case.name), batches))

    def open_calls(self, case: Case, schema: pa.Schema) -> None:
        self._function = self.function(case.name)

    def call(self, batch: pa.RecordBatch) -> pa.RecordBatch | pa.Array:
        return self._pool.call(self._function, batch)

    def workers(self) -> list[int]:
        pids = (worker["pid"] for worker in self._pool.stats()["workers"])
        return [pid for pid in pids if pid is not None]

    def copied(self) -> int:
        return self._pool.copies()["bytes_copied"]

    def close(self) -> None:
        self._pool.close()


if __name__ == "__main__":
    serve(TransomHost(transom.Pool(workers=1, window=WINDOW)))
