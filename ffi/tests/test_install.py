"""What `make install` lays out: headers that compile without a word, a library that exports its own functions only, pkg-config, the archive."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import EXAMPLES, PREFIX, ROOT, STRICT, Built, environment

VERSION = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)


def done(*command: str | Path, **options: object) -> str:
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
    assert VERSION
    assert pkg_config("--modversion") == [VERSION[1]]


def test_a_program_with_the_archive_needs_no_shared_library(c: Built, out: Path) -> None:
    program = out / "static-host"
    # The shared library is beside the archive, and would be taken first.
    libraries = [PREFIX / "lib" / "libtransom.a" if flag == "-ltransom" else flag for flag in pkg_config("--static", "--libs")]
    done("cc", "-std=c99", *pkg_config("--cflags"), "-o", program, EXAMPLES / "c" / "host.c", *libraries)
    assert "libtransom" not in done("readelf", "-d", program)
    printed = done(program, sys.executable, EXAMPLES / "functions.py", c.library)
    assert printed == (EXAMPLES / "expected" / "host.txt").read_text()


def test_what_the_cpp_header_owns(c: Built, tmp_path: Path) -> None:
    for standard in ("c++11", "c++20"):
        program = tmp_path / standard
        source = Path(__file__).parent / "owned.cpp"
        done(
            "c++",
            f"-std={standard}",
            *STRICT,
            *pkg_config("--cflags"),
            f"-I{EXAMPLES / 'c'}",
            "-o",
            program,
            source,
            *pkg_config("--libs"),
            "-pthread",
        )
        assert done(program, c.library) == "ok\n"


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


def test_a_deadline_shows_where_a_function_hangs(tmp_path: Path, out: Path) -> None:
    library = tmp_path / "libspin.so"
    text = """
        #include <transom.h>
        int32_t spins_for_ever(void *, transom_call_t *, struct ArrowArray *, const struct ArrowSchema *, struct ArrowArray *, struct ArrowSchema *);
        int32_t spins_for_ever(void *user_data, transom_call_t *call, struct ArrowArray *arguments, const struct ArrowSchema *schema,
                               struct ArrowArray *result, struct ArrowSchema *result_schema) {
            volatile int turns = 0;
            (void)user_data, (void)call, (void)arguments, (void)schema, (void)result, (void)result_schema;
            for (;;) turns = !turns;
        }
        static const transom_field_t x[] = {TRANSOM_FIELD("x", NULL)};
        static const transom_definition_t definitions[] = {
            {sizeof definitions[0], "spin", TRANSOM_KIND_SCALAR, false, x, 1, NULL, 0, 50, 0, spins_for_ever, NULL, NULL},
        };
        static const transom_library_t library = {sizeof library, TRANSOM_ABI_VERSION, sizeof definitions[0], definitions, 1, "C"};
        const transom_library_t *transom_library(uint32_t abi_version) { return abi_version == TRANSOM_ABI_VERSION ? &library : NULL; }
    """
    done("cc", "-xc", *STRICT, *pkg_config("--cflags"), "-shared", "-fPIC", "-o", library, "-", input=text)
    program = f"""if True:
        import pyarrow as pa, transom
        with transom.Pool(workers=1) as pool:
            try:
                pool.call(transom.native({str(library)!r}, "spin"), pa.array([1]))
            except transom.TransomError as error:
                print(error)
    """
    said = done(sys.executable, "-c", program)
    assert "DEADLINE_EXCEEDED" in said
    assert "libspin.so(spins_for_ever+" in said


def test_the_first_programs_of_the_document(tmp_path: Path, out: Path) -> None:
    shown = dict(re.findall(r"<!-- tested: (\S+) -->\n```c\n(.*?)```", (EXAMPLES.parent.parent / "docs" / "abi.md").read_text(), re.DOTALL))
    assert {name: (EXAMPLES.parent.parent / name).read_text() for name in shown} == shown
    done("cc", *STRICT, "-shared", "-fPIC", "-o", tmp_path / "libfirst.so", EXAMPLES / "c" / "first_library.c", *pkg_config("--cflags"))
    done("cc", *STRICT, "-o", tmp_path / "first", EXAMPLES / "c" / "first.c", *pkg_config("--cflags", "--libs"))
    assert done(tmp_path / "first", cwd=tmp_path).split() == ["2", "3", "4"]
