"""Functions that keep their arguments, each in another place. The tests look for the lines that are marked."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import transom

CACHE: list[Any] = []
LAST: Any = None
BY_NAME: dict[str, Any] = {}
QUEUE: deque[Any] = deque()


@transom.udf
def in_a_list(x: pa.Int64Array) -> pa.Int64Array:
    if len(CACHE) > 1000:
        raise ValueError
    CACHE.append(x)  # in_a_list
    return pa.array([1] * len(x))


@transom.udf
def in_a_global(x: pa.Int64Array) -> pa.Int64Array:
    global LAST
    LAST = x.slice(3)  # in_a_global
    return pa.array([1] * len(x))


@transom.udf
def as_numpy_in_a_dict(x: np.ndarray) -> pa.Int64Array:
    BY_NAME["last"] = x  # as_numpy_in_a_dict
    return pa.array([1] * len(x))


@transom.udf
def in_a_deque_of_tuples(x: pa.Int64Array) -> pa.Int64Array:
    QUEUE.append(("batch", (1, x)))  # in_a_deque_of_tuples
    return pa.array([1] * len(x))


@transom.udf
class InAnAttribute:
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def __call__(self, x: pa.Int64Array) -> pa.Int64Array:
        self.seen.append(x)  # InAnAttribute
        return pa.array([1] * len(x))


@transom.udf
class InASlot:
    __slots__ = ("last",)

    def __call__(self, x: pa.Int64Array) -> pa.Int64Array:
        self.last = x  # InASlot
        return pa.array([1] * len(x))


def _closed_over() -> Any:
    seen: list[Any] = []

    def in_a_closure(x: pa.Int64Array) -> pa.Int64Array:
        seen.append(x)  # in_a_closure
        return pa.array([1] * len(x))

    return transom.udf(in_a_closure)


in_a_closure = _closed_over()


@transom.udf
def in_a_thread(x: pa.Int64Array) -> pa.Int64Array:
    def hold(mine: Any) -> None:
        threading.Event().wait()  # in_a_thread

    threading.Thread(target=hold, args=(x,), daemon=True).start()
    return pa.array([1] * len(x))


@transom.udf
def in_a_default(x: pa.Int64Array) -> pa.Int64Array:
    _hoard(x)
    return pa.array([1] * len(x))


def _hoard(x: Any, seen: list[Any] = []) -> None:  # noqa: B006
    seen.append(x)  # in_a_default


@transom.udf
def in_a_generator(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    held = []
    for batch in batches:
        held.append(batch)
        yield pa.record_batch({"n": [len(held)]})
