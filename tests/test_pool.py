"""The pool: shapes of calls and maps, sources and sinks, the ledger, options."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import transom
from udfs import X, plus_one, price, same

TABLE = pa.table(
    {
        "id": list("abcd"),
        "discount": [0.5, 0.0, 0.25, 1.0],
        "amount": [10.0, 20.0, 40.0, 80.0],
    }
)
PRICES = [5.0, 20.0, 30.0, 0.0]

# What holds columns.

FRAMES: list[tuple[str, Callable[[], Any]]] = [
    ("record batch", lambda: TABLE.to_batches()[0]),
    ("table", lambda: TABLE),
    ("table of chunks", lambda: pa.concat_tables([TABLE.slice(0, 1), TABLE.slice(1)])),
    ("reader", lambda: TABLE.to_reader()),
    ("polars", lambda: pl.from_arrow(TABLE)),
    ("pandas", lambda: TABLE.to_pandas()),
    ("duckdb", lambda: duckdb.connect().from_arrow(TABLE)),
    ("dict", lambda: {name: TABLE[name] for name in TABLE.column_names}),
    ("struct", lambda: Capsule(pa.RecordBatch.to_struct_array(TABLE.to_batches()[0]))),
]
frames = pytest.mark.parametrize("make", [make for _, make in FRAMES], ids=[name for name, _ in FRAMES])


class Capsule:
    """Somebody else's array."""

    def __init__(self, array: pa.Array) -> None:
        self.array = array

    def __arrow_c_array__(self, requested_schema: object = None) -> Any:
        return self.array.__arrow_c_array__(requested_schema)


@frames
def test_a_call_with_columns_by_name(pool: transom.Pool, make: Callable[[], Any]) -> None:
    result = pool.call(price, make())
    assert isinstance(result, pa.DoubleArray)
    assert result.to_pylist() == PRICES


@frames
def test_a_map_over_columns_by_name(pool: transom.Pool, make: Callable[[], Any]) -> None:
    result = pool.map(price, make()).read_all()
    assert result.schema == pa.schema([("price", pa.float64())])
    assert result["price"].to_pylist() == PRICES


@pytest.mark.parametrize(
    "make",
    [
        lambda: X,
        lambda: pa.chunked_array([X.slice(0, 1), X.slice(1)]),
        lambda: np.array([1, 2, 3]),
        lambda: pd.Series([1, 2, 3]),
        lambda: pl.Series([1, 2, 3]),
        lambda: Capsule(X),
    ],
    ids=["array", "chunked", "numpy", "pandas", "polars", "capsule"],
)
def test_a_call_with_arrays(pool: transom.Pool, make: Callable[[], Any]) -> None:
    assert pool.call(plus_one, make()).to_pylist() == [2, 3, 4]


def test_a_struct_array_is_an_array(pool: transom.Pool) -> None:
    structs = pa.array([{"a": 1}, {"a": 2}])
    assert pool.call(same, structs).equals(structs)


def test_iterables_of_batches_tables_and_frames_are_sources(pool: transom.Pool) -> None:
    batches = TABLE.to_batches(max_chunksize=2)
    for source in (
        batches,
        iter(batches),
        (b for b in batches),
        [TABLE],
        [TABLE.to_pandas()],
        (pl.from_arrow(TABLE),),
    ):
        assert pool.map(price, source).read_all()["price"].to_pylist()[:4] == PRICES


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (5, "int"),
        ("file.parquet", "a path is no source"),
        (X, "name it"),
        ([X], "pyarrow.Int64Array"),
        ([1, 2], "gave a int"),
        (["a"], "gave a str"),
        ({"a": [1]}, "wrap it"),
    ],
    ids=str,
)
def test_what_is_no_source_is_refused(pool: transom.Pool, source: Any, text: str) -> None:
    with pytest.raises(transom.InvalidArgument, match=text):
        pool.map(plus_one, source).read_all()


# Shapes.


def test_columns_append_and_names(pool: transom.Pool) -> None:
    swapped = pool.map(price, TABLE, columns=["discount", "amount"]).read_all()
    assert swapped["price"].to_pylist() == [d * (1 - a) for d, a in zip(TABLE["discount"].to_pylist(), TABLE["amount"].to_pylist(), strict=True)]
    appended = pool.map(price, TABLE, append=True).read_all()
    assert appended.equals(TABLE.append_column("price", pa.array(PRICES)))
    assert pool.map(plus_one, pa.table({"y": X}), columns="y").read_all()["plus_one"].to_pylist() == [2, 3, 4]
    with pytest.raises(transom.InvalidArgument, match="amuont") as caught:
        pool.map(price, TABLE, columns=["amuont", "discount"]).read_all()
    assert "amount" in str(caught.value)
    with pytest.raises(transom.InvalidArgument):
        pool.map(price, TABLE, columns=["amount"]).read_all()


def test_tables_are_sent_in_batches(pool: transom.Pool) -> None:
    table = pa.table({"x": np.arange(200_000)})
    assert [batch.num_rows for batch in pool.map(plus_one, table)] == [
        65536,
        65536,
        65536,
        3392,
    ]
    assert pool.map(plus_one, table).read_all()["plus_one"].to_numpy().sum() == np.arange(200_000).sum() + 200_000


def test_order(pool: transom.Pool) -> None:
    @transom.udf
    def uneven(x: int) -> int:
        time.sleep(0.1 if x % 2 == 0 else 0)
        return x

    batches = pa.table({"x": range(20)}).to_batches(max_chunksize=1)
    ordered = pool.map(uneven, batches).read_all()["uneven"].to_pylist()
    assert ordered == list(range(20))
    loose = pool.map(uneven, batches, ordered=False).read_all()["uneven"].to_pylist()
    assert sorted(loose) == ordered


def test_results_are_streams_for_others(pool: transom.Pool) -> None:
    assert pa.table(pool.map(price, TABLE))["price"].to_pylist() == PRICES
    assert pl.DataFrame(pool.map(price, TABLE))["price"].to_list() == PRICES
    results = pool.map(price, TABLE)  # noqa: F841  (DuckDB finds it by its name)
    assert duckdb.sql("select sum(price) from results").fetchall() == [(55.0,)]
    reader = pa.RecordBatchReader.from_stream(pool.map(plus_one, {"x": X}))
    assert reader.schema == pa.schema([("plus_one", pa.int64())])
    # A stream of results is a source, so functions follow each other without anything in between.
    assert pool.map(same, pool.map(plus_one, {"x": X}), columns="plus_one").read_all()["same"].to_pylist() == [2, 3, 4]


def test_the_schema_is_there_before_the_first_batch_is_taken(
    pool: transom.Pool,
) -> None:
    results = pool.map(same, {"x": X})
    assert results.schema == pa.schema([("same", pa.int64())])
    assert [batch.num_rows for batch in results] == [3]
    assert results.schema == pa.schema([("same", pa.int64())])
    appended = pool.map(plus_one, {"x": X}, append=True)
    assert appended.schema.names == ["x", "plus_one"]
    assert pool.map(plus_one, TABLE.to_reader(), columns="id", append=True) is not None


def test_errors_in_a_stream_name_their_place_and_the_stream_goes_on(
    pool: transom.Pool,
) -> None:
    @transom.udf
    def f(x: int) -> int:
        return 10 // (x - 5)

    results = pool.map(f, pa.table({"x": range(9)}).to_batches(max_chunksize=3))
    assert next(results).num_rows == 3
    with pytest.raises(transom.FunctionError) as caught:
        next(results)
    assert (caught.value.batch, caught.value.rows) == (1, range(5, 6))
    assert next(results).num_rows == 3
    with pytest.raises(StopIteration):
        next(results)
    with pytest.raises(pa.ArrowException, match="TRN-3001"):
        pa.table(pool.map(f, pa.table({"x": range(9)})))


def test_a_source_that_raises_raises_its_own_exception(pool: transom.Pool) -> None:
    def source() -> Iterator[pa.RecordBatch]:
        yield from TABLE.to_batches()
        raise ConnectionError("the other side is gone")

    results = pool.map(price, source())
    assert next(results).num_rows == 4
    with pytest.raises(ConnectionError, match="the other side is gone"):
        next(results)
    reader = pa.RecordBatchReader.from_batches(TABLE.schema, source())
    with pytest.raises(transom.InvalidArgument, match="the other side is gone") as caught:
        pool.map(price, reader).read_all()
    assert caught.value.code_name == "SOURCE_FAILED"

    @transom.udf
    def batches(stream: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        try:
            yield from stream
        except Exception:
            yield TABLE.to_batches()[0]

    with pytest.raises(ConnectionError, match="the other side is gone"):
        pool.map(batches, source()).read_all()


def test_a_source_that_changes_its_schema_is_refused(pool: transom.Pool) -> None:
    with pytest.raises(transom.InvalidArgument) as caught:
        pool.map(
            plus_one,
            [pa.record_batch({"x": X}), pa.record_batch({"x": X.cast("int32")})],
        ).read_all()
    assert caught.value.code_name == "SCHEMA_MISMATCH"


def test_no_batches_at_all(pool: transom.Pool) -> None:
    empty = pa.RecordBatchReader.from_batches(pa.schema([("x", pa.int64())]), [])
    assert pool.map(plus_one, empty).read_all().equals(pa.table({"plus_one": pa.array([], pa.int64())}))
    assert pool.map(same, []).read_all().num_rows == 0


def test_a_source_is_not_run_ahead_of_its_results(pool: transom.Pool) -> None:
    taken = 0

    def source() -> Iterator[pa.RecordBatch]:
        nonlocal taken
        while True:
            taken += 1
            yield pa.record_batch({"x": X})

    with pool.map(plus_one, source()) as results:
        for _ in range(10):
            next(results)
        assert taken <= 10 + 2 * 2 + 1


# The ledger.


def difference(pool: transom.Pool, run: Callable[[], Any]) -> tuple[int, int]:
    before = pool.copies()["inputs"]
    run()
    after = pool.copies()["inputs"]
    return after["bytes_shared"] - before["bytes_shared"], after["bytes_copied"] - before["bytes_copied"]


def test_what_is_on_the_heap_is_copied_once_and_what_is_shared_never(
    pool: transom.Pool,
) -> None:
    column = pa.array(np.arange(10_000))
    assert difference(pool, lambda: pool.call(plus_one, column)) == (0, 80_000)
    assert difference(pool, lambda: pool.call(plus_one, column.slice(100, 10))) == (
        0,
        80,
    )
    shared = pool.share({"x": column})
    assert shared.equals(pa.record_batch({"x": column}))
    assert difference(pool, lambda: pool.call(plus_one, shared)) == (80_000, 0)
    assert difference(pool, lambda: pool.call(plus_one, shared.column(0).slice(64, 100))) == (800, 0)
    assert difference(pool, lambda: pool.map(plus_one, [shared] * 3).read_all()) == (
        240_000,
        0,
    )
    result = pool.call(plus_one, column)
    assert difference(pool, lambda: pool.call(plus_one, result)) == (80_000, 0)
    with pytest.raises(transom.InvalidArgument):
        pool.share(column)


def test_what_a_function_gave_goes_to_the_next_function_where_it_lies(make_pool: Callable[..., transom.Pool]) -> None:
    pool = make_pool(workers=2)
    rows = 400_000
    while any(worker["state"] != "idle" for worker in pool.stats()["workers"]):
        pool.call(plus_one, X)
    first = pool.map(plus_one, pa.table({"x": np.arange(rows)})).read_all()
    second: list[pa.RecordBatch] = []
    # Whichever worker is next: a result lies in the memory of the one that gave it.
    for source in (first, pool.share(first.to_batches()[0]), pa.table(first)):
        second.clear()
        _, copied = difference(pool, lambda source=source: second.extend(pool.map(plus_one, source, columns="plus_one")))
        assert copied == 0
        assert second[0].column(0)[5].as_py() == 7
    assert sum(batch.num_rows for batch in second) == rows
    assert all(worker["batches"] for worker in pool.stats()["workers"])


def test_of_texts_and_nulls_that_a_function_gave_only_the_shape_is_copied_again(pool: transom.Pool) -> None:
    texts = pa.array([f"row {i}" for i in range(1000)])
    result = pool.call(same, texts)
    # The host has checked a copy of the offsets; the text itself lies where the worker put it, or where the host had put the argument.
    shared, copied = difference(pool, lambda: pool.call(same, result))
    assert shared + copied == 4 * 1001 + sum(len(text) for text in texts.to_pylist())
    assert copied in (0, 4 * 1001)


def test_stats_and_copies_have_their_shape(
    make_pool: Callable[..., transom.Pool],
) -> None:
    pool = make_pool(workers=2)
    pool.call(plus_one, X)
    stats = pool.stats()
    assert len(stats["workers"]) == 2
    for worker in stats["workers"]:
        assert {"pid", "state", "batches", "rows", "restarts"} <= set(worker)
    assert sum(worker["batches"] for worker in stats["workers"]) == 1
    assert sum(worker["rows"] for worker in stats["workers"]) == 3
    copies = pool.copies()
    assert copies["bytes_copied"] == sum(copies["reasons"].values())
    assert copies["bytes_copied"] == copies["inputs"]["bytes_copied"] + copies["results"]["bytes_copied"]
    pool.close()
    assert pool.stats()["workers"][0].keys() == stats["workers"][0].keys()
    assert pool.copies() == copies


# Options.


def test_environment_and_working_directory(make_pool: Callable[..., transom.Pool], tmp_path: Path) -> None:
    @transom.udf
    def where(x: int) -> str:
        return f"{os.getcwd()} {os.environ.get('TRANSOM_TEST')} {os.environ.get('TRANSOM_FAULT_FD')}"

    pool = make_pool(env={"TRANSOM_TEST": "yes"}, cwd=tmp_path)
    assert pool.call(where, pa.array([1])).to_pylist() == [f"{tmp_path} yes None"]


@pytest.mark.parametrize("mode", ["guarded", "strict", "trusted"])
def test_modes(make_pool: Callable[..., transom.Pool], mode: str) -> None:
    pool = make_pool(mode=mode)
    assert pool.call(same, pa.array(["a", None, "ü"])).to_pylist() == ["a", None, "ü"]


def test_a_working_directory_that_is_not_there(make_pool: Callable[..., transom.Pool], tmp_path: Path) -> None:
    with pytest.raises(transom.TransomError) as caught:
        make_pool(cwd=tmp_path / "nowhere").call(plus_one, X)
    assert caught.value.code_name == "WORKING_DIRECTORY_MISSING"


def test_the_memory_limit_says_who_holds_what(
    make_pool: Callable[..., transom.Pool],
) -> None:
    pool = make_pool(memory_limit=32 << 20)
    column = pa.array(np.arange(1 << 20))
    held: list[pa.RecordBatch] = []
    with pytest.raises(transom.TransomError) as caught:
        held.extend(pool.share({"x": column}) for _ in range(8))
    assert caught.value.code_name == "MEMORY_LIMIT"
    held.clear()
    gc.collect()
    assert pool.call(plus_one, X).to_pylist() == [2, 3, 4]
