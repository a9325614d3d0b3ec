"""The C ABI: its headers, its examples in C and C++, and what C programs can do wrong. `make ffi` lays out what they are compiled with."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PREFIX = ROOT / "target" / "ffi"
EXAMPLES = ROOT / "ffi" / "examples"
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
COMPILERS = {"c": ["cc", "-std=c99", "-D_POSIX_C_SOURCE=200809L"], "cpp": ["c++", "-std=c++11"]}


def done(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, **options)
    assert ended.returncode == 0, f"{' '.join(map(str, command))}\n{ended.stdout}{ended.stderr}"
    return ended


def pkg_config(*arguments: str) -> list[str]:
    environment = os.environ | {"PKG_CONFIG_PATH": str(PREFIX / "lib" / "pkgconfig")}
    return done(["pkg-config", *arguments, "transom"], env=environment).stdout.split()


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Compiles sources into a program or, by its name, a shared library; each once. A library is linked with nothing but its language's."""
    folder = tmp_path_factory.mktemp("abi")
    flags = [*pkg_config("--cflags"), f"-I{EXAMPLES / 'c'}"]
    linked = [*pkg_config("--libs"), f"-Wl,-rpath,{PREFIX / 'lib'}", "-lpthread"]

    def built(name: str, *sources: Path, options: tuple[str, ...] = ()) -> Path:
        language = sources[0].suffix[1:]
        target = folder / language / name
        if not target.exists():
            target.parent.mkdir(exist_ok=True)
            kind = ["-shared", "-fPIC", "-Wl,-z,defs"] if name.endswith(".so") else []
            libraries = [] if kind else linked
            done([*COMPILERS[language], *STRICT, *flags, *options, *kind, "-o", str(target), *map(str, sources), *libraries])
        return target

    return built


def run(program: Path, *arguments: Path | str, worker: Path = PREFIX / "bin" / "transom-native-worker") -> str:
    environment = os.environ | {"TRANSOM_NATIVE_WORKER": str(worker)}
    return done([str(program), *map(str, arguments)], env=environment).stdout


def source(language: str, name: str) -> Path:
    return EXAMPLES / language / f"{name}.{language}"


@pytest.fixture(params=["c", "cpp"])
def language(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("standard", ["c99", "c11", "c17", "c++11", "c++14", "c++17", "c++20"])
@pytest.mark.parametrize("header", ["transom.h", "transom.hpp"])
def test_headers_are_clean(header: str, standard: str) -> None:
    is_cpp = standard.startswith("c++")
    if header.endswith("hpp") and not is_cpp:
        pytest.skip("it is for C++")
    compiler = ["c++", "-xc++"] if is_cpp else ["cc", "-xc"]
    text = f"#include <{header}>\n#include <{header}>\nint main(void) {{ return TRANSOM_OK; }}\n"
    command = [*compiler, f"-std={standard}", *STRICT, "-Wconversion", *pkg_config("--cflags"), "-c", "-o", os.devnull, "-"]
    done(command, input=text)


def test_every_example_is_built_by_every_standard_that_it_is_for(tmp_path: Path) -> None:
    for language, standards in {"c": ["c99", "c11"], "cpp": ["c++11", "c++17"]}.items():
        for standard in standards:
            for path in sorted((EXAMPLES / language).glob(f"*.{language}")):
                command = [COMPILERS[language][0], f"-std={standard}", "-D_POSIX_C_SOURCE=200809L", *STRICT, *pkg_config("--cflags")]
                done([*command, "-c", "-o", str(tmp_path / "object.o"), str(path)])


def expected(name: str) -> str:
    return (EXAMPLES / "expected" / f"{name}.txt").read_text()


def test_host(language: str, build: Callable[..., Path]) -> None:
    library = build("libexample.so", source(language, "library"))
    assert run(build("host", source(language, "host")), sys.executable, EXAMPLES / "functions.py", library) == expected("host")


def test_worker(language: str, build: Callable[..., Path]) -> None:
    worker = build("worker", source(language, "worker"), source(language, "library"))
    host = build("host", source(language, "host"))
    assert run(host, sys.executable, EXAMPLES / "functions.py", worker, worker=worker) == expected("host")


def test_errors(language: str, build: Callable[..., Path]) -> None:
    library = build("libexample.so", source(language, "library"))
    printed = run(build("errors", source(language, "errors")), sys.executable, EXAMPLES / "functions.py", library)
    assert re.sub(r"after \d+\.\d s", "after N s", printed.replace(f"{library.parent}/", "")) == expected("errors")


def test_misuse_is_an_error(build: Callable[..., Path]) -> None:
    here = Path(__file__).parent / "abi"
    library = build("libexample.so", source("c", "library"))
    faulty = build("libfaulty.so", here / "faulty.c")
    run(build("misuse", here / "misuse.c", options=("-D_GNU_SOURCE",)), library, faulty)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("-DVERSION=2",), "VERSION_MISMATCH", "version 2 of the ABI"),
        (("-DSIZE=16",), "VERSION_MISMATCH", "16 bytes"),
        (("-DDEFINITION_SIZE=8",), "VERSION_MISMATCH", "definitions have 8 bytes"),
        (("-DTABLE=NULL",), "VERSION_MISMATCH", "does not work with version"),
    ],
)
def test_libraries_that_do_not_fit(options: tuple[str, ...], code: str, words: str, build: Callable[..., Path]) -> None:
    here = Path(__file__).parent / "abi"
    name = f"lib{re.sub(r'[^A-Z]', '', options[0])}.so"
    library = build(name, here / "faulty.c", options=options)
    probe = build("probe", here / "probe.c")
    said = run(probe, library, "hold")
    assert code in said and words in said and str(library) in said


def test_libraries_that_cannot_be_loaded(build: Callable[..., Path], tmp_path: Path) -> None:
    probe = build("probe", Path(__file__).parent / "abi" / "probe.c")
    nothing = tmp_path / "nothing.so"
    assert f"FUNCTION_NOT_FOUND: the library {nothing} is not there" in run(probe, nothing, "f")
    nothing.write_text("not a library")
    said = run(probe, nothing, "f")
    assert f"FUNCTION_IMPORT_FAILED: cannot load the library {nothing}" in said and "file too short" in said
    other = build("libother.so", Path(__file__).parent / "abi" / "other.c")
    said = run(probe, other, "f")
    assert "FUNCTION_IMPORT_FAILED" in said and "undefined symbol: transom_library" in said


def test_what_the_library_exports() -> None:
    symbols = done(["nm", "-D", "--defined-only", str(PREFIX / "lib" / "libtransom.so")]).stdout.split("\n")
    names = {line.split()[-1] for line in symbols if line}
    assert names and all(name.startswith("transom_") for name in names)
    declared = set(re.findall(r"\b(transom_\w+)\(", (PREFIX / "include" / "transom.h").read_text()))
    # Those two are not the library's: one is inline, the other is what libraries of functions have.
    assert declared - {"transom_call_fail", "transom_library"} == names
    dynamic = done(["readelf", "-d", str(PREFIX / "lib" / "libtransom.so")]).stdout
    assert "libtransom.so.1]" in dynamic
    assert pkg_config("--modversion") == [done([sys.executable, "-c", "import transom; print(transom.__version__)"]).stdout.strip()]


def test_a_program_with_the_static_library(build: Callable[..., Path], tmp_path: Path) -> None:
    program = tmp_path / "host"
    command = [*COMPILERS["c"], *pkg_config("--cflags"), "-o", str(program), str(source("c", "host")), str(PREFIX / "lib" / "libtransom.a")]
    done([*command, *(flag for flag in pkg_config("--static", "--libs") if flag != "-ltransom")])
    library = build("libexample.so", source("c", "library"))
    assert run(program, sys.executable, EXAMPLES / "functions.py", library) == expected("host")
