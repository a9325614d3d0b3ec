"""What functions of each kind see and give, through real workers."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, TypedDict

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import transom
from numpy.typing import NDArray

INTEGERS = pa.array([1, 2, None, 4])


# Scalar functions.


def test_pyarrow_arrays(pool: transom.Pool) -> None:
    @transom.udf
    def add(x: pa.Int64Array, y: pa.Array) -> pa.Int64Array:
        assert type(x) is pa.Int64Array
        return pc.add(x, y)

    result = pool.call(add, INTEGERS, pa.array([10, 20, 30, 40]))
    assert isinstance(result, pa.Int64Array)
    assert result.to_pylist() == [11, 22, None, 44]


def test_chunked_arrays(pool: transom.Pool) -> None:
    @transom.udf
    def double(x: pa.ChunkedArray) -> pa.ChunkedArray:
        assert isinstance(x, pa.ChunkedArray)
        return pa.chunked_array(
            [
                pc.multiply(x.chunk(0).slice(0, 1), 2),
                pc.multiply(x.chunk(0).slice(1), 2),
            ]
        )

    assert pool.call(double, INTEGERS).to_pylist() == [2, 4, None, 8]


def test_numpy_arrays(pool: transom.Pool) -> None:
    @transom.udf
    def root(x: NDArray[np.float64]) -> NDArray[np.float64]:
        assert isinstance(x, np.ndarray)
        assert x.dtype == np.float64
        assert not x.flags.writeable
        return np.sqrt(x)

    assert pool.call(root, pa.array([4.0, 9.0])).to_pylist() == [2.0, 3.0]
    # Whole numbers fit a float parameter, and are checked to.
    assert pool.call(root, pa.array([4, 9], pa.int32())).to_pylist() == [2.0, 3.0]


def test_numpy_results_become_the_declared_type(pool: transom.Pool) -> None:
    @transom.udf(returns="int8")
    def narrow(x: np.ndarray) -> np.ndarray:
        return x * 1.0

    assert pool.call(narrow, pa.array([4, 100])).type == pa.int8()
    with pytest.raises(transom.InvalidResult, match="300"):
        pool.call(narrow, pa.array([4, 300]))


def test_integers_with_nulls_do_not_silently_become_floats(pool: transom.Pool) -> None:
    @transom.udf
    def f(x: NDArray[np.int64]) -> pa.Array:
        return pa.array(x)

    with pytest.raises(transom.InvalidArgument, match="column `x` has a null") as caught:
        pool.call(f, INTEGERS)
    assert caught.value.rows == range(2, 3)


def test_pandas_series(pool: transom.Pool) -> None:
    @transom.udf
    def upper(
        name: Annotated[pd.Series, pa.string()],
    ) -> Annotated[pd.Series, pa.string()]:
        assert isinstance(name, pd.Series)
        assert name.name == "name"
        return name.str.upper()

    result = pool.call(upper, pa.array(["a", None, "é"]))
    assert (result.type, result.to_pylist()) == (pa.string(), ["A", None, "É"])


def test_polars_series(pool: transom.Pool) -> None:
    @transom.udf
    def upper(name: pl.Series) -> pl.Series:
        assert isinstance(name, pl.Series)
        assert name.name == "name"
        return name.str.to_uppercase()

    assert pool.call(upper, pa.array(["a", None])).to_pylist() == ["A", None]

    @transom.udf(returns="string")
    def declared(name: pl.Series) -> pl.Series:
        return name

    assert pool.call(declared, pa.array(["a", None])).type == pa.string()


def test_anything_with_the_capsule_interface_is_a_result(pool: transom.Pool) -> None:
    @transom.udf
    def wrapped(x: pa.Array) -> pa.Array:
        class Own:
            def __arrow_c_array__(self, requested_schema=None):
                return x.__arrow_c_array__(requested_schema)

        return Own()

    assert pool.call(wrapped, INTEGERS).equals(INTEGERS)


def test_columns_are_cast_where_nothing_is_lost(pool: transom.Pool) -> None:
    @transom.udf
    def text(x: pa.StringArray, n: pa.Int64Array) -> pa.StringArray:
        return pc.binary_join_element_wise(x, pc.cast(n, pa.string()), "-")

    for kind in (
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.dictionary(pa.int8(), pa.string()),
    ):
        for number in (pa.int8(), pa.uint32(), pa.int64()):
            assert pool.call(text, pa.array(["a", "b"]).cast(kind), pa.array([1, 2], number)).to_pylist() == ["a-1", "b-2"]
    with pytest.raises(
        transom.InvalidArgument,
        match=r"parameter `x` takes string, and its column is int64",
    ):
        pool.call(text, pa.array([1, 2]), pa.array([1, 2]))
    with pytest.raises(
        transom.InvalidArgument,
        match=r"column `n` is uint64, and its values do not all fit",
    ):
        pool.call(text, pa.array(["a"]), pa.array([2**63], pa.uint64()))


def test_an_untyped_result_has_one_type_in_a_stream(pool: transom.Pool) -> None:
    @transom.udf
    def same(x: pa.Array) -> pa.Array:
        return x

    @transom.udf
    def whims(x: pa.Int64Array) -> pa.Array:
        return x if x[0].as_py() < 3 else x.cast("string")

    # Each call stands for itself.
    assert pool.call(same, pa.array([1])).type == pa.int64()
    assert pool.call(same, pa.array(["a"])).type == pa.string()
    results = pool.map(whims, pa.table({"x": range(5)}).to_batches(max_chunksize=1))
    assert [next(results).num_rows for _ in range(3)] == [1, 1, 1]
    with pytest.raises(transom.InvalidResult) as caught:
        next(results)
    assert (caught.value.code_name, caught.value.batch) == ("WRONG_TYPE", 3)


def test_array_class_hints_hold_for_columns_and_results(pool: transom.Pool) -> None:
    @transom.udf
    def lengths(x: pa.ListArray) -> pa.NumericArray:
        return pc.list_value_length(x)

    assert pool.call(lengths, pa.array([[1], [2, 3]])).to_pylist() == [1, 2]
    with pytest.raises(transom.InvalidArgument, match=r"takes pa.ListArray, and its column is int64"):
        pool.call(lengths, pa.array([1]))


def test_no_rows(pool: transom.Pool) -> None:
    @transom.udf
    def scalar(x: pa.Int64Array) -> pa.Int64Array:
        return x

    @transom.udf
    def row(x: int) -> str:
        return str(x)

    assert len(pool.call(scalar, pa.array([], pa.int64()))) == 0
    assert pool.call(row, pa.array([], pa.int64())).type == pa.string()


def test_classes_are_made_once_per_worker_and_keep_state(
    make_pool: Callable[..., transom.Pool],
) -> None:
    pool = make_pool()

    @transom.udf
    class Count:
        def __init__(self) -> None:
            self.calls = 0

        def __call__(self, x: pa.Int64Array) -> pa.Int64Array:
            self.calls += 1
            return pa.array([self.calls] * len(x))

    assert [pool.call(Count, pa.array([0]))[0].as_py() for _ in range(3)] == [1, 2, 3]


def test_defaults_and_variadic_columns(pool: transom.Pool) -> None:
    @transom.udf
    def total(
        a: pa.Int64Array,
        b: pa.Int64Array = None,
        c: pa.Int64Array = None,
        scale: float = 10,
    ) -> pa.Int64Array:
        for part in (b, c):
            a = a if part is None else pc.add(a, part)
        return pc.multiply(a, int(scale))

    one, two = pa.array([1]), pa.array([2])
    assert pool.call(total, one)[0].as_py() == 10
    assert pool.call(total, one, two)[0].as_py() == 30
    assert pool.call(total, {"a": one, "c": two, "other": two})[0].as_py() == 30

    @transom.udf
    def names(first: pa.Array, *columns: pa.Int64Array) -> pa.Int64Array:
        return pa.array([len(columns)] * len(first))

    assert pool.call(names, one)[0].as_py() == 0
    assert pool.call(names, one, two, two)[0].as_py() == 2
    assert pool.call(names, pa.record_batch({"z": one, "first": one, "y": two}))[0].as_py() == 2


# Row functions.


@dataclasses.dataclass
class Point:
    x: int
    y: float | None = None


class Pair(NamedTuple):
    left: str
    point: Point | None


class Record(TypedDict):
    name: str
    scores: dict[str, int]


ROWS: list[tuple[Any, list[Any]]] = [
    (int, [1, -(2**63), None]),
    (float, [1.5, float("inf"), None]),
    (bool, [True, False, None]),
    (str, ["", "grüße 🎉", None]),
    (bytes, [b"", b"\x00\xff", None]),
    (dt.date, [dt.date(2020, 2, 29), None]),
    (dt.datetime, [dt.datetime(2020, 2, 29, 1, 2, 3, 4), None]),
    (dt.time, [dt.time(23, 59, 59, 999999), None]),
    (dt.timedelta, [dt.timedelta(days=-1, microseconds=5), None]),
    (list[int], [[1, 2], [], None]),
    (list[list[str]], [[["a"], []], None]),
    (dict[str, int], [{"a": 1}, {}, None]),
    (dict[str, list[Point]], [{"a": [Point(1, 2.0), Point(2)]}, None]),
    (Point, [Point(1, 2.0), Point(2, None), None]),
    (Pair, [Pair("a", Point(1)), Pair("b", None), None]),
    (Record, [{"name": "n", "scores": {"a": 1}}, None]),
]


@pytest.mark.parametrize(("hint", "values"), ROWS, ids=lambda v: str(v)[:40])
def test_row_values_go_there_and_back(pool: transom.Pool, hint: Any, values: list[Any]) -> None:
    def check(x):
        assert x in values, x
        return x

    check.__annotations__ = {"x": hint, "return": hint}
    made = transom.udf(check)
    # The column is built by a row function as well: what it gives is what it must understand.
    position = transom.udf(_picker(values, hint))
    column = pool.call(position, pa.array(range(len(values))))
    assert column.type == made.signature.returns.type
    assert pool.call(made, column).equals(column)


def _picker(values: list[Any], hint: Any) -> Callable[[int], Any]:
    def pick(x):
        return values[x]

    pick.__annotations__ = {"x": int, "return": hint}
    return pick


def test_row_functions_take_other_widths_and_dictionaries(pool: transom.Pool) -> None:
    @transom.udf
    def show(number: int, text: str) -> str:
        assert (type(number), type(text)) == (int, str)
        return f"{number}{text}"

    @transom.udf
    def half(x: float) -> float:
        assert type(x) is float
        return x / 2

    @transom.udf
    def when(x: dt.datetime) -> dt.datetime:
        assert type(x) is dt.datetime
        return x

    for kind in (pa.int8(), pa.uint64()):
        for text in (
            pa.large_string(),
            pa.string_view(),
            pa.dictionary(pa.int8(), pa.string()),
        ):
            assert pool.call(show, pa.array([1], kind), pa.array(["a"]).cast(text)).to_pylist() == ["1a"]
    assert pool.call(half, pa.array([3], pa.int16())).to_pylist() == [1.5]
    assert pool.call(when, pa.array([10**9], pa.timestamp("ns"))).to_pylist() == [dt.datetime(1970, 1, 1, 0, 0, 1)]
    with pytest.raises(
        transom.InvalidArgument,
        match="parameter `x` takes double, and its column is string",
    ):
        pool.call(half, pa.array(["a"]))


def test_the_failing_row_is_named(pool: transom.Pool) -> None:
    @transom.udf
    def inverse(x: float) -> float:
        return 1 / x

    with pytest.raises(transom.FunctionError) as caught:
        pool.call(inverse, pa.array([1.0, 2.0, 0.0, 4.0]))
    assert (caught.value.rows, caught.value.remote_type) == (
        range(2, 3),
        "ZeroDivisionError",
    )
    assert caught.value.remote_traceback.rstrip().endswith("ZeroDivisionError: float division by zero")


UNFIT: list[tuple[Any, Any, str]] = [
    ("int64", 1.5, "it has a fraction"),
    ("int64", "abc", "abc"),
    ("int8", 300, "300"),
    ("uint8", -1, "-1"),
    ("string", 5, "5 \\(int\\)"),
    ("date32", dt.datetime(2020, 1, 1, 3), "time of day"),
    (pa.timestamp("s"), dt.datetime(2020, 1, 1, 0, 0, 0, 5), "fractions of a second"),
    (pa.list_(pa.string()), "abc", "a list is needed"),
    (pa.list_(pa.int64()), [1, 2.5], "it has a fraction"),
    (pa.struct([("a", pa.int8())]), {"b": 1}, "no field 'b'"),
    (pa.struct([("a", pa.int8())]), {"a": 1.5}, "fraction"),
    (pa.map_(pa.string(), pa.int8()), {"a": 1.5}, "fraction"),
    (pa.decimal128(5, 2), 1.234, "float"),
]


@pytest.mark.parametrize(("kind", "value", "reason"), UNFIT, ids=str)
def test_a_value_that_does_not_fit_is_named_with_its_row(pool: transom.Pool, kind: Any, value: Any, reason: str) -> None:
    @transom.udf(kind="row", returns=kind)
    def f(x):
        return value if x == 2 else None

    with pytest.raises(transom.InvalidResult, match=reason) as caught:
        pool.call(f, pa.array([0, 1, 2, 3]))
    assert caught.value.rows == range(2, 3)
    assert caught.value.code_name == "INVALID_DATA"


def test_stop_iteration_in_a_row_is_an_error_and_not_an_end(pool: transom.Pool) -> None:
    @transom.udf
    def f(x: int) -> int:
        if x == 1:
            raise StopIteration
        return x

    with pytest.raises(transom.FunctionError, match="StopIteration") as caught:
        pool.call(f, pa.array([0, 1, 2]))
    assert caught.value.rows == range(1, 2)


def test_row_functions_without_parameters_have_rows(pool: transom.Pool) -> None:
    @transom.udf
    def constant() -> int:
        return 7

    batch = pa.record_batch({"x": pa.array([1, 2, 3])})
    assert pool.call(constant, batch).to_pylist() == [7, 7, 7]
