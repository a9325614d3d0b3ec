"""Shared by all tests in Python: pools, and a check after every test that nothing was left behind."""

from __future__ import annotations

import gc
import signal
import textwrap
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import transom
from expect import SHARED
from invariants import PATIENCE, Belongings, settle

# Libraries start threads and open files when they are first used: that is not a leak of the test that used them first.
pl = pytest.importorskip("polars")
duckdb = pytest.importorskip("duckdb")
pd = pytest.importorskip("pandas")

# What a shell starts in the background ignores SIGINT, and so would every program that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_failed_modules: set[str] = set()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        # Its traceback holds the frames, and all that they hold: what is left says nothing.
        item.stash[_FAILED] = True
        _failed_modules.add(item.path.name)
    return report


_FAILED = pytest.StashKey[bool]()


def _warm() -> None:
    table = pa.table({"a": list(range(1000)), "b": ["x"] * 1000})
    pc.sum(pa.chunked_array([table["a"].chunk(0)] * 4))
    table.to_pandas()
    pl.from_arrow(table).group_by("b").sum()
    duckdb.sql("select 1").fetchall()
    threading.Thread(target=lambda: None).start()


@pytest.fixture(scope="session", autouse=True)
def _libraries_are_warm() -> Iterator[None]:
    _warm()
    # What the libraries have made so far stays: a collection after every test need not look at it.
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True, scope="module")
def _module_leaves_nothing(request: pytest.FixtureRequest) -> Iterator[None]:
    gc.collect()
    before = Belongings()
    yield
    if request.path.name in _failed_modules:
        return
    left = settle(before, shared_pool=False)
    assert not left, f"this module left behind: {'; '.join(left)}"


@pytest.fixture(scope="module")
def pool(_module_leaves_nothing: None) -> Iterator[transom.Pool]:
    """A pool that the tests of a module share."""
    with transom.Pool(workers=2) as made:
        SHARED.append(made)
        yield made
    SHARED.remove(made)


@pytest.fixture
def make_pool() -> Iterator[Callable[..., transom.Pool]]:
    """Pools of the test's own, closed at its end."""
    pools: list[transom.Pool] = []

    def make(workers: int = 1, **options: object) -> transom.Pool:
        pools.append(transom.Pool(workers=workers, **options))
        return pools[-1]

    yield make
    while pools:  # nobody else holds them: pytest keeps `make` for a while
        pools.pop().close()


@pytest.fixture(autouse=True)
def _leaves_nothing(request: pytest.FixtureRequest) -> Iterator[None]:
    if "pool" in request.fixturenames:
        request.getfixturevalue("pool")
    for shared in SHARED:  # its workers are there before the test, as they are after it
        until = time.monotonic() + PATIENCE
        while any(worker["state"] not in ("idle", "busy") for worker in shared.stats()["workers"]) and time.monotonic() < until:
            time.sleep(0.01)
    gc.collect()
    before = Belongings()
    yield
    if request.node.stash.get(_FAILED, False):
        return
    left = settle(before, shared_pool=bool(SHARED))
    assert not left, f"the test left behind: {'; '.join(left)}"


@pytest.fixture
def functions_file(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a file of functions."""

    def write(text: str, name: str = "functions.py") -> Path:
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return path

    return write
