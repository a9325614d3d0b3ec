"""What crosses without a copy: results of Python functions, and why others are copied."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import resource
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import transom
from expect import SHARED
from numpy.typing import NDArray

ROWS = 1 << 16
#: Calls until the worker has room for results of this size, and the host has let go of those before.
WARM = 4
HELD = "result was still held by its function"
ELSEWHERE = "result was not in shared memory"


@pytest.fixture(scope="module")
def pool(_module_leaves_nothing: None) -> Iterator[transom.Pool]:
    """One worker, so that it is clear who is warm."""
    with transom.Pool(workers=1) as made:
        SHARED.append(made)
        yield made
    SHARED.remove(made)


def copied(pool: transom.Pool, function: Any, batch: Any, calls: int = 5) -> dict[str, int]:
    """The bytes of results that were copied in some calls, by reason, once the pool is warm."""
    for _ in range(WARM):
        pool.call(function, batch)
    before = pool.copies()
    for _ in range(calls):
        result = pool.call(function, batch)
        assert result.equals(pc.add(batch, 1)), "a wrong answer"
        del result
    after = pool.copies()
    assert after["results"]["bytes_shared"] - before["results"]["bytes_shared"] == calls * 8 * len(batch)
    reasons = {reason: count - before["reasons"].get(reason, 0) for reason, count in after["reasons"].items()}
    return {reason: count for reason, count in reasons.items() if count and not reason.startswith("input")}


@transom.udf
def arrow_int(x: pa.Int64Array) -> pa.Int64Array:
    return pc.add(x, 1)


@transom.udf
def arrow_float(x: pa.DoubleArray) -> pa.DoubleArray:
    return pc.add(x, 1)


@transom.udf
def numpy_int(x: NDArray[np.int64]) -> NDArray[np.int64]:
    return x + 1


@transom.udf
def numpy_float(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return x + 1


@transom.udf(returns=pa.int64())
def pandas_int(x: pd.Series) -> pd.Series:
    return x + 1


@transom.udf(returns=pa.float64())
def pandas_float(x: pd.Series) -> pd.Series:
    return x + 1


@pytest.mark.parametrize("rows", [ROWS, 1 << 20])
@pytest.mark.parametrize("function", [arrow_int, arrow_float, numpy_int, numpy_float, pandas_int, pandas_float], ids=lambda f: f.name)
def test_plus_one_copies_nothing(pool: transom.Pool, function: Any, rows: int) -> None:
    kind = pa.float64() if "float" in function.name else pa.int64()
    assert copied(pool, function, pa.array(range(rows), kind)) == {}


def test_function_to_function_copies_nothing(pool: transom.Pool) -> None:
    x = pa.array(range(ROWS))
    for _ in range(WARM):
        pool.call(numpy_int, pool.call(arrow_int, x))
    first = pool.call(arrow_int, x)
    before = pool.copies()["bytes_copied"]
    second = pool.call(numpy_int, first)
    third = pool.call(arrow_int, second)
    assert third.equals(pc.add(x, 3))
    assert pool.copies()["bytes_copied"] == before


def test_a_stream_of_batches_copies_nothing(pool: transom.Pool) -> None:
    @transom.udf
    def f(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield pa.record_batch({"x": batch["x"], "y": pc.add(batch["x"], 1)})

    batch = pa.record_batch({"x": range(ROWS)})
    for _ in pool.map(f, [batch] * WARM):
        pass
    before = pool.copies()["results"]
    for result in pool.map(f, [batch] * 5):
        assert result["y"][-1].as_py() == ROWS
    after = pool.copies()["results"]
    assert after["bytes_copied"] == before["bytes_copied"]
    assert after["bytes_shared"] == before["bytes_shared"] + 5 * 2 * 8 * ROWS


def test_what_a_function_keeps_is_copied_and_the_ledger_says_so(make_pool: Callable[..., transom.Pool]) -> None:
    pool = make_pool()
    kept: list[Any] = []

    @transom.udf
    def overwrites(x: NDArray[np.int64]) -> NDArray[np.int64]:
        if not kept:
            kept.append(np.empty(len(x), np.int64))
        np.add(x, 1, out=kept[0])
        return kept[0]

    @transom.udf
    def view(x: NDArray[np.int64]) -> NDArray[np.int64]:
        base = x + 1
        kept[:] = [base[10:20]]
        return base[:]

    @transom.udf
    def buffer(x: pa.Int64Array) -> pa.Int64Array:
        result = pc.add(x, 1)
        kept[:] = [np.frombuffer(result.buffers()[1], np.int64)]  # of an array that nobody has any more, and still writable
        return result

    @transom.udf(returns=pa.int64())
    def series(x: pd.Series) -> pd.Series:
        frame = pd.DataFrame({"x": x + 1})
        kept[:] = [frame]
        return frame["x"]

    x = pa.array(range(ROWS))
    # What `overwrites` keeps it makes once, and before there is room it would lie elsewhere.
    copied(pool, arrow_int, x)
    for function in (overwrites, view, buffer, series):
        assert copied(pool, function, x) == {HELD: 5 * 8 * ROWS}, function.name


def test_results_that_are_kept_never_change(make_pool: Callable[..., transom.Pool]) -> None:
    pool = make_pool()
    kept: list[Any] = []

    @transom.udf
    def f(x: NDArray[np.int64]) -> NDArray[np.int64]:
        for old in kept:
            old[:] = -1  # what it kept of the calls before, while the host reads the results
        del kept[:-2]
        kept.append(x + 1)
        return kept[-1]

    results = [pool.call(f, pa.array(range(start, start + ROWS))) for start in range(20)]
    for start, result in enumerate(results):
        assert result.equals(pa.array(range(start + 1, start + 1 + ROWS)))


def test_a_name_in_a_generator_holds_what_it_yields(pool: transom.Pool) -> None:
    @transom.udf
    def f(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            result = pa.record_batch({"x": pc.add(batch["x"], 1)})
            yield result

    batch = pa.record_batch({"x": range(ROWS)})
    for _ in pool.map(f, [batch] * WARM):
        pass
    before = pool.copies()["reasons"][HELD]
    for _ in pool.map(f, [batch] * 3):
        pass
    assert pool.copies()["reasons"][HELD] == before + 3 * 8 * ROWS


def test_polars_is_copied_once_and_the_ledger_says_so(pool: transom.Pool) -> None:
    @transom.udf(returns=pa.int64())
    def f(x: pl.Series) -> pl.Series:
        return x + 1

    assert copied(pool, f, pa.array(range(ROWS))) == {ELSEWHERE: 5 * 8 * ROWS}


@pytest.mark.parametrize("environment", [{"PYTHONMALLOC": "malloc_debug"}, {"PYTHONDEVMODE": "1"}], ids=lambda variables: next(iter(variables)))
def test_without_the_allocator_results_are_copied_once(make_pool: Callable[..., transom.Pool], environment: dict[str, str]) -> None:
    pool = make_pool(env=environment)
    assert copied(pool, arrow_int, pa.array(range(ROWS))) == {ELSEWHERE: 5 * 8 * ROWS}


def test_another_allocator_stays_first(make_pool: Callable[..., transom.Pool], tmp_path: Path) -> None:
    source = tmp_path / "other.c"
    source.write_text(
        "#include <stddef.h>\nvoid *__libc_malloc(size_t);\nvoid __libc_free(void *);\n"
        "void *malloc(size_t size) { return __libc_malloc(size); }\nvoid free(void *old) { __libc_free(old); }\n"
    )
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "other.so", source], check=True)
    pool = make_pool(env={"LD_PRELOAD": str(tmp_path / "other.so")})

    @transom.udf
    def preloaded(x: int) -> str:
        return os.environ["LD_PRELOAD"]

    assert pool.call(preloaded, pa.array([1])).to_pylist() == [str(tmp_path / "other.so")]
    assert copied(pool, arrow_int, pa.array(range(ROWS))) == {ELSEWHERE: 5 * 8 * ROWS}


def test_programs_that_a_function_starts_know_nothing_of_it(pool: transom.Pool) -> None:
    @transom.udf
    def f(x: int) -> str:
        return subprocess.run(["env"], capture_output=True, text=True, check=True, preexec_fn=lambda: None).stdout

    environment = pool.call(f, pa.array([1]))[0].as_py()
    assert not [line for line in environment.splitlines() if line.startswith(("LD_PRELOAD=", "TRANSOM_PRELOAD=", "ARROW_DEFAULT_MEMORY_POOL="))]


def _family(rows: int) -> None:
    """`malloc` and its family, in a worker whose gate is open."""
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    libc = ctypes.CDLL(None)
    for name in ("malloc", "calloc", "realloc", "reallocarray", "memalign", "aligned_alloc", "valloc", "pvalloc"):
        getattr(libc, name).restype = pointer
    for name in ("free", "realloc", "malloc_usable_size"):
        getattr(libc, name).argtypes = [pointer] + [size] * (name == "realloc")
    libc.reallocarray.argtypes = [pointer, size, size]
    libc.calloc.argtypes = libc.memalign.argtypes = libc.aligned_alloc.argtypes = [size, size]
    libc.malloc_usable_size.restype = size

    def shared(address: int) -> bool:
        for line in Path("/proc/self/maps").read_text().splitlines():
            first, end = (int(number, 16) for number in line.split()[0].split("-"))
            if first <= address < end:
                return "transom-output" in line
        raise AssertionError(f"{address:x} is not mapped")

    large = 100_000
    piece = libc.malloc(large)
    assert shared(piece)
    assert libc.malloc_usable_size(piece) >= large
    ctypes.memset(piece, 7, large)
    piece = libc.realloc(piece, 2 * large)
    assert shared(piece)
    assert ctypes.string_at(piece, large) == b"\7" * large
    piece = libc.realloc(piece, 100)
    assert not shared(piece)
    assert ctypes.string_at(piece, 100) == b"\7" * 100
    piece = libc.reallocarray(piece, 2, large)
    assert not shared(piece), "what the C library has stays with it"
    assert ctypes.string_at(piece, 100) == b"\7" * 100
    assert libc.malloc_usable_size(piece) >= 2 * large
    assert libc.realloc(piece, 0) is None
    for _ in range(2):  # recycled memory is cleared
        piece = libc.calloc(10, large // 10)
        assert shared(piece)
        assert ctypes.string_at(piece, large) == bytes(large)
        ctypes.memset(piece, 9, large)
        libc.free(piece)
    assert libc.calloc(1 << 40, 1 << 40) is None
    assert libc.reallocarray(None, 1 << 40, 1 << 40) is None
    for alignment in (8, 64, 4096, 1 << 16):
        place = pointer()
        assert libc.posix_memalign(ctypes.byref(place), size(alignment), size(large)) == 0
        pieces = [libc.memalign(alignment, large), libc.aligned_alloc(alignment, large), place.value]
        for piece in pieces:
            assert piece % alignment == 0
            assert shared(piece) == (alignment <= 64)
            ctypes.memset(piece, 1, large)
            libc.free(piece)
    assert libc.posix_memalign(ctypes.byref(pointer()), size(3), size(large)) == 22, "EINVAL"
    for aligned in (libc.valloc, libc.pvalloc):
        piece = aligned(size(large))
        assert piece % 4096 == 0
        libc.free(piece)
    libc.free(None)
    pieces = [libc.malloc(size(1 << 20)) for _ in range(200)]  # more than there is room for
    assert {shared(piece) for piece in pieces} == {True, False}
    for piece in pieces:
        libc.free(piece)


def test_the_family_of_malloc(make_pool: Callable[..., transom.Pool]) -> None:
    @transom.udf
    def f(x: pa.Int64Array) -> pa.Int64Array:
        _family(len(x))
        return pc.add(x, 1)

    assert copied(make_pool(), f, pa.array(range(ROWS))) == {}


def test_threads_of_a_function(make_pool: Callable[..., transom.Pool]) -> None:
    @transom.udf
    def f(x: NDArray[np.int64]) -> NDArray[np.int64]:
        wrong = []

        def work(seed: int) -> None:
            numbers = np.random.default_rng(seed)
            mine: list[tuple[int, Any]] = []
            for value in range(200):
                mine.append((value, np.full(int(numbers.integers(4_000, 60_000)), value)))
                if len(mine) > 8:
                    value, array = mine.pop(int(numbers.integers(8)))
                    if array[0] != value or array.min() != array.max():
                        wrong.append(value)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):  # forks among them: a child must find the books in order
            child = os.fork()
            if child == 0:
                os._exit(int(np.ones(50_000).sum() != 50_000))
            assert os.waitpid(child, 0)[1] == 0
        assert not wrong
        return x + 1

    pool = make_pool()
    x = pa.array(range(ROWS))
    assert pool.call(f, x).equals(pc.add(x, 1))


_inherited: list[Any] = []


def _part(index: int) -> int:
    found = int(_inherited[0][index * 1000 : (index + 1) * 1000].sum())
    _inherited[0][:] = -1  # in the child alone
    np.zeros(100_000)[:] = 1
    return found


def _by_multiprocessing() -> list[int]:
    with multiprocessing.get_context("fork").Pool(2) as processes:
        return processes.map(_part, range(2), chunksize=1)


def _by_futures() -> list[int]:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as processes:
        return list(processes.map(_part, range(2)))


def _by_fork() -> list[int]:
    found = []
    for index in range(2):
        read, write = os.pipe()
        if os.fork() == 0:
            os.write(write, str(_part(index)).encode())
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as answer:
            found.append(int(answer.read()))
        os.wait()
    return found


def _plus_one_with_children(x: Any, fork: Callable[[], list[int]]) -> Any:
    _inherited.append(x + 1)
    expected = [int(_inherited[0][first : first + 1000].sum()) for first in (0, 1000)]
    found = fork()
    # One process may have had both parts, and wrote over the array behind the first.
    assert found in (expected, [expected[0], -1000], [-1000, expected[1]]), (found, expected)
    return _inherited.pop()


@pytest.mark.parametrize("fork", [_by_multiprocessing, _by_futures, _by_fork], ids=lambda way: way.__name__)
def test_forked_children_have_a_copy_of_their_own(make_pool: Callable[..., transom.Pool], fork: Callable[[], list[int]]) -> None:
    @transom.udf
    def f(x: NDArray[np.int64]) -> NDArray[np.int64]:
        return _plus_one_with_children(x, fork)

    assert copied(make_pool(), f, pa.array(range(ROWS))) == {}


def test_processes_of_joblib_are_given_what_lies_in_shared_memory(make_pool: Callable[..., transom.Pool], tmp_path: Path) -> None:
    """Its processes (loky's) are started anew, over arrays that joblib writes into files, and live on behind the call."""
    pytest.importorskip("joblib", reason="joblib is not installed")

    @transom.udf
    def f(x: NDArray[np.int64]) -> NDArray[np.int64]:
        import joblib

        result = x + 1
        parts = [result[first : first + ROWS // 2] for first in (0, ROWS // 2)]
        with joblib.parallel_config("loky", n_jobs=2, temp_folder=str(tmp_path), max_nbytes=1 << 10):
            sums = joblib.Parallel()(joblib.delayed(np.sum)(part) for part in (*parts, x, result))
            # What comes back from them is built here, and given to the host as anything else is.
            (back,) = joblib.Parallel()([joblib.delayed(np.negative)(x)])
        assert sums == [int(part.sum()) for part in (*parts, x, result)], sums
        assert np.array_equal(back, -x)
        return result

    assert copied(make_pool(), f, pa.array(range(ROWS)), calls=1) == {}


def test_a_warm_worker_has_no_page_faults(make_pool: Callable[..., transom.Pool]) -> None:
    faults: list[int] = []

    @transom.udf
    def f(x: NDArray[np.int64]) -> NDArray[np.int64]:
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
        result = x + 1
        result[0] = faults[-1] - faults[0]
        return result

    pool, x = make_pool(), pa.array(range(1 << 19))
    found = [pool.call(f, x)[0].as_py() for _ in range(60)]
    # Without the allocator 4 MiB are a thousand faults a call.
    assert found[-1] - found[20] < 40 * 2, found


def test_memory_goes_back_when_a_pool_is_idle(make_pool: Callable[..., transom.Pool]) -> None:
    pool, x = make_pool(), pa.array(range(1 << 21))
    assert copied(pool, arrow_int, x) == {}
    busy = pool.stats()["memory_used"]
    assert busy > 32 << 20
    until = time.monotonic() + 60
    while pool.stats()["memory_used"] > 4 << 20:
        assert time.monotonic() < until, pool.stats()
        time.sleep(0.1)
    assert copied(pool, arrow_int, x) == {}
