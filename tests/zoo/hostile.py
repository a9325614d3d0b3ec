"""The zoo: functions that do to their worker whatever a function can do."""

from __future__ import annotations

import atexit
import concurrent.futures
import ctypes
import faulthandler
import gc
import locale
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import transom

Action = Callable[[pa.Array], Any]

#: What the first number of a batch asks for.
BEHAVE, ATTACK, LEAVE = range(3)


def udf(action: Action, **policies: Any) -> transom.Udf:
    """A function that does `action` where a batch asks for it, and otherwise gives its argument back."""

    def zoo(x: pa.Int64Array) -> pa.Int64Array:
        wish = x[0].as_py()
        if wish == LEAVE:
            os._exit(0)
        return action(x) if wish == ATTACK else x

    zoo.__name__ = zoo.__qualname__ = action.__name__
    return transom.udf(**policies)(zoo)


def _spin() -> NoReturn:
    while True:
        pass


def _with_little_memory(action: Callable[[], object], spare: int = 16 << 20) -> None:
    """Keeps the machine from paying for it."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + spare, before[1]))
    try:
        action()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


# Ends.


def exit_0(x: pa.Array) -> NoReturn:
    os._exit(0)


def exit_7(x: pa.Array) -> NoReturn:
    os._exit(7)


def sys_exit(x: pa.Array) -> NoReturn:
    sys.exit(3)


def null_pointer(x: pa.Array) -> Any:
    return ctypes.string_at(0)


def null_pointer_without_faulthandler(x: pa.Array) -> Any:
    faulthandler.disable()
    return ctypes.string_at(0)


def abort(x: pa.Array) -> NoReturn:
    os.abort()


def stack_smash(x: pa.Array) -> None:
    line = next(line for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith("[stack]"))
    start, end = (int(part, 16) for part in line.split()[0].split("-"))
    ctypes.memset(start, 0x41, end - start)


def another_program(x: pa.Array) -> NoReturn:
    os.execv("/bin/sh", ["sh", "-c", "exit 9"])


def another_program_that_stays(x: pa.Array) -> NoReturn:
    os.execv("/bin/sleep", ["sleep", "600"])


def kills_itself(x: pa.Array) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def kills_its_group(x: pa.Array) -> None:
    os.killpg(0, signal.SIGTERM)
    time.sleep(60)


# Exceptions.


def raises_base_exception(x: pa.Array) -> NoReturn:
    raise BaseException("the base of all")


def raises_keyboard_interrupt(x: pa.Array) -> NoReturn:
    raise KeyboardInterrupt


def raises_generator_exit(x: pa.Array) -> NoReturn:
    raise GeneratorExit


def raises_stop_iteration(x: pa.Array) -> NoReturn:
    raise StopIteration


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")

    __repr__ = __str__


def raises_what_cannot_be_said(x: pa.Array) -> NoReturn:
    raise Unspeakable


def raises_a_flood(x: pa.Array) -> NoReturn:
    raise ValueError("x" * 100_000_000)


def raises_what_is_no_text(x: pa.Array) -> NoReturn:
    raise ValueError("\udcff\ud800 half a character")


def recursion_without_limit(x: pa.Array) -> None:
    def deeper(n: int) -> int:
        return deeper(n + 1) + 1

    sys.setrecursionlimit(2**31 - 1)
    try:
        _with_little_memory(lambda: deeper(0))
    finally:
        sys.setrecursionlimit(1000)


def allocates_all(x: pa.Array) -> None:
    def more() -> None:
        hoard = []
        while True:
            hoard.append(bytearray(16 << 20))

    _with_little_memory(more)


# Descriptors, signals, processes.


def _links() -> list[int]:
    return [int(name) for name in os.listdir("/proc/self/fd") if _target(name).startswith("socket:")]


def _target(name: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{name}")
    except FileNotFoundError:
        return ""


def closes_all_descriptors(x: pa.Array) -> pa.Array:
    os.closerange(0, 4096)
    return x


def puts_a_file_over_the_link(x: pa.Array) -> pa.Array:
    for link in _links():
        os.dup2(os.open("/dev/null", os.O_RDWR), link)
    return x


def closes_its_output(x: pa.Array) -> pa.Array:
    sys.stdout.close()
    os.closerange(1, 3)
    return x


def ignores_all_signals(x: pa.Array) -> NoReturn:
    faulthandler.disable()
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    _spin()


def stops_itself(x: pa.Array) -> pa.Array:
    os.kill(os.getpid(), signal.SIGSTOP)
    return x


def leaves_its_group(x: pa.Array) -> NoReturn:
    os.setpgid(0, os.getpgid(os.getppid()))
    _spin()


def begins_a_session(x: pa.Array) -> None:
    os.setsid()  # it leads its group, and so may not


def keeps_the_interpreters_lock(x: pa.Array) -> None:
    ctypes.PyDLL(None).sleep(600)


def never_ends(x: pa.Array) -> NoReturn:
    _spin()


def leaves_a_child(x: pa.Array) -> pa.Array:
    if os.fork() == 0:
        time.sleep(600)
        os._exit(0)
    return x


def leaves_a_child_in_a_session_of_its_own(x: pa.Array) -> pa.Array:
    child = os.fork()
    if child == 0:
        os.setsid()
        time.sleep(3)
        os._exit(0)
    return x


def returns_in_a_child_too(x: pa.Array) -> pa.Array:
    child = os.fork()
    if child > 0:
        os.waitpid(child, 0)
    return x


def forks_many(x: pa.Array) -> NoReturn:
    for _ in range(40):
        if os.fork() == 0:
            time.sleep(600)
            os._exit(0)
    os._exit(5)


def runs_a_program(x: pa.Array) -> pa.Array:
    subprocess.run(["true"], check=True)
    return x


def _first(x: pa.Array) -> int:
    return x[0].as_py()


def asks_a_pool_of_processes(x: pa.Array) -> pa.Array:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(_first, [x, x]) == [ATTACK, ATTACK]
    return x


def reads_its_input_in_a_child(x: pa.Array) -> pa.Array:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, str(sum(x.to_pylist())).encode())
        os._exit(0)
    os.close(write)
    with open(read) as pipe:
        assert int(pipe.read()) == sum(x.to_pylist())
    os.waitpid(child, 0)
    return x


def asks_an_executor(x: pa.Array) -> pa.Array:
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as executor:
        assert executor.submit(_first, x).result() == ATTACK
    return x


def asks_joblib(x: pa.Array) -> pa.Array:
    import joblib

    assert joblib.Parallel(n_jobs=2, backend="multiprocessing")(joblib.delayed(_first)(x) for _ in range(2)) == [ATTACK] * 2
    return x


# The process's state.


def floods_its_output(x: pa.Array) -> pa.Array:
    line = b"x" * 1023 + b"\n"
    megabytes = int(os.environ.get("ZOO_OUTPUT_MB", "16"))
    for stream in (1, 2):
        for _ in range(megabytes):
            os.write(stream, line * 1024)
    return x


def changes_its_surroundings(x: pa.Array) -> pa.Array:
    os.chdir("/")
    os.umask(0o777)
    os.environ.clear()
    locale.setlocale(locale.LC_ALL, "C")
    return x


def mocks_time(x: pa.Array) -> pa.Array:
    time.time = time.monotonic = time.perf_counter = lambda: -1e30
    time.sleep = lambda seconds: None
    return x


def disables_the_collector(x: pa.Array) -> pa.Array:
    gc.disable()
    return x


def works_at_exit(x: pa.Array) -> pa.Array:
    def late() -> None:
        import pyarrow.compute as pc

        pc.sum(x)

    atexit.register(late)
    return x


def leaves_a_thread(x: pa.Array) -> pa.Array:
    threading.Thread(target=_spin_slowly).start()
    return x


def _spin_slowly() -> None:
    while True:
        time.sleep(0.01)


def prints_into_a_broken_stream(x: pa.Array) -> pa.Array:
    sys.stdout = object()  # type: ignore[assignment]
    return x


# Memory.

kept: list[Any] = []
buffer = np.zeros(1 << 16, np.int64)


def keeps_in_a_global(x: pa.Array) -> pa.Array:
    kept.append(x)
    return x


def keeps_in_a_cycle(x: pa.Array) -> pa.Array:
    cycle: list[Any] = [x]
    cycle.append(cycle)
    return x


def keeps_in_a_thread(x: pa.Array) -> pa.Array:
    def hold(x: pa.Array) -> None:
        time.sleep(600)

    threading.Thread(target=hold, args=(x,), daemon=True).start()
    return x


def writes_to_its_input(x: pa.Array) -> pa.Array:
    ctypes.memset(x.buffers()[1].address, 0, 8)
    return x


def writes_by_numpy(x: pa.Array) -> pa.Array:
    x.to_numpy()[:] = 0
    return x


def returns_a_slice(x: pa.Array) -> pa.Array:
    return x[1:]


def returns_a_slice_of_its_own(x: pa.Array) -> pa.Array:
    return pa.concat_arrays([x[:1], x, x[:1]])[1:-1]


def returns_a_buffer_that_it_overwrites(x: pa.Array) -> pa.Array:
    buffer[: len(x)] = x.to_numpy()
    return pa.array(buffer[: len(x)])


def writes_on_in_a_thread(x: pa.Array) -> pa.Array:
    mine = x.to_numpy().copy()

    def write() -> None:
        while True:
            mine[:] += 1
            time.sleep(0.0005)

    result = pa.array(mine.copy())
    threading.Thread(target=write, daemon=True).start()
    return result


def writes_into_the_outputs(x: pa.Array) -> pa.Array:
    """A thread that goes on writing to all that the worker may write for the host."""
    lines = [line.split()[0].split("-") for line in Path("/proc/self/maps").read_text().splitlines() if "transom-output" in line and " rw-s" in line]

    def write() -> None:
        value = 0
        while True:
            value = (value + 1) % 251
            for start, end in lines:
                ctypes.memset(int(start, 16), value, min(int(end, 16) - int(start, 16), 1 << 16))
            time.sleep(0.0005)

    threading.Thread(target=write, daemon=True).start()
    return pa.array(x.to_numpy().copy())


def returns_too_much(x: pa.Array) -> pa.Array:
    return pa.concat_arrays([x, x])


def returns_text(x: pa.Array) -> pa.Array:
    return x.cast(pa.string())


def returns_nothing(x: pa.Array) -> None:
    return None


def returns_itself(x: pa.Array) -> Any:
    return object()


# What a stream and a limit are needed for.


@transom.udf
def fails_lazily(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Gives an iterator that is none of its own making, and that fails where a batch asks for it."""
    return map(_given_back, batches)


def _given_back(batch: pa.RecordBatch) -> pa.RecordBatch:
    if batch.column(0)[0].as_py() == ATTACK:
        raise ValueError("not this one")
    return batch


@transom.udf(deadline=1.0)
def fork_bomb(x: pa.Int64Array) -> pa.Int64Array:
    """Every process of it forks for as long as it can; none outlives the test, whatever becomes of the limit."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            os.fork()
        except BlockingIOError:
            time.sleep(0.001)
    os._exit(0)
