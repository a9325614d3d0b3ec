"""Calls that must fail, and must leave the pool fit for the next call."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
import transom

ONE = pa.array([1, 2, 3])

#: Pools that the tests of a module share: their workers are there before a test, and after it.
SHARED: list[transom.Pool] = []


@transom.udf
def alive(x: pa.Int64Array) -> pa.Int64Array:
    return x


def fails(
    pool: transom.Pool,
    function: Any,
    *values: Any,
    kind: type[transom.TransomError],
    name: str,
) -> transom.TransomError:
    """The error of a call that must fail; the call after it must work."""
    with pytest.raises(kind) as caught:
        pool.call(function, *(values or (ONE,)))
    error = caught.value
    assert error.code_name == name
    assert error.code.startswith("TRN-")
    assert str(error).startswith(f"{error.code} {name}: ")
    assert pool.call(alive, ONE).equals(ONE)
    return error
