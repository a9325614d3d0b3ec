"""Where functions come from: files, modules, by value; and each way that loading fails."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import transom

ONE = pa.array([1, 2])
Write = Callable[..., Path]


def refused(pool: transom.Pool, function: Any, name: str) -> transom.TransomError:
    with pytest.raises(transom.TransomError) as caught:
        pool.call(function, ONE)
    assert caught.value.code_name == name, caught.value
    return caught.value


def test_a_file(pool: transom.Pool, functions_file: Write) -> None:
    functions_file("BY = 10\n", "helper_of_load.py")
    path = functions_file(
        """
        import transom
        from helper_of_load import BY  # from beside the file

        @transom.udf
        def decorated(x: int) -> int:
            return x * BY

        def plain(x: int) -> int:
            return x + BY

        class Model:
            def __init__(self):
                self.by = BY

            def __call__(self, x: int) -> int:
                return x - self.by

        class Space:
            @staticmethod
            def inner(x: int) -> int:
                return -x
        """
    )
    assert pool.call(f"{path}:decorated", ONE).to_pylist() == [10, 20]
    assert pool.call(f"{path}:plain", ONE).to_pylist() == [11, 12]
    assert pool.call(f"{path}:Model", ONE).to_pylist() == [-9, -8]
    assert pool.call(f"{path}:Space.inner", ONE).to_pylist() == [-1, -2]


def test_a_file_by_a_relative_path(pool: transom.Pool, functions_file: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = functions_file("def f(x: int) -> int:\n    return x\n")
    monkeypatch.chdir(path.parent)
    assert pool.call("functions.py:f", ONE).equals(ONE)
    assert pool.call("./functions.py:f", ONE).equals(ONE)


def test_a_file_is_run_once_for_all_its_functions(make_pool: Callable[..., transom.Pool], functions_file: Write, tmp_path: Path) -> None:
    path = functions_file(
        f"""
        with open({str(tmp_path / "runs")!r}, "a") as file:
            file.write("x")

        def f(x: int) -> int:
            return x

        def g(x: int) -> int:
            return x
        """
    )
    pool = make_pool()
    pool.call(f"{path}:f", ONE)
    pool.call(f"{path}:g", ONE)
    assert (tmp_path / "runs").read_text() == "x"


def test_a_module_on_the_hosts_path(pool: transom.Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package_of_load"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text(
        "import transom\n@transom.udf\ndef f(x: int) -> int:\n    return x + 1\ndef plain(x: int) -> int:\n    return x + 2\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert pool.call("package_of_load.inner:f", ONE).to_pylist() == [2, 3]
    import package_of_load.inner as inner  # type: ignore[import-not-found]

    # The same functions as objects: they go by name, since a worker can import them.
    assert pool.call(inner.f, ONE).to_pylist() == [2, 3]
    assert pool.call(inner.plain, ONE).to_pylist() == [3, 4]


def test_a_module_that_workers_cannot_import_goes_by_value(pool: transom.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("made_up_for_load")
    exec("BY = 5\ndef helper(x): return x * BY\nclass Thing:\n  by = BY\n", vars(module))
    for value in vars(module).values():
        if getattr(value, "__module__", "") == "builtins" or callable(value):
            value.__module__ = "made_up_for_load"
    monkeypatch.setitem(sys.modules, "made_up_for_load", module)
    helper, thing = module.helper, module.Thing

    @transom.udf
    def f(x: int) -> int:
        return helper(x) + thing.by

    assert pool.call(f, ONE).to_pylist() == [10, 15]
    import cloudpickle

    assert "made_up_for_load" not in cloudpickle.list_registry_pickle_by_value()


def test_closures_and_globals_go_along(pool: transom.Pool) -> None:
    offset = 7

    def helper(x: int) -> int:
        return x + offset

    @transom.udf
    def f(x: int) -> int:
        return helper(x)

    assert pool.call(f, ONE).to_pylist() == [8, 9]


def test_a_udf_may_call_a_udf(pool: transom.Pool) -> None:
    @transom.udf
    def inner(x: int) -> int:
        return x + 1

    @transom.udf
    def outer(x: int) -> int:
        return inner(x) * 2

    assert pool.call(outer, ONE).to_pylist() == [4, 6]


def test_a_script_and_its_main(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            from __future__ import annotations
            import dataclasses
            import pyarrow as pa
            import transom

            BY = 3

            @dataclasses.dataclass
            class Point:
                x: int

            @transom.udf
            def f(x: pa.Int64Array) -> pa.Int64Array:
                import pyarrow.compute as pc
                return pc.multiply(x, BY)

            @transom.udf
            def g(x: int) -> Point:
                return Point(x)

            if __name__ == "__main__":
                with transom.Pool(workers=1) as pool:
                    print(pool.call(f, pa.array([1, 2])).to_pylist(), pool.call(g, pa.array([4])).to_pylist())
            """
        )
    )
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("[3, 6] [{'x': 4}]\n", "", 0)


def test_code_that_stands_in_no_file_shows_its_lines(pool: transom.Pool) -> None:
    import linecache

    text = "def f(x: int) -> int:\n    return 1 // (x - x)  # in a cell\n"
    linecache.cache["<cell 1>"] = (
        len(text),
        None,
        text.splitlines(keepends=True),
        "<cell 1>",
    )
    names: dict[str, Any] = {}
    exec(compile(text, "<cell 1>", "exec", dont_inherit=True), names)
    error = refused(pool, names["f"], "FUNCTION_RAISED")
    assert "# in a cell" in error.remote_traceback


# What fails.


def test_no_such_file(pool: transom.Pool, functions_file: Write) -> None:
    path = functions_file("", "functions.py")
    error = refused(pool, f"{path.parent}/function.py:f", "FUNCTION_NOT_FOUND")
    assert "does not exist" in str(error)
    assert "functions.py" in error.hint
    assert "is a folder" in str(refused(pool, f"{path.parent}/:f", "FUNCTION_NOT_FOUND"))


def test_no_such_module(pool: transom.Pool) -> None:
    assert "there is no module `nowhere`" in str(refused(pool, "nowhere.inner:f", "FUNCTION_NOT_FOUND"))


def test_no_such_name(pool: transom.Pool, functions_file: Write) -> None:
    path = functions_file("from os.path import join\ndef discount(x: int) -> int:\n    return x\n")
    error = refused(pool, f"{path}:discont", "FUNCTION_NOT_FOUND")
    assert f"`discont` is not in {path}" in str(error)
    assert error.hint == "functions there: discount"
    assert refused(pool, "json:nothing", "FUNCTION_NOT_FOUND").hint is not None


def test_not_callable(pool: transom.Pool, functions_file: Write) -> None:
    path = functions_file("value = 5\n")
    assert "`value` is a int" in str(refused(pool, f"{path}:value", "FUNCTION_NOT_CALLABLE"))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("def f(x: complex) -> int:\n    return x\n", "complex"),
        ("import transom\n@transom.udf\ndef f(x): ...\n", "parameter `x` has no hint"),
    ],
)
def test_bad_signature(pool: transom.Pool, functions_file: Write, text: str, part: str) -> None:
    error = refused(pool, f"{functions_file(text)}:f", "FUNCTION_SIGNATURE")
    assert isinstance(error, transom.SignatureError)
    assert part in str(error)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("def f(x: int) -> int:\n    return (\n", ["SyntaxError", "was never closed"]),
        (
            "x = 1\n1 / 0\n",
            ["ZeroDivisionError: division by zero", "functions.py", "line 2"],
        ),
        (
            "import nothing_of_the_kind\n",
            ["nothing_of_the_kind", "install `nothing_of_the_kind`"],
        ),
        ("import sys\nsys.exit(3)\n", ["SystemExit: 3"]),
    ],
)
def test_import_fails(pool: transom.Pool, functions_file: Write, text: str, parts: list[str]) -> None:
    error = refused(pool, f"{functions_file(text)}:f", "FUNCTION_IMPORT_FAILED")
    for part in parts:
        assert part in str(error)
    assert "transom/_load.py" not in error.remote_traceback
    assert "importlib" not in error.remote_traceback


def test_a_file_that_was_mended_loads(make_pool: Callable[..., transom.Pool], functions_file: Write) -> None:
    path = functions_file("1 / 0\n")
    refused(make_pool(), f"{path}:f", "FUNCTION_IMPORT_FAILED")
    path.write_text("def f(x: int) -> int:\n    return x\n")
    assert make_pool().call(f"{path}:f", ONE).equals(ONE)


def test_init_fails(pool: transom.Pool) -> None:
    @transom.udf
    class Model:
        def __init__(self) -> None:
            raise OSError("no weights")

        def __call__(self, x: int) -> int:
            return x

    error = refused(pool, Model, "FUNCTION_IMPORT_FAILED")
    assert "making `Model` failed with OSError: no weights" in str(error)
    assert "in __init__" in error.remote_traceback


@pytest.mark.parametrize("reference", ["f", ":f", "file.py:", ""])
def test_bad_references(pool: transom.Pool, reference: str) -> None:
    refused(pool, reference, "BAD_OPTION")


def test_the_import_path_leaves_libraries_to_the_workers_interpreter() -> None:
    from transom import _ship

    for folder in _ship.import_path():
        assert "site-packages" not in folder
        assert not folder.endswith(f"python3.{sys.version_info.minor}")
    assert str(Path(__file__).parent) in _ship.import_path()
