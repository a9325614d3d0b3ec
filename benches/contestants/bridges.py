"""Python calls Java, one thing at a time: by Transom, by Py4J, by JPype. Arguments: the bridge, the class path.

Each bridge does the same tasks from the same Python values to the same Python values, whatever it has to do in between:

call       one int, plus one
bytes      1 MiB of bytes, every bit turned over
list       a list of ints, plus one, as a list
column     a numpy array of int64, plus one, as a numpy array
packed     the same column, for a bridge without columns packed by hand into the bytes that it can carry

The driver says how long lists and columns are. Results are compared with the right ones outside the measured time.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

MEBIBYTE = 1 << 20
JAVA = ("-Xms1g", "-Xmx4g")


class TransomBridge:
    """A pool with one JVM worker: another process."""

    def __init__(self, class_path: str) -> None:
        import pyarrow as pa
        import transom

        from contestants.transom_java import open_pool

        self._pa = pa
        self._pool = open_pool(class_path)
        self._plus_one = transom.java("io.transom.bench.PlusOne")
        self._invert = transom.java("io.transom.bench.Invert")

    def call(self, value: int) -> int:
        return self._pool.call(self._plus_one, self._pa.array([value]))[0].as_py()

    def bytes(self, value: bytes) -> bytes:
        return self._pool.call(self._invert, self._pa.array([value]))[0].as_py()

    def list(self, value: list[int]) -> list[int]:
        return self._pool.call(self._plus_one, self._pa.array(value, self._pa.int64())).to_pylist()

    def column(self, value: np.ndarray) -> np.ndarray:
        return self._pool.call(self._plus_one, self._pa.array(value)).to_numpy(zero_copy_only=True)

    def close(self) -> None:
        self._pool.close()


class Py4jBridge:
    """Py4J: a JVM of its own behind a socket, and text for everything."""

    def __init__(self, class_path: str) -> None:
        from py4j.java_collections import ListConverter
        from py4j.java_gateway import JavaGateway

        self._gateway = JavaGateway.launch_gateway(classpath=class_path, javaopts=list(JAVA), die_on_exit=True)
        self._java = self._gateway.jvm.io.transom.bench.Bridged
        self._convert = ListConverter().convert
        self._client = self._gateway._gateway_client

    def call(self, value: int) -> int:
        return self._java.next(value)

    def bytes(self, value: bytes) -> bytes:
        return self._java.invert(value)

    def list(self, value: list[int]) -> list[int]:
        return list(self._java.nextOfList(self._convert(value, self._client)))

    def column(self, value: np.ndarray) -> np.ndarray:
        return np.array(self.list(value.tolist()), np.int64)

    def packed(self, value: np.ndarray) -> np.ndarray:
        return np.frombuffer(self._java.nextOfPacked(value.tobytes()), np.int64)

    def close(self) -> None:
        self._gateway.shutdown()


class JpypeBridge:
    """JPype: the JVM in this process."""

    def __init__(self, class_path: str) -> None:
        import jpype

        jpype.startJVM(*JAVA, classpath=class_path.split(os.pathsep))
        self._jpype = jpype
        self._java = jpype.JClass("io.transom.bench.Bridged")
        self._array_list = jpype.JClass("java.util.ArrayList")
        self._longs = jpype.JArray(jpype.JLong)

    def call(self, value: int) -> int:
        return int(self._java.next(self._jpype.JLong(value)))

    def bytes(self, value: bytes) -> bytes:
        return bytes(self._java.invert(value))

    def list(self, value: list[int]) -> list[int]:
        return list(self._java.nextOfArray(self._longs(value)))

    def column(self, value: np.ndarray) -> np.ndarray:
        return np.array(memoryview(self._java.nextOfArray(self._longs(value))))

    def close(self) -> None:
        self._jpype.shutdownJVM()


BRIDGES: dict[str, Callable[[str], Any]] = {"transom": TransomBridge, "py4j": Py4jBridge, "jpype": JpypeBridge}


def values(task: str, length: int) -> tuple[Any, Any]:
    """What a task is given, and what has to come of it."""
    numbers = np.random.default_rng(length).integers(-(1 << 40), 1 << 40, length)
    if task == "call":
        return 41, 42
    if task == "bytes":
        given = np.random.default_rng(length).bytes(MEBIBYTE)
        return given, (~np.frombuffer(given, np.uint8)).tobytes()
    if task == "list":
        return numbers.tolist(), (numbers + 1).tolist()
    return numbers, numbers + 1


def run(bridge: Any, task: str, length: int, repeats: int) -> dict[str, Any]:
    """Times a task so many times."""
    given, expected = values(task, length)
    method = getattr(bridge, task)
    nanoseconds = []
    for _ in range(repeats):
        start = time.perf_counter_ns()
        result = method(given)
        nanoseconds.append(time.perf_counter_ns() - start)
        if not np.array_equal(result, expected):
            raise AssertionError(f"wrong result of {task}")
    return {"nanoseconds": nanoseconds}


def main(name: str, class_path: str) -> None:
    """Answers the driver until it closes the input."""
    # Answers go to the real standard output; whatever a library prints goes to standard error instead.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    bridge = BRIDGES[name](class_path)
    try:
        for line in sys.stdin:
            request = json.loads(line)
            try:
                request.pop("do")
                answer = run(bridge, **request)
            except Exception:  # The driver shows it, and goes on without this bridge.
                answer = {"error": traceback.format_exc()}
            print(json.dumps(answer), file=answers, flush=True)
    finally:
        bridge.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
