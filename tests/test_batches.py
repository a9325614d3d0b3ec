"""Batches functions: an iterator of record batches in, one out."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Iterator
from pathlib import Path
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


FAILURES: list[tuple[str, type[transom.TransomError], Callable[[], object]]] = [
    ("FUNCTION_RAISED", transom.FunctionError, lambda: 1 // 0),
    ("WORKER_SIGNALLED", transom.WorkerDied, lambda: ctypes.string_at(0)),
    ("DEADLINE_EXCEEDED", transom.DeadlineExceeded, lambda: ctypes.CDLL(None).pause()),
]


@pytest.mark.parametrize("number", [0, 2, 4], ids=["first", "middle", "last"])
@pytest.mark.parametrize(("code", "kind", "failure"), FAILURES, ids=[code for code, _, _ in FAILURES])
def test_an_error_names_the_batch_that_the_function_was_at(
    make_pool: Callable[..., transom.Pool], tmp_path: Path, code: str, kind: type[transom.TransomError], failure: Callable[[], object], number: int
) -> None:
    # A limit that keeps one input: what is sent ahead must not push out what the function failed over.
    pool = make_pool(capsules=tmp_path / "capsules", capsule_bytes=100_000)
    rows = 8_000

    @transom.udf(deadline=1 if code == "DEADLINE_EXCEEDED" else None)
    def at(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield batch
            if batch["n"][0].as_py() == number:
                failure()

    with pytest.raises(kind) as caught:
        pool.map(at, [pa.record_batch({"n": [n] * rows}) for n in range(5)]).read_all()
    error = caught.value
    assert error.code_name == code
    assert (error.function, error.batch, error.rows) == ("at", number, range(rows * number, rows * (number + 1)))
    record = json.loads((Path(error.capsule) / "capsule.json").read_text())
    assert (record["arguments"]["first_batch"], record["arguments"]["batches"]) == (number, 1)
    with pytest.raises(kind) as caught:
        transom.replay(error.capsule)
    assert (caught.value.batch, caught.value.rows) == (number, error.rows)


def test_a_failure_over_no_batches_comes_again(make_pool: Callable[..., transom.Pool], tmp_path: Path) -> None:
    @transom.udf
    def wants_some(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from batches
        raise ValueError("nothing came")

    with pytest.raises(transom.FunctionError) as caught:
        make_pool(capsules=tmp_path / "capsules").map(wants_some, []).read_all()
    with pytest.raises(transom.FunctionError, match="nothing came"):
        transom.replay(caught.value.capsule)


def test_a_batches_function_that_asks_for_nothing_is_at_its_first_batch_and_one_behind_its_last_at_that(pool: transom.Pool) -> None:
    def at_once(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        raise ValueError("no")

    def in_the_end(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        list(batches)
        raise ValueError("no")

    def wrong_result(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield next(batches)
        yield next(batches).select(["b"])
        list(batches)

    for function, batch in (at_once, 0), (in_the_end, 3), (wrong_result, 1):
        with pytest.raises(transom.TransomError) as caught:
            pool.map(transom.udf(function), TABLE.to_batches(max_chunksize=3)).read_all()
        assert (caught.value.batch, caught.value.rows) == (batch, range(3 * batch, min(3 * batch + 3, 10))), caught.value


def test_a_source_that_fails_is_not_the_fault_of_the_batch_that_the_function_was_at(pool: transom.Pool) -> None:
    @transom.udf
    def same(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from batches

    def source() -> Iterator[pa.RecordBatch]:
        yield from TABLE.to_batches(max_chunksize=5)
        raise OSError("the disk is on fire")

    with pytest.raises(transom.TransomError) as caught:
        pool.map(same, pa.RecordBatchReader.from_batches(TABLE.schema, source())).read_all()
    assert (caught.value.code_name, caught.value.batch, caught.value.rows) == ("SOURCE_FAILED", 2, None)
