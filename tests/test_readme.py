"""The README's first programs are the files that it says, and do what it says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# The Java program is run by the tests of the JVM, the one in C by those of the C library.
SHOWN = ["examples/first.py", "bridge/core/examples/first.rs", "examples/First.java", "ffi/examples/c/first_library.c"]
BLOCK = re.compile(r"<!-- tested: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)


def blocks() -> dict[str, str]:
    found = dict(BLOCK.findall((ROOT / "README.md").read_text()))
    assert set(found) == set(SHOWN)
    return found


@pytest.mark.parametrize("name", SHOWN)
def test_the_readme_shows_the_file(name: str) -> None:
    shown = blocks()[name]
    source = (ROOT / name).read_text()
    # The Rust file has a heading for those who find it without the README.
    assert source.endswith(shown)


def test_the_first_python_program() -> None:
    done = subprocess.run(
        [sys.executable, "examples/first.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["[", "2,", "3,", "4", "]"]


def test_the_first_rust_program() -> None:
    cargo = shutil.which("cargo")
    assert cargo, "cargo is not on the path"
    command = [
        cargo,
        "run",
        "--quiet",
        "--locked",
        "--package",
        "transom",
        "--example",
        "first",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    assert re.sub(r"\s+", "", done.stdout).count("PrimitiveArray<Int64>[2,3,4,]") == 1, done.stdout
