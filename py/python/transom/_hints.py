"""Type hints: what a parameter or a result looks like to the function, and which Arrow type it holds.

Optional libraries are recognised by name and never imported here: a hint that names one has imported it already.
"""

from __future__ import annotations

import collections.abc as abc
import dataclasses
import datetime
import decimal
import types
import typing
from typing import Any, NamedTuple

import pyarrow as pa

from transom._scope import Scope

ARRAYS = ("pyarrow", "chunked", "numpy", "pandas", "polars")
FRAMES = ("batch", "table", "pandas_frame", "polars_frame")


class HintError(Exception):
    """A hint without an Arrow type: what is wrong with it, and what to write instead."""

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.advice = advice


@dataclasses.dataclass(frozen=True)
class Hint:
    """What a hint says."""

    #: "value" for Python values; one of ARRAYS; one of FRAMES; "reader" for a pyarrow.RecordBatchReader.
    container: str
    #: The Arrow type; a schema for frames; None where the hint does not say.
    type: pa.DataType | pa.Schema | None = None
    #: Whether the Arrow type itself was written, rather than a Python type that stands for one.
    declared: bool = False
    #: For frames: whether it is an iterator of them.
    iterator: bool = False
    #: For values: how Python values are made of plain ones and back, where they are not plain.
    shape: Shape | None = None
    #: The pyarrow class, where a hint such as ``pa.ListArray`` tells only that.
    array_class: Any = None


@dataclasses.dataclass(frozen=True)
class Shape:
    """The Python side of a nested value: which class to make, and the shapes of its parts."""

    #: "list", "map", "class" (made by keywords), "dict".
    form: str
    make: Any = None
    parts: tuple[tuple[str, Shape | None], ...] = ()


ADVICE = (
    "write the type of one row's value (int, str, list[int], a dataclass), "
    "the type of a column (pa.Int64Array, NDArray[np.float64], pa.Array, pd.Series), or declare it: @transom.udf(args=[…], returns=…)"
)

_PLAIN: dict[Any, pa.DataType] = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    bytes: pa.binary(),
    datetime.date: pa.date32(),
    datetime.datetime: pa.timestamp("us"),
    datetime.time: pa.time64("us"),
    datetime.timedelta: pa.duration("us"),
}

# The array classes that stand for exactly one type. Others, such as pa.ListArray, tell only the class.
_ARRAY_TYPES: dict[str, pa.DataType] = {
    "NullArray": pa.null(),
    "BooleanArray": pa.bool_(),
    "Int8Array": pa.int8(),
    "Int16Array": pa.int16(),
    "Int32Array": pa.int32(),
    "Int64Array": pa.int64(),
    "UInt8Array": pa.uint8(),
    "UInt16Array": pa.uint16(),
    "UInt32Array": pa.uint32(),
    "UInt64Array": pa.uint64(),
    "HalfFloatArray": pa.float16(),
    "FloatArray": pa.float32(),
    "DoubleArray": pa.float64(),
    "StringArray": pa.string(),
    "LargeStringArray": pa.large_string(),
    "BinaryArray": pa.binary(),
    "LargeBinaryArray": pa.large_binary(),
    "Date32Array": pa.date32(),
    "Date64Array": pa.date64(),
}
if hasattr(pa, "string_view"):
    _ARRAY_TYPES |= {"StringViewArray": pa.string_view(), "BinaryViewArray": pa.binary_view()}
if hasattr(pa, "month_day_nano_interval"):
    _ARRAY_TYPES["MonthDayNanoIntervalArray"] = pa.month_day_nano_interval()

_CONTAINERS = {
    ("pandas", "Series"): "pandas",
    ("polars", "Series"): "polars",
    ("pandas", "DataFrame"): "pandas_frame",
    ("polars", "DataFrame"): "polars_frame",
    ("numpy", "ndarray"): "numpy",
}

_ITERATORS = (abc.Iterator, abc.Iterable, abc.Generator)
_LISTS = (list, abc.Sequence, abc.MutableSequence)
_MAPS = (dict, abc.Mapping, abc.MutableMapping)


def parse(hint: Any, scope: Scope) -> Hint:
    """What `hint` says; `scope` has the names that string annotations inside classes may use.

    Raises HintError where the hint has no Arrow type.
    """
    return _parse(hint, scope, ())


def _parse(hint: Any, scope: Scope, inside: tuple[Any, ...]) -> Hint:
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        return _annotated(hint, scope, inside)
    if origin is typing.Union or isinstance(hint, types.UnionType):
        return _optional(hint, scope, inside)
    if getattr(origin, "_name", None) in ("Required", "NotRequired", "ReadOnly"):
        return _parse(typing.get_args(hint)[0], scope, inside)
    if hasattr(hint, "__supertype__"):  # typing.NewType
        return _parse(hint.__supertype__, scope, inside)
    if hasattr(hint, "__value__"):  # type X = …
        return _parse(hint.__value__, scope, inside)
    if isinstance(hint, pa.DataType):
        raise HintError(f"`{hint}` is an Arrow type and not a hint", f"write Annotated[pa.Array, pa.{_spelled(hint)}] or Annotated[int, …]")
    if hint in (Any, object, typing.Union, None, type(None)):
        raise HintError(f"the hint `{show(hint)}` has no Arrow type", ADVICE)
    if hint in _ITERATORS or origin in _ITERATORS:
        return _iterator(hint, scope, inside)
    return _array(hint, origin) or _value(hint, origin, scope, inside)


def _annotated(hint: Any, scope: Scope, inside: tuple[Any, ...]) -> Hint:
    base, *notes = typing.get_args(hint)
    declared = next((note for note in reversed(notes) if isinstance(note, (pa.DataType, pa.Field, pa.Schema))), None)
    if declared is None:
        return _parse(base, scope, inside)
    declared = declared.type if isinstance(declared, pa.Field) else declared
    try:
        inner = _parse(base, scope, inside)
    except HintError:
        # Annotated[Decimal, …], Annotated[list, …], Annotated[Any, …]: the declaration says all there is to say.
        inner = Hint("value")
    frames = inner.container in FRAMES or inner.container == "reader"
    if frames != isinstance(declared, pa.Schema):
        raise HintError(
            f"the hint `{show(hint)}` joins what does not belong together",
            "a schema belongs to an iterator of record batches, a data type to arrays and values",
        )
    return dataclasses.replace(inner, type=declared, declared=True)


def _optional(hint: Any, scope: Scope, inside: tuple[Any, ...]) -> Hint:
    kept = [part for part in typing.get_args(hint) if part is not type(None)]
    if len(kept) == 1:
        return _parse(kept[0], scope, inside)
    raise HintError(
        f"the hint `{show(hint)}` joins several types, and a column has one",
        "write the one type that holds all values, such as float for int | float",
    )


def _iterator(hint: Any, scope: Scope, inside: tuple[Any, ...]) -> Hint:
    parts = typing.get_args(hint)
    inner = _parse(parts[0], scope, inside) if parts else Hint("batch")
    if inner.container not in FRAMES or inner.iterator:
        raise HintError(f"the hint `{show(hint)}` is not an iterator of batches", "write Iterator[pa.RecordBatch]")
    return dataclasses.replace(inner, iterator=True)


def _array(hint: Any, origin: Any) -> Hint | None:
    """Array and frame hints; None for anything else."""
    cls = origin or hint
    if not isinstance(cls, type):
        return None
    if issubclass(cls, pa.Array):
        known = _ARRAY_TYPES.get(cls.__name__)
        if cls is pa.Array or known is not None:
            return Hint("pyarrow", known, declared=known is not None)
        return Hint("pyarrow", array_class=cls)
    for frame, container in ((pa.ChunkedArray, "chunked"), (pa.RecordBatch, "batch"), (pa.Table, "table"), (pa.RecordBatchReader, "reader")):
        if issubclass(cls, frame):
            return Hint(container, iterator=container == "reader")
    for base in cls.__mro__:
        found = _CONTAINERS.get((base.__module__.partition(".")[0], base.__name__))
        if found is not None:
            known = _numpy_type(hint) if found == "numpy" else None
            return Hint(found, known, declared=known is not None)
    return None


def _numpy_type(hint: Any) -> pa.DataType | None:
    """The type of NDArray[np.float64]; None for a plain np.ndarray, object arrays and abstract scalars."""
    import numpy as np

    parts = typing.get_args(hint)
    scalars = typing.get_args(parts[1]) if len(parts) == 2 else ()
    scalar = typing.get_origin(scalars[0]) or scalars[0] if scalars else None
    if not isinstance(scalar, type) or scalar in (Any, np.object_):
        return None
    if issubclass(scalar, (np.str_, np.bytes_)):
        return pa.string() if issubclass(scalar, np.str_) else pa.binary()
    try:
        return pa.from_numpy_dtype(np.dtype(scalar))
    except (pa.ArrowException, TypeError, ValueError):
        if scalar.__name__ in ("generic", "number", "integer", "signedinteger", "unsignedinteger", "inexact", "floating"):
            return None
        raise HintError(
            f"the hint `{show(hint)}` has no Arrow type",
            'name it, such as Annotated[np.ndarray, pa.timestamp("us")], or declare it in @transom.udf(args=[…], returns=…)',
        ) from None


def _value(hint: Any, origin: Any, scope: Scope, inside: tuple[Any, ...]) -> Hint:
    try:
        plain = _PLAIN.get(hint)
    except TypeError:  # not hashable, so not a type
        plain = None
    if plain is not None:
        return Hint("value", plain)
    if hint is decimal.Decimal:
        raise HintError("a Decimal needs its precision and scale", "write Annotated[Decimal, pa.decimal128(18, 2)]")
    parts = typing.get_args(hint)
    if origin in _LISTS or (origin is tuple and len(parts) == 2 and parts[1] is Ellipsis):
        item = _inner(parts[0], scope, inside)
        shape = Shape("list", list, (("", item.shape),)) if item.shape else None
        return Hint("value", pa.list_(item.type), shape=shape)
    if origin in _MAPS:
        key, item = (_inner(part, scope, inside) for part in parts)
        return Hint("value", pa.map_(key.type, item.type), shape=Shape("map", dict, (("", key.shape), ("", item.shape))))
    if isinstance(hint, type):
        if dataclasses.is_dataclass(hint):
            return _struct(hint, [f.name for f in dataclasses.fields(hint) if f.init], "class", scope, inside)
        if issubclass(hint, tuple) and hasattr(hint, "_fields"):
            return _struct(hint, list(hint._fields), "class", scope, inside)
        if typing.is_typeddict(hint):
            return _struct(hint, list(hint.__annotations__), "dict", scope, inside)
    if hint in (list, tuple, dict) or hint in _LISTS or hint in _MAPS:
        name = "dict[str, int]" if hint in _MAPS else "list[int]"
        raise HintError(f"the hint `{show(hint)}` does not say what it holds", f"write {name}, or whatever it holds")
    if origin is tuple:
        raise HintError(f"the hint `{show(hint)}` has no names for its parts", "write a NamedTuple or a dataclass, which become a struct")
    raise HintError(f"the hint `{show(hint)}` has no Arrow type", ADVICE)


def _struct(cls: Any, fields: list[str], form: str, scope: Scope, inside: tuple[Any, ...]) -> Hint:
    if cls in inside:
        raise HintError(f"`{cls.__name__}` contains itself, and Arrow has no type for that", "keep the inner values in a list of their own")
    try:
        hints = typing.get_type_hints(cls, localns=scope.inside(cls), include_extras=True)
    except Exception as error:
        raise HintError(f"the hints of `{cls.__name__}` cannot be read: {error}", "check the names in its annotations") from None
    columns, parts = [], []
    for field in fields:
        if field not in hints:
            raise HintError(f"field `{field}` of `{cls.__name__}` has no hint", "give every field a hint")
        try:
            inner = _inner(hints[field], scope, (*inside, cls))
        except HintError as error:
            raise HintError(f"field `{field}` of `{cls.__name__}`: {error.reason}", error.advice) from None
        columns.append(pa.field(field, inner.type))
        parts.append((field, inner.shape))
    return Hint("value", pa.struct(columns), shape=Shape(form, cls, tuple(parts)))


class _Inner(NamedTuple):
    type: pa.DataType
    shape: Shape | None


def _inner(hint: Any, scope: Scope, inside: tuple[Any, ...]) -> _Inner:
    found = _parse(hint, scope, inside)
    if found.container != "value" or not isinstance(found.type, pa.DataType):
        raise HintError(f"the hint `{show(hint)}` cannot be part of a value", ADVICE)
    return _Inner(found.type, found.shape)


def show(hint: Any) -> str:
    """A hint as its author wrote it."""
    if isinstance(hint, str):
        return hint
    if hint is type(None):
        return "None"
    if isinstance(hint, type) and typing.get_origin(hint) is None:
        return hint.__qualname__ if hint.__module__ == "builtins" else f"{hint.__module__.partition('.')[0]}.{hint.__qualname__}"
    return str(hint).replace("typing.", "")


def _spelled(kind: pa.DataType) -> str:
    text = str(kind)
    return {"double": "float64()", "float": "float32()", "bool": "bool_()"}.get(text, f"{text}()" if text.isidentifier() else "…")
