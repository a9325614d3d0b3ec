"""Transom with a Python host and a JVM worker: the function is a class of `benches/jvm`. Arguments: the folder, the class path."""

from __future__ import annotations

import os
import sys
from typing import Any

import pyarrow as pa
import transom

from contestants.base import serve
from contestants.peer import WINDOW
from contestants.transom_host import TransomHost

CLASSES = {"plus_one": "io.transom.bench.PlusOne"}


def open_pool(class_path: str) -> transom.Pool:
    """A pool whose JVM workers have everything on their class path."""
    return transom.Pool(workers=1, window=WINDOW, java_class_path=class_path.split(os.pathsep))


class TransomJava(TransomHost):
    """A pool of one worker, which is a JVM."""

    def __init__(self, class_path: str) -> None:
        super().__init__(open_pool(class_path))
        self._functions = {name: transom.java(of) for name, of in CLASSES.items()}
        # The worker's process counts from the first measurement on, so it has to be there.
        self._pool.call(self.function("plus_one"), pa.array([1]))

    def function(self, name: str) -> Any:
        return self._functions[name]


if __name__ == "__main__":
    serve(TransomJava(sys.argv[2]))
