"""Functions of a Python worker that fail, each in a way of its own: every host must say the same of it."""

from __future__ import annotations

import ctypes
import os
import sys
import time

import pyarrow as pa
import transom


@transom.udf
def raises(x: int) -> int:
    if x is None or x < 3:
        raise ValueError(f"{x} is too small\nby far")
    return x


@transom.udf
def leaves(x: pa.Array) -> pa.Array:
    sys.exit("enough")


@transom.udf
def crashes(x: pa.Array) -> pa.Array:
    print("the last line", flush=True)
    ctypes.string_at(0)
    return x


@transom.udf
def vanishes(x: pa.Array) -> pa.Array:
    print("one line")
    print("and another", file=sys.stderr)
    os._exit(3)


@transom.udf(deadline=0.3)
def hangs(x: pa.Array) -> pa.Array:
    time.sleep(3600)  # which has one line that the stack can name


@transom.udf
def shortens(x: pa.Array) -> pa.Array:
    return x.slice(1)


@transom.udf
def retypes(x: pa.Array) -> pa.StringArray:
    return pa.nulls(len(x), pa.int32())


@transom.udf
def gives_a_list(x: pa.Array) -> pa.Int64Array:
    return x.to_pylist()


@transom.udf
def wants_another(x: pa.Array, price: pa.Array) -> pa.Array:
    return x


nothing = 5
