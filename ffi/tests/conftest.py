"""Builds the examples of each language against the library as `make ffi` lays it out in target/ffi, and the misuse tests."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

FFI = Path(__file__).resolve().parent.parent
ROOT = FFI.parent
PREFIX = Path(os.environ.get("TRANSOM_PREFIX", ROOT / "target" / "ffi"))
EXAMPLES = FFI / "examples"
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
# For programs, not for libraries: what is loaded by a program that has no sanitizer cannot bring one.
CFLAGS = os.environ.get("CFLAGS", "").split()


@dataclass(frozen=True)
class Built:
    """What a language's examples were built to: commands of programs, and the paths of the library and the worker program."""

    host: list[str]
    errors: list[str]
    library: Path | None
    worker: Path | None


def need(program: str, how: str) -> str:
    """The path of a program without which nothing is skipped: the test fails and says how to get it."""
    path = shutil.which(program)
    if path is None:
        pytest.fail(f"{program} is missing, and the examples cannot be built: {how}", pytrace=False)
    return path


def environment() -> dict[str, str]:
    """That of every program here: it finds the library and the worker as they are installed."""
    return {
        **os.environ,
        "PKG_CONFIG_PATH": str(PREFIX / "lib" / "pkgconfig"),
        "LD_LIBRARY_PATH": str(PREFIX / "lib"),
        "TRANSOM_NATIVE_WORKER": str(PREFIX / "bin" / "transom-native-worker"),
        "RUST_BACKTRACE": "0",
    }


def build(*command: str | Path, cwd: Path) -> None:
    """Runs a build, and shows what it said if it fails."""
    done = subprocess.run(command, cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}"


def compiled(compiler: list[str], folder: Path, out: Path, suffix: str) -> Built:
    """The four examples of C or C++."""
    out.mkdir(exist_ok=True)
    flags = [f"-I{PREFIX / 'include'}"]
    link = [f"-L{PREFIX / 'lib'}", "-ltransom"]
    build(*compiler, *flags, *CFLAGS, "-o", out / "host", f"host{suffix}", *link, cwd=folder)
    build(*compiler, *flags, *CFLAGS, "-o", out / "errors", f"errors{suffix}", *link, cwd=folder)
    build(*compiler, *flags, "-shared", "-fPIC", "-o", out / "libexample.so", f"library{suffix}", cwd=folder)
    build(*compiler, *flags, *CFLAGS, "-o", out / "worker", f"worker{suffix}", f"library{suffix}", *link, cwd=folder)
    return Built([str(out / "host")], [str(out / "errors")], out / "libexample.so", out / "worker")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`make check-valgrind` runs every program under another one."""
    parser.addoption("--under", default="", help="a command that runs the programs, such as valgrind with its options")


@pytest.fixture(scope="session")
def under(request: pytest.FixtureRequest) -> list[str]:
    """The command that programs run under."""
    return shlex.split(request.config.getoption("--under"))


@pytest.fixture(scope="session")
def out() -> Path:
    """The folder for what is built."""
    if not (PREFIX / "lib" / "libtransom.so").exists():
        pytest.fail("the library is not built: run `make ffi` first", pytrace=False)
    folder = ROOT / "target" / "ffi-tests"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def c(out: Path) -> Built:
    """The examples in C."""
    compiler = need("cc", "install gcc (Debian: apt-get install build-essential)")
    return compiled([compiler, "-std=c99", *STRICT], EXAMPLES / "c", out / "c", ".c")


@pytest.fixture(scope="session")
def cpp(out: Path) -> Built:
    """The examples in C++."""
    compiler = need("c++", "install g++ (Debian: apt-get install build-essential)")
    return compiled([compiler, "-std=c++11", *STRICT], EXAMPLES / "cpp", out / "cpp", ".cpp")


@pytest.fixture(scope="session")
def go(out: Path) -> Built:
    """The examples in Go. Its modules come from the network the first time, in the versions of go.sum."""
    compiler = need("go", "install Go 1.25 or later from https://go.dev/dl")
    need("pkg-config", "install it (Debian: apt-get install pkg-config)")
    folder = out / "go"
    folder.mkdir(exist_ok=True)
    build(compiler, "build", "-mod=readonly", "-o", f"{folder}/", "./host", "./errors", "./worker", cwd=EXAMPLES / "go")
    build(compiler, "build", "-mod=readonly", "-buildmode=c-shared", "-o", folder / "libexample.so", "./library", cwd=EXAMPLES / "go")
    return Built([str(folder / "host")], [str(folder / "errors")], folder / "libexample.so", folder / "worker")


@pytest.fixture(scope="session")
def node(out: Path) -> Built:
    """The examples in JavaScript, with their addon. Its packages come from the network the first time, in the versions of package-lock.json."""
    program = need("node", "install Node.js 20 or later from https://nodejs.org")
    npm = need("npm", "it comes with Node.js (Debian: apt-get install npm)")
    need("pkg-config", "install it (Debian: apt-get install pkg-config)")
    folder = EXAMPLES / "node"
    installed, locked = folder / "node_modules" / ".package-lock.json", folder / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < locked.stat().st_mtime:
        build(npm, "ci", "--no-audit", "--no-fund", cwd=folder)
    build(npm, "run", "build", cwd=folder)
    return Built([program, str(folder / "host.js")], [program, str(folder / "errors.js")], None, folder / "worker.js")


@pytest.fixture(scope="session")
def misuse(out: Path) -> list[str | Path]:
    """The command of the misuse tests, to which the name of a case is added."""
    compiler = need("cc", "install gcc (Debian: apt-get install build-essential)")
    source, folder = FFI / "tests" / "misuse", out / "misuse"
    folder.mkdir(exist_ok=True)
    flags = [compiler, "-std=c11", "-D_GNU_SOURCE", "-g", *STRICT, f"-I{PREFIX / 'include'}"]
    build(*flags, "-shared", "-fPIC", "-o", folder / "libmisuse.so", "library.c", cwd=source)
    files = ["main.c", "arrays.c", "handles.c", "calls.c", "streams.c", "failures.c"]
    build(*flags, *CFLAGS, "-o", folder / "misuse", *files, f"-L{PREFIX / 'lib'}", "-ltransom", "-pthread", cwd=source)
    return [folder / "misuse", folder / "libmisuse.so", PREFIX / "bin" / "transom-native-worker"]
