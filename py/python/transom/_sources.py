"""What users pass as data, as pyarrow's arrays, batches and streams."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from transom._chunks import TooLarge, one_chunk
from transom._errors import InvalidArgument

#: Rows of a batch made of data in memory, which has no batches of its own.
BATCH_ROWS = 64 << 10


def _is(value: Any, library: str, *names: str) -> bool:
    module = sys.modules.get(library)
    classes = tuple(found for found in (getattr(module, name, None) for name in names) if isinstance(found, type))
    return isinstance(value, classes)


def shown(value: Any) -> str:
    """The type of a value as its author knows it."""
    cls = type(value)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__.partition('.')[0]}.{cls.__qualname__}"


def _is_array(value: Any) -> bool:
    if isinstance(value, pa.RecordBatch):
        return False  # at once: what is usual need not be looked for in libraries
    return (
        isinstance(value, (pa.Array, pa.ChunkedArray))
        or _is(value, "numpy", "ndarray")
        or _is(value, "pandas", "Series", "Index")
        or _is(value, "polars", "Series")
    )


def arguments(values: tuple[Any, ...]) -> pa.RecordBatch | list[pa.Array]:
    """The arguments of a call: one batch, whose columns go by name, or arrays, which go by position."""
    if len(values) == 1 and not _is_array(values[0]):
        batch = _batch(values[0])
        if batch is not None:
            return _valid(batch, "the batch")
    arrays = [_valid(_array(value, number), f"argument {number}") for number, value in enumerate(values)]
    lengths = {len(array) for array in arrays}
    if len(lengths) > 1:
        shown_lengths = ", ".join(str(len(array)) for array in arrays)
        raise InvalidArgument(f"the arrays differ in length: {shown_lengths}", code="ARGUMENT_LENGTH", hint="pass arrays of one length")
    return arrays


def _valid(value: Any, where: str) -> Any:
    """A cheap look whether buffers are long enough: memory is about to be read by their lengths."""
    try:
        value.validate()
    except pa.ArrowException as error:
        raise InvalidArgument(f"{where} does not hold together: {error}", code="ARGUMENT_TYPE") from error
    return value


def _batch(value: Any) -> pa.RecordBatch | None:
    """One record batch from anything that is one; None for what may still be an array."""
    if isinstance(value, pa.RecordBatch):
        return value
    if isinstance(value, Mapping):
        return _one_batch(pa.table({name: _array(column, name) for name, column in value.items()}))
    if isinstance(value, (pa.Table, pa.RecordBatchReader)):
        return _one_batch(value if isinstance(value, pa.Table) else value.read_all())
    if _is(value, "pandas", "DataFrame"):
        return _one_batch(pa.Table.from_pandas(value, preserve_index=False).replace_schema_metadata(None))
    if hasattr(value, "__arrow_c_array__"):
        array = pa.array(value)
        return pa.RecordBatch.from_struct_array(array) if isinstance(array, pa.StructArray) else None
    if hasattr(value, "__arrow_c_stream__"):
        # A stream of structs is a table; one of anything else is a chunked array.
        chunked = pa.chunked_array(value)
        if not pa.types.is_struct(chunked.type):
            return None
        return _one_batch(pa.Table.from_struct_array(chunked))
    return None


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    batches = table.to_batches()
    if len(batches) == 1:
        return batches[0]
    if not table.column_names:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * table.num_rows, pa.struct([])))
    joined = table.combine_chunks().to_batches()
    if len(joined) > 1:
        raise InvalidArgument(
            "a column of this table is too large for one batch", code="BAD_OPTION", hint="use pool.map, which sends a table batch by batch"
        )
    return joined[0] if joined else pa.RecordBatch.from_pylist([], schema=table.schema)


def _array(value: Any, place: Any) -> pa.Array:
    where = f"argument {place}" if isinstance(place, int) else f"column `{place}`"
    try:
        if isinstance(value, pa.Array):
            return value
        if isinstance(value, pa.ChunkedArray):
            return _one_chunk(value)
        if _is(value, "numpy", "ndarray"):
            return _one_chunk(pa.array(value))
        if _is(value, "pandas", "Series", "Index"):
            return _one_chunk(pa.Array.from_pandas(value))
        if hasattr(value, "__arrow_c_array__"):
            return pa.array(value)
        if hasattr(value, "__arrow_c_stream__"):
            return _one_chunk(pa.chunked_array(value))
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InvalidArgument(f"{where}, a {shown(value)}, is not Arrow data: {error}", code="ARGUMENT_TYPE") from error
    hint = (
        "wrap it: pa.array(values)"
        if isinstance(value, (list, tuple, range))
        else "pass pyarrow, numpy, pandas or polars arrays, or one record batch"
    )
    raise InvalidArgument(f"{where} is a {shown(value)}, which is not Arrow data", code="ARGUMENT_TYPE", hint=hint)


def _one_chunk(value: Any) -> pa.Array:
    try:
        return one_chunk(value)
    except TooLarge:
        message = "a column is too large for one batch"
        raise InvalidArgument(message, code="BAD_OPTION", hint="use pool.map, which sends it batch by batch") from None


def stream(source: Any) -> pa.RecordBatchReader | Iterator[pa.RecordBatch]:
    """A source as a C stream, which needs no interpreter to be read, or as a Python iterator of batches."""
    if isinstance(source, pa.RecordBatchReader):
        return source
    if isinstance(source, pa.RecordBatch):
        return pa.RecordBatchReader.from_batches(source.schema, [source])
    if isinstance(source, pa.Table):
        return source.to_reader(max_chunksize=BATCH_ROWS)
    if _is(source, "pandas", "DataFrame"):
        return stream(pa.Table.from_pandas(source, preserve_index=False).replace_schema_metadata(None))
    if _is(source, "polars", "DataFrame"):
        return stream(pa.table(source))
    if isinstance(source, Mapping):
        return stream(pa.table({name: _array(column, name) for name, column in source.items()}))
    if _is_array(source):
        raise InvalidArgument(
            f"the source is a {shown(source)}, one column without a name",
            code="ARGUMENT_TYPE",
            hint='name it: {"x": array}, where x is the parameter',
        )
    if hasattr(source, "__arrow_c_stream__"):
        return pa.RecordBatchReader.from_stream(source)
    if hasattr(source, "__arrow_c_array__"):
        return stream(pa.record_batch(source))
    if isinstance(source, Iterable) and not isinstance(source, (str, bytes)):
        return _flattened(source)
    hint = "a path is no source: read it, such as pyarrow.parquet.ParquetFile(path).iter_batches()" if isinstance(source, (str, bytes)) else None
    raise InvalidArgument(
        f"the source is a {shown(source)}, which holds no batches",
        code="ARGUMENT_TYPE",
        hint=hint or "pass a table, a reader, a data frame, anything with __arrow_c_stream__, or an iterable of record batches",
    )


def _flattened(source: Iterable[Any]) -> Iterator[pa.RecordBatch]:
    """The record batches in what the user's iterable gives: batches, tables, data frames."""
    for item in source:
        if isinstance(item, pa.RecordBatch):
            yield _valid(item, "a batch of the source")
        else:
            found = None if _is_array(item) or isinstance(item, (str, bytes, dict)) else _batch(item)
            if found is None:
                raise InvalidArgument(
                    f"the source gave a {shown(item)}, which is not a record batch",
                    code="SOURCE_FAILED",
                    hint="give record batches, tables or data frames",
                )
            yield found
        del item  # nobody here keeps a batch that has been sent
