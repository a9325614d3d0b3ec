"""However much data a failure has to do with, its message holds little of it, and says how much is missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import transom
from expect import ONE, alive

#: docs/errors.md says both.
TEXT, TRACEBACK = 8 << 10, 32 << 10
LONG = 3_000_000


class Talkative:
    def __repr__(self) -> str:
        return "r" * LONG


def message(x: int) -> int:
    raise ValueError("m" * LONG)


def chain(x: int) -> int:
    try:
        raise KeyError("k" * LONG)
    except KeyError as error:
        raise ValueError("m" * LONG) from error


def notes(x: int) -> int:
    error = ValueError("m")
    error.__notes__ = ["n" * LONG] * 50
    raise error


def long_type(x: int) -> int:
    raise type("T" * LONG, (Exception,), {})("m")


def leave(x: int) -> int:
    raise SystemExit("s" * LONG)


def prints(x: int) -> int:
    import os

    for _ in range(20):
        print("p" * 200_000)
    os._exit(1)


def text_for_number(x: pa.Array) -> pa.Int64Array:
    return np.array(["t" * LONG] * len(x), dtype=object)


def odd_object(x: pa.Array) -> pa.Int64Array:
    return np.array([Talkative()] * len(x), dtype=object)


def long_names(x: pa.Array) -> pa.Int64Array:
    return pa.StructArray.from_arrays([x] * 100, names=[f"{number}" + "n" * 100_000 for number in range(100)])


FAILURES: list[Callable[..., Any]] = [message, chain, notes, long_type, leave, prints, text_for_number, odd_object, long_names]


def texts(error: transom.TransomError) -> dict[str, str]:
    found = {part: getattr(error, part) for part in ("message", "function", "worker", "remote_type", "remote_message", "hint")}
    found |= {f"output {number}": line for number, line in enumerate(error.output)}
    return {part: text for part, text in found.items() if text is not None}


def assert_little(error: transom.TransomError) -> None:
    too_long = {part: len(text.encode()) for part, text in texts(error).items() if len(text.encode()) > TEXT}
    assert not too_long
    for text in (error.remote_traceback, error.stack):
        assert len((text or "").encode()) <= TRACEBACK
    # All lines of output may be long; nothing else is repeated.
    assert len(str(error)) <= 4 * TEXT + 2 * TRACEBACK + sum(len(line) + 8 for line in error.output)


@pytest.mark.parametrize("function", FAILURES, ids=lambda function: function.__name__)
def test_what_a_function_says_is_cut(pool: transom.Pool, function: Callable[..., Any]) -> None:
    with pytest.raises(transom.TransomError) as caught:
        pool.call(function, ONE)
    assert caught.value.code_name != "INTERNAL"
    assert_little(caught.value)
    assert "characters more" in str(caught.value) or len(str(caught.value)) < TEXT
    assert pool.call(alive, ONE).equals(ONE)


def test_what_a_caller_says_is_cut(pool: transom.Pool) -> None:
    @transom.udf
    def takes(column: int) -> int:
        return column

    column = "c" * 100_000
    calls: list[Callable[[], object]] = [
        lambda: pool.call(takes, pa.table({column: ONE, column + "d": ONE})),
        lambda: pool.map(takes, pa.table({"column": ONE}), columns=[column]).read_all(),
        lambda: pool.call(takes, [Talkative()]),
        lambda: pool.call(takes, pa.array(["v" * LONG])),
        lambda: pool.call(f"no_such_file.py:{column}", ONE),
        lambda: pool.call(column, ONE),
        lambda: transom.Pool(mode=column),
        lambda: transom.Pool(workers=Talkative()),
    ]
    for call in calls:
        with pytest.raises(transom.TransomError) as caught:
            call()
        assert_little(caught.value)
