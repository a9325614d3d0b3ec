"""What the tests of the JVM host call."""

from __future__ import annotations

import datetime as dt
import decimal
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import transom


@transom.udf
def plus_one(x: pa.Int64Array) -> pa.Int64Array:
    return pc.add(x, 1)


@transom.udf
def same(x: pa.Array) -> pa.Array:
    return x


@transom.udf
def ratio(a: int, b: int) -> int:
    return a // b


@transom.udf
def no_threes(x: int) -> int:
    if x == 3:
        raise ValueError("three")
    return x + 1


@transom.udf
def shout(text: pa.StringArray) -> pa.StringArray:
    print("shouting")
    return pc.utf8_upper(text)


@transom.udf
def sleep(x: pa.Int64Array) -> pa.Int64Array:
    """Tells that it has begun by a file named in the environment, and then hangs."""
    open(os.environ["BEGUN"], "w").close()
    time.sleep(600)
    return x


@transom.udf
def slow(x: pa.Int64Array) -> pa.Int64Array:
    time.sleep(0.3)
    return x


@transom.udf
def die(x: pa.Int64Array) -> pa.Int64Array:
    os.kill(os.getpid(), signal.SIGKILL)
    return x


@transom.udf
def process(x: pa.Int64Array) -> pa.Int64Array:
    return pa.array([os.getpid()] * len(x), pa.int64())


@transom.udf
def running(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The sum so far, once for each batch."""
    total = 0
    for batch in batches:
        total += pc.sum(batch.column(0)).as_py()
        yield pa.record_batch({"total": pa.array([total], pa.int64())})


D = decimal.Decimal
MOMENT = dt.datetime(2021, 2, 3, 4, 5, 6)
CYCLE = 24


def _cycled(kind: pa.DataType, values: list[Any]) -> pa.Array:
    many = [values[i % len(values)] for i in range(CYCLE)]
    return pa.array(many, kind)


def _union(mode: str, codes: list[int] | None = None, kinds: tuple[pa.DataType, ...] = (pa.int32(), pa.string())) -> pa.Array:
    codes = codes or list(range(len(kinds)))
    children = [_cycled(kind, [1, None, 3] if pa.types.is_integer(kind) else ["a", None, "longer"]) for kind in kinds]
    ids = pa.array([codes[i % 2] for i in range(CYCLE)], pa.int8())
    if mode == "sparse":
        return pa.UnionArray.from_sparse(ids, children, ["n", "t"], codes)
    offsets = pa.array([i // 2 for i in range(CYCLE)], pa.int32())
    return pa.UnionArray.from_dense(ids, offsets, children, ["n", "t"], codes)


def _runs(ends: pa.DataType) -> pa.Array:
    values = pa.array(["a", None, "bb", "c", "longer than twelve bytes"])
    return pa.RunEndEncodedArray.from_arrays(pa.array([2, 5, 11, 12, CYCLE], ends), values)


NUMBERS = (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())
UNITS = ("s", "ms", "us", "ns")
TEXTS = ["", None, "grüße", "longer than twelve bytes 🎉", "x"]
BLOBS = [b"", None, b"\x00\xff", b"longer than twelve bytes"]

SIMPLE: list[tuple[pa.DataType, list[Any]]] = [
    (pa.null(), [None]),
    (pa.bool_(), [True, None, False, True, True, False, None]),
    *((kind, [0, None, 1, 127]) for kind in NUMBERS),
    (pa.float16(), [0.5, None, 2.0]),
    (pa.float32(), [0.5, None, -0.0]),
    (pa.float64(), [0.1, None, -0.0]),
    (pa.decimal128(38, 10), [D("1.5"), None, D("-123456789012345678.0123456789")]),
    (pa.decimal256(76, 2), [D("1.25"), None, D("-10000000000000000000000000000000000000000000.50")]),
    (pa.date32(), [dt.date(1969, 1, 1), None, dt.date(2400, 2, 29)]),
    (pa.date64(), [dt.date(1969, 1, 1), None]),
    (pa.time32("s"), [dt.time(1, 2, 3), None]),
    (pa.time32("ms"), [dt.time(1, 2, 3, 4000), None]),
    (pa.time64("us"), [dt.time(1, 2, 3, 4), None]),
    (pa.time64("ns"), [dt.time(1, 2, 3, 4), None]),
    *((pa.timestamp(unit), [MOMENT, None]) for unit in UNITS),
    *((pa.timestamp(unit, "Europe/Zurich"), [MOMENT, None]) for unit in UNITS),
    *((pa.duration(unit), [dt.timedelta(days=-3), None]) for unit in UNITS),
    (pa.month_day_nano_interval(), [pa.MonthDayNano([1, -2, 3]), None]),
    (pa.binary(), BLOBS),
    (pa.large_binary(), BLOBS),
    (pa.binary_view(), BLOBS),
    (pa.binary(3), [b"abc", None, b"\x00\x01\x02"]),
    (pa.string(), TEXTS),
    (pa.large_string(), TEXTS),
    (pa.string_view(), TEXTS),
    (pa.list_(pa.int32()), [[1, None], None, [], [3]]),
    (pa.list_(pa.bool_()), [[True, None], None, [], [False, True, True]]),
    (pa.large_list(pa.string()), [["a", None], None, []]),
    (pa.list_view(pa.int16()), [[1, None], None, [], [2, 3]]),
    (pa.large_list_view(pa.string()), [["a"], None, []]),
    (pa.list_(pa.int8(), 2), [[1, 2], None, [3, None]]),
    (pa.list_(pa.bool_(), 3), [[True, False, None], None, [False, True, True]]),
    (pa.struct([("a", pa.int64()), ("b", pa.string())]), [{"a": 1, "b": "x"}, None, {"a": None, "b": None}]),
    (pa.struct([("a", pa.struct([("b", pa.bool_())]))]), [{"a": {"b": True}}, None, {"a": None}, {"a": {"b": False}}]),
    (pa.map_(pa.string(), pa.int32()), [[("a", 1), ("b", None)], None, []]),
    (pa.list_(pa.struct([("p", pa.list_(pa.map_(pa.string(), pa.bool_())))])), [[{"p": [[("k", True)], None]}], None]),
    (pa.dictionary(pa.int8(), pa.string()), ["a", None, "b", "a"]),
    (pa.dictionary(pa.uint32(), pa.int64()), [5, None, 5]),
    (pa.dictionary(pa.int64(), pa.binary()), [b"x", None, b"yy"]),
    (pa.list_(pa.dictionary(pa.int32(), pa.string())), [["a", "b", None], None, ["a"], []]),
]

SAME = {f"{index:02} {kind}": _cycled(kind, values) for index, (kind, values) in enumerate(SIMPLE)} | {
    "sparse union": _union("sparse"),
    "dense union": _union("dense"),
    "list of sparse unions": pa.ListArray.from_arrays(pa.array(range(CYCLE + 1), pa.int32()), _union("sparse")),
    "run ends of 16 bits": _runs(pa.int16()),
    "run ends of 32 bits": _runs(pa.int32()),
    "run ends of 64 bits": _runs(pa.int64()),
}

REFUSED = {
    "decimal32(5, 2)": _cycled(pa.decimal32(5, 2), [D("1.25"), None]),
    "list of decimal64(9, 2)": _cycled(pa.list_(pa.decimal64(9, 2)), [[D("1.25")], None]),
    "dense union with ids of its own": _union("dense", [5, 7]),
    "sparse union with two texts": _union("sparse", kinds=(pa.string(), pa.string())),
}


@transom.udf
def names(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The names of all types that cross, and those of types that Java's Arrow does not have."""
    for batch in batches:
        yield pa.record_batch({"name": list(SAME if batch["offset"][0].as_py() == 0 else REFUSED)})


def _expected(name: pa.StringArray, offset: pa.Int64Array) -> pa.Array:
    return (SAME | REFUSED)[name[0].as_py()].slice(offset[0].as_py())


@transom.udf
def sliced(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """A slice of the named column from the given row on, which is how it crosses."""
    for batch in batches:
        yield pa.record_batch({"x": _expected(batch["name"], batch["offset"])})


@transom.udf
def tail(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The column from the given row on, where it lies: the arguments are in shared memory, so the result has their offsets."""
    for batch in batches:
        yield batch.select(["x"]).slice(batch["offset"][0].as_py())


@transom.udf
def check(x: pa.Array, name: pa.StringArray, offset: pa.Int64Array) -> pa.BooleanArray:
    """Compares what came back with what was sent."""
    if len(x) > 0:
        expected = _expected(name, offset)
        x.validate(full=True)
        if x.type != expected.type or not x.equals(expected):
            raise ValueError(f"{x.type} {x.to_pylist()} came back for {expected.type} {expected.to_pylist()}")
    return pa.array([True] * len(x), pa.bool_())
