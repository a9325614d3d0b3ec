"""What `make install` lays out: headers that any compiler takes without a word, a library that exports its own functions only, pkg-config, the archive."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import EXAMPLES, PREFIX, STRICT, Built, environment

VERSION = re.search(r'^version = "(.*)"', (PREFIX.parent.parent / "Cargo.toml").read_text(), re.MULTILINE)


def done(*command: str | Path, **options: str) -> str:
    """What a command prints. It must succeed."""
    ended = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, env=environment(), **options)
    assert ended.returncode == 0, f"{' '.join(map(str, command))}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


def pkg_config(*arguments: str) -> list[str]:
    return done("pkg-config", *arguments, "transom").split()


@pytest.mark.parametrize(
    ("header", "standard"),
    [
        *(("transom.h", standard) for standard in ("c99", "c11", "c17", "c++11", "c++17", "c++20")),
        *(("transom.hpp", standard) for standard in ("c++11", "c++14", "c++17", "c++20")),
    ],
)
def test_headers_are_clean(header: str, standard: str, out: Path) -> None:
    compiler = ["c++", "-xc++"] if standard.startswith("c++") else ["cc", "-xc"]
    text = f"#include <{header}>\n#include <{header}>\nint main(void) {{ return TRANSOM_OK; }}\n"
    done(*compiler, f"-std={standard}", *STRICT, "-Wconversion", *pkg_config("--cflags"), "-c", "-o", os.devnull, "-", input=text)


@pytest.mark.parametrize(("language", "compiler", "standard"), [("c", "cc", "c11"), ("cpp", "c++", "c++17")])
def test_examples_are_clean_by_later_standards_too(language: str, compiler: str, standard: str, out: Path) -> None:
    for path in sorted((EXAMPLES / language).glob(f"*.{language}")):
        done(compiler, f"-std={standard}", *STRICT, *pkg_config("--cflags"), "-c", "-o", os.devnull, path)


def test_the_library_exports_what_the_header_declares_and_nothing_else(out: Path) -> None:
    symbols = done("nm", "-D", "--defined-only", PREFIX / "lib" / "libtransom.so").splitlines()
    declared = set(re.findall(r"\b(transom_\w+)\(", (PREFIX / "include" / "transom.h").read_text()))
    # Those two are not the library's: one is inline, the other is what libraries of functions have.
    assert declared - {"transom_call_fail", "transom_library"} == {line.split()[-1] for line in symbols}
    assert "libtransom.so.1]" in done("readelf", "-d", PREFIX / "lib" / "libtransom.so")


def test_pkg_config_knows_the_version(out: Path) -> None:
    assert VERSION and pkg_config("--modversion") == [VERSION[1]]


def test_a_program_with_the_archive_needs_no_shared_library(c: Built, out: Path) -> None:
    program = out / "static-host"
    # The shared library is beside the archive, and would be taken first.
    libraries = [PREFIX / "lib" / "libtransom.a" if flag == "-ltransom" else flag for flag in pkg_config("--static", "--libs")]
    done("cc", "-std=c99", *pkg_config("--cflags"), "-o", program, EXAMPLES / "c" / "host.c", *libraries)
    assert "libtransom" not in done("readelf", "-d", program)
    printed = done(program, sys.executable, EXAMPLES / "functions.py", c.library)
    assert printed == (EXAMPLES / "expected" / "host.txt").read_text()


def test_a_library_that_cannot_be_loaded_is_named_with_the_reason(c: Built, tmp_path: Path) -> None:
    """The errors example asks for functions of whatever library it is given."""

    def said(library: Path) -> str:
        return done(*c.errors, sys.executable, EXAMPLES / "functions.py", library)

    library = tmp_path / "library.so"
    assert f"message: the library {library} is not there" in said(library)
    library.write_text("nothing that can be loaded")
    assert f"message: cannot load the library {library}: {library}: file too short" in said(library)
    done("cc", "-xc", "-shared", "-o", library, "-", input="int nothing;")
    assert f"{library}: undefined symbol: transom_library" in said(library)
