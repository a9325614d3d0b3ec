"""Every Arrow type goes there and back, with nulls, slices and nothing in it; and generated batches of all of them."""

from __future__ import annotations

import datetime as dt
import decimal
import random
import uuid
from collections.abc import Callable
from typing import Any

import hypothesis
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import transom
from hypothesis import strategies as st


@transom.udf
def same(x: pa.Array) -> pa.Array:
    return x


@transom.udf
def copied(x: pa.Array) -> pa.Array:
    """Not the input's own memory, where pyarrow can write it anew."""
    try:
        return pa.concat_arrays([x.slice(0, len(x) // 2), x.slice(len(x) // 2)])
    except pa.ArrowNotImplementedError:
        return x


D = decimal.Decimal
MOMENT = dt.datetime(2021, 2, 3, 4, 5, 6)
INTERVAL = pa.MonthDayNano([1, -2, 3])

VALUES: list[tuple[pa.DataType, list[Any]]] = [
    (pa.null(), [None, None, None]),
    (pa.bool_(), [True, None, False, True, True, False, None, True, False]),
    *((kind, [0, None, 1, 127]) for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())),
    (pa.float32(), [0.5, None, float("inf"), -0.0]),
    (pa.float64(), [0.1, None, float("nan"), -0.0]),
    (pa.float16(), [0.5, None, 2.0]),
    (pa.decimal128(38, 10), [D("1.5"), None, D("-123456789012345678.0123456789")]),
    (pa.decimal256(76, 2), [D("1.25"), None, D("-1e60")]),
    (pa.date32(), [dt.date(1969, 1, 1), None, dt.date(2400, 2, 29)]),
    (pa.date64(), [dt.date(1969, 1, 1), None]),
    (pa.time32("s"), [dt.time(1, 2, 3), None]),
    (pa.time32("ms"), [dt.time(1, 2, 3, 4000), None]),
    (pa.time64("us"), [dt.time(1, 2, 3, 4), None]),
    (pa.time64("ns"), [dt.time(1, 2, 3, 4), None]),
    *((pa.timestamp(unit), [MOMENT, None]) for unit in ("s", "ms", "us", "ns")),
    (pa.timestamp("us", "Europe/Zurich"), [MOMENT, None]),
    *((pa.duration(unit), [dt.timedelta(days=-3), None]) for unit in ("s", "ms", "us", "ns")),
    (pa.month_day_nano_interval(), [INTERVAL, None]),
    (pa.binary(), [b"", None, b"\x00\xff" * 40]),
    (pa.large_binary(), [b"", None, b"abc"]),
    (pa.binary_view(), [b"", None, b"short", b"a longer one than twelve"]),
    (pa.binary(3), [b"abc", None, b"\x00\x01\x02"]),
    (pa.string(), ["", None, "grüße", "🎉" * 30]),
    (pa.large_string(), ["", None, "abc"]),
    (pa.string_view(), ["", None, "short", "longer than twelve bytes: grüße"]),
    (pa.list_(pa.int32()), [[1, None], None, [], [3]]),
    (pa.large_list(pa.string()), [["a", None], None, []]),
    (pa.list_view(pa.int16()), [[1, None], None, [], [2, 3]]),
    (pa.large_list_view(pa.string()), [["a"], None, []]),
    (pa.list_(pa.int8(), 2), [[1, 2], None, [3, None]]),
    (pa.struct([("a", pa.int64()), ("b", pa.string())]), [{"a": 1, "b": "x"}, None, {"a": None, "b": None}]),
    (pa.struct([]), [{}, None, {}]),
    (pa.map_(pa.string(), pa.int32()), [[("a", 1), ("b", None)], None, []]),
    (pa.list_(pa.struct([("p", pa.list_(pa.map_(pa.string(), pa.bool_())))])), [[{"p": [[("k", True)], None]}], None]),
    (pa.dictionary(pa.int8(), pa.string()), ["a", None, "b", "a"]),
    (pa.dictionary(pa.uint32(), pa.int64()), [5, None, 5]),
]


def built(kind: pa.DataType, values: list[Any]) -> pa.Array:
    if pa.types.is_decimal256(kind):
        return pa.array([None if v is None else v.quantize(D("0.01"), context=decimal.Context(prec=76)) for v in values], kind)
    if pa.types.is_float16(kind):
        return pa.array(values, pa.float32()).cast(kind)
    return pa.array(values, kind)


EXOTIC: dict[str, Callable[[], pa.Array]] = {
    "run-end encoded": lambda: pc.run_end_encode(pa.array([1, 1, 1, None, None, 2])),
    "dense union": lambda: pa.UnionArray.from_dense(
        pa.array([0, 1, 0, 1], pa.int8()), pa.array([0, 0, 1, 1], pa.int32()), [pa.array([1, None]), pa.array(["a", "b"])]
    ),
    "sparse union": lambda: pa.UnionArray.from_sparse(pa.array([0, 1, 1], pa.int8()), [pa.array([1, 2, 3]), pa.array(["a", None, "c"])]),
    "decimal32": lambda: pa.array([D("1.5"), None], pa.decimal32(7, 2)),
    "decimal64": lambda: pa.array([D("1.5"), None], pa.decimal64(16, 2)),
    "dictionary of structs": lambda: pa.DictionaryArray.from_arrays(pa.array([0, None, 1], pa.int16()), pa.array([{"a": "x"}, {"a": None}])),
    "list of dictionaries": lambda: pa.ListArray.from_arrays(pa.array([0, 2, 3]), pa.array(["a", "b", "a"]).dictionary_encode()),
    "struct with nulls of its own": lambda: pa.StructArray.from_arrays([pa.array([1, 2, 3])], ["a"], mask=pa.array([False, True, False])),
    "struct of structs": lambda: pa.StructArray.from_arrays([two_structs()], ["s"], mask=pa.array([False, False, True, False])),
    "fixed-size list of structs": lambda: pa.FixedSizeListArray.from_arrays(pa.concat_arrays([two_structs(), two_structs()]), 2),
    "sparse union of structs": lambda: pa.UnionArray.from_sparse(pa.array([0, 1, 0, 1], pa.int8()), [two_structs(), pa.array([1, 2, None, 4])]),
}


def two_structs() -> pa.Array:
    """A slice, so that the struct has an offset of its own."""
    return pa.array([None, {"a": 1, "b": {"c": "x"}}, None, {"a": None, "b": None}, {"a": 4, "b": {"c": "y"}}]).slice(1)


CASES = [*((str(kind), lambda kind=kind, values=values: built(kind, values)) for kind, values in VALUES), *EXOTIC.items()]
cases = pytest.mark.parametrize("make", [make for _, make in CASES], ids=[name for name, _ in CASES])


def identical(left: pa.Array, right: pa.Array) -> bool:
    right.validate(full=True)
    # Unlike `equals`, this takes NaN for NaN.
    return left.type == right.type and len(left) == len(right) and repr(left.to_pylist()) == repr(right.to_pylist())


@cases
@pytest.mark.parametrize("function", [same, copied], ids=["in place", "anew"])
def test_every_type_goes_there_and_back(pool: transom.Pool, make: Callable[[], pa.Array], function: transom.Udf) -> None:
    array = make()
    assert identical(array, pool.call(function, array))


@cases
@pytest.mark.parametrize(("offset", "length"), [(1, None), (1, 1), (0, 0), (2, 1)])
def test_slices_and_empties_go_there_and_back(pool: transom.Pool, make: Callable[[], pa.Array], offset: int, length: int | None) -> None:
    array = make().slice(offset, length)
    assert identical(array, pool.call(same, array))


@cases
def test_slices_of_children_go_there_and_back(pool: transom.Pool, make: Callable[[], pa.Array]) -> None:
    child = pa.concat_arrays([make(), make(), make()]) if not pa.types.is_run_end_encoded(make().type) else make()
    outer = pa.StructArray.from_arrays([child.slice(1)], ["inner"]).slice(1)
    assert identical(outer, pool.call(same, outer))
    half = (len(child) - 1) // 2
    lists = pa.ListArray.from_arrays(pa.array([0, half, len(child) - 1], pa.int32()), child.slice(1)).slice(1)
    assert identical(lists, pool.call(same, lists))


@cases
def test_slices_in_a_stream_go_there_and_back(pool: transom.Pool, make: Callable[[], pa.Array]) -> None:
    array = make()
    table = pa.Table.from_batches([pa.record_batch({"x": array})])
    reader = table.to_reader(max_chunksize=2)
    results = list(pool.map(same, reader))
    assert [len(batch) for batch in results] == [len(array.slice(start, 2)) for start in range(0, len(array), 2)]
    for number, batch in enumerate(results):
        assert identical(array.slice(2 * number, 2), batch["same"])


@cases
def test_every_type_is_appended_to(pool: transom.Pool, make: Callable[[], pa.Array]) -> None:
    array = make()
    source = pa.record_batch({"x": array, "other": array})
    result = pool.map(same, [source], append=True).read_all()
    assert result.column_names == ["x", "other", "same"]
    for name in result.column_names:
        assert identical(array, result[name].chunk(0))


def test_extension_types_and_metadata_are_kept(pool: transom.Pool) -> None:
    @transom.udf(kind="scalar", returns=pa.uuid())
    def back(x):
        assert x.type == pa.uuid()
        return x

    values = [uuid.UUID(int=5).bytes, None, uuid.UUID(int=7).bytes]
    array = pa.ExtensionArray.from_storage(pa.uuid(), pa.array(values, pa.binary(16)))
    assert pool.call(back, array).equals(array)
    schema = pa.schema([pa.field("x", pa.uuid(), metadata={"a": "b"})], metadata={"c": "d"})
    batch = pa.RecordBatch.from_arrays([array], schema=schema)
    appended = pool.map(back, [batch], append=True)
    assert appended.schema.field("x").equals(schema.field("x"), check_metadata=True)
    assert appended.schema.metadata == {b"c": b"d"}
    assert appended.read_all()["back"].chunk(0).equals(array)


def test_batches_without_columns_have_rows(pool: transom.Pool) -> None:
    @transom.udf(kind="batches")
    def through(batches):
        yield from batches

    batch = pa.RecordBatch.from_struct_array(pa.array([{}] * 5, pa.struct([])))
    assert batch.num_rows == 5
    assert pool.call(through, batch).num_rows == 5
    assert pool.call(through, pa.record_batch({"a": pa.array([1, 2])}).select([])).num_columns == 0


def test_a_large_column(pool: transom.Pool) -> None:
    array = pa.array(range(3_000_000))
    text = pa.array(["x" * 100]).take(pa.array([0] * 300_000))
    assert pool.call(same, array).equals(array)
    assert pool.call(same, text).equals(text)


# Generated batches: any type in any other, any values, any slice.


def types(depth: int = 2) -> st.SearchStrategy[pa.DataType]:
    plain = st.sampled_from(
        [kind for kind, _ in VALUES if not pa.types.is_nested(kind) and not pa.types.is_dictionary(kind)]
        + [pa.dictionary(pa.int16(), pa.string()), pa.dictionary(pa.int32(), pa.int8())]
    )
    if depth == 0:
        return plain
    inner = types(depth - 1)
    return st.one_of(
        plain,
        st.builds(pa.list_, inner),
        st.builds(pa.large_list, inner),
        st.builds(pa.list_view, inner),
        st.builds(lambda item: pa.list_(item, 2), inner),
        st.builds(lambda parts: pa.struct([(f"f{i}", part) for i, part in enumerate(parts)]), st.lists(inner, max_size=3)),
        st.builds(lambda item: pa.map_(pa.string(), item), inner),
    )


def column(kind: pa.DataType, rows: int, dice: random.Random) -> pa.Array:
    """A column of random values, with nulls at random places, built from its parts upwards."""
    mask = pa.array([dice.random() < 0.25 for _ in range(rows)], pa.bool_())
    if pa.types.is_struct(kind):
        if not kind.num_fields:
            return pa.array([None if dice.random() < 0.25 else {} for _ in range(rows)], kind)
        return pa.StructArray.from_arrays([column(field.type, rows, dice) for field in kind], fields=list(kind), mask=mask)
    if pa.types.is_map(kind) or (pa.types.is_nested(kind) and hasattr(kind, "value_type")):
        return _lists(kind, rows, dice)
    if pa.types.is_dictionary(kind):
        values = column(kind.value_type, 5, dice)
        keys = pa.array([None if dice.random() < 0.25 else dice.randrange(5) for _ in range(rows)], kind.index_type)
        return pa.DictionaryArray.from_arrays(keys, values)
    known = next(values for other, values in VALUES if other == kind)
    return built(kind, [dice.choice(known) for _ in range(rows)])


def _lists(kind: pa.DataType, rows: int, dice: random.Random) -> pa.Array:
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(column(kind.value_type, rows * kind.list_size, dice), type=kind)
    lengths = [dice.randrange(4) for _ in range(rows)]
    offsets = [0]
    for length in lengths:
        offsets.append(offsets[-1] + length)
    if pa.types.is_map(kind):
        keys = pa.array([f"k{dice.randrange(100)}" for _ in range(offsets[-1])], pa.string())
        return pa.MapArray.from_arrays(pa.array(offsets, pa.int32()), keys, column(kind.item_type, offsets[-1], dice), type=kind)
    items = column(kind.value_type, offsets[-1], dice)
    if pa.types.is_list_view(kind):
        return pa.ListViewArray.from_arrays(pa.array(offsets[:-1], pa.int32()), pa.array(lengths, pa.int32()), items, type=kind)
    if pa.types.is_large_list(kind):
        return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), items, type=kind)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), items, type=kind)


@hypothesis.given(
    kinds=st.lists(types(), min_size=1, max_size=4),
    rows=st.integers(0, 70),
    seed=st.integers(0, 2**32),
    cut=st.tuples(st.integers(0, 20), st.integers(0, 70)),
)
@hypothesis.settings(
    max_examples=150,
    deadline=None,
    print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
)
def test_generated_batches_go_there_and_back(pool: transom.Pool, kinds: list[pa.DataType], rows: int, seed: int, cut: tuple[int, int]) -> None:
    dice = random.Random(seed)
    arrays = [column(kind, rows, dice) for kind in kinds]
    batch = pa.RecordBatch.from_arrays(arrays, [f"c{i}" for i in range(len(kinds))]).slice(*cut)
    back = pool.call(_through, batch)
    back.validate(full=True)
    assert back.schema == batch.schema
    assert repr(back.to_pylist()) == repr(batch.to_pylist())
    result = pool.call(same, batch.column(0))
    assert identical(batch.column(0), result)


@transom.udf(kind="batches")
def _through(batches):
    yield from batches
