"""Functions of shared libraries, called from Python and by the program. Those of the JVM have tests of their own."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import transom
from expect import fails
from program import PROGRAM, ROOT

X = pa.array([1, 2, 3])


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The README's first function in C."""
    path = tmp_path_factory.mktemp("native") / "libfirst.so"
    source = ROOT / "ffi/examples/c/first_library.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-I", ROOT / "ffi/include", "-o", path, source], check=True)
    return path


def test_a_native_function_is_called_and_mapped(library: Path) -> None:
    plus_one = transom.native(library, "plus_one")
    with transom.Pool(workers=1) as pool:
        assert pool.call(plus_one, X).to_pylist() == [2, 3, 4]
        assert pool.call(plus_one, pa.array([7, 8, 9, 10]).slice(1, 2)).to_pylist() == [9, 10]
        table = pa.table({"x": range(1000)})
        assert pool.map(plus_one, table.to_reader(max_chunksize=100), append=True).read_all()["plus_one"].to_pylist() == list(range(1, 1001))
        assert [worker["language"] for worker in pool.stats()["workers"]] == ["python", "native"]


def test_what_one_language_returns_the_other_reads_in_place(library: Path) -> None:
    def doubled(x: pa.Int64Array) -> pa.Int64Array:
        return pa.compute.multiply(x, 2)

    with transom.Pool(workers=1) as pool:
        first = pool.call(transom.native(library, "plus_one"), pa.array(range(10_000)))
        before = pool.copies()["inputs"]["bytes_copied"]
        assert pool.call(doubled, first)[9_999].as_py() == 20_000
        assert pool.copies()["inputs"]["bytes_copied"] == before


def test_what_can_be_wrong_is_named(library: Path, tmp_path: Path) -> None:
    text = tmp_path / "lib.so"
    text.write_text("no library")
    with transom.Pool(workers=1) as pool:
        error = fails(pool, transom.native(tmp_path / "nowhere.so", "f"), kind=transom.TransomError, name="FUNCTION_NOT_FOUND")
        assert "nowhere.so" in str(error)
        error = fails(pool, transom.native(library, "plus_two"), kind=transom.TransomError, name="FUNCTION_NOT_FOUND")
        assert "plus_one" in str(error), "what is there is said"
        fails(pool, transom.native(text, "f"), kind=transom.TransomError, name="FUNCTION_IMPORT_FAILED")
        fails(pool, transom.native(library, "plus_one"), pa.array(["a"]), kind=transom.TransomError, name="ARGUMENT_TYPE")
        raised = fails(pool, transom.native(library, "plus_one"), pa.array([1, None]), kind=transom.FunctionError, name="FUNCTION_RAISED")
        assert "ValueError: this function is for columns without nulls" in str(raised)


def test_a_native_function_that_writes_to_its_input_is_told_which_column(tmp_path: Path) -> None:
    source = (ROOT / "ffi/examples/c/first_library.c").read_text()
    asks = "if (x->null_count != 0"
    assert asks in source
    path, written = tmp_path / "libwrites.so", tmp_path / "writes.c"
    written.write_text(source.replace(asks, "((int64_t *)values)[1] = 7;\n    " + asks, 1))
    subprocess.run(["cc", "-shared", "-fPIC", "-I", ROOT / "ffi/include", "-o", path, written], check=True)
    with transom.Pool(workers=1) as pool:
        died = fails(pool, transom.native(path, "plus_one"), kind=transom.WorkerDied, name="WORKER_SIGNALLED")
    assert "the function wrote to its input column `x`, which is read-only (the worker was killed by SIGSEGV" in str(died)
    assert "libwrites.so" in died.stack, "the native stack is there as well"


@pytest.mark.parametrize("policies", [{"deadline": 0}, {"deadline": "soon"}, {"retries": -1}, {"retries": True}])
def test_policies_are_checked_at_once(policies: dict[str, object]) -> None:
    for make in (lambda **rest: transom.native("lib.so", "f", **rest), lambda **rest: transom.java("com.acme.F", **rest)):
        with pytest.raises(transom.InvalidArgument) as caught:
            make(**policies)
        assert caught.value.code_name == "BAD_OPTION"


def test_foreign_functions_are_values(library: Path) -> None:
    assert transom.native(library, "f", deadline=timedelta(seconds=2)).deadline == 2.0
    assert transom.native(library, "f") == transom.native(library, "f") != transom.native(library, "g")
    assert transom.java("com.acme.F", jar="a.jar").jars == (str(Path("a.jar").absolute()),)
    assert transom.java("com.acme.F", jar=["a.jar", Path("b.jar")]).jars[1].endswith("/b.jar")
    with transom.Pool(workers=1) as pool:
        fails(pool, transom.java("no class"), kind=transom.InvalidArgument, name="BAD_OPTION")


def test_the_program_runs_native_functions(library: Path, tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": [1, 2, 3]}), tmp_path / "in.parquet")
    command = [PROGRAM, "run", "./libfirst.so:plus_one", tmp_path / "in.parquet", "--columns", "n", "-o", tmp_path / "out.parquet"]
    # Python has no part in it.
    done = subprocess.run(command, cwd=library.parent, capture_output=True, text=True, env={"PATH": "/nowhere"}, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert pq.read_table(tmp_path / "out.parquet").to_pydict() == {"plus_one": [2, 3, 4]}
