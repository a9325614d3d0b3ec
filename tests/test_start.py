"""Starts of workers: those after the first are forked from a warmed interpreter, and a function cannot tell."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
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
from expect import ONE, fails
from test_host_death import GENEROUS, MARK, assert_all_gone, living

TESTS = Path(__file__).parent


def named(process: int) -> str:
    # One that has ended meanwhile has no name.
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/comm").read_text().strip()
    return ""


def zygotes() -> list[int]:
    children = " ".join(Path(f"/proc/self/task/{task}/children").read_text() for task in os.listdir("/proc/self/task"))
    return [child for child in map(int, children.split()) if named(child) == "transom-zygote"]


def place(process: int) -> str:
    """Where the program lies: drawn anew by each process that starts it, and the same in its forks."""
    return Path(f"/proc/{process}/maps").read_text().split("-")[0]


def processes(pool: transom.Pool) -> list[int]:
    until = time.monotonic() + GENEROUS
    while any(worker["state"] != "idle" for worker in pool.stats()["workers"]):
        assert time.monotonic() < until, pool.stats()
        time.sleep(0.005)
    return [worker["pid"] for worker in pool.stats()["workers"]]


Make = Callable[..., transom.Pool]


def forked(make_pool: Make) -> transom.Pool:
    """A pool of one worker, which was forked. No fixture: pytest changes the environment between those and the test."""
    pool = make_pool(workers=1)
    for _ in range(2):  # the second is a program again, and leaves the zygote behind
        os.kill(processes(pool)[0], signal.SIGKILL)
        until = time.monotonic() + GENEROUS
        while pool.stats()["workers"][0]["state"] == "idle" and time.monotonic() < until:
            time.sleep(0.001)
    (worker,) = processes(pool)
    (zygote,) = zygotes()
    assert place(worker) == place(zygote)
    assert len(os.listdir(f"/proc/{zygote}/task")) == 1
    return pool


@transom.udf
def what_is_there(x: str) -> str:
    import faulthandler
    import locale
    import multiprocessing
    import resource
    import threading

    status = Path("/proc/self/status").read_text()
    field = {line.split(":")[0]: line.split(":")[1].split() for line in status.splitlines()}
    handled = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE)]
    return json.dumps(
        {
            "arguments": len(sys.argv),
            "argument": sys.argv[0],
            "link is open": os.path.exists(f"/proc/self/fd/{sys.argv[-1]}"),
            "path": sys.path,
            "flags": str(sys.flags),
            "environment": sorted(os.environ.items()),
            "folder": os.getcwd(),
            "umask": field["Umask"],
            "process": os.getpid() == int(os.readlink("/proc/self")),
            "group": os.getpgrp() == os.getpid(),
            "parent": os.getppid(),
            "name": Path("/proc/self/comm").read_text(),
            "main thread": threading.current_thread() is threading.main_thread(),
            "threads": threading.active_count(),
            "native id": threading.main_thread().native_id == threading.get_native_id(),
            "descriptors": len(os.listdir("/proc/self/fd")),
            "input": os.readlink("/proc/self/fd/0"),
            "output": os.readlink("/proc/self/fd/1").split(":")[0],
            "buffered": (sys.stdout.line_buffering, sys.stderr.errors),
            "blocked": field["SigBlk"],
            "ignored": field["SigIgn"],
            "caught": field["SigCgt"],
            "handlers": list(map(str, handled)),
            "faults": faulthandler.is_enabled(),
            "locale": locale.setlocale(locale.LC_ALL),
            "limits": [resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")],
            "child of nobody": multiprocessing.parent_process() is None,
            "libraries": sorted({name.split(".")[0] for name in sys.modules}),
        }
    )


def test_a_forked_worker_sees_what_one_sees_that_was_started(make_pool: Make) -> None:
    started = make_pool(workers=1)
    text = pa.array(["x"])
    one, other = (json.loads(pool.call(what_is_there, text)[0].as_py()) for pool in (started, forked(make_pool)))
    assert one["parent"] == os.getpid()
    assert all(one[truth] for truth in ("link is open", "process", "group", "main thread", "native id", "faults", "child of nobody"))
    assert other == one


@transom.udf
def drawn(x: int) -> str:
    import random
    import uuid

    import numpy as np

    return json.dumps([random.random(), np.random.random(), np.random.default_rng().random(), str(uuid.uuid4()), os.getpid()])


def test_forked_workers_draw_different_numbers(make_pool: Make) -> None:
    pool = forked(make_pool)
    first = json.loads(pool.call(drawn, pa.array([1]))[0].as_py())
    pid = processes(pool)[0]
    os.kill(pid, signal.SIGKILL)
    while processes(pool)[0] == pid:
        time.sleep(0.005)
    second = json.loads(pool.call(drawn, pa.array([1]))[0].as_py())
    assert all(one != other for one, other in zip(first, second, strict=True))


def test_a_crash_of_a_forked_worker_has_its_stack_and_its_last_words(make_pool: Make) -> None:
    pool = forked(make_pool)

    @transom.udf
    def f(x: int) -> int:
        print("last words")
        return ctypes.string_at(0)

    error = fails(pool, f, kind=transom.WorkerDied, name="WORKER_SIGNALLED")
    assert "SIGSEGV" in str(error)
    assert "in f" in error.remote_traceback
    assert "Native stack" in error.remote_traceback
    assert any("last words" in line for line in error.output)


def test_a_deadline_in_a_forked_worker(make_pool: Make) -> None:
    pool = forked(make_pool)

    @transom.udf(deadline=0.3)
    def f(x: int) -> int:
        while True:
            pass

    assert "in f" in str(fails(pool, f, kind=transom.DeadlineExceeded, name="DEADLINE_EXCEEDED"))


@transom.udf
def computes(x: int) -> float:
    import multiprocessing

    import numpy as np

    square = np.ones((600, 600))
    total = float((square @ square)[0, 0])
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            total += pool.apply(abs, (-1,))
    return total


def test_libraries_start_their_threads_again_and_processes_can_be_started(make_pool: Make) -> None:
    pool = forked(make_pool)
    assert pool.call(computes, pa.array([1])).to_pylist() == [602.0]


@transom.udf
def variable(x: str) -> str:
    return os.environ.get(x, "")


def test_the_next_worker_has_the_environment_of_its_time(make_pool: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = forked(make_pool)
    name = pa.array(["TEST_LATE"])
    assert pool.call(variable, name).to_pylist() == [""]
    monkeypatch.setenv("TEST_LATE", "there")
    os.kill(processes(pool)[0], signal.SIGKILL)
    while pool.stats()["workers"][0]["restarts"] < 3:
        time.sleep(0.005)
    assert pool.call(variable, name).to_pylist() == ["there"]


def test_functions_are_not_in_the_zygote(make_pool: Make, functions_file: Callable[[str], Path]) -> None:
    pool = forked(make_pool)
    path = functions_file("import os\nseen = []\ndef f(x: int) -> int:\n    seen.append(x)\n    return len(seen)\n")
    assert pool.call(f"{path}:f", ONE).to_pylist() == [1, 2, 3]
    os.kill(processes(pool)[0], signal.SIGKILL)
    while pool.stats()["workers"][0]["restarts"] < 3:
        time.sleep(0.005)
    path.write_text(path.read_text().replace("len(seen)", "-len(seen)"))
    assert pool.call(f"{path}:f", ONE).to_pylist() == [-1, -2, -3]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM])
def test_without_its_zygote_a_pool_goes_on(make_pool: Make, number: signal.Signals) -> None:
    pool = forked(make_pool)
    (zygote,) = zygotes()
    os.kill(zygote, number)

    @transom.udf
    def dies(x: int) -> int:
        os._exit(3)

    assert "exit status 3" in str(fails(pool, dies, kind=transom.WorkerDied, name="WORKER_EXITED"))
    assert pool.call(drawn, pa.array([1]))
    assert zygotes() != [zygote]


def test_an_interpreter_with_threads_has_no_zygote(make_pool: Make, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import threading, time\nthreading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n")
    pool = make_pool(workers=3, env={"PYTHONPATH": str(tmp_path)})
    processes(pool)
    assert zygotes() == []
    assert len(set(pool.call(drawn, ONE).to_pylist())) == 3


HOST = """
import sys, time, pyarrow as pa, transom
if __name__ == "__main__":
    with transom.Pool(workers=2) as pool:
        while any(worker["state"] != "idle" for worker in pool.stats()["workers"]):
            time.sleep(0.005)
        pool.call(sys.argv[1], pa.array([1]))
"""


@contextlib.contextmanager
def host_of_two(tmp_path: Path, function: str) -> Iterator[tuple[Any, str]]:
    """A host with two workers, of which one is forked and one stands in a function."""
    gate, script = tmp_path / "gate", tmp_path / "host.py"
    os.mkfifo(gate)
    script.write_text(HOST)
    mark = f"{os.getpid()}-{function}-zygote"
    environment = {**os.environ, MARK: mark, "TEST_GATE": str(gate)}
    host = subprocess.Popen([sys.executable, script, f"{TESTS / 'held.py'}:{function}"], env=environment)
    try:
        with open(gate, "w"):  # as soon as the function stands there
            pass
        yield host, mark
    finally:
        host.kill()
        host.wait()


@pytest.mark.parametrize("function", ["spins", "holds_the_lock"])
def test_a_killed_host_leaves_no_zygote(tmp_path: Path, function: str) -> None:
    with host_of_two(tmp_path, function) as (host, mark):
        assert list(living(mark).values()).count("transom-zygote") == 1
        host.kill()
        host.wait()
        assert_all_gone(mark)
