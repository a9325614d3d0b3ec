"""Functions that several tests call."""

from __future__ import annotations

import time

import pyarrow as pa
import pyarrow.compute as pc
import transom


@transom.udf
def plus_one(x: pa.Int64Array) -> pa.Int64Array:
    return pc.add(x, 1)


@transom.udf
def price(amount: float, discount: float) -> float:
    return amount * (1 - discount)


@transom.udf
def sleepy(x: int) -> int:
    time.sleep(0.05)
    return x


@transom.udf
def stuck(x: int) -> int:
    time.sleep(60)
    return x


@transom.udf
def same(x: pa.Array) -> pa.Array:
    return x


X = pa.array([1, 2, 3])
