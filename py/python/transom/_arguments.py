"""From columns to what a function's hints say: casts that lose nothing, and containers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
from pyarrow import types

from transom._failures import Failure, kind_of, render, text_of
from transom._hints import Hint
from transom._values import reader

Change = Callable[[Any], Any]


def argument(name: str, actual: pa.DataType, hint: Hint) -> Change | None:
    """What turns a column of type `actual` into the argument that `hint` describes; None where it is that. Found once for each schema."""
    first, second = _cast(name, actual, hint), _contain(name, hint)
    if first is None or second is None:
        return first or second
    return lambda column: second(first(column))


def values(name: str, actual: pa.DataType, hint: Hint) -> tuple[str, Change | None, Change, bool]:
    """How a row function's values are made of a column of type `actual`.

    Gives the column's name, a cast where one is needed, what makes the list of values, and whether that list is pyarrow's own, whose values the
    native side makes one by one where it can.
    """
    cast = _cast(name, actual, hint)
    kind = actual if cast is None or hint.type is None else hint.type
    read = reader(hint.shape)
    if read is None:
        return name, cast, lambda column: column.to_pylist(), not _extended(kind)
    return name, cast, lambda column: [read(value) for value in column.to_pylist()], False


def _extended(kind: pa.DataType) -> bool:
    """Whether values are made by an extension type's class."""
    return isinstance(kind, pa.BaseExtensionType) or (types.is_dictionary(kind) and isinstance(kind.value_type, pa.BaseExtensionType))


def _cast(name: str, actual: pa.DataType, hint: Hint) -> Change | None:
    wanted = hint.type
    if hint.array_class is not None and not isinstance(pa.nulls(0, _plain(actual)), hint.array_class):
        raise _unsuited(name, actual, f"pa.{hint.array_class.__name__}")
    if wanted is None or actual.equals(wanted):
        return None
    if not fits(actual, wanted):
        raise _unsuited(name, actual, str(wanted))
    if hint.container == "value" and not hint.declared and not _must_cast(_plain(actual), wanted):
        return None  # Python has one int and one str for all of Arrow's

    def cast(column: pa.Array) -> pa.Array:
        if types.is_run_end_encoded(column.type):
            column = compute().run_end_decode(column)
        if isinstance(column.type, pa.BaseExtensionType):
            column = column.storage
        try:
            return column.cast(wanted)
        except pa.ArrowException as error:
            raise Failure(
                "ARGUMENT_TYPE",
                f"column `{name}` is {actual}, and its values do not all fit the parameter's type {wanted}: {error}",
                hint="cast the column before the call, or declare the parameter with the wider type",
            ) from None

    return cast


def _unsuited(name: str, actual: pa.DataType, wanted: str) -> Failure:
    return Failure(
        "ARGUMENT_TYPE",
        f"parameter `{name}` takes {wanted}, and its column is {actual}",
        hint="cast the column before the call, or change the parameter's hint",
    )


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type of the values under dictionary, run-end and extension types."""
    while True:
        if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
            kind = kind.value_type
        elif isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        else:
            return kind


def fits(actual: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether a column may be cast to a parameter's type: in the same family, each value being checked."""
    actual = _plain(actual)
    if actual.equals(wanted) or types.is_null(actual):
        return True
    if types.is_integer(actual):
        return types.is_integer(wanted) or types.is_floating(wanted) or types.is_decimal(wanted)
    if types.is_floating(actual):
        return types.is_floating(wanted) and wanted.bit_width >= actual.bit_width
    if types.is_decimal(actual):
        return types.is_decimal(wanted)
    if _is_text(actual):
        return _is_text(wanted) or (types.is_dictionary(wanted) and _is_text(wanted.value_type))
    if _is_bytes(actual):
        return _is_bytes(wanted)
    if types.is_timestamp(actual):
        return types.is_timestamp(wanted) and (actual.tz is None) == (wanted.tz is None)
    for family in (types.is_date, types.is_time, types.is_duration):
        if family(actual):
            return family(wanted)
    return _parts_fit(actual, wanted)


def _parts_fit(actual: pa.DataType, wanted: pa.DataType) -> bool:
    if types.is_map(actual):
        return types.is_map(wanted) and fits(actual.key_type, wanted.key_type) and fits(actual.item_type, wanted.item_type)
    if types.is_struct(actual) and types.is_struct(wanted):
        found = {field.name: field.type for field in actual}
        return all(field.name in found and fits(found[field.name], field.type) for field in wanted)
    if hasattr(actual, "value_type") and hasattr(wanted, "value_type") and types.is_nested(actual) and types.is_nested(wanted):
        return not types.is_map(wanted) and fits(actual.value_type, wanted.value_type)
    return False


def _must_cast(actual: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether Python's values differ: whole numbers for a float, nanoseconds that datetime cannot hold."""
    if types.is_floating(wanted):
        return types.is_integer(actual)
    return getattr(actual, "unit", None) == "ns"


def _is_text(kind: pa.DataType) -> bool:
    return types.is_string(kind) or types.is_large_string(kind) or str(kind) == "string_view"


def _is_bytes(kind: pa.DataType) -> bool:
    return types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind) or str(kind) == "binary_view"


def compute() -> Any:
    """pyarrow's functions: loading them takes a tenth of a worker's start, and most functions need none of them from here."""
    import pyarrow.compute

    return pyarrow.compute


def library(name: str) -> Any:
    """An optional library that a hint asked for, or the report that it is not there."""
    import importlib
    import sys

    try:
        return importlib.import_module(name)
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == name
        reason = "is not installed" if missing else f"does not load: {error}"
        raise Failure(
            "FUNCTION_IMPORT_FAILED",
            f"the function's hints ask for {name}, which {reason} in the worker's interpreter {sys.executable}",
            kind=kind_of(error),
            hint=f"{sys.executable} -m pip install {name}, or use pyarrow hints",
        ) from None


def _contain(name: str, hint: Hint) -> Change | None:
    if hint.container == "pyarrow":
        return None
    if hint.container == "chunked":
        return lambda column: pa.chunked_array([column])
    if hint.container == "numpy":
        return _to_numpy(name, hint)
    if hint.container == "pandas":
        library("pandas")

        def to_pandas(column: pa.Array) -> Any:
            series = column.to_pandas()
            series.name = name
            return series

        return to_pandas
    polars = library("polars")
    return lambda column: polars.Series(name, column)


def _to_numpy(name: str, hint: Hint) -> Change:
    library("numpy")
    wanted = hint.type
    # A float array has NaN for a null. Other types have nothing, and would silently become floats or objects.
    holds_nulls = wanted is None or types.is_floating(wanted) or types.is_temporal(wanted) or _is_text(wanted) or _is_bytes(wanted)

    def to_numpy(column: pa.Array) -> Any:
        if column.null_count and not holds_nulls:
            row = compute().index(column.is_null(), True).as_py()
            raise Failure(
                "ARGUMENT_TYPE",
                f"column `{name}` has a null, which a numpy array of {wanted} cannot hold",
                row=row,
                hint="hint it as pa.Array or NDArray[np.float64], or fill the nulls before the call",
            )
        return column.to_numpy(zero_copy_only=False)

    return to_numpy


def frame(hint: Hint) -> Change:
    """What turns a record batch into the frame that a batches function's hint says."""
    if hint.container == "table":
        return lambda batch: pa.Table.from_batches([batch])
    if hint.container == "pandas_frame":
        library("pandas")
        return lambda batch: batch.to_pandas()
    if hint.container == "polars_frame":
        polars = library("polars")
        return lambda batch: polars.from_arrow(batch)
    return lambda batch: batch


def convert(change: Change, column: Any, name: str) -> Any:
    """One conversion, whose failure is the argument's and not the function's."""
    try:
        return change(column)
    except Failure:
        raise
    except Exception as error:
        said = f"column `{name}` cannot be made what the hint says: {kind_of(error)}: {text_of(error)}"
        raise Failure("ARGUMENT_TYPE", said, kind=kind_of(error), traceback=render(error)) from None
