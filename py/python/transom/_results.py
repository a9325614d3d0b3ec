"""From what a function returned to Arrow: arrays of the declared type and of the right length, or a clear refusal."""

from __future__ import annotations

import sys
from typing import Any

import pyarrow as pa

from transom._chunks import TooLarge, one_chunk
from transom._failures import Failure
from transom._hints import Hint
from transom._text import cap
from transom._values import Unfit, check, described

_LIMIT = 300


def shown(value: Any) -> str:
    """The type of a result, as its author knows it."""
    cls = type(value)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__.partition('.')[0]}.{cls.__qualname__}"


def _library_class(value: Any, module: str, name: str) -> bool:
    """Whether `value` is of an optional library's class; false where the library was never imported."""
    found = getattr(sys.modules.get(module), name, None)
    return isinstance(found, type) and isinstance(value, found)


def to_array(value: Any, rows: int, hint: Hint) -> pa.Array:
    """The column that a scalar function returned. Raises Failure where it is not one, or not as declared."""
    array = _array(value, hint.type)
    if hint.array_class is not None and not isinstance(array, hint.array_class):
        raise Failure("WRONG_TYPE", f"the function returned {array.type}, and its hint says pa.{hint.array_class.__name__}")
    if hint.type is not None and not array.type.equals(hint.type):
        raise Failure(
            "WRONG_TYPE",
            f"the function returned {array.type}, and {hint.type} is declared",
            hint="cast the result to the declared type, or declare the type that the function returns",
        )
    try:
        array.validate()  # cheap: whether buffers are long enough; the host looks at the content
    except pa.ArrowException as error:
        raise Failure("INVALID_DATA", f"the function returned an array that does not hold together: {error}") from None
    if len(array) != rows:
        raise Failure(
            "WRONG_LENGTH",
            f"the function returned {len(array)} {'value' if len(array) == 1 else 'values'} for {rows} {'row' if rows == 1 else 'rows'}",
            hint="a scalar function gives one value for each row; to give fewer or more, write a batches function",
        )
    return array


def _array(value: Any, wanted: pa.DataType | None) -> pa.Array:
    if isinstance(value, pa.Array):
        return value
    if isinstance(value, pa.ChunkedArray):
        return _one_chunk(value)
    if isinstance(value, (pa.RecordBatch, pa.Table, pa.Scalar)) or value is None:
        raise not_arrow(value)
    try:
        if _library_class(value, "numpy", "ndarray"):
            return _from_numpy(value, wanted)
        if _library_class(value, "pandas", "Series") or _library_class(value, "pandas", "Index"):
            return _from_pandas(value, wanted)
        if _library_class(value, "polars", "Series"):
            found = value.to_arrow()
            return _one_chunk(found.cast(wanted)) if wanted is not None else _one_chunk(found)
        if _library_class(value, "pandas", "DataFrame") or _library_class(value, "polars", "DataFrame"):
            raise not_arrow(value)
        if hasattr(value, "__arrow_c_array__"):
            return pa.array(value)
        if hasattr(value, "__arrow_c_stream__"):
            return _one_chunk(pa.chunked_array(value))
    except Unfit as unfit:
        raise Failure("INVALID_DATA", f"the function returned {shown(value)}: {unfit.reason}", row=unfit.row) from None
    except Failure:
        raise
    except Exception as error:
        to = "an Arrow array" if wanted is None else f"the declared type {wanted}"
        code = "NOT_ARROW" if wanted is None else "WRONG_TYPE"
        raise Failure(code, f"the function returned {shown(value)}, which does not become {to}: {cap(str(error), _LIMIT)}") from None
    raise not_arrow(value)


def not_arrow(value: Any) -> Failure:
    """The refusal of what is no array: it names the type, and what to write."""
    if value is None:
        advice = "is a `return` missing?"
    elif isinstance(value, (list, tuple, range)):
        advice = "wrap it: pa.array(values)"
    elif isinstance(value, (pa.RecordBatch, pa.Table)) or hasattr(value, "columns"):
        advice = "return one column, or write a batches function: Iterator[pa.RecordBatch] in and out"
    elif isinstance(value, (int, float, str, bytes, bool, pa.Scalar)) or _library_class(value, "numpy", "generic"):
        advice = 'return one value for each row, as an array; or write a row function (kind="row"), which returns one value a row'
    else:
        advice = "return a pyarrow, numpy, pandas or polars array, or anything with __arrow_c_array__"
    return Failure("NOT_ARROW", f"the function returned {shown(value)}, which is not Arrow data", hint=advice)


def _one_chunk(value: Any) -> pa.Array:
    try:
        return one_chunk(value)
    except TooLarge:
        raise Failure("INVALID_DATA", f"the function returned more than one {value.type} array can hold; return a large_{value.type}") from None


def _from_numpy(value: Any, wanted: pa.DataType | None) -> pa.Array:
    if value.ndim != 1:
        raise Failure(
            "NOT_ARROW", f"the function returned a numpy array of {value.ndim} dimensions, and a column has one", hint="return result.ravel()"
        )
    if value.dtype == object and wanted is not None:
        check(value.tolist(), wanted)
    return _one_chunk(pa.array(value, type=wanted))


def _from_pandas(value: Any, wanted: pa.DataType | None) -> pa.Array:
    if value.dtype == object and wanted is not None:
        # Only None and NaN stand for nulls here, and neither has anything to lose.
        check([v for v in value.tolist() if v == v], wanted)
    return _one_chunk(pa.Array.from_pandas(value, type=wanted))


def to_batches(value: Any, schema: pa.Schema | None) -> list[pa.RecordBatch]:
    """The record batches in one thing that a batches function yielded."""
    found = [value] if isinstance(value, pa.RecordBatch) else _table(value, schema)
    return [_as_declared(batch, schema) for batch in found]


def _table(value: Any, schema: pa.Schema | None) -> list[pa.RecordBatch]:
    try:
        if isinstance(value, pa.Table):
            return value.to_batches() or [pa.RecordBatch.from_pylist([], schema=value.schema)]
        if _library_class(value, "pandas", "DataFrame"):
            table = pa.Table.from_pandas(value, schema=schema, preserve_index=False).replace_schema_metadata(None)
            return table.to_batches() or [pa.RecordBatch.from_pylist([], schema=table.schema)]
        if _library_class(value, "polars", "DataFrame"):
            table = value.to_arrow()
            return _table(table if schema is None else table.select(schema.names).cast(schema), None)
        if hasattr(value, "__arrow_c_array__"):
            return [pa.record_batch(value)]
        if hasattr(value, "__arrow_c_stream__"):
            return _table(pa.table(value), None)
    except Exception as error:
        to = "record batches" if schema is None else "the declared schema"
        code = "NOT_ARROW" if schema is None else "WRONG_TYPE"
        raise Failure(code, f"the function yielded {shown(value)}, which does not become {to}: {cap(str(error), _LIMIT)}") from None
    raise Failure(
        "NOT_ARROW",
        f"the function yielded {described(value) if value is None else shown(value)}, which is not a record batch",
        hint="yield a pyarrow.RecordBatch, a table, or a pandas or polars data frame",
    )


def _as_declared(batch: pa.RecordBatch, schema: pa.Schema | None) -> pa.RecordBatch:
    """The batch under the declared schema, or the schema of the batches before it, with that schema's metadata."""
    if schema is None or batch.schema.equals(schema, check_metadata=True):
        return batch
    if batch.schema.names != schema.names:
        raise Failure("WRONG_TYPE", f"the function yielded the columns {_names(batch.schema)}, and {_names(schema)} are declared")
    for column, have, want in zip(batch.columns, batch.schema, schema, strict=True):
        if not have.type.equals(want.type):
            raise Failure("WRONG_TYPE", f"the function yielded {have.type} in column `{have.name}`, and {want.type} is declared")
        if column.null_count and not want.nullable:
            raise Failure("INVALID_DATA", f"the function yielded a null in column `{have.name}`, which is declared to have none")
    if not schema.names:
        return batch
    return pa.RecordBatch.from_arrays(batch.columns, schema=schema)


def _names(schema: pa.Schema) -> str:
    return ", ".join(f"`{name}`" for name in schema.names) or "none"
