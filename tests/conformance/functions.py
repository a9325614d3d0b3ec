"""The functions of a Python worker: what docs/conformance.md asks of every language, written with nothing but pyarrow."""

from __future__ import annotations

import bisect
import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import transom
from pyarrow import types


@transom.udf
def identity(x: pa.Array) -> pa.Array:
    """The column as it came."""
    return x


@transom.udf
def identity_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The batches as they came."""
    yield from batches


@transom.udf
def describe(x: pa.Array) -> pa.Array:
    """Every value as JSON."""
    _refuse(x.type)
    return pa.array([json.dumps(value, ensure_ascii=False) for value in described(x)], pa.string())


#: Types of pyarrow's core for which pyarrow has no arrays.
_WITHOUT_ARRAYS = {pa.lib.Type_INTERVAL_MONTHS: "interval_year_month", pa.lib.Type_INTERVAL_DAY_TIME: "interval_day_time"}


def _refuse(kind: pa.DataType) -> None:
    if kind.id in _WITHOUT_ARRAYS:
        raise TypeError(f"pyarrow has no arrays of {_WITHOUT_ARRAYS[kind.id]}")
    for index in range(kind.num_fields):
        _refuse(kind.field(index).type)


def described(array: pa.Array) -> list[Any]:
    """The values of an array in the kit's notation."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return described(array.storage)
    if types.is_null(kind) or types.is_boolean(kind):
        return array.to_pylist()
    if types.is_union(kind):
        return _union(array)
    if types.is_run_end_encoded(kind):
        return _runs(array)
    if types.is_dictionary(kind):
        entries = described(array.dictionary)
        return [None if key is None else entries[key] for key in array.indices.to_pylist()]
    if types.is_struct(kind):
        columns = [described(array.field(index)) for index in range(kind.num_fields)]
        return _valid(array, lambda row: [column[row] for column in columns])
    if types.is_map(kind) or hasattr(kind, "value_type"):
        return _valid(array, lambda row: described(array[row].values))
    if types.is_interval(kind):
        return _valid(array, lambda row: dict(zip(("months", "days", "nanoseconds"), array[row].as_py(), strict=True)))
    return _plain(array)


def _valid(array: pa.Array, value: Any) -> list[Any]:
    return [value(row) if valid else None for row, valid in enumerate(array.is_valid().to_pylist())]


def _plain(array: pa.Array) -> list[Any]:
    kind = array.type
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return array.to_pylist()
    if types.is_floating(kind):
        digits = kind.bit_width // 4
        unsigned = {16: pa.uint16(), 32: pa.uint32(), 64: pa.uint64()}[kind.bit_width]
        return [None if value is None else f"{value:0{digits}X}" for value in array.view(unsigned).to_pylist()]
    if types.is_decimal(kind):
        raw = array.view(pa.binary(kind.bit_width // 8)).to_pylist()
        return [None if value is None else str(int.from_bytes(value, "little", signed=True)) for value in raw]
    if types.is_integer(kind):
        return [value if value is None or kind.bit_width < 64 else str(value) for value in array.to_pylist()]
    if types.is_date32(kind) or types.is_time32(kind):
        return array.view(pa.int32()).to_pylist()
    if types.is_temporal(kind):
        return [None if value is None else str(value) for value in array.view(pa.int64()).to_pylist()]
    return [None if value is None else value.hex().upper() for value in array.to_pylist()]


def _union(array: pa.Array) -> list[Any]:
    if not len(array):
        return []
    # `type_codes` and `offsets` of pyarrow's unions forget the offset of a slice.
    _, id_buffer, *place_buffer = array.buffers()[: 3 if array.type.mode == "dense" else 2]
    ids = pa.Array.from_buffers(pa.int8(), len(array), [None, id_buffer], offset=array.offset).to_pylist()
    places: Any = range(len(array))
    if place_buffer:
        places = pa.Array.from_buffers(pa.int32(), len(array), [None, *place_buffer], offset=array.offset).to_pylist()
    children = {code: described(array.field(index)) for index, code in enumerate(array.type.type_codes)}
    return [[code, children[code][place]] for code, place in zip(ids, places, strict=True)]


def _runs(array: pa.Array) -> list[Any]:
    ends, values = array.run_ends.to_pylist(), described(array.values)
    return [values[bisect.bisect_right(ends, array.offset + row)] for row in range(len(array))]
