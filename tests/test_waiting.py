"""Lifetimes of pools and results; waiting, threads, Ctrl-C, forks, kills."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import transom
from udfs import X, plus_one, sleepy, stuck


def test_arrays_outlive_their_pool() -> None:
    with transom.Pool(workers=1) as pool:
        result = pool.call(plus_one, X)
        stream = pool.map(plus_one, {"x": X})
        batch = next(stream)
        shared = pool.share({"x": X})
    assert result.to_pylist() == [2, 3, 4]
    assert batch["plus_one"].to_pylist() == [2, 3, 4]
    assert shared["x"].to_pylist() == [1, 2, 3]


def test_a_closed_pool_says_so() -> None:
    pool = transom.Pool(workers=1)
    pool.close()
    pool.close()
    for use, function in (
        (lambda: pool.call(plus_one, X), "plus_one"),
        (lambda: pool.map(plus_one, {"x": X}), "plus_one"),
        (lambda: pool.map(plus_one, iter([])), "plus_one"),
        (lambda: pool.share({"x": X}), None),
    ):
        with pytest.raises(transom.TransomError) as caught:
            use()
        assert (caught.value.code_name, caught.value.function) == ("POOL_CLOSED", function)


def test_closing_ends_what_is_running() -> None:
    pool = transom.Pool(workers=1)
    pool.call(plus_one, X)
    errors: list[transom.TransomError] = []

    def run() -> None:
        try:
            pool.call(stuck, pa.array([1]))
        except transom.TransomError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.5)
    began = time.monotonic()
    pool.close()
    thread.join(10)
    assert [error.code_name for error in errors] == ["POOL_CLOSED"]
    assert time.monotonic() - began < 5


def test_dropping_results_cancels(make_pool: Callable[..., transom.Pool]) -> None:
    pool = make_pool()
    results = pool.map(sleepy, pa.table({"x": range(100)}).to_batches(max_chunksize=1))
    next(results)
    del results
    reader = pa.RecordBatchReader.from_stream(pool.map(sleepy, pa.table({"x": range(100)}).to_batches(max_chunksize=1)))
    reader.read_next_batch()
    del reader
    began = time.monotonic()
    assert pool.call(plus_one, X).to_pylist() == [2, 3, 4]
    assert time.monotonic() - began < 2


def test_a_pool_that_nobody_closes_ends_with_its_last_handle() -> None:
    pool = transom.Pool(workers=1)
    pool.call(plus_one, X)
    pid = pool.stats()["workers"][0]["pid"]
    del pool
    gc.collect()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def run_script(text: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    header = "import os, sys, time, threading, pyarrow as pa, transom\n"
    return subprocess.run(
        [sys.executable, "-c", header + textwrap.dedent(text)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def test_a_pool_that_is_open_at_the_end_of_the_program_ends_with_it() -> None:
    done = run_script(
        """
        @transom.udf
        def f(x: int) -> int:
            return x
        pool = transom.Pool(workers=1)
        results = pool.map(f, [pa.record_batch({"x": [1, 2]})] * 50)
        next(results)
        kept = pool.call(f, pa.array(list(range(1000))))
        print(pool.stats()["workers"][0]["pid"])
        """
    )
    assert (done.stderr, done.returncode) == ("", 0)
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


# Waiting.


def test_other_threads_run_while_one_waits(pool: transom.Pool) -> None:
    steps = 0
    waiting = threading.Thread(target=lambda: pool.call(sleepy, pa.array(range(20))))
    waiting.start()
    while waiting.is_alive():
        steps += 1
        time.sleep(0.001)
    assert steps > 100


def test_many_threads_share_a_pool(pool: transom.Pool) -> None:
    wrong: list[Any] = []

    def run(number: int) -> None:
        for step in range(10):
            value = number * 100 + step
            result = pool.call(plus_one, pa.array([value])).to_pylist()
            if result != [value + 1]:
                wrong.append((value, result))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(
    "wait",
    [
        "pool.call(stuck, pa.array([1]))",
        "next(pool.map(stuck, {'x': pa.array([1])}))",
        "pa.table(pool.map(stuck, {'x': pa.array([1])}))",
        "pool.map(stuck, {'x': pa.array([1])}).read_all()",
    ],
)
def test_ctrl_c_works_at_once(wait: str) -> None:
    script = f"""
    @transom.udf
    def stuck(x: int) -> int:
        time.sleep(60)
        return x
    @transom.udf
    def f(x: int) -> int:
        return x
    with transom.Pool(workers=1) as pool:
        pool.call(f, pa.array([1]))
        print("ready", flush=True)
        try:
            try:
                {wait}
            except Exception:  # of pyarrow, whose stream carries a text only; the interrupt follows it at once
                for _ in range(100):
                    time.sleep(0.05)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        print(pool.call(f, pa.array([2])).to_pylist(), flush=True)
    """
    header = "import time, pyarrow as pa, transom\n"
    with subprocess.Popen(
        [sys.executable, "-c", header + textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        assert process.stdout.readline() == "interrupted\n"
        assert time.monotonic() - began < 1
        assert process.stdout.readline() == "[2]\n"
        assert process.wait(30) == 0


# Forks.


def test_a_forked_child_is_told_and_does_no_harm() -> None:
    done = run_script(
        """
        @transom.udf
        def f(x: int) -> int:
            return x
        pool = transom.Pool(workers=1)
        results = pool.map(f, [pa.record_batch({"x": [1, 2]})] * 20)
        next(results)
        kept = pool.call(f, pa.array([1, 2, 3]))
        child = os.fork()
        if child == 0:
            codes = []
            for use in (lambda: pool.call(f, pa.array([1])), lambda: next(results), lambda: pool.stats()):
                try:
                    use()
                except transom.TransomError as error:
                    codes.append(error.code_name)
            print(codes, kept.to_pylist(), flush=True)
            pool.close()
            del pool, results, kept
            sys.exit(0)
        print(os.waitpid(child, 0)[1], flush=True)
        print(kept.to_pylist(), sum(batch.num_rows for batch in results), pool.call(f, pa.array([5])).to_pylist())
        """
    )
    assert done.stdout.splitlines() == [
        "['FORKED_HANDLE', 'FORKED_HANDLE', 'FORKED_HANDLE'] [1, 2, 3]",
        "0",
        "[1, 2, 3] 38 [5]",
    ], done.stderr
    assert done.returncode == 0


def test_a_forked_child_has_pools_of_its_own() -> None:
    # At once behind a call, whose caller keeps the worker for a while: in the child that is a copy of what the parent's thread does.
    done = run_script(
        """
        @transom.udf
        def f(x: int) -> int:
            return x
        pool = transom.Pool(workers=1)
        for number in range(20):
            results = pool.map(f, [pa.record_batch({"x": [number]})] * 3)
            next(results)
            child = os.fork()
            if child == 0:
                with transom.Pool(workers=1) as own:
                    ended = [own.call(f, pa.array([number])).to_pylist() for _ in range(3)] == [[number]] * 3
                os._exit(0 if ended else 1)
            assert sum(batch.num_rows for batch in results) == 2
            assert pool.call(f, pa.array([number])).to_pylist() == [number]
            assert os.waitpid(child, 0)[1] == 0
        print(pool.stats()["workers"][0]["restarts"])
        """
    )
    assert (done.stdout.split(), done.returncode) == (["0"], 0), done.stderr


def test_a_function_may_fork(pool: transom.Pool) -> None:
    @transom.udf
    def f(x: int) -> int:
        child = os.fork()
        if child == 0:
            os._exit(x)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert pool.call(f, X).to_pylist() == [1, 2, 3]


def test_a_function_may_start_threads(pool: transom.Pool) -> None:
    @transom.udf
    def f(x: pa.Int64Array) -> pa.Int64Array:
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(pc.add(x, 1)))
        thread.start()
        thread.join()
        return found[0]

    assert pool.call(f, X).to_pylist() == [2, 3, 4]


def test_kills_at_random_moments(make_pool: Callable[..., transom.Pool]) -> None:
    """Each batch is answered once, or fails with the death of its worker."""
    pool = make_pool(workers=2)
    rows = np.random.default_rng(5)
    results = pool.map(sleepy, pa.table({"x": range(30)}).to_batches(max_chunksize=1))
    seen: list[int] = []
    for _ in range(30):
        if rows.random() < 0.3:
            worker = pool.stats()["workers"][int(rows.integers(2))]
            if worker["pid"] is not None and worker["state"] == "busy":
                os.kill(worker["pid"], signal.SIGKILL)
        try:
            seen.append(next(results)["sleepy"][0].as_py())
        except transom.WorkerDied as error:
            seen.append(-1 if error.rows is None else error.rows.start)
    assert seen == list(range(30))
