"""The hosts and the workers of the matrix. A new language is one entry in HOSTS, in WORKERS, or in both; docs/conformance.md says what it must do."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILT = ROOT / "target" / "debug"

PYARROW = "pyarrow has no arrays of this type"


@dataclass(frozen=True, eq=False)
class Host:
    """A program that makes a pool and answers requests."""

    name: str
    command: tuple[str, ...]
    #: Files and programs that must be there, and how they come about.
    needs: Mapping[str, str] = field(default_factory=dict)
    #: The command that builds it, where it is not built with the rest.
    build: tuple[str, ...] = ()
    #: What its library does not have, and why.
    missing: Mapping[str, str] = field(default_factory=dict)
    #: What its library gets wrong, with its version: calls go through, and what comes back is not what it must be.
    limits: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
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
    needs: Mapping[str, str] = field(default_factory=dict)
    build: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)


def named(place: str) -> dict[str, str]:
    """The functions of a file."""
    return {name: f"{place}:{name}" for name in ("identity", "identity_batches", "describe")}


CC = ("cc", "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1", "-g", "-fPIC", "-shared", f"-I{ROOT / 'ffi' / 'include'}")
SOURCES = HERE / "c"
INSTALLED = ROOT / "target" / "ffi"
LIBTRANSOM = INSTALLED / "lib" / "libtransom.so.1"
NATIVE_WORKER = INSTALLED / "bin" / "transom-native-worker"
C_HOST = BUILT / "libconformance_host.so"
C_WORKER = BUILT / "libconformance_worker.so"
JVM_WORKER = ROOT / "jvm" / "transom-worker" / "target"
JVM_FUNCTIONS = ROOT / "tests" / "java" / "target"
JAVA = Path(os.environ["JAVA_HOME"], "bin", "java") if os.environ.get("JAVA_HOME") else "java"

CARGO = "cargo test --no-run"
FFI = "make ffi"
JVM = "make jvm"
NO_CC = "install gcc"
JVM_CLASSES = {"identity": "Identity", "identity_batches": "IdentityBatches", "describe": "Describe"}
LEVELS = "pyarrow imports 64 levels, one of which is the batch"
ARROW_JAVA = "arrow-java 19.0.0"
JVM_MISSING = {
    "decimal32": f"{ARROW_JAVA} has decimals of 128 and 256 bits alone",
    "decimal64": f"{ARROW_JAVA} has decimals of 128 and 256 bits alone",
    "fixed_size_binary_of_nothing": f"{ARROW_JAVA} divides by the width, 0",
    "union_dense_codes": f"{ARROW_JAVA} numbers the fields of dense unions from 0 on, whatever their codes",
}
DOLLAR_DATA = f"{ARROW_JAVA} calls the children of lists in dictionaries `$data$`, and so its reader and writer lose their names"


def jar(folder: Path, name: str) -> str:
    """The jar that Maven has made, whatever its version."""
    return str(next(folder.glob(f"{name}-[0-9]*.jar"), folder / f"{name}.jar"))


JVM_CLASS_PATH = (jar(JVM_WORKER, "transom-worker"), jar(JVM_FUNCTIONS, "test-functions"))
# Without the last, exceptions that come often have neither a message nor a stack.
JVM_OPTIONS = ("-Xcheck:jni", "--add-opens=java.base/java.nio=ALL-UNNAMED", "-XX:-OmitStackTraceInFastThrow")
JVM_NEEDS = {str(JAVA): "install a JDK", **dict.fromkeys(JVM_CLASS_PATH, JVM)}

HOSTS = (
    Host("Rust", (str(BUILT / "conformance-host"),), needs={str(BUILT / "conformance-host"): CARGO}),
    Host("Python", (sys.executable, str(HERE / "host.py")), missing={"depth_64": LEVELS}),
    Host(
        "C",
        (sys.executable, str(HERE / "c_host.py"), str(LIBTRANSOM), str(C_HOST)),
        needs={"cc": NO_CC, str(LIBTRANSOM): FFI},
        build=(*CC, str(SOURCES / "host.c"), str(LIBTRANSOM), "-o", str(C_HOST)),
        missing={"depth_64": f"its files are read by pyarrow, and {LEVELS}"},
    ),
    # What -Xcheck:jni has to say goes to standard output, where it is no answer: so it fails the test.
    Host(
        "JVM",
        (str(JAVA), *JVM_OPTIONS, "-cp", ":".join(JVM_CLASS_PATH), "com.acme.conformance.Host"),
        needs=JVM_NEEDS,
        missing=JVM_MISSING,
        limits={"dictionary_of_nested": DOLLAR_DATA},
    ),
)

WORKERS = (
    Worker(
        "Python",
        "python",
        sys.executable,
        named(str(HERE / "functions.py")),
        missing={"interval_year_month": PYARROW, "interval_day_time": PYARROW, "depth_64": LEVELS},
    ),
    Worker(
        "Rust",
        "native",
        str(BUILT / "conformance-worker"),
        named("conformance-worker"),
        needs={str(BUILT / "conformance-worker"): CARGO},
    ),
    Worker(
        "C",
        "native",
        str(NATIVE_WORKER),
        named(str(C_WORKER)),
        needs={"cc": NO_CC, str(NATIVE_WORKER): FFI},
        build=(*CC, str(SOURCES / "describe.c"), str(SOURCES / "worker.c"), "-o", str(C_WORKER)),
    ),
    Worker(
        "JVM",
        "java",
        str(JAVA),
        {name: f"com.acme.conformance.{place}" for name, place in JVM_CLASSES.items()},
        class_path=JVM_CLASS_PATH,
        options=("-Xcheck:jni",),
        needs=JVM_NEEDS,
        missing=JVM_MISSING,
        limits={"union_sparse_of_nested": f"{ARROW_JAVA} reads null in place of the lists of sparse unions"},
    ),
)


def absent(*parts: Host | Worker) -> str | None:
    """Why a pair cannot run here."""
    needs = {what: advice for part in parts for what, advice in part.needs.items()}
    lacking = [
        f"{what.removeprefix(f'{ROOT}/')} is not there: {advice}"
        for what, advice in needs.items()
        if shutil.which(what) is None and not Path(what).exists()
    ]
    return "; ".join(lacking) or None


@functools.cache
def built(part: Host | Worker) -> None:
    """Builds what is not built with the rest, once in a run."""
    if part.build:
        subprocess.run(part.build, check=True)
