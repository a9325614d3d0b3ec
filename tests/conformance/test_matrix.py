"""Every ordered pair of a host and a worker: every type there and back, and read by the worker's own library."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from compare import MANIFEST, RUNS, Run, as_stream, difference, lacking, names_the_type
from drivers import HOSTS, WORKERS, absent, built
from matrix import KEPT, Matrix, kept
from session import Broken, Session

FILES = [entry["name"] for entry in MANIFEST]
PAIRS = [(host, worker) for host in HOSTS for worker in WORKERS]


class Different(str):
    """The fault that what came back is not what it must be, which a library's limit excuses."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("conformance")


class Bench:
    """The session of one pair, made anew where a host has died."""

    def __init__(self, host: Any, worker: Any) -> None:
        self.host, self.worker = host, worker
        self.session = Session(host, worker)
        self.refused: set[str] = set()
        self.wrong: set[str] = set()

    def ready(self) -> Session:
        if not self.session.alive:
            self.session = Session(self.host, self.worker)
        return self.session

    def settle(self) -> None:
        """Looks whether the host has given back all; one that has not is not used again, so that one file gets the blame."""
        try:
            self.session.settle()
        except Broken:
            self.session.kill()
            raise


@pytest.fixture(scope="module", params=PAIRS, ids=[f"{host.name}-{worker.name}".lower() for host, worker in PAIRS])
def bench(request: pytest.FixtureRequest, matrix: Matrix) -> Iterator[Bench]:
    host, worker = request.param
    reason = absent(host, worker)
    if reason is not None:
        matrix.skipped[host.name, worker.name] = reason
        pytest.skip(reason)
    built(host)
    built(worker)
    made = Bench(host, worker)
    yield made
    if made.session.alive:
        made.session.close()


@pytest.mark.parametrize("entry", MANIFEST, ids=FILES)
def test_pair(bench: Bench, entry: dict[str, Any], folder: Path, matrix: Matrix) -> None:
    source, faults, batches, lacked = as_stream(entry, folder), [], 0, set()
    for run in RUNS[entry["name"]]:
        for function, column in run.calls():
            missing = lacking(run, column, bench.host.missing, bench.worker.missing)
            limits = lacking(run, column, bench.host.limits, bench.worker.limits)
            fault, passed = call(bench, run, function, column, missing, source, folder / "out.arrows")
            if limits and isinstance(fault, Different):
                bench.wrong |= limits.keys()
                fault = None
            batches += passed
            lacked |= missing.keys() | limits.keys()
            if fault:
                faults.append(f"{run.name}, {function} of {'all columns' if column is None else f'column {column}'}: {fault}")
    assert not faults, "\n".join(faults)
    bench.settle()
    matrix.note((bench.host.name, bench.worker.name), entry["name"], batches, frozenset(lacked))


def call(bench: Bench, run: Run, function: str, column: int | None, missing: dict[str, str], source: Path, output: Path) -> tuple[str | None, int]:
    """What is wrong with one call, and how many batches are right."""
    session = bench.ready()
    reference = bench.worker.functions[function]
    request = {"function": reference, "file": str(source), "inputs": run.inputs, "column": column, "output": str(output)}
    answer = session.ask({"do": "run", **request})
    failed = answer.get("failed")
    if run.refused is not None and not missing:
        if failed and failed["code"] == run.refused:
            return None, 0
        return f"{answer}, and it must be refused with {run.refused}", 0
    if failed is None:
        fault = difference(run, function, column, output)
        return (Different(fault), 0) if fault else (None, len(run.inputs))
    if not missing:
        return str(failed), 0
    ours = failed["code"].startswith("TRN-")
    if failed["code"] in ("", "TRN-9001") or (ours and not any(names_the_type(failed["message"], feature) for feature in missing)):
        return f"refused without saying why: {failed}", 0
    bench.refused |= missing.keys()
    return None, 0


def test_what_is_missing_was_refused(bench: Bench, matrix: Matrix) -> None:
    """After all files of a pair: nothing is said to be missing that works."""
    if set(matrix.cells[bench.host.name, bench.worker.name]) >= set(FILES):
        assert bench.refused == bench.host.missing.keys() | bench.worker.missing.keys()
        assert bench.wrong == bench.host.limits.keys() | bench.worker.limits.keys()


def test_the_kept_matrix_is_current(matrix: Matrix) -> None:
    if os.environ.get("CONFORMANCE_UPDATE"):
        KEPT.write_text(matrix.page(FILES))
    columns = kept()
    assert columns["batches"] == FILES
    for (host, worker), cells in matrix.rows(FILES).items():
        assert columns.get(f"{host} host, {worker} worker") == cells, f"{host} host, {worker} worker: say CONFORMANCE_UPDATE=1 where this is right"
