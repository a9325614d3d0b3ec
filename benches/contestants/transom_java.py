"""Transom with a Python host and a JVM worker: the function is a class of `benches/jvm`. Arguments: the folder, the class path."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import transom

from contestants.base import Contestant, serve
from contestants.peer import WINDOW
from functions import Case

CLASSES = {"plus_one": "io.transom.bench.PlusOne"}


def open_pool(class_path: str) -> transom.Pool:
    """A pool whose JVM workers have everything on their class path."""
    return transom.Pool(workers=1, window=WINDOW, java_class_path=class_path.split(os.pathsep))


class TransomJava(Contestant):
    """A pool of one worker, which is a JVM."""

    _function: Any

    def __init__(self, class_path: str) -> None:
        self._pool = open_pool(class_path)
        self._functions = {name: transom.java(of) for name, of in CLASSES.items()}
        # The worker's process counts from the first measurement on, so it has to be there.
        self._pool.call(self._functions["plus_one"], pa.array([1]))

    def stream(self, case: Case, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return iter(self._pool.map(self._functions[case.name], batches))

    def open_calls(self, case: Case, schema: pa.Schema) -> None:
        self._function = self._functions[case.name]

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
    serve(TransomJava(sys.argv[2]))
