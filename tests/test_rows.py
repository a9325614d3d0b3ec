"""Row functions against what pyarrow makes of the same columns and the same values: the loop, its readers and its writers are native."""

from __future__ import annotations

import datetime as dt
import textwrap
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import transom
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transom._values import Unfit, build

DAY = dt.date(2020, 2, 29)
MOMENT = dt.datetime(1969, 12, 31, 23, 59, 59, 999_999)
SPAN = dt.timedelta(days=-3, seconds=5, microseconds=7)


def _at(unit: str, value: Any) -> Any:
    """A time without what the unit cannot hold."""
    whole = {"s": 1_000_000, "ms": 1000, "us": 1, "ns": 1}[unit]
    if isinstance(value, dt.timedelta):
        return dt.timedelta(value.days, value.seconds, value.microseconds // whole * whole)
    return value.replace(microsecond=value.microsecond // whole * whole)


COLUMNS: list[tuple[pa.DataType, list[Any]]] = [
    (pa.null(), []),
    (pa.bool_(), [True, False]),
    *((getattr(pa, f"int{bits}")(), [0, -1, 2 ** (bits - 1) - 1, -(2 ** (bits - 1))]) for bits in (8, 16, 32, 64)),
    *((getattr(pa, f"uint{bits}")(), [0, 2**bits - 1]) for bits in (8, 16, 32, 64)),
    *((kind, [0.0, -0.0, 1.5, float("inf"), float("nan")]) for kind in (pa.float16(), pa.float32(), pa.float64())),
    *((kind, ["", "a", "grüße 🎉", "longer than what a view keeps"]) for kind in (pa.string(), pa.large_string(), pa.string_view())),
    *((kind, [b"", b"\x00\xff", b"longer than what a view keeps"]) for kind in (pa.binary(), pa.large_binary(), pa.binary_view())),
    (pa.binary(3), [b"abc", b"\x00\x01\xff"]),
    *((kind, [DAY, dt.date.min, dt.date.max, dt.date(1969, 12, 31)]) for kind in (pa.date32(), pa.date64())),
    *((pa.time32(unit), [_at(unit, dt.time(23, 59, 58, 123_456)), dt.time()]) for unit in ("s", "ms")),
    *((pa.time64(unit), [dt.time(23, 59, 58, 123_456), dt.time(0, 0, 0, 1)]) for unit in ("us", "ns")),
    *((pa.duration(unit), [_at(unit, SPAN), -_at(unit, SPAN)]) for unit in ("s", "ms", "us", "ns")),
    *((pa.timestamp(unit), [_at(unit, MOMENT), dt.datetime(2100, 1, 1)]) for unit in ("s", "ms", "us", "ns")),
    (pa.timestamp("us"), [dt.datetime.min, dt.datetime.max]),
    (pa.timestamp("us", "Europe/Berlin"), [dt.datetime(2024, 7, 1, tzinfo=dt.timezone.utc)]),
    (pa.decimal32(7, 2), [Decimal("-12345.67"), Decimal("0.00")]),
    (pa.decimal64(15, 0), [Decimal(10) ** 14]),
    (pa.decimal128(38, 10), [Decimal("0.0000000001"), Decimal("-1"), Decimal("1234567890123456789.5")]),
    (pa.decimal128(5, -2), [Decimal("12300")]),
    (pa.decimal256(76, 30), [Decimal("1e-30"), Decimal("-123.5")]),
    (pa.dictionary(pa.int8(), pa.string()), ["a", "b", "a"]),
    (pa.dictionary(pa.uint32(), pa.decimal128(5, 1)), [Decimal("1.5"), Decimal("2.5")]),
    (pa.dictionary(pa.int16(), pa.timestamp("ns")), [dt.datetime(2020, 1, 1)]),
    (pa.run_end_encoded(pa.int32(), pa.string()), ["a", "a", "b"]),
    (pa.month_day_nano_interval(), [pa.MonthDayNano([1, 2, 3])]),
    (pa.list_(pa.int32()), [[1, None], []]),
    (pa.list_(pa.string(), 2), [["a", "b"]]),
    (pa.struct({"a": pa.int8(), "b": pa.list_(pa.string())}), [{"a": 1, "b": ["x"]}]),
    (pa.map_(pa.string(), pa.int64()), [[("a", 1)], []]),
    (pa.uuid(), [b"0123456789abcdef"]),
]


def shown(value: Any) -> str:
    return f"{type(value).__name__} {value!r}"


def _column(kind: pa.DataType, values: list[Any]) -> pa.Array:
    values = [None, *values, None, *reversed(values)]
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, pa.array(values, kind.storage_type))
    if pa.types.is_run_end_encoded(kind):
        return pa.compute.run_end_encode(pa.array(values, kind.value_type))
    if pa.types.is_dictionary(kind):
        return pa.array(values, kind.value_type).dictionary_encode().cast(kind)
    return pa.array(values, kind)


@pytest.mark.parametrize(("kind", "values"), COLUMNS, ids=lambda v: str(v)[:40])
def test_values_are_those_of_to_pylist(pool: transom.Pool, kind: pa.DataType, values: list[Any]) -> None:
    @transom.udf(kind="row", returns="string")
    def show(x):
        return shown(x)

    column = _column(kind, values)
    whole = pool.share(pa.record_batch({"x": column}))
    for batch in (whole, whole.slice(1), whole.slice(2, 1), whole.slice(len(column)), pa.record_batch({"x": column.slice(1)})):
        assert pool.call(show, batch).to_pylist() == [shown(value) for value in batch["x"].to_pylist()]


def test_a_dictionary_without_values_has_nulls(pool: transom.Pool) -> None:
    @transom.udf
    def show(x: str | None) -> str:
        return shown(x)

    column = pa.DictionaryArray.from_arrays(pa.array([None, None], pa.int8()), pa.array([], pa.string()))
    assert pool.call(show, column).to_pylist() == ["NoneType None"] * 2


@pytest.mark.parametrize("kind", [pa.date32(), pa.timestamp("s")], ids=str)
def test_a_value_that_python_cannot_hold_is_the_arguments_fault(pool: transom.Pool, kind: pa.DataType) -> None:
    @transom.udf(kind="row", returns="int64")
    def one(x):
        return 1

    far = pa.array([0, 2**30 if kind == pa.date32() else 2**60], pa.int32() if kind == pa.date32() else pa.int64()).cast(kind)
    with pytest.raises(Exception) as direct:  # noqa: PT011 - whatever pyarrow says
        far.to_pylist()
    with pytest.raises(transom.InvalidArgument) as caught:
        pool.call(one, far)
    assert caught.value.code_name == "ARGUMENT_TYPE"
    assert caught.value.message.endswith(f"{type(direct.value).__name__}: {direct.value}")


class Text(str):
    __slots__ = ()


class Whole(int):
    pass


ODD: list[Any] = [
    *(None, True, False, 0, 1, -1, 127, 128, 255, 256, 2**24, 2**24 + 1, 2**31, 2**53, -(2**53) - 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64),
    *(0.5, 1.0, -0.0, 1e300, float("inf"), float("nan"), np.float64(1.5), np.float32(0.1), np.int64(5), np.uint8(7), np.bool_(True)),
    *("", "a", "grüße 🎉", "\ud800", "longer than what a view keeps", Text("t"), np.str_("s"), b"", b"\xff", bytearray(b"x"), Whole(3)),
    *(Decimal("1.5"), Decimal(2), DAY, MOMENT, dt.time(1, 2), SPAN, [1], [], {"a": 1}, (), object(), pa.scalar(3)),
]
KINDS = [
    *(pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
    *(pa.float16(), pa.float32(), pa.float64(), pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view()),
    *(pa.date32(), pa.timestamp("us"), pa.duration("s"), pa.decimal128(5, 2), pa.binary(1), pa.list_(pa.int64())),
]


def _picks(kind: pa.DataType, on_error: str) -> Any:
    @transom.udf(kind="row", returns=kind, args=["int64"], on_error=on_error)
    def pick(number):
        return ODD[number]

    return pick


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_results_are_those_that_pyarrow_builds(pool: transom.Pool, kind: pa.DataType) -> None:
    raising, suppressing = _picks(kind, "raise"), _picks(kind, "null")
    # Those that fit are usual, and one that does not is seen behind any number of them.
    fitting = [number for number, value in enumerate(ODD) if _fits(value, kind)]
    numbers = st.lists(st.one_of(*[st.sampled_from(fitting)] * 4, st.integers(0, len(ODD) - 1)), max_size=12)

    @settings(max_examples=30, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(numbers)
    def check(numbers: list[int]) -> None:
        rows, values = pa.array(numbers, pa.int64()), [ODD[number] for number in numbers]
        alone = [value if _fits(value, kind) else None for value in values]
        assert shown_all(pool.call(suppressing, rows)) == shown_all(build(alone, kind))
        expected = _built(values, kind)
        if isinstance(expected, pa.Array):
            found = pool.call(raising, rows)
            assert found.type == kind
            assert shown_all(found) == shown_all(expected)
            return
        with pytest.raises(transom.InvalidResult) as caught:
            pool.call(raising, rows)
        assert caught.value.code_name == "INVALID_DATA"
        assert _without_addresses(caught.value.message) == _without_addresses(expected.reason)
        assert caught.value.rows == (range(len(values)) if expected.row is None else range(expected.row, expected.row + 1))

    check()


def shown_all(column: pa.Array) -> list[str]:
    if pa.types.is_temporal(column.type):  # which may be beyond what Python can show
        column = column.view(f"int{column.type.bit_width}")
    return [shown(value) for value in column.to_pylist()]


def _built(values: list[Any], kind: pa.DataType) -> pa.Array | Unfit:
    """What pyarrow makes of the values, with Transom's checks; or why it does not."""
    try:
        return build(values, kind)
    except Unfit as unfit:
        return unfit


def _fits(value: Any, kind: pa.DataType) -> bool:
    return isinstance(_built([value], kind), pa.Array)


def _without_addresses(text: str) -> str:
    return text.partition(" object at 0x")[0]


def test_all_rows_are_called_before_results_are_judged(pool: transom.Pool) -> None:
    @transom.udf
    def f(x: int) -> int:
        if x == 3:
            raise LookupError("later")
        return "no number" if x == 1 else x

    with pytest.raises(transom.FunctionError, match="LookupError: later") as caught:
        pool.call(f, pa.array(range(5)))
    assert caught.value.rows == range(3, 4)


def test_nulls_where_none_are_declared_are_refused_and_noted(pool: transom.Pool) -> None:
    field = pa.field("f", pa.int64(), nullable=False)
    odd = transom.udf(lambda x: x if x % 2 else None, kind="row", args=["int64"], returns=field)
    with pytest.raises(transom.InvalidResult, match="declared to have none"):
        pool.call(odd, pa.array([1, 2]))
    kept = transom.udf(lambda x: x if x % 2 else None, kind="row", args=["int64"], returns=field, on_error="dead_letter")
    assert pool.call(kept, pa.array([1, 2, 3])).to_pylist() == [1, 3]
    (letters,) = pool.dead_letters()
    assert letters["x"].to_pylist() == [2]


def test_a_stop_iteration_keeps_its_message_and_its_line(pool: transom.Pool) -> None:
    @transom.udf
    def f(x: int) -> int:
        raise StopIteration("the end of something")

    with pytest.raises(transom.FunctionError, match="the end of something") as caught:
        pool.call(f, pa.array([0]))
    assert 'raise StopIteration("the end of something")' in caught.value.remote_traceback
    assert "_plans.py" not in caught.value.remote_traceback


def test_an_exception_without_a_text_is_its_name(pool: transom.Pool) -> None:
    @transom.udf
    def f(x: int) -> int:
        raise MemoryError

    with pytest.raises(transom.FunctionError) as caught:
        pool.call(f, pa.array([0]))
    assert caught.value.message == "MemoryError"


def test_any_number_of_columns_and_settings(pool: transom.Pool) -> None:
    @transom.udf
    def joined(*parts: str) -> str:
        return "/".join(parts)

    columns = {f"c{number}": pa.array([f"{number}a", f"{number}b"]) for number in range(40)}
    rows = ["/".join(row) for row in zip(*(column.to_pylist() for column in columns.values()), strict=True)]
    assert pool.call(joined, pa.record_batch(columns)).to_pylist() == rows


NATIVE = """
import ctypes, functools, inspect, signal
import transom

def heard(number, frame):
    raise TimeoutError("heard")

signal.signal(signal.SIGUSR1, heard)
function = ctypes.CDLL(None)["raise"]
function.__signature__ = inspect.Signature([inspect.Parameter("x", inspect.Parameter.POSITIONAL_ONLY)])
beep = transom.udf(functools.partial(function), kind="row", args=["int32"], returns="int32")
"""


def test_signals_are_heard_in_a_loop_that_runs_no_python(tmp_path: Path, make_pool: Callable[..., transom.Pool]) -> None:
    (tmp_path / "native.py").write_text(NATIVE)
    rows = 20_000
    with pytest.raises(transom.FunctionError, match="TimeoutError: heard") as caught:
        make_pool().call(f"{tmp_path}/native.py:beep", pa.array([10] * rows, pa.int32()))  # SIGUSR1
    assert caught.value.rows.start < rows // 2


def test_a_deadline_shows_the_line_that_a_row_was_at(tmp_path: Path, make_pool: Callable[..., transom.Pool]) -> None:
    (tmp_path / "stuck.py").write_text(
        textwrap.dedent("""
        import transom

        @transom.udf(deadline=0.3)
        def stuck(x: int) -> int:
            while x:
                pass
            return x
        """)
    )
    with pytest.raises(transom.DeadlineExceeded) as caught:
        make_pool().call(f"{tmp_path}/stuck.py:stuck", pa.array([0, 1]))
    assert "stuck.py" in caught.value.stack
    assert "in stuck" in caught.value.stack


WITHOUT_PANDAS = """
import datetime, sys
import transom

@transom.udf
def number(x: int) -> bool:
    return "pandas" in sys.modules

@transom.udf
def text(x: str) -> str:
    return str("pandas" in sys.modules)

@transom.udf
def pandas_of_pyarrow(x: datetime.date) -> list[bool]:
    return ["pandas" in sys.modules]
"""


def test_pandas_is_not_loaded_for_columns_that_are_made_without_pyarrow(
    make_pool: Callable[..., transom.Pool], functions_file: Callable[[str], Path]
) -> None:
    path = functions_file(WITHOUT_PANDAS)
    pool = make_pool()
    assert pool.call(f"{path}:number", pa.array([1])).to_pylist() == [False]
    assert pool.call(f"{path}:text", pa.array(["a"])).to_pylist() == ["False"]
    # pyarrow itself loads it as soon as it makes a column of Python values: before the first batch, then.
    assert pool.call(f"{path}:pandas_of_pyarrow", pa.array([dt.date(2024, 1, 1)])).to_pylist() == [[True]]
