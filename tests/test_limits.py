"""Limits on workers, and the stacks of those that are ended."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import transom
from expect import ONE, alive, fails

NATIVE = "Native stack (most recent call first):"


def test_memory_that_grows_beyond_the_limit(make_pool: Callable[..., transom.Pool]) -> None:
    pool = make_pool(worker_memory="256MiB")

    @transom.udf
    def f(x: int) -> int:
        kept = []
        while True:
            kept.append(b"x" * (1 << 20))

    error = fails(pool, f, kind=transom.WorkerDied, name="WORKER_OUT_OF_MEMORY")
    assert error.message.startswith("out of memory: limit 256 MiB, used ")
    assert (error.function, error.batch, error.rows) == ("f", 0, range(3))
    assert "worker_memory" in error.hint
    used = int(error.message.split("used ")[1].split()[0])
    assert 256 <= used < 256 * 5 / 4


def test_one_allocation_that_is_far_too_large_is_a_memory_error(make_pool: Callable[..., transom.Pool]) -> None:
    pool = make_pool(worker_memory="256MiB")

    @transom.udf
    def f(x: int) -> int:
        return len(bytearray(8 << 30))

    @transom.udf
    def g(x: pa.Int64Array) -> pa.Int64Array:
        return pa.py_buffer(pa.allocate_buffer(8 << 30))

    for function in (f, g):
        error = fails(pool, function, kind=transom.FunctionError, name="FUNCTION_RAISED")
        assert error.remote_type.endswith("MemoryError")
    assert pool.stats()["workers"][0]["restarts"] == 0


def test_memory_of_a_child_counts(make_pool: Callable[..., transom.Pool]) -> None:
    pool = make_pool(worker_memory="256MiB")

    @transom.udf
    def f(x: int) -> int:
        if os.fork() == 0:
            kept = []
            while True:  # slowly: the kernel would end the child alone where it grows faster than the host looks
                kept.append(b"x" * (1 << 20))
                time.sleep(0.002)
        os.wait()
        return x

    fails(pool, f, kind=transom.WorkerDied, name="WORKER_OUT_OF_MEMORY")


def test_a_deadline_shows_both_stacks(pool: transom.Pool) -> None:
    @transom.udf(deadline=0.3)
    def f(x: int) -> int:
        ctypes.PyDLL(None).sleep(60)  # native code that keeps the interpreter's lock
        return x

    stack = fails(pool, f, kind=transom.DeadlineExceeded, name="DEADLINE_EXCEEDED").remote_traceback
    python, native = stack.split(NATIVE)
    assert "in f" in python
    assert "test_limits.py" in python
    assert "sleep" in native.splitlines()[1] + native.splitlines()[2]
    assert "_PyEval" not in native
    assert "/transom/" not in stack


def test_a_loop_in_python_has_no_native_stack_to_show(pool: transom.Pool) -> None:
    @transom.udf(deadline=0.3)
    def f(x: int) -> int:
        while True:
            pass

    stack = fails(pool, f, kind=transom.DeadlineExceeded, name="DEADLINE_EXCEEDED").remote_traceback
    assert "in f" in stack


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT])
def test_a_fault_shows_both_stacks(pool: transom.Pool, number: signal.Signals) -> None:
    @transom.udf
    def f(x: int) -> int:
        getattr(ctypes.CDLL(None), "raise")(int(number))
        return x

    error = fails(pool, f, kind=transom.WorkerDied, name="WORKER_SIGNALLED")
    assert number.name in error.message
    python, native = error.remote_traceback.split(NATIVE)
    assert "in f" in python
    assert "libc.so.6(" in native
    assert "ctypes" in native or "libffi" in native


def test_a_stack_that_overflowed_has_a_stack(pool: transom.Pool) -> None:
    @transom.udf
    def f(x: int) -> int:
        callback = ctypes.PYFUNCTYPE(ctypes.c_int)

        def deeper() -> int:
            return callback(deeper)()

        import sys

        sys.setrecursionlimit(1 << 30)
        return deeper()

    error = fails(pool, f, kind=transom.WorkerDied, name="WORKER_SIGNALLED")
    assert "SIGSEGV" in error.message
    assert "deeper" in error.remote_traceback


def test_after_the_stack_a_function_may_tidy_up(pool: transom.Pool, tmp_path: Path) -> None:
    mark = tmp_path / "tidy"

    @transom.udf(deadline=0.3)
    def f(x: int) -> int:
        def tidy(*_: object) -> None:
            mark.write_text("done")
            os._exit(0)

        signal.signal(signal.SIGTERM, tidy)
        while True:
            pass

    error = fails(pool, f, kind=transom.DeadlineExceeded, name="DEADLINE_EXCEEDED")
    assert "in f" in error.remote_traceback
    assert mark.read_text() == "done"


def test_a_function_that_ignores_every_signal_ends_all_the_same(pool: transom.Pool) -> None:
    @transom.udf(deadline=0.3)
    def f(x: int) -> int:
        for number in (signal.SIGQUIT, signal.SIGTERM, signal.SIGABRT):
            signal.signal(number, signal.SIG_IGN)
        while True:
            pass

    began = time.monotonic()
    fails(pool, f, kind=transom.DeadlineExceeded, name="DEADLINE_EXCEEDED")
    assert time.monotonic() - began < 20


def test_a_stopped_worker_is_no_slow_function(make_pool: Callable[..., transom.Pool]) -> None:
    pool = make_pool(deadline=0.5)

    @transom.udf
    def f(x: int) -> int:
        os.kill(os.getpid(), signal.SIGTSTP)
        time.sleep(60)
        return x

    error = fails(pool, f, kind=transom.WorkerDied, name="WORKER_STOPPED")
    assert "SIGTSTP" in error.message


def test_descriptors(make_pool: Callable[..., transom.Pool]) -> None:
    pool = make_pool(worker_descriptors=64)

    @transom.udf
    def f(x: int) -> int:
        return len([open("/dev/null") for _ in range(100)])

    error = fails(pool, f, kind=transom.FunctionError, name="FUNCTION_RAISED")
    assert error.remote_type == "OSError"
    assert "Too many open files" in error.remote_message


def test_a_fork_bomb_is_contained(make_pool: Callable[..., transom.Pool]) -> None:
    try:
        pool = make_pool(worker_processes=20, deadline=30)
    except transom.TransomError as error:
        pytest.skip(str(error))

    @transom.udf
    def f(x: int) -> int:
        while True:
            os.fork()

    error = fails(pool, f, kind=transom.FunctionError, name="FUNCTION_RAISED")
    assert error.remote_type == "BlockingIOError"
    pool.close()
    assert not [pid for pid in os.listdir("/proc") if pid.isdigit() and _is_orphan_of_ours(pid)]


def _is_orphan_of_ours(pid: str) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return b"_worker.main" in command and parent == "1"


def test_a_result_that_is_too_large(make_pool: Callable[..., transom.Pool]) -> None:
    pool = make_pool(result_limit="1MiB")

    @transom.udf
    def f(x: pa.Int64Array) -> pa.StringArray:
        return pa.array(["x" * (1 << 20)] * len(x))

    error = fails(pool, f, kind=transom.TransomError, name="RESULT_TOO_LARGE")
    assert "may have 1048576" in error.message


def test_a_function_that_always_dies_is_suspended(make_pool: Callable[..., transom.Pool]) -> None:
    pool = make_pool()

    @transom.udf
    def f(x: int) -> int:
        os._exit(7)

    for _ in range(5):
        fails(pool, f, kind=transom.WorkerDied, name="WORKER_EXITED")
    error = fails(pool, f, kind=transom.TransomError, name="FUNCTION_SUSPENDED")
    assert "5 times in a row, the last time by TRN-2101 WORKER_EXITED" in error.message
    assert pool.call(alive, ONE).equals(ONE)


@pytest.mark.parametrize(
    "options",
    [
        {"worker_memory": "much"},
        {"worker_memory": 0},
        {"result_limit": -1},
        {"worker_descriptors": 1.5},
        {"worker_processes": True},
    ],
)
def test_limits_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(transom.InvalidArgument) as caught:
        transom.Pool(**options)
    assert caught.value.code_name == "BAD_OPTION"


#: A host in which a function takes more than the control group has.
IN_A_SMALL_GROUP = """
import pyarrow as pa
import transom

def hoard(x: int) -> int:
    return len(b"x" * (1 << 30))

def double(x: int) -> int:
    return 2 * x

with transom.Pool(workers=1) as pool:
    try:
        pool.call(hoard, pa.array([1, 2, 3]))
    except transom.WorkerDied as error:
        print(error)
    assert pool.call(double, pa.array([1])).to_pylist() == [2]
"""


def test_a_kill_by_the_kernel_for_want_of_memory_is_told_from_others(memory_group: Callable[[], None]) -> None:
    done = subprocess.run([sys.executable, "-c", IN_A_SMALL_GROUP], capture_output=True, text=True, timeout=120, check=True, preexec_fn=memory_group)
    message, place, *_ = done.stdout.splitlines()
    assert re.fullmatch(
        r"TRN-2105 WORKER_OUT_OF_MEMORY: the worker was killed by the kernel since memory ran out, \S+ s after its start; .* available now", message
    ), message
    assert place.startswith("  in function `hoard`, batch 0, rows 0..3, worker 0 (process "), place


@pytest.fixture
def memory_group() -> Iterator[Callable[[], None]]:
    """A control group of its own with a memory limit; gives what a process calls to enter it."""
    new, old = Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/memory")
    folder = (old if old.is_dir() else new) / f"transom-limits-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / ("memory.limit_in_bytes" if old.is_dir() else "memory.max")).write_text(str(256 << 20))
    except OSError as error:
        if folder.is_dir():
            folder.rmdir()
        pytest.skip(f"no control group can be made here: {error}")
    yield lambda: (folder / "cgroup.procs").write_text(str(os.getpid()))
    # A killed process leaves its group a moment after it was reaped.
    until = time.monotonic() + 10
    while folder.is_dir():
        try:
            folder.rmdir()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)
