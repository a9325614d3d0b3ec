"""Bad functions, bad results, bad arguments: a clear error each time, and the next call works."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import transom
from expect import ONE, fails

# Exceptions.


def test_an_exception_has_its_type_message_traceback_batch_and_rows(
    pool: transom.Pool,
) -> None:
    def inner(x):
        raise LookupError(f"no {x}")

    @transom.udf
    def outer(x: int) -> int:
        return inner(x) if x == 6 else x

    with pytest.raises(transom.FunctionError) as caught:
        pool.map(outer, pa.table({"x": range(9)}).to_batches(max_chunksize=4)).read_all()
    error = caught.value
    assert (error.function, error.batch, error.rows) == ("outer", 1, range(6, 7))
    assert (error.remote_type, error.remote_message) == ("LookupError", "no 6")
    lines = error.remote_traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert [line.rpartition(" in ")[2] for line in lines if line.startswith("  File")] == ["outer", "inner"]
    assert "test_errors.py" in lines[1]
    assert "return inner(x) if x == 6 else x" in error.remote_traceback
    assert lines[-1] == "LookupError: no 6"
    for part in ("LookupError: no 6", "outer", "batch 1", "row 6", "test_errors.py"):
        assert part in str(error)


def test_causes_and_notes_are_shown(pool: transom.Pool) -> None:
    @transom.udf
    def f(x: pa.Array) -> pa.Array:
        try:
            {}["key"]
        except KeyError as error:
            second = ValueError("second")
            if hasattr(second, "add_note"):
                second.add_note("a note")
            raise second from error

    error = fails(pool, f, kind=transom.FunctionError, name="FUNCTION_RAISED")
    assert "KeyError: 'key'" in error.remote_traceback
    assert "direct cause" in error.remote_traceback
    if sys.version_info >= (3, 11):
        assert "a note" in error.remote_traceback
    assert error.remote_traceback.index("KeyError") < error.remote_traceback.index("ValueError")


class Own(Exception):
    pass


class Unshowable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class Rude(BaseException):
    def __str__(self) -> str:
        raise SystemExit(7)


RAISED: list[tuple[Callable[[], BaseException], str, str]] = [
    (lambda: Own("x"), "test_errors.Own", "x"),
    (lambda: KeyboardInterrupt(), "KeyboardInterrupt", ""),
    (lambda: GeneratorExit("bye"), "GeneratorExit", "bye"),
    (lambda: StopIteration(), "StopIteration", ""),
    (lambda: MemoryError("much"), "MemoryError", "much"),
    (lambda: RecursionError("deep"), "RecursionError", "deep"),
    (
        lambda: Unshowable(),
        "test_errors.Unshowable",
        "cannot be shown: __str__ raised RuntimeError",
    ),
    (lambda: Rude(), "test_errors.Rude", "cannot be shown: __str__ raised SystemExit"),
    (
        lambda: ValueError("lone \ud800 surrogate"),
        "ValueError",
        "lone \\ud800 surrogate",
    ),
    (lambda: ValueError("nul \0 and\nlines"), "ValueError", "nul \0 and\nlines"),
    (
        lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        "UnicodeDecodeError",
        "0xff",
    ),
    (lambda: OSError(2, "gone", "file"), "FileNotFoundError", "[Errno 2] gone: 'file'"),
]


@pytest.mark.parametrize(("make", "kind", "message"), RAISED, ids=[kind for _, kind, _ in RAISED])
@pytest.mark.parametrize("rows", [True, False], ids=["row", "scalar"])
def test_any_exception_is_a_function_error(
    pool: transom.Pool,
    make: Callable[[], BaseException],
    kind: str,
    message: str,
    rows: bool,
) -> None:
    @transom.udf(kind="row" if rows else "scalar")
    def f(x: int) -> int:
        raise make()

    error = fails(pool, f, kind=transom.FunctionError, name="FUNCTION_RAISED")
    assert error.remote_type == kind
    assert message in error.remote_message


def test_sys_exit_is_an_error_and_not_an_end(pool: transom.Pool) -> None:
    @transom.udf
    def f(x: int) -> int:
        sys.exit("giving up")

    before = [worker["pid"] for worker in pool.stats()["workers"]]
    error = fails(pool, f, kind=transom.FunctionError, name="FUNCTION_EXIT")
    assert (error.remote_type, error.remote_message) == ("SystemExit", "giving up")
    assert [worker["pid"] for worker in pool.stats()["workers"]] == before


def test_huge_messages_and_deep_stacks_are_capped(pool: transom.Pool) -> None:
    @transom.udf
    def huge(x: int) -> int:
        raise ValueError("ä" * 10_000_000)

    @transom.udf
    def deep(x: int) -> int:
        return deep.function(x + 1)

    error = fails(pool, huge, kind=transom.FunctionError, name="FUNCTION_RAISED")
    assert len(error.remote_message.encode()) <= 8 << 10
    assert error.remote_message.endswith("characters more)")
    assert len(error.remote_traceback.encode()) <= 32 << 10
    error = fails(pool, deep, kind=transom.FunctionError, name="FUNCTION_RAISED")
    assert error.remote_type == "RecursionError"
    assert "frames more" in error.remote_traceback
    assert len(error.remote_traceback.encode()) <= 32 << 10


def test_exception_groups_show_their_parts(pool: transom.Pool) -> None:
    if sys.version_info < (3, 11):
        pytest.skip("exception groups came with Python 3.11")

    @transom.udf
    def f(x: int) -> int:
        raise ExceptionGroup("several", [ValueError("first"), TypeError("second")])  # noqa: F821

    error = fails(pool, f, kind=transom.FunctionError, name="FUNCTION_RAISED")
    assert "ValueError: first" in error.remote_traceback
    assert "TypeError: second" in error.remote_traceback


def test_errors_pickle(pool: transom.Pool) -> None:
    @transom.udf
    def f(x: int) -> int:
        raise ValueError("bad")

    error = fails(pool, f, kind=transom.FunctionError, name="FUNCTION_RAISED")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is transom.FunctionError
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


# Results.

RESULTS: list[tuple[str, Callable[[Any], Any], str]] = [
    ("WRONG_LENGTH", lambda x: x.slice(1), "2 values for 3 rows"),
    ("WRONG_LENGTH", lambda x: pa.concat_arrays([x, x]), "6 values for 3 rows"),
    ("WRONG_LENGTH", lambda x: np.array([1]), "1 value for 3 rows"),
    ("WRONG_TYPE", lambda x: x.cast("int32"), "returned int32, and int64 is declared"),
    ("WRONG_TYPE", lambda x: pa.nulls(3), "returned null, and int64 is declared"),
    (
        "WRONG_TYPE",
        lambda x: np.array(["a", "b", "c"]),
        "numpy.ndarray, which does not become the declared type int64",
    ),
    ("WRONG_TYPE", lambda x: np.array([1.5, 2, 3]), "1.5"),
    (
        "INVALID_DATA",
        lambda x: np.array([1.5, 2, 3], dtype=object),
        "it has a fraction",
    ),
    ("NOT_ARROW", lambda x: np.ones((3, 2)), "2 dimensions"),
    ("NOT_ARROW", lambda x: x.to_pylist(), "returned list, which is not Arrow data"),
    ("NOT_ARROW", lambda x: None, "is a `return` missing?"),
    ("NOT_ARROW", lambda x: 5, "returned int"),
    ("NOT_ARROW", lambda x: np.float64(5), "returned numpy.float64"),
    ("NOT_ARROW", lambda x: pa.scalar(5), "returned pyarrow.Int64Scalar"),
    ("NOT_ARROW", lambda x: "text", "returned str"),
    ("NOT_ARROW", lambda x: {"a": 1}, "returned dict"),
    ("NOT_ARROW", lambda x: pa.table({"a": x}), "returned pyarrow.Table"),
    ("NOT_ARROW", lambda x: object(), "returned object"),
]


@pytest.mark.parametrize(("name", "function", "text"), RESULTS, ids=[text for _, _, text in RESULTS])
def test_wrong_results_are_refused(pool: transom.Pool, name: str, function: Any, text: str) -> None:
    made = transom.udf(kind="scalar", returns="int64")(function)
    error = fails(pool, made, kind=transom.InvalidResult, name=name)
    assert text in str(error)


def test_a_result_that_does_not_hold_together_is_refused(pool: transom.Pool) -> None:
    @transom.udf
    def f(x: pa.Array) -> pa.StringArray:
        offsets = np.array([0, 1, 2, 3], np.int32)
        result = pa.StringArray.from_buffers(3, pa.py_buffer(offsets), pa.py_buffer(b"abc"))
        offsets[3] = 30_000  # after pyarrow looked
        return result

    fails(pool, f, kind=transom.InvalidResult, name="INVALID_DATA")


def test_text_that_is_not_utf8_is_refused(pool: transom.Pool) -> None:
    @transom.udf
    def f(x: pa.Array) -> pa.StringArray:
        offsets = pa.array([0, 1, 2, 3], pa.int32()).buffers()[1]
        return pa.StringArray.from_buffers(3, offsets, pa.py_buffer(b"\xff\xfe\xfd"))

    fails(pool, f, kind=transom.InvalidResult, name="INVALID_DATA")


def test_a_null_where_none_is_declared_is_refused(pool: transom.Pool) -> None:
    @transom.udf(kind="scalar", returns=pa.field("x", pa.int64(), nullable=False))
    def f(x: pa.Array) -> pa.Array:
        return pa.array([1, None, 3])

    fails(pool, f, kind=transom.InvalidResult, name="INVALID_DATA")


# Arguments.


def test_wrong_arguments(pool: transom.Pool) -> None:
    @transom.udf
    def two(price: pa.Array, discount: pa.Array) -> pa.Int64Array:
        return price

    assert "2" in str(fails(pool, two, ONE, kind=transom.InvalidArgument, name="WRONG_ARGUMENTS"))
    fails(pool, two, ONE, ONE, ONE, kind=transom.InvalidArgument, name="WRONG_ARGUMENTS")
    error = fails(
        pool,
        two,
        ONE,
        ONE.slice(1),
        kind=transom.InvalidArgument,
        name="ARGUMENT_LENGTH",
    )
    assert "3, 2" in str(error)
    error = fails(
        pool,
        two,
        pa.table({"price": ONE, "discont": ONE}),
        kind=transom.InvalidArgument,
        name="COLUMN_NOT_FOUND",
    )
    assert "discount" in str(error)
    assert "discont" in str(error)
    error = fails(pool, two, [1, 2], [3, 4], kind=transom.InvalidArgument, name="ARGUMENT_TYPE")
    assert "pa.array(values)" in str(error)
    fails(pool, two, object(), kind=transom.InvalidArgument, name="ARGUMENT_TYPE")
    fails(pool, two, kind=transom.InvalidArgument, name="WRONG_ARGUMENTS")


def test_an_argument_that_does_not_hold_together(pool: transom.Pool) -> None:
    offsets = np.array([0, 1, 2, 3], np.int32)
    text = pa.StringArray.from_buffers(3, pa.py_buffer(offsets), pa.py_buffer(b"abc"))
    batch = pa.record_batch({"x": text})
    offsets[3] = 30_000  # after pyarrow looked

    @transom.udf
    def f(x: pa.Array) -> pa.Array:
        return x

    fails(pool, f, text, kind=transom.InvalidArgument, name="ARGUMENT_TYPE")
    fails(pool, f, batch, kind=transom.InvalidArgument, name="ARGUMENT_TYPE")
    with pytest.raises(transom.InvalidArgument, match="does not hold together"):
        pool.map(f, [batch]).read_all()


def test_an_undecorated_function_without_hints_is_refused_before_anything_runs(
    pool: transom.Pool,
) -> None:
    with pytest.raises(TypeError, match="parameter `x` has no hint"):
        pool.call(lambda x: x, ONE)
    with pytest.raises(TypeError, match="cannot be called"):
        pool.call(5, ONE)


def test_what_cannot_be_sent_says_so(pool: transom.Pool) -> None:
    import threading

    lock = threading.Lock()

    @transom.udf
    def f(x: int) -> int:
        with lock:
            return x

    error = fails(pool, f, kind=transom.InvalidArgument, name="BAD_OPTION")
    assert "lock" in str(error)
    assert "__init__" in error.hint


@pytest.mark.parametrize(
    "options",
    [
        {"workers": 0},
        {"workers": -1},
        {"workers": 1.5},
        {"window": 0},
        {"mode": "fast"},
        {"deadline": 0},
        {"deadline": "1s"},
        {"memory_limit": 0},
    ],
    ids=str,
)
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(transom.InvalidArgument) as caught:
        transom.Pool(**options)
    assert caught.value.code_name == "BAD_OPTION"
