"""Text beyond what 31 bits count, through two processes. It takes gigabytes and a minute, so it runs where TRANSOM_LARGE=1 asks for it."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
import transom

NEEDED = 9 << 30
BYTES = (1 << 31) + 100


def _available() -> int:
    with open("/proc/meminfo") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))


@pytest.mark.skipif(os.environ.get("TRANSOM_LARGE") != "1", reason="it takes gigabytes: set TRANSOM_LARGE=1")
def test_more_text_than_31_bits_count(make_pool: Callable[..., transom.Pool]) -> None:
    if _available() < NEEDED:
        pytest.skip(f"{NEEDED} bytes of memory are needed")

    def sizes(x: pa.LargeStringArray) -> pa.Int64Array:
        return pa.array([len(pa.compute.take(x, pa.array([0]))[0].as_py()), pa.compute.sum(pa.compute.binary_length(x)).as_py(), x.offset])

    def given_back(x: pa.LargeStringArray) -> pa.LargeStringArray:
        return x

    text = np.full(BYTES, ord("x"), np.uint8)
    text[-3:] = list(b"end")
    ends = [0, 7, BYTES - 3, BYTES]
    column = pa.LargeStringArray.from_buffers(3, pa.py_buffer(np.array(ends, np.int64)), pa.py_buffer(text))
    pool = make_pool(memory_limit=6 << 30)
    assert pool.call(transom.udf(sizes), column).to_pylist() == [7, BYTES, 0]
    result = pool.call(transom.udf(given_back), column)
    assert np.frombuffer(result.buffers()[1], np.int64)[: len(ends)].tolist() == ends
    assert (result[0].as_py(), result[2].as_py()) == ("x" * 7, "end")
    assert len(result[1].as_buffer()) == BYTES - 10
    # Within 32-bit offsets so much text has no place: Arrow itself refuses it before it gets here.
    with pytest.raises(pa.ArrowInvalid):
        column.cast(pa.string())
