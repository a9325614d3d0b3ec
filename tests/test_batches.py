"""Batches functions: an iterator of record batches in, one out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import transom

TABLE = pa.table({"a": list(range(10)), "b": [f"v{i}" for i in range(10)]})


def test_batches_in_and_out(pool: transom.Pool) -> None:
    @transom.udf
    def even(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield batch.filter(pc.equal(pc.bit_wise_and(batch["a"], 1), 0))

    result = pool.map(even, TABLE.to_batches(max_chunksize=3))
    assert result.schema == TABLE.schema
    assert result.read_all()["b"].to_pylist() == ["v0", "v2", "v4", "v6", "v8"]
    single = pool.call(even, TABLE)
    assert isinstance(single, pa.RecordBatch)
    assert single.num_rows == 5


@pytest.mark.parametrize("frame", ["table", "pandas", "polars", "reader"])
def test_frames_of_batches(pool: transom.Pool, frame: str) -> None:
    @transom.udf(returns=pa.schema([("a", pa.int64())]))
    def tables(batches: Iterator[pa.Table]) -> Iterator[pa.Table]:
        for table in batches:
            assert isinstance(table, pa.Table)
            yield table.select(["a"])

    @transom.udf(returns=pa.schema([("a", pa.int64())]))
    def pandas(batches: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for data in batches:
            assert isinstance(data, pd.DataFrame)
            yield data[["a"]]

    @transom.udf(returns=pa.schema([("a", pa.int64())]))
    def polars(batches: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        for data in batches:
            assert isinstance(data, pl.DataFrame)
            yield data.select("a")

    @transom.udf(returns=pa.schema([("a", pa.int64())]))
    def reader(batches: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        assert batches.schema.names == ["a", "b"]
        for batch in batches:
            yield batch.select(["a"])

    function = {"table": tables, "pandas": pandas, "polars": polars, "reader": reader}[frame]
    assert pool.map(function, TABLE.to_batches(max_chunksize=4)).read_all()["a"].to_pylist() == list(range(10))


def test_a_batches_function_keeps_state_over_its_whole_stream(
    pool: transom.Pool,
) -> None:
    @transom.udf
    def running(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        total = 0
        for batch in batches:
            total += pc.sum(batch["a"]).as_py()
            yield pa.record_batch({"total": pa.array([total])})

    assert pool.map(running, TABLE.to_batches(max_chunksize=2)).read_all()["total"].to_pylist() == [1, 6, 15, 28, 45]


def test_a_batches_function_may_give_more_or_fewer_batches(pool: transom.Pool) -> None:
    @transom.udf
    def twice(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield batch
            yield batch.slice(0, 1)

    @transom.udf
    def none(
        batches: Iterator[pa.RecordBatch],
    ) -> Annotated[Iterator[pa.RecordBatch], TABLE.schema]:
        for _ in batches:
            pass
        return iter(())

    @transom.udf
    def first(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield next(batches)

    batches = TABLE.to_batches(max_chunksize=5)
    assert [batch.num_rows for batch in pool.map(twice, batches)] == [5, 1, 5, 1]
    assert pool.map(none, batches).read_all().equals(TABLE.slice(0, 0))
    assert pool.map(first, batches * 20).read_all().num_rows == 5


WRONG_STREAMS: list[tuple[str, Any, str]] = [
    ("NOT_ARROW", lambda batches: next(batches), "write `yield batch`"),
    ("NOT_ARROW", lambda batches: None, "is a `return` missing"),
    ("NOT_ARROW", lambda batches: 3, "returned int"),
    ("NOT_ARROW", lambda batches: (5 for _ in batches), "yielded int"),
    ("NOT_ARROW", lambda batches: (None for _ in batches), "yielded None"),
    (
        "NOT_ARROW",
        lambda batches: (batch.column(0) for batch in batches),
        "yielded pyarrow.Int64Array",
    ),
    (
        "WRONG_TYPE",
        lambda batches: (b if i == 0 else b.select(["b"]) for i, b in enumerate(batches)),
        "columns `b`, and `a`, `b` are declared",
    ),
    ("FUNCTION_RAISED", lambda batches: (1 / 0 for _ in batches), "division by zero"),
]


@pytest.mark.parametrize(
    ("code", "function", "text"),
    WRONG_STREAMS,
    ids=[text for _, _, text in WRONG_STREAMS],
)
def test_wrong_streams_are_refused(pool: transom.Pool, code: str, function: Any, text: str) -> None:
    made = transom.udf(kind="batches")(function)
    with pytest.raises(transom.TransomError) as caught:
        pool.map(made, TABLE.to_batches(max_chunksize=5)).read_all()
    assert caught.value.code_name == code
    assert text in str(caught.value)


def test_declared_schemas_hold(pool: transom.Pool) -> None:
    @transom.udf(returns=pa.schema([pa.field("a", pa.int64(), nullable=False)]))
    def f(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"a": pa.array([1, None] if next(batches)["a"][0].as_py() else [1])})

    assert pool.map(f, TABLE.slice(0, 1)).schema.field(0).nullable is False
    with pytest.raises(transom.InvalidResult, match="null in column `a`"):
        pool.map(f, TABLE.slice(1)).read_all()


def test_a_stream_that_is_not_read_to_its_end_runs_its_finally(make_pool: Callable[..., transom.Pool], tmp_path: Any) -> None:
    pool, mark = make_pool(), tmp_path / "closed"

    @transom.udf
    def endless(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        try:
            batch = next(batches)
            while True:
                yield batch
        finally:
            mark.write_text("closed")

    results = pool.map(endless, TABLE)
    assert next(results).num_rows == 10
    results.close()

    @transom.udf
    def after(x: int) -> str:
        return mark.read_text()

    assert pool.call(after, pa.array([1])).to_pylist() == ["closed"]
