"""Python values and Arrow columns: for row functions, and for arrays of Python objects.

pyarrow takes some values that lose something: 1.5 for an int64, a datetime for a date, microseconds for seconds, "abc" for a
list of strings. Such values are refused here.
"""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import types

from transom._hints import Shape

Change = Callable[[Any], Any]


class Unfit(Exception):
    """A value does not fit its type."""

    def __init__(self, row: int | None, reason: str) -> None:
        super().__init__(reason)
        self.row = row
        self.reason = reason


def reader(shape: Shape | None) -> Change | None:
    """What makes of pyarrow's plain values the values that the hint promises; None where they are the same."""
    if shape is None:
        return None
    parts = [(name, reader(part)) for name, part in shape.parts]
    if shape.form == "list":
        item = parts[0][1]
        return None if item is None else lambda v: None if v is None else [item(x) for x in v]
    if shape.form == "map":
        (_, key), (_, value) = parts
        same: Change = lambda v: v  # noqa: E731
        key, value = key or same, value or same
        return lambda v: None if v is None else {key(k): value(x) for k, x in v}
    if shape.form == "dict" and all(part is None for _, part in parts):
        return None
    make, same = shape.make, (lambda v: v)
    fields = [(name, part or same) for name, part in parts]
    return lambda v: None if v is None else make(**{name: part(v[name]) for name, part in fields})


def writer(shape: Shape | None) -> Change | None:
    """The way back: plain values of what the function returned."""
    if shape is None:
        return None
    parts = [(name, writer(part)) for name, part in shape.parts]
    if shape.form == "list":
        item = parts[0][1]
        return None if item is None else lambda v: [item(x) for x in v] if isinstance(v, (list, tuple)) else v
    if shape.form == "map":
        (_, key), (_, value) = parts
        same: Change = lambda v: v  # noqa: E731
        key, value = key or same, value or same
        return lambda v: [(key(k), value(x)) for k, x in v.items()] if hasattr(v, "items") else v
    make, same = shape.make, (lambda v: v)
    fields = [(name, part or same) for name, part in parts]
    if shape.form == "dict":
        return lambda v: (
            {n: p(v[n]) for n, p in fields if n in v} | {n: x for n, x in v.items() if n not in make.__annotations__} if isinstance(v, dict) else v
        )
    return lambda v: {n: p(getattr(v, n)) for n, p in fields} if isinstance(v, make) else v


def build(values: list[Any], kind: pa.DataType) -> pa.Array:
    """The column of `values`, each of which fits `kind`; raises Unfit with the row that does not."""
    check(values, kind)
    try:
        built = pa.array(values, type=kind)
    except Exception:
        raise _culprit(values, kind) from None
    if isinstance(built, pa.ChunkedArray):
        raise too_large(kind)
    return built


def too_large(kind: pa.DataType) -> Unfit:
    """What is said of values that are more than one array can hold."""
    return Unfit(None, f"the values of this batch are more than a {kind} array can hold; declare large_{kind}, or send smaller batches")


def _culprit(values: list[Any], kind: pa.DataType) -> Unfit:
    for row, value in enumerate(values):
        try:
            pa.array([value], type=kind)
        except Exception as error:
            return Unfit(row, f"{described(value)} does not fit {kind}: {error}")
    return Unfit(None, f"the values do not make an array of type {kind}")


def described(value: Any) -> str:
    """A value for a message: its type, and itself where that is short."""
    name = type(value).__name__
    try:
        shown = repr(value)
    except BaseException:
        return f"a value of type {name}"
    return f"{shown} ({name})" if len(shown) <= 80 else f"a value of type {name}, {shown[:60]}…"


def check(values: Sequence[Any], kind: pa.DataType) -> None:
    """Raises Unfit for the first value that pyarrow would take and change."""
    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    usual = _usual(kind)
    if usual is not None and set(map(type, values)) <= usual:
        return
    judge = _judge(kind)
    if judge is not None:
        for row, value in enumerate(values):
            reason = None if value is None else judge(value)
            if reason is not None:
                raise Unfit(row, f"{described(value)} does not fit {kind}: {reason}")
    _check_parts(values, kind)


_NONE = type(None)
_INTEGERS = frozenset({int, _NONE})
_USUAL = {
    pa.bool_().id: frozenset({bool, _NONE}),
    pa.float32().id: frozenset({float, int, _NONE}),
    pa.float64().id: frozenset({float, int, _NONE}),
    pa.string().id: frozenset({str, _NONE}),
    pa.large_string().id: frozenset({str, _NONE}),
    pa.binary().id: frozenset({bytes, _NONE}),
    pa.large_binary().id: frozenset({bytes, _NONE}),
    pa.date32().id: frozenset({datetime.date, _NONE}),
    pa.date64().id: frozenset({datetime.date, _NONE}),
    pa.decimal128(1).id: frozenset({decimal.Decimal, int, _NONE}),
    pa.decimal256(1).id: frozenset({decimal.Decimal, int, _NONE}),
}


def _usual(kind: pa.DataType) -> frozenset[type] | None:
    """The Python types whose values never lose anything on the way to `kind`."""
    if types.is_integer(kind):
        return _INTEGERS
    if (types.is_timestamp(kind) or types.is_time(kind) or types.is_duration(kind)) and kind.unit in ("us", "ns"):
        return frozenset({datetime.datetime, datetime.time, datetime.timedelta, _NONE})
    return _USUAL.get(kind.id)


def _judge(kind: pa.DataType) -> Callable[[Any], str | None] | None:
    """What looks at one value, not None, and says what it would lose."""
    if types.is_integer(kind):
        return _not_whole
    if types.is_date(kind):
        return lambda v: "it has a time of day" if isinstance(v, datetime.datetime) and v.time() != datetime.time() else _not_whole(v)
    if types.is_timestamp(kind) or types.is_time(kind) or types.is_duration(kind):
        return lambda v: _too_fine(v, kind.unit)
    if _is_list(kind):
        return lambda v: "a list is needed" if isinstance(v, (str, bytes, bytearray, dict)) else None
    if types.is_struct(kind):
        names = {field.name for field in kind}
        return lambda v: _unknown_keys(v, names)
    return None


def _not_whole(value: Any) -> str | None:
    if isinstance(value, (int, str, bytes, datetime.date)):
        return None
    try:
        return None if value == int(value) else "it has a fraction"
    except (TypeError, ValueError, OverflowError):
        return None  # pyarrow refuses it with a better reason


def _too_fine(value: Any, unit: str) -> str | None:
    if unit != "ns" and getattr(value, "nanosecond", None):
        return f"it has nanoseconds, and the unit is {unit}"
    micros = getattr(value, "microsecond", None)
    if micros is None:
        micros = getattr(value, "microseconds", None)
    if micros is None:
        return _not_whole(value)
    if (unit == "s" and micros) or (unit == "ms" and micros % 1000):
        return f"it has fractions of a second, and the unit is {unit}"
    return None


def _unknown_keys(value: Any, names: set[str]) -> str | None:
    if not isinstance(value, dict):
        return None
    extra = [key for key in value if key not in names]
    return f"there is no field {extra[0]!r}" if extra else None


def _is_list(kind: pa.DataType) -> bool:
    views = getattr(types, "is_list_view", None)
    is_view = views is not None and (views(kind) or types.is_large_list_view(kind))
    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind) or is_view


def _check_parts(values: Sequence[Any], kind: pa.DataType) -> None:
    """The same for what lies inside lists, structs and maps; the row is that of the outermost value."""
    if _is_list(kind):
        _inside(values, lambda v: v, kind.value_type)
    elif types.is_struct(kind):
        for field in kind:
            _inside(values, lambda v, name=field.name: (v.get(name),) if isinstance(v, dict) else (), field.type)
    elif types.is_map(kind):
        pairs = [v.items() if isinstance(v, dict) else v for v in values]
        for side, part in ((0, kind.key_type), (1, kind.item_type)):
            _inside(pairs, lambda v, side=side: [pair[side] for pair in v if isinstance(pair, (tuple, list)) and len(pair) == 2], part)


def _inside(values: Sequence[Any], parts_of: Callable[[Any], Any], kind: pa.DataType) -> None:
    flat: list[Any] = []
    ends = []
    for value in values:
        if value is not None and hasattr(value, "__iter__"):
            flat.extend(parts_of(value))
        ends.append(len(flat))
    try:
        check(flat, kind)
    except Unfit as unfit:
        row = next((r for r, end in enumerate(ends) if unfit.row is not None and end > unfit.row), None)
        raise Unfit(row, unfit.reason) from None
