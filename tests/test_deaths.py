"""Deaths, deadlines and interpreters that are none: an error for the batch concerned, and the next call works."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import transom
from expect import ONE, alive, fails


def dies(
    pool: transom.Pool,
    function: Any,
    *,
    kind: type[transom.TransomError] = transom.WorkerDied,
    name: str,
) -> transom.TransomError:
    return fails(pool, function, kind=kind, name=name)


def test_os_exit(pool: transom.Pool) -> None:
    @transom.udf
    def f(x: int) -> int:
        print("last words")
        os._exit(3)

    error = dies(pool, f, name="WORKER_EXITED")
    assert "exit status 3" in str(error)
    assert error.function == "f"
    assert error.rows == range(3)
    assert any("last words" in line for line in error.output)


def test_a_crash_in_native_code_has_its_stack(pool: transom.Pool) -> None:
    @transom.udf
    def f(x: int) -> int:
        return ctypes.string_at(0)

    error = dies(pool, f, name="WORKER_SIGNALLED")
    assert "SIGSEGV" in str(error)
    assert "in f" in error.remote_traceback
    assert "test_deaths.py" in error.remote_traceback


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT, signal.SIGTERM])
def test_a_signal(pool: transom.Pool, number: signal.Signals) -> None:
    @transom.udf
    def f(x: int) -> int:
        os.kill(os.getpid(), number)
        time.sleep(10)
        return x

    assert number.name in str(dies(pool, f, name="WORKER_SIGNALLED"))


def test_writing_to_the_input_kills_the_worker_and_nothing_else(
    pool: transom.Pool,
) -> None:
    @transom.udf
    def f(x: pa.Int64Array) -> pa.Int64Array:
        ctypes.memset(x.buffers()[1].address, 0, 8)
        return x

    column = pa.array(range(1000))
    fails(pool, f, column, kind=transom.WorkerDied, name="WORKER_SIGNALLED")
    assert column[1].as_py() == 1


def test_a_deadline_ends_an_endless_loop(pool: transom.Pool) -> None:
    @transom.udf(deadline=0.3)
    def f(x: int) -> int:
        while True:
            pass

    began = time.monotonic()
    error = dies(pool, f, kind=transom.DeadlineExceeded, name="DEADLINE_EXCEEDED")
    assert time.monotonic() - began < 20
    assert "in f" in str(error)


def test_a_deadline_of_the_pool_and_one_in_a_file(make_pool: Callable[..., transom.Pool], functions_file: Callable[[str], Path]) -> None:
    pool = make_pool(deadline=0.5)

    @transom.udf
    def slow(x: int) -> int:
        time.sleep(60)
        return x

    @transom.udf(deadline=30)
    def patient(x: int) -> int:
        time.sleep(1)
        return x

    dies(pool, slow, kind=transom.DeadlineExceeded, name="DEADLINE_EXCEEDED")
    assert pool.call(patient, pa.array([1])).to_pylist() == [1]
    path = functions_file("import time, transom\n@transom.udf(deadline=0.2)\ndef slow(x: int) -> int:\n    time.sleep(60)\n    return x\n")
    other = make_pool()
    with pytest.raises(transom.DeadlineExceeded):
        other.call(f"{path}:slow", ONE)


def test_retries_try_again_after_a_death(pool: transom.Pool, tmp_path: Path) -> None:
    mark = tmp_path / "tried"

    @transom.udf(retries=1)
    def f(x: int) -> int:
        if not mark.exists():
            mark.touch()
            os._exit(1)
        return x

    assert pool.call(f, ONE).equals(ONE)
    mark.unlink()
    once = transom.udf(f.function)
    dies(pool, once, name="WORKER_EXITED")


def test_a_death_in_a_stream_names_the_batch_and_the_rest_goes_on(
    pool: transom.Pool,
) -> None:
    @transom.udf
    def f(x: int) -> int:
        if x == 25:
            os._exit(9)
        return x

    results = pool.map(f, pa.table({"x": range(50)}).to_batches(max_chunksize=10))
    seen: list[Any] = []
    for _ in range(5):
        try:
            seen.append(next(results).num_rows)
        except transom.WorkerDied as error:
            seen.append((error.batch, error.rows))
    assert seen == [10, 10, (2, range(20, 30)), 10, 10]
    with pytest.raises(StopIteration):
        next(results)


def test_a_death_in_a_batches_function(pool: transom.Pool) -> None:
    @transom.udf
    def f(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield next(batches)
        os._exit(4)

    results = pool.map(f, pa.table({"x": range(30)}).to_batches(max_chunksize=10))
    with pytest.raises(transom.WorkerDied, match="exit status 4"):
        list(results)
    assert pool.call(alive, ONE).equals(ONE)


def test_prints_do_not_disturb(pool: transom.Pool) -> None:
    @transom.udf
    def f(x: int) -> int:
        print("out \ud800" + "x" * 200_000)
        print("err", file=sys.stderr)
        os.write(1, b"\xff" * 200_000)
        return x

    assert pool.call(f, ONE).equals(ONE)


# Interpreters.


def test_an_interpreter_that_is_not_there() -> None:
    with (
        pytest.raises(transom.TransomError) as caught,
        transom.Pool(python="/nowhere/python") as pool,
    ):
        pool.call(alive, ONE)
    assert caught.value.code_name == "INTERPRETER_MISSING"


def test_an_interpreter_without_pyarrow(make_pool: Callable[..., transom.Pool], tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E "$@"\n')
    bare.chmod(0o755)
    with pytest.raises(transom.TransomError) as caught:
        make_pool(python=bare).call(alive, ONE)
    assert caught.value.code_name == "PYARROW_MISSING"
    assert "pip install pyarrow" in caught.value.hint


def test_an_interpreter_that_is_no_interpreter(make_pool: Callable[..., transom.Pool], tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho this is not Python >&2\nexit 5\n")
    broken.chmod(0o755)
    with pytest.raises(transom.TransomError, match="exit status 5") as caught:
        make_pool(python=broken).call(alive, ONE)
    assert any("this is not Python" in line for line in caught.value.output)
