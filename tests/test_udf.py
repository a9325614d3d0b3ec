"""Defining functions: kinds and types from hints and declarations, and refusals that say what to write."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import pickle
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, NamedTuple, NewType, Optional, TypedDict

import cloudpickle
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import transom
from numpy.typing import NDArray


@dataclasses.dataclass
class Point:
    x: int
    tags: list[str]


class Pair(NamedTuple):
    left: float
    point: Point


class Record(TypedDict):
    name: str
    scores: dict[str, float]


class Loose(TypedDict, total=False):
    name: str


Price = NewType("Price", float)
POINT = pa.struct([("x", pa.int64()), ("tags", pa.list_(pa.string()))])

ROW_TYPES: list[tuple[Any, pa.DataType]] = [
    (int, pa.int64()),
    (float, pa.float64()),
    (bool, pa.bool_()),
    (str, pa.string()),
    (bytes, pa.binary()),
    (dt.date, pa.date32()),
    (dt.datetime, pa.timestamp("us")),
    (dt.time, pa.time64("us")),
    (dt.timedelta, pa.duration("us")),
    (Optional[int], pa.int64()),  # noqa: UP045
    (int | None, pa.int64()),
    (list[int], pa.list_(pa.int64())),
    (tuple[int, ...], pa.list_(pa.int64())),
    (list[list[str] | None], pa.list_(pa.list_(pa.string()))),
    (dict[str, int], pa.map_(pa.string(), pa.int64())),
    (Point, POINT),
    (Pair, pa.struct([("left", pa.float64()), ("point", POINT)])),
    (
        Record,
        pa.struct([("name", pa.string()), ("scores", pa.map_(pa.string(), pa.float64()))]),
    ),
    (Loose, pa.struct([("name", pa.string())])),
    (Price, pa.float64()),
    (Annotated[int, pa.int8()], pa.int8()),
    (Annotated[int, "a note", pa.int8()], pa.int8()),
    (Annotated[int | None, pa.field("n", pa.uint16())], pa.uint16()),
    (Annotated[decimal.Decimal, pa.decimal128(12, 2)], pa.decimal128(12, 2)),
    (Annotated[dt.datetime, pa.timestamp("ns", "UTC")], pa.timestamp("ns", "UTC")),
    (list[Annotated[int, pa.int16()]], pa.list_(pa.int16())),
]


@pytest.mark.parametrize(("hint", "kind"), ROW_TYPES, ids=str)
def test_row_hints_have_types(hint: Any, kind: pa.DataType) -> None:
    def f(x):
        return x

    f.__annotations__ = {"x": hint, "return": hint}
    made = transom.udf(f)
    assert made.kind == "row"
    assert made.signature.parameters[0].hint.type == kind
    assert made.signature.schema() == pa.schema([("f", kind)])


ARRAY_TYPES: list[tuple[Any, str, pa.DataType | None]] = [
    (pa.Array, "pyarrow", None),
    (pa.Int64Array, "pyarrow", pa.int64()),
    (pa.Int8Array, "pyarrow", pa.int8()),
    (pa.UInt32Array, "pyarrow", pa.uint32()),
    (pa.FloatArray, "pyarrow", pa.float32()),
    (pa.DoubleArray, "pyarrow", pa.float64()),
    (pa.BooleanArray, "pyarrow", pa.bool_()),
    (pa.StringArray, "pyarrow", pa.string()),
    (pa.LargeBinaryArray, "pyarrow", pa.large_binary()),
    (pa.Date32Array, "pyarrow", pa.date32()),
    (pa.ListArray, "pyarrow", None),
    (pa.TimestampArray, "pyarrow", None),
    (Annotated[pa.Array, pa.list_(pa.int64())], "pyarrow", pa.list_(pa.int64())),
    (pa.ChunkedArray, "chunked", None),
    (np.ndarray, "numpy", None),
    (NDArray[np.float64], "numpy", pa.float64()),
    (NDArray[np.int32], "numpy", pa.int32()),
    (NDArray[np.bool_], "numpy", pa.bool_()),
    (NDArray[np.str_], "numpy", pa.string()),
    (NDArray[Any], "numpy", None),
    (NDArray[np.object_], "numpy", None),
    (Annotated[np.ndarray, pa.timestamp("ns")], "numpy", pa.timestamp("ns")),
    (pd.Series, "pandas", None),
    (Annotated[pd.Series, pa.string()], "pandas", pa.string()),
    (pl.Series, "polars", None),
    (Annotated[pl.Series, pa.float32()] | None, "polars", pa.float32()),
]


@pytest.mark.parametrize(("hint", "container", "kind"), ARRAY_TYPES, ids=str)
def test_array_hints_have_containers_and_types(hint: Any, container: str, kind: pa.DataType | None) -> None:
    def f(x):
        return x

    f.__annotations__ = {"x": hint, "return": hint}
    made = transom.udf(f)
    assert made.kind == "scalar"
    found = made.signature.parameters[0].hint
    assert (found.container, found.type) == (container, kind)
    assert made.signature.returns.type == kind


@pytest.mark.parametrize(
    ("hint", "container"),
    [
        (Iterator[pa.RecordBatch], "batch"),
        (Iterable[pa.RecordBatch], "batch"),
        (Iterator[pa.Table], "table"),
        (Iterator[pd.DataFrame], "pandas_frame"),
        (Iterator[pl.DataFrame], "polars_frame"),
        (pa.RecordBatchReader, "reader"),
        (Annotated[Iterator[pa.RecordBatch], pa.schema([("a", pa.int64())])], "batch"),
    ],
    ids=str,
)
def test_iterators_of_batches_make_batches_functions(hint: Any, container: str) -> None:
    def f(batches):
        yield from batches

    f.__annotations__ = {"batches": hint, "return": Iterator[pa.RecordBatch]}
    made = transom.udf(f)
    assert made.kind == "batches"
    assert made.signature.parameters[0].hint.container == container


def test_usable_bare_and_with_arguments() -> None:
    @transom.udf
    def bare(x: int) -> int:
        """Says what it does."""
        return x + 1

    @transom.udf(
        kind="row",
        returns="int32",
        args=["int8"],
        deadline=dt.timedelta(seconds=2),
        retries=1,
    )
    def declared(x):
        return x + 1

    assert (bare(1), declared(1)) == (2, 2)
    assert (bare.__name__, bare.__doc__, bare.__module__) == (
        "bare",
        "Says what it does.",
        __name__,
    )
    assert (declared.deadline, declared.retries) == (2.0, 1)
    assert declared.signature.parameters[0].hint.type == pa.int8()
    assert declared.signature.schema() == pa.schema([("declared", pa.int32())])
    assert repr(bare) == "<transom.Udf bare (row)>"
    assert transom.udf(bare, returns="int8").signature.returns.type == pa.int8()


@pytest.mark.parametrize("kind", ["scalar", "row"])
def test_explicit_kind_wins(kind: str) -> None:
    @transom.udf(kind=kind)
    def f(x: int, y: int) -> int:
        return x

    assert f.kind == kind
    assert f.signature.returns.type == pa.int64()


def test_explicit_kind_needs_no_parameter_hints() -> None:
    made = transom.udf(kind="scalar", returns=pa.float32())(lambda x, y: x)
    assert [p.hint.type for p in made.signature.parameters] == [None, None]
    assert made.name == "<lambda>"


def test_args_by_name_by_position_and_by_schema() -> None:
    def f(x, y, *rest):
        return x

    by_name = transom.udf(f, kind="scalar", returns="int64", args={"y": "string"}).signature
    assert [p.hint.type for p in by_name.parameters] == [None, pa.string()]
    by_position = transom.udf(f, kind="scalar", returns="int64", args=["int8", None, pa.int16()]).signature
    assert [p.hint.type for p in by_position.parameters] == [pa.int8(), None]
    assert by_position.variadic.type == pa.int16()
    by_schema = transom.udf(f, kind="scalar", returns="int64", args=pa.schema([("x", pa.int8())])).signature
    assert by_schema.parameters[0].hint.type == pa.int8()


def test_returns_takes_a_field_with_its_metadata() -> None:
    field = pa.field("ignored", pa.int64(), nullable=False, metadata={"unit": "m"})
    made = transom.udf(kind="scalar", returns=field)(lambda x: x)
    assert made.signature.schema().field(0).equals(field.with_name("<lambda>"), check_metadata=True)


def test_string_annotations_see_local_names() -> None:
    import pyarrow as local_arrow

    Inner = int  # noqa: N806

    @transom.udf
    def f(x: local_arrow.Int64Array, y: Annotated[pa.Array, local_arrow.int8()] | None) -> local_arrow.Int64Array:
        return x

    @transom.udf
    def g(x: Inner) -> list[Inner]:
        return [x]

    assert f.signature.returns.type == pa.int64()
    assert g.signature.returns.type == pa.list_(pa.int64())


def test_settings_keep_their_defaults_and_columns_may_be_left_out() -> None:
    @transom.udf
    def f(
        x: pa.Array,
        more: pa.Array = None,
        scale: float = 2.0,
        mode="up",
        *,
        strict: bool = True,
    ) -> pa.Int64Array:
        return x

    assert [(p.name, p.optional) for p in f.signature.parameters] == [
        ("x", False),
        ("more", True),
    ]


def test_variadic_columns() -> None:
    @transom.udf
    def f(first: pa.Array, *columns: pa.Array) -> pa.Array:
        return first

    assert [p.name for p in f.signature.parameters] == ["first"]
    assert f.signature.variadic.container == "pyarrow"


def test_classes_are_made_once() -> None:
    made = []

    @transom.udf
    class Model:
        """A model."""

        def __init__(self, weight: int = 3) -> None:
            made.append(self)
            self.weight = weight

        def __call__(self, x: int) -> int:
            return x * self.weight

    assert (Model.kind, Model.name, Model.__doc__) == ("row", "Model", "A model.")
    assert [Model(1), Model(2)] == [3, 6]
    assert len(made) == 1


def test_objects_partials_and_methods_are_functions_too() -> None:
    import functools

    class Scale:
        def __init__(self, factor: int) -> None:
            self.factor = factor

        def __call__(self, x: int) -> int:
            return x * self.factor

        def method(self, x: int) -> int:
            return x

    def power(x: int, exponent: int) -> int:
        return x**exponent

    assert (transom.udf(Scale(4))(2), transom.udf(Scale(4)).name) == (8, "Scale")
    assert transom.udf(functools.partial(power, exponent=3))(2) == 8
    assert [p.name for p in transom.udf(functools.partial(power, 2)).signature.parameters] == ["exponent"]
    assert transom.udf(Scale(4).method).signature.returns.type == pa.int64()


def test_pickles_with_its_signature() -> None:
    import pyarrow as only_here

    offset = 5

    @transom.udf(deadline=3, retries=2)
    def f(x: only_here.Int64Array, p: Annotated[pa.Array, POINT] = None) -> only_here.Int64Array:
        """Adds."""
        return pc.add(x, offset)

    copy = pickle.loads(cloudpickle.dumps(f))
    assert copy(pa.array([1])).to_pylist() == [6]
    assert copy.signature == f.signature
    assert (copy.deadline, copy.retries, copy.__doc__, copy.name) == (
        3.0,
        2,
        "Adds.",
        "f",
    )


def define(source: str, **options: Any) -> transom.Udf:
    names: dict[str, Any] = dict(globals())
    exec(source, names)
    return transom.udf(names["f"], **options)


REFUSED: list[tuple[str, dict[str, Any], list[str]]] = [
    (
        "def f(x: complex) -> int: ...",
        {},
        ["`f`", "parameter `x`", "complex", "int, str", "@transom.udf(args="],
    ),
    ("def f(x: object) -> int: ...", {}, ["parameter `x`", "object"]),
    ("def f(x: Any) -> int: ...", {}, ["parameter `x`", "Any"]),
    ("def f(x: set[int]) -> int: ...", {}, ["parameter `x`", "set[int]"]),
    ("def f(x: int) -> ValueError: ...", {}, ["the result", "ValueError"]),
    ("def f(x) -> int: ...", {}, ["parameter `x` has no hint"]),
    ("def f(x: int): ...", {}, ["the result has no hint"]),
    ("def f(*x) -> pa.Array: ...", {}, ["parameter `x` has no hint"]),
    (
        "def f(x): ...",
        {"returns": "int64"},
        ["parameter `x` has no hint", 'kind="scalar"'],
    ),
    ("f = lambda x: x", {}, ["<lambda>", "parameter `x` has no hint"]),
    ("f = len", {}, ["len", "parameter `obj` has no hint"]),
    ("def f(x: int) -> None: ...", {}, ["the result", "None"]),
    (
        "def f(x: list) -> int: ...",
        {},
        ["`list` does not say what it holds", "list[int]"],
    ),
    (
        "def f(x: dict) -> int: ...",
        {},
        ["`dict` does not say what it holds", "dict[str, int]"],
    ),
    (
        "def f(x: tuple[int, str]) -> int: ...",
        {},
        ["no names for its parts", "NamedTuple"],
    ),
    ("def f(x: int | str) -> int: ...", {}, ["int | str", "several types"]),
    (
        "def f(x: decimal.Decimal) -> int: ...",
        {},
        ["precision and scale", "pa.decimal128"],
    ),
    (
        "def f(x: pa.int64()) -> int: ...",
        {},
        ["is an Arrow type and not a hint", "Annotated[pa.Array, pa.int64()]"],
    ),
    (
        "def f(x: 'Missing') -> int: ...",
        {},
        ["Missing", "parameter `x`", "not defined"],
    ),
    (
        "def f(x: pa.RecordBatch) -> pa.RecordBatch: ...",
        {},
        ["one batch", "Iterator[pa.RecordBatch]"],
    ),
    (
        "def f(x: Iterator[int]) -> Iterator[int]: ...",
        {},
        ["not an iterator of batches"],
    ),
    (
        "def f(x: pa.Array, y: int) -> pa.Array: ...",
        {},
        ["`x` is an array", "`y` is one row's value"],
    ),
    (
        "def f(x: NDArray[np.complex128]) -> pa.Array: ...",
        {},
        ["parameter `x`", "complex128"],
    ),
    ("def f(**options: int) -> int: ...", {}, ["**options", "*columns"]),
    ("def f(x: int, *, y) -> int: ...", {}, ["keyword-only parameter `y`"]),
    ("async def f(x: int) -> int: ...", {}, ["async"]),
    ("def f(x: int) -> int: yield 1", {}, ["it yields", "Iterator[pa.RecordBatch]"]),
    ("def f() -> pa.Array: ...", {}, ["without parameters"]),
    (
        "def f(a: Iterator[pa.RecordBatch], b: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]: ...",
        {},
        ["one parameter"],
    ),
    ("f = 3", {}, ["int, which cannot be called"]),
    ("class f: ...", {}, ["no __call__"]),
    (
        "class f:\n  def __init__(self, a): ...\n  def __call__(self, x: int) -> int: ...",
        {},
        ["__init__ needs `a`", "transom.udf(f(…))"],
    ),
    (
        "@dataclasses.dataclass\nclass D:\n  a: complex\ndef f(x: D) -> int: ...",
        {},
        ["field `a` of `D`", "complex"],
    ),
    (
        "@dataclasses.dataclass\nclass D:\n  a: 'list[D]'\ndef f(x: D) -> int: ...",
        {},
        ["`D` contains itself"],
    ),
    ("def f(x: int) -> int: ...", {"kind": "rows"}, ["'rows'", "scalar"]),
    ("def f(x: int) -> int: ...", {"returns": "int46"}, ["'int46'", "int64"]),
    ("def f(x: int) -> int: ...", {"returns": pa.schema([])}, ["pa.DataType"]),
    ("def f(x: int) -> int: ...", {"args": {"y": "int64"}}, ["`y`", "no parameter"]),
    ("def f(x: int) -> int: ...", {"args": ["int64", "int64"]}, ["2 types"]),
    ("def f(x: int) -> int: ...", {"args": "int64"}, ["args is a str"]),
    ("def f(x: int) -> int: ...", {"deadline": -1}, ["deadline is -1"]),
    ("def f(x: int) -> int: ...", {"retries": -1}, ["retries is -1"]),
    ("def f(x): ...", {"kind": "row"}, ["the result has no hint"]),
    ("def f(x: pa.Array) -> pa.Array: ...", {"kind": "row"}, ["must say the type"]),
    (
        "def f(x: pa.Array) -> pa.Array: ...",
        {"kind": "batches"},
        ["a batches function cannot take"],
    ),
]


@pytest.mark.parametrize(
    ("source", "options", "parts"),
    REFUSED,
    ids=[source + str(options) for source, options, _ in REFUSED],
)
def test_refusals_say_what_and_where_and_what_to_write(source: str, options: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(TypeError) as caught:
        define(source, **options)
    error = caught.value
    assert isinstance(error, transom.SignatureError)
    assert (error.code, error.code_name) == ("TRN-1104", "FUNCTION_SIGNATURE")
    for part in parts:
        assert part in str(error), f"{part!r} is missing in: {error}"


def test_a_declaration_makes_up_for_a_hint_without_a_type() -> None:
    made = define(
        "def f(x: complex) -> object: ...",
        kind="scalar",
        args=["float64"],
        returns="string",
    )
    assert made.signature.returns.type == pa.string()
