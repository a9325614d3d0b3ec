"""With `trace_leases` a pool says which line keeps an argument: in `leases`, in the errors of a shortage, and to `transom doctor --pool`."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keepers
import pyarrow as pa
import pytest
import transom
from expect import ONE, SHARED, alive
from invariants import PATIENCE
from test_leases import BATCH, by, doctor

SOURCE = Path(keepers.__file__).read_text().splitlines()


def line(mark: str) -> int:
    """The line that is marked."""
    [number] = [number for number, text in enumerate(SOURCE, 1) if text.endswith((f"  # {mark}", f"{mark} = _closed_over()"))][:1]
    return number


def kept_by(pool: transom.Pool) -> list[Any]:
    return [lease["kept_by"] for lease in by(pool, "worker") if lease["answered"]]


@pytest.fixture(scope="module")
def tracing(_module_leaves_nothing: None) -> Iterator[transom.Pool]:
    with transom.Pool(workers=1, trace_leases=True) as made:
        SHARED.append(made)
        yield made
    SHARED.remove(made)


PLACES = [
    (keepers.in_a_list, "in_a_list: global `CACHE`"),
    (keepers.in_a_global, "in_a_global: global `LAST`"),
    (keepers.as_numpy_in_a_dict, "as_numpy_in_a_dict: global `BY_NAME`"),
    (keepers.in_a_deque_of_tuples, "in_a_deque_of_tuples: global `QUEUE`"),
    (keepers.InAnAttribute, "InAnAttribute.__call__: attribute `seen`"),
    (keepers.InASlot, "InASlot.__call__: attribute `last`"),
    (keepers.in_a_closure, "_closed_over.<locals>.in_a_closure: closure variable `seen`"),
    (keepers.in_a_thread, "in_a_thread.<locals>.hold: local `mine`, in a call that still runs"),
]


@pytest.mark.parametrize(("function", "words"), PLACES, ids=[function.name for function, _ in PLACES])
def test_what_keeps_an_argument_is_named_with_its_line(tracing: transom.Pool, function: Any, words: str) -> None:
    before = {lease["call"] for lease in by(tracing, "worker")}
    tracing.call(function, BATCH)
    [lease] = [lease for lease in by(tracing, "worker") if lease["call"] not in before]
    assert lease["kept_by"] == f"keepers.py:{line(function.name)} in {words}"


def test_a_default_that_hoards(tracing: transom.Pool) -> None:
    tracing.call(keepers.in_a_default, BATCH)
    assert f"keepers.py:{line('in_a_default')} in _hoard: default of parameter `seen`" in kept_by(tracing)


def test_a_generator_that_waits_for_its_next_input(make_pool: Callable[..., transom.Pool]) -> None:
    pool = make_pool(trace_leases=True)
    results = pool.map(keepers.in_a_generator, itertools.repeat(pa.record_batch({"x": BATCH})))
    # For the second it has asked for the second batch; then it waits for somebody to take more.
    next(results)
    next(results)
    until = time.monotonic() + PATIENCE
    # A batch that is answered after a question was put is in the next one.
    while None in (found := kept_by(pool)) or not found:
        assert time.monotonic() < until, found
    assert all("in in_a_generator: local `" in text for text in found), found
    results.close()


def test_native_code_that_keeps_an_argument_is_told_as_such(make_pool: Callable[..., transom.Pool]) -> None:
    pool = make_pool(trace_leases=True)

    @transom.udf
    def exports(x: pa.Int64Array) -> pa.Int64Array:
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(x.__arrow_c_array__()))
        return pa.array([1] * len(x))

    pool.call(exports, BATCH)
    [text] = kept_by(pool)
    assert text == "native code: no Python object refers to it"


def test_a_shortage_names_the_line(make_pool: Callable[..., transom.Pool]) -> None:
    pool = make_pool(memory_limit=16 << 20, trace_leases=True)
    with pytest.raises(transom.TransomError) as caught:
        for _ in pool.map(keepers.in_a_list, (pa.record_batch({"x": BATCH}) for _ in range(1000))):
            pass
    assert caught.value.code_name == "INPUT_RETAINED"
    assert f"; kept by keepers.py:{line('in_a_list')} in in_a_list: global `CACHE`" in caught.value.hint
    assert pool.call(alive, ONE).equals(ONE)


def test_doctor_shows_the_line(make_pool: Callable[..., transom.Pool]) -> None:
    pool = make_pool(trace_leases=True)
    pool.call(keepers.in_a_list, BATCH)
    assert kept_by(pool)  # which may take longer than the program waits
    assert f"kept after its answer: keepers.py:{line('in_a_list')} in in_a_list: global `CACHE`" in doctor(str(os.getpid())).stdout


def test_it_is_off_by_default(make_pool: Callable[..., transom.Pool], monkeypatch: pytest.MonkeyPatch) -> None:
    def modules(x: pa.Int64Array) -> pa.StringArray:
        import sys

        kept.append(x)
        return pa.array([str("transom._trace" in sys.modules)] * len(x))

    kept: list[Any] = []
    for environment, named in ((None, False), ("1", True), ("0", False)):
        if environment is not None:
            monkeypatch.setenv("TRANSOM_TRACE_LEASES", environment)
        pool = make_pool()
        pool.call(modules, BATCH)
        assert [text is not None for text in kept_by(pool)] == [named]
        assert pool.call(modules, ONE).to_pylist() == [str(named)] * len(ONE)


def test_a_worker_that_is_busy_is_not_waited_for_without_end(make_pool: Callable[..., transom.Pool], tmp_path: Path) -> None:
    pool = make_pool(trace_leases=True)
    pool.call(keepers.in_a_list, BATCH)
    gate = tmp_path / "gate"

    @transom.udf
    def waits(x: pa.Int64Array) -> pa.Int64Array:
        while not gate.exists():
            time.sleep(0.01)
        return x

    results = pool.map(waits, [pa.record_batch({"x": ONE})])
    caller = threading.Thread(target=list, args=(results,))
    caller.start()
    while pool.stats()["workers"][0]["state"] != "busy":
        time.sleep(0.001)
    assert kept_by(pool) == [None]
    gate.touch()
    caller.join()
    # A machine that others use too may need more than the three seconds that one question waits.
    answers = (kept_by(pool)[0] for _ in range(20))
    assert next(filter(None, answers)).endswith("global `CACHE`")
