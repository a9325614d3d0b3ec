"""The hosts and the workers of the matrix. A new language is one entry in HOSTS, in WORKERS, or in both; docs/conformance.md says what it must do."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILT = ROOT / "target" / "debug"

PYARROW = "pyarrow has no arrays of this type"


@dataclass(frozen=True)
class Host:
    """A program that makes a pool and answers requests."""

    name: str
    command: tuple[str, ...]
    #: Files that must be there, and how they come about.
    needs: Mapping[Path, str] = field(default_factory=dict)
    #: What its library does not have, and why.
    missing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Worker:
    """What runs the kit's functions."""

    name: str
    #: "python", "native" or "java".
    language: str
    program: str
    #: How the host names each function.
    functions: Mapping[str, str]
    class_path: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    needs: Mapping[Path, str] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)


def named(place: str) -> dict[str, str]:
    """The functions of a file."""
    return {name: f"{place}:{name}" for name in ("identity", "identity_batches", "describe")}


def built(name: str) -> dict[Path, str]:
    return {BUILT / name: "cargo test --no-run"}


HOSTS = (
    Host("Rust", (str(BUILT / "conformance-host"),), built("conformance-host")),
    Host("Python", (sys.executable, str(HERE / "host.py")), missing={"depth_64": "pyarrow imports 64 levels, one of which is the batch"}),
)

WORKERS = (
    Worker(
        "Python",
        "python",
        sys.executable,
        named(str(HERE / "functions.py")),
        missing={
            "interval_year_month": PYARROW,
            "interval_day_time": PYARROW,
            "depth_64": "pyarrow imports 64 levels, one of which is the batch",
        },
    ),
    Worker("Rust", "native", str(BUILT / "conformance-worker"), named("conformance-worker"), needs=built("conformance-worker")),
)


def absent(*parts: Host | Worker) -> str | None:
    """Why a pair cannot run here."""
    lacking = [f"{path} is not there ({advice})" for part in parts for path, advice in part.needs.items() if not path.exists()]
    return "; ".join(lacking) or None
