"""The examples of every language print the same, with the functions of every other, and leave nothing behind. So do the misuse tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import EXAMPLES, FFI, Built, environment

HOSTS = ["c", "cpp", "go", "node"]
LIBRARIES = ["c", "cpp", "go"]  # Node.js cannot be loaded into another process
WORKERS = HOSTS
PATIENCE = 10.0  # seconds for what ends in the background
DEADLINE = 120  # seconds for one program


def members(session: int) -> list[str]:
    """The processes of a session, which those that it started are in, too."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == session:
            found.append((process / "cmdline").read_text().replace("\0", " "))
    return found


def run(*command: str | Path, **variables: str | Path) -> str:
    """What a program prints. It must succeed, and leave neither a process nor a file in /dev/shm behind."""
    before = set(os.listdir("/dev/shm"))
    variables = {**environment(), **{name: str(value) for name, value in variables.items()}}
    pipe = subprocess.PIPE
    process = subprocess.Popen(list(map(str, command)), stdout=pipe, stderr=pipe, text=True, env=variables, start_new_session=True)
    try:
        printed, complaints = process.communicate(timeout=DEADLINE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == 0, f"status {process.returncode}\n{printed}\n{complaints}"
    until = time.monotonic() + PATIENCE
    while (left := members(process.pid)) and time.monotonic() < until:
        time.sleep(0.01)
    assert not left, f"processes are left behind: {left}"
    assert set(os.listdir("/dev/shm")) <= before
    return printed


def expected(name: str) -> str:
    """What an example prints, in every language."""
    return (EXAMPLES / "expected" / f"{name}.txt").read_text()


def arguments(library: Path) -> list[str | Path]:
    """What every example is given: a Python, a file of functions, a library of functions."""
    return [sys.executable, EXAMPLES / "functions.py", library]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("host", HOSTS)
def test_host(host: str, library: str, under: list[str], request: pytest.FixtureRequest) -> None:
    built: Built = request.getfixturevalue(host)
    functions: Built = request.getfixturevalue(library)
    assert run(*under, *built.host, *arguments(functions.library)) == expected("host")


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("host", HOSTS)
def test_errors(host: str, library: str, under: list[str], request: pytest.FixtureRequest) -> None:
    built: Built = request.getfixturevalue(host)
    functions: Built = request.getfixturevalue(library)
    printed = run(*under, *built.errors, *arguments(functions.library)).replace(f"{functions.library.parent}/", "")
    # Whether the address of a fault is known is up to the handlers of the library's own runtime, such as Go's.
    printed = re.sub(r", at address 0x[0-9a-f]+", "", printed)
    assert re.sub(r"\d+\.\d s after", "N s after", printed) == expected("errors")


@pytest.mark.parametrize("worker", WORKERS)
def test_worker_program(worker: str, c: Built, request: pytest.FixtureRequest) -> None:
    """A worker program of one's own has the functions; the library is only a name then."""
    built: Built = request.getfixturevalue(worker)
    assert run(*c.host, *arguments(Path("none.so")), TRANSOM_NATIVE_WORKER=built.worker) == expected("host")


def cases() -> list[str]:
    """The cases of the misuse tests, as their source names them."""
    return re.findall(r'\{"(\w+)", case_\w+\}', (FFI / "tests" / "misuse" / "main.c").read_text())


@pytest.mark.parametrize("case", cases())
def test_misuse(case: str, under: list[str], misuse: list[str | Path]) -> None:
    assert run(*under, *misuse, case) == f"{case}: ok\n"
