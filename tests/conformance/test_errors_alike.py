"""The same failure has the same code and the same parts in Rust, Python, C and the JVM."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from drivers import HERE, HOSTS, WORKERS, Host, absent, built
from session import Session

PYTHON = next(worker for worker in WORKERS if worker.name == "Python")
FILE = HERE / "failing.py"

#: Code and name of each function's failure, and which parts the error must have beside function, batch and rows.
FAILURES = {
    "raises": ("TRN-3001", {"remote"}),
    "leaves": ("TRN-3002", {"remote", "hint"}),
    "crashes": ("TRN-2104", {"worker", "stack", "output", "hint"}),
    "vanishes": ("TRN-2101", {"worker", "output", "hint"}),
    "hangs": ("TRN-2107", {"worker", "stack", "hint"}),
    "shortens": ("TRN-4001", {"hint"}),
    "retypes": ("TRN-4002", {"hint"}),
    "gives_a_list": ("TRN-4003", {"hint"}),
    "wants_another": ("TRN-6001", {"hint"}),
    "nothing": ("TRN-1103", {"hint"}),
    "absent": ("TRN-1101", {"hint"}),
}
#: What a function that could not be loaded was not called with.
NOT_CALLED = {"nothing", "absent"}


@pytest.fixture(scope="module", params=HOSTS, ids=lambda host: host.name)
def session(request: pytest.FixtureRequest) -> Iterator[Session]:
    host: Host = request.param
    if reason := absent(host):
        pytest.skip(reason)
    built(host)
    made = Session(host, PYTHON)
    yield made
    made.close()


def failure(session: Session, function: str, folder: Path) -> dict[str, Any]:
    case = str(HERE / "cases" / "int64.arrows")
    request = {
        "do": "run",
        "function": f"{FILE}:{function}",
        "file": case,
        "inputs": [{"batch": 0}],
        "column": 0,
        "output": str(folder / "out.arrows"),
    }
    answer = session.ask(request)
    assert "failed" in answer, answer
    return answer["failed"]


def normal(value: Any) -> Any:
    """Without what differs from one run of the same host to the next."""
    text = re.sub(r"process \d+", "process PID", json.dumps(value))
    text = re.sub(r"\d+(\.\d+)? s after its start", "T s after its start", text)
    text = re.sub(r"up \d+(\.\d+)? s, \d+ batches", "up T s, N batches", text)
    return json.loads(re.sub(r"0x[0-9a-f]{4,}", "0xADDRESS", text))


_first: dict[str, Any] = {}


@pytest.mark.parametrize("function", FAILURES)
def test_every_host_says_the_same(session: Session, function: str, tmp_path: Path) -> None:
    code, has = FAILURES[function]
    failed = failure(session, function, tmp_path)
    parts = failed["parts"]
    assert failed["code"] == code
    assert failed["message"].startswith(f"{code} {parts['name']}: {parts['message']}\n")
    assert parts["function"] == function
    if function not in NOT_CALLED:
        assert (parts["batch"], parts["rows"] is None) == (0, False)
    assert {part for part in ("remote", "worker", "stack", "output", "hint") if parts[part]} == has
    # Whichever host ran first stands for all: they must be equal to it, and so to each other.
    seen, first = normal(failed), _first.setdefault(function, normal(failed))
    assert seen == first, "\n".join(difflib.unified_diff(lines(first), lines(seen), "first", "seen", lineterm=""))


def lines(value: Any) -> list[str]:
    return json.dumps(value, indent=1, sort_keys=True).replace("\\n", "\n").splitlines()
