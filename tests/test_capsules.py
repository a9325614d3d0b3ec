"""Failure capsules: what fails is saved, and fails again in the same words, in a fresh worker and under a debugger."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import transom
from expect import alive
from program import PROGRAM, ROOT, Shell

FUNCTIONS = """
    import ctypes, os, time
    from collections.abc import Iterator
    import pyarrow as pa
    import transom

    @transom.udf
    def ratio(a: int, b: int) -> float:
        doubled = a * 2
        return a / b

    @transom.udf
    def crash(x: int) -> int:
        return ctypes.string_at(0)

    @transom.udf
    def leave(x: int) -> int:
        print("last words")
        os._exit(3)

    @transom.udf(deadline=0.5)
    def stuck(x: int) -> int:
        time.sleep(600)

    @transom.udf
    def short(x: pa.Int64Array) -> pa.Int64Array:
        return x[1:]

    @transom.udf
    class Score:
        def __init__(self) -> None:
            self.weights = {1: 0.5}

        def __call__(self, x: int) -> float:
            return self.weights[x]

    @transom.udf(returns=pa.schema([("total", pa.int64())]))
    def totals(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        total = 0
        for batch in batches:
            total += sum(batch["x"].to_pylist())
            if total > 100:
                raise OverflowError(f"{total} is too much")
            yield pa.record_batch({"total": [total]})

    @transom.udf
    def needs(x: int) -> int:
        print("looking")
        return x + int(os.environ["CAPSULE_TEST_OFFSET"])
"""

X = pa.array([5, 1, None, 7])


@pytest.fixture
def file(functions_file: Callable[[str], Path]) -> Path:
    return functions_file(FUNCTIONS)


def failed(pool: transom.Pool, function: Any, *values: Any) -> transom.TransomError:
    """The error of a call that must fail, and be saved; the call after it must work."""
    with pytest.raises(transom.TransomError) as caught:
        pool.call(function, *values)
    assert caught.value.capsule is not None, caught.value
    assert pool.call(alive, X).equals(X)
    return caught.value


def again(path: str, **options: Any) -> transom.TransomError:
    with pytest.raises(transom.TransomError) as caught:
        transom.replay(path, **options)
    assert caught.value.capsule is None
    return caught.value


def lasting(error: object) -> str:
    """The text of an error without what differs from run to run: addresses, processes, ages, and where it was saved."""
    text = re.sub(r"\n  (failing input saved|replay): .*", "", str(error))
    text = re.sub(r"0x[0-9a-f]+|\(process \d+\)|after [\d.]+ s|[\d.]+ s after its start|up [\d.]+ s|[\d.]+ [KMG]iB", "…", text)
    return text.removeprefix("error[").replace("]: ", ": ", 1)


def record(path: str) -> dict[str, Any]:
    return json.loads((Path(path) / "capsule.json").read_text())


@pytest.mark.parametrize(
    ("name", "columns", "code"),
    [
        ("ratio", 2, "FUNCTION_RAISED"),
        ("crash", 1, "WORKER_SIGNALLED"),
        ("leave", 1, "WORKER_EXITED"),
        ("stuck", 1, "DEADLINE_EXCEEDED"),
        ("short", 1, "WRONG_LENGTH"),
        ("Score", 1, "FUNCTION_RAISED"),
    ],
)
def test_the_same_error_comes_again(name: str, columns: int, code: str, file: Path, tmp_path: Path, make_pool: Callable[..., transom.Pool]) -> None:
    pool = make_pool(capsules=tmp_path / "capsules")
    given = pa.array([3, 4, 0, 9])
    error = failed(pool, f"{file}:{name}", *[given] * columns)
    assert error.code_name == code
    repeated = again(error.capsule)
    assert (type(repeated), repeated.rows, repeated.function) == (type(error), error.rows, error.function)
    assert lasting(repeated) == lasting(error)
    found = record(error.capsule)
    assert (found["error"]["code"], found["error"]["text"]) == (int(error.code[4:]), re.sub(r"\n  (failing|replay).*", "", str(error)))
    assert found["runtime"]["program"] == sys.executable
    assert found["runtime"]["versions"]["python"] == sys.version.split()[0]
    assert found["runtime"]["versions"]["pyarrow"] == pa.__version__
    assert found["working_directory"] == os.getcwd()


def test_a_function_of_this_process_goes_with_the_capsule(tmp_path: Path, make_pool: Callable[..., transom.Pool]) -> None:
    limit = 6

    @transom.udf
    def checked(x: int | None) -> int:
        if x and x > limit:
            raise ValueError(f"{x} is more than {limit}")
        return 0

    pool = make_pool(capsules=tmp_path / "capsules")
    error = failed(pool, checked, X)
    assert (Path(error.capsule) / "function.pickle").stat().st_mode & 0o777 == 0o600
    assert error.rows == range(3, 4)
    assert lasting(again(error.capsule)) == lasting(error)
    assert transom.replay(error.capsule, rows=range(3)).to_pydict() == {"checked": [0, 0, 0]}
    assert again(error.capsule, rows=error.rows).remote_message == "7 is more than 6"
    # Nothing of it is unpickled but in a worker: bytes that would change this process change nothing.
    (Path(error.capsule) / "function.pickle").write_bytes(b"transom-pickle-1 0.0\ncos\nabort\n(tR.")
    assert again(error.capsule).code_name == "FUNCTION_IMPORT_FAILED"


def test_a_function_larger_than_a_capsule_is_left_out(tmp_path: Path, make_pool: Callable[..., transom.Pool]) -> None:
    model = os.urandom(1 << 20)

    @transom.udf
    def large(x: int) -> int:
        raise ValueError(len(model))

    pool = make_pool(capsules=tmp_path / "capsules", capsule_bytes=1 << 18)
    error = failed(pool, large, X)
    assert not (Path(error.capsule) / "function.pickle").exists()
    assert "is **not here**" in (Path(error.capsule) / "README.md").read_text()
    refused = again(error.capsule)
    assert refused.code_name == "CAPSULE_UNREADABLE"
    assert "larger than a capsule" in str(refused)


def test_the_arguments_are_a_file_that_others_read(file: Path, tmp_path: Path, make_pool: Callable[..., transom.Pool]) -> None:
    pool = make_pool(capsules=tmp_path / "capsules")

    @transom.udf
    def refuses(numbers: pa.Array, names: pa.Array, nested: pa.Array) -> pa.Int64Array:
        raise ValueError("no")

    table = pa.record_batch(
        {
            "unused": range(100),
            "nested": [[{"a": i}, None] if i % 3 else None for i in range(100)],
            "names": pa.array([f"name {i % 7}" for i in range(100)]).dictionary_encode(),
            "numbers": [None if i % 5 == 2 else i / 4 for i in range(100)],
        }
    ).slice(31, 20)
    error = failed(pool, refuses, table)
    saved = pa.ipc.open_file(Path(error.capsule) / "batch.arrow").read_all()
    assert saved.schema.names == ["numbers", "names", "nested"], "what the function was given, by its parameters"
    assert saved.to_pydict() == pa.Table.from_batches([table]).select(saved.schema.names).to_pydict()
    shared = failed(pool, refuses, pool.share(table))
    assert pa.ipc.open_file(Path(shared.capsule) / "batch.arrow").read_all().equals(saved)
    assert lasting(again(shared.capsule)) == lasting(shared)


def test_a_large_batch_is_cut_around_the_failing_row(file: Path, tmp_path: Path, make_pool: Callable[..., transom.Pool]) -> None:
    pool = make_pool(capsules=tmp_path / "capsules", capsule_bytes=1 << 17)
    divisors = pa.array([0 if i == 70_000 else 1 for i in range(100_000)])
    error = failed(pool, f"{file}:ratio", pa.array(range(100_000)), divisors)
    assert error.rows == range(70_000, 70_001)
    found = record(error.capsule)["arguments"]
    assert found["first_row"] < 70_000 < found["first_row"] + found["rows"] < 100_000
    assert not found["whole"]
    assert "of the 100000 rows" in found["left_out"]
    repeated = again(error.capsule)
    assert repeated.rows == error.rows
    assert transom.replay(error.capsule, rows=(70_001, 70_010)).to_pydict() == {"ratio": [float(i) for i in range(70_001, 70_010)]}
    outside = again(error.capsule, rows=(0, 10))
    assert outside.code_name == "BAD_OPTION"


def test_a_batches_function_is_given_its_stream_again(file: Path, tmp_path: Path, make_pool: Callable[..., transom.Pool]) -> None:
    pool = make_pool(capsules=tmp_path / "capsules")
    batches = [pa.record_batch({"x": [i, i + 1]}) for i in range(0, 40, 10)]
    results = pool.map(f"{file}:totals", iter(batches))
    assert [next(results)["total"].to_pylist() for _ in range(3)] == [[1], [22], [63]]
    with pytest.raises(transom.FunctionError) as caught:
        next(results)
    assert record(caught.value.capsule)["arguments"]["file"] == "batches.arrows"
    saved = pa.ipc.open_stream(Path(caught.value.capsule) / "batches.arrows").read_all()
    assert saved.equals(pa.Table.from_batches(batches))
    repeated = again(caught.value.capsule)
    assert lasting(repeated) == lasting(caught.value)
    assert "124 is too much" in str(repeated)
    assert transom.replay(caught.value.capsule, rows=range(2, 6)).to_pydict() == {"total": [21, 62]}


def test_a_failure_in_every_batch_of_a_map_has_its_own_rows(file: Path, tmp_path: Path, make_pool: Callable[..., transom.Pool]) -> None:
    pool = make_pool(capsules=tmp_path / "capsules", workers=2, capsule_count=3)
    table = pa.table({"a": range(40), "b": [i % 10 for i in range(40)]})
    source = table.to_reader(max_chunksize=10)
    results = pool.map(f"{file}:ratio", source)
    errors = []
    for _ in range(4):
        with pytest.raises(transom.FunctionError) as caught:
            next(results)
        errors.append(caught.value)
    assert [error.rows for error in errors] == [range(i, i + 1) for i in (0, 10, 20, 30)]
    saved = [error for error in errors if error.capsule]
    assert len(saved) == 3
    assert sum("not saved: this pool has saved 3 capsules" in str(error) for error in errors) == 1
    for error in saved:
        assert again(error.capsule).rows == error.rows


def test_the_environment_switches_capsules_on(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_pool: Callable[..., transom.Pool]
) -> None:
    monkeypatch.setenv("TRANSOM_CAPSULES", str(tmp_path / "by environment"))
    error = failed(make_pool(), f"{file}:ratio", X, X.fill_null(0))
    assert Path(error.capsule).parent == tmp_path / "by environment"
    assert f"transom replay '{error.capsule}'" in str(error), "a path with a space is quoted for a shell"
    other = failed(make_pool(capsules=tmp_path / "by option"), f"{file}:ratio", X, X.fill_null(0))
    assert Path(other.capsule).parent == tmp_path / "by option"
    monkeypatch.delenv("TRANSOM_CAPSULES")
    with pytest.raises(transom.FunctionError) as caught:
        make_pool().call(f"{file}:ratio", X, X.fill_null(0))
    assert caught.value.capsule is None


def test_values_of_variables_are_not_saved_and_can_be_given(file: Path, tmp_path: Path, make_pool: Callable[..., transom.Pool]) -> None:
    pool = make_pool(capsules=tmp_path / "capsules", env={"CAPSULE_TEST_OFFSET": "a secret"})
    error = failed(pool, f"{file}:needs", X.fill_null(0))
    assert error.remote_type == "ValueError"
    assert record(error.capsule)["environment"]["set_by_pool"] == ["CAPSULE_TEST_OFFSET"]
    assert "a secret" not in (Path(error.capsule) / "capsule.json").read_text().replace(str(error.remote_message), "").replace(
        error.message, ""
    ).replace(json.dumps(error.remote_traceback)[1:-1], "")
    assert again(error.capsule).remote_type == "KeyError"
    assert transom.replay(error.capsule, env={"CAPSULE_TEST_OFFSET": "10"}).to_pydict() == {"needs": [15, 11, 10, 17]}


@pytest.mark.parametrize("bounds", [range(0, 4, 2), (-1, 3), range(3, 1)])
def test_rows_that_make_no_sense_are_refused(bounds: Any, file: Path, tmp_path: Path, make_pool: Callable[..., transom.Pool]) -> None:
    error = failed(make_pool(capsules=tmp_path / "capsules"), f"{file}:short", X)
    assert again(error.capsule, rows=bounds).code_name == "BAD_OPTION"


def test_a_capsule_that_is_none(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(transom.InvalidArgument) as caught:
            transom.replay(path)
        assert (caught.value.code, caught.value.code_name) == ("TRN-6009", "CAPSULE_UNREADABLE")


# The program


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def run(shell: Shell, function: str, *words: object) -> str:
    """Runs a function that must fail; gives the capsule's path."""
    shell.input()
    done = shell.run(function, "in.parquet", "--capsules", "capsules", *words)
    assert done.returncode == 1, done.stderr.decode()
    found = re.search(r"^  replay: transom replay (.*)$", done.stderr.decode(), re.MULTILINE)
    assert found, done.stderr.decode()
    return found[1]


def replay(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROGRAM, "replay", *map(str, words)], capture_output=True, text=True, timeout=120, check=False, **options)


def test_the_program_replays_what_it_saved(shell: Shell) -> None:
    path = run(shell, "fails", "--batch-rows", 300)
    done = replay(path)
    assert done.returncode == 1
    assert "error[TRN-3001 FUNCTION_RAISED]: ValueError: no sevens, please\n  in function `fails`, batch 2" in done.stderr
    assert done.stderr.startswith("this far\n"), "what the function prints is shown"
    assert done.stderr.endswith("the failure came again\n")
    fine = replay(path, "--rows", "600..650")
    assert fine.returncode == 0, fine.stderr
    assert "| fails |" in fine.stdout
    assert "… and 30 more rows" in fine.stdout
    assert "the failure did not come again; it was TRN-3001 FUNCTION_RAISED" in fine.stderr


@pytest.mark.parametrize(
    ("function", "code", "options"),
    [("crashes", "TRN-2104", []), ("vanishes", "TRN-2101", []), ("sleeps", "TRN-2107", ["--deadline", 1]), ("too_short", "TRN-4001", [])],
)
def test_the_program_replays_every_kind_of_failure(shell: Shell, function: str, code: str, options: list[object]) -> None:
    done = replay(run(shell, function, *options))
    assert done.returncode == 1
    assert f"error[{code}" in done.stderr
    assert done.stderr.endswith("the failure came again\n")


def test_another_failure_has_another_status(shell: Shell) -> None:
    path = run(shell, "variable", "--env", "GREETING_=x")
    assert replay(path).returncode == 1
    (shell.folder / "f.py").write_text("import os\n" + (shell.folder / "f.py").read_text().replace('os.environ["GREETING"]', "os._exit(9)"))
    other = replay(path)
    assert other.returncode == 3
    assert "TRN-2101 WORKER_EXITED" in other.stderr
    assert "this is another failure than the capsule's, which was TRN-3001 FUNCTION_RAISED" in other.stderr
    assert "set then and are not now: GREETING_" in other.stderr
    shutil.rmtree(path)
    gone = replay(path)
    assert gone.returncode == 3
    assert "error[TRN-6009 CAPSULE_UNREADABLE]" in gone.stderr


def test_a_missing_interpreter_is_named(shell: Shell) -> None:
    path = run(shell, "fails")
    text = (Path(path) / "capsule.json").read_text()
    (Path(path) / "capsule.json").write_text(text.replace(json.dumps(sys.executable), '"/no/such/python"'))
    done = replay(path)
    assert done.returncode == 3
    assert "error[TRN-1005 INTERPRETER_MISSING]: the program /no/such/python" in done.stderr
    assert "--python PATH" in done.stderr
    assert replay(path, "--python", sys.executable).returncode == 1


class Terminal:
    """A program on a terminal of its own, spoken to as a person does."""

    def __init__(self, *words: object, **options: Any) -> None:
        self.end, other = pty.openpty()
        self.process = subprocess.Popen(list(map(str, words)), stdin=other, stdout=other, stderr=other, start_new_session=True, **options)
        os.close(other)
        self.text = ""

    def until(self, mark: str) -> str:
        """What it says up to and with `mark`."""
        stop = time.monotonic() + 60
        while mark not in self.text:
            ready, _, _ = select.select([self.end], [], [], max(0.0, stop - time.monotonic()))
            assert ready, f"{mark!r} did not come: {self.text}"
            try:
                self.text += os.read(self.end, 4096).decode().replace("\r\n", "\n")
            except OSError:  # it has ended
                raise AssertionError(f"{mark!r} did not come: {self.text}") from None
        said, _, self.text = self.text.partition(mark)
        return said + mark

    def say(self, line: str) -> None:
        os.write(self.end, line.encode() + b"\n")

    def finish(self) -> int:
        try:
            return self.process.wait(60)
        finally:
            self.process.kill()
            self.process.wait()
            os.close(self.end)


def test_pdb_begins_where_the_exception_was_raised(file: Path, tmp_path: Path, make_pool: Callable[..., transom.Pool]) -> None:
    error = failed(make_pool(capsules=tmp_path / "capsules"), f"{file}:ratio", pa.array([4, 21]), pa.array([2, 0]))
    terminal = Terminal(PROGRAM, "replay", error.capsule, "--pdb", env=dict(os.environ, TERM="dumb", NO_COLOR="1"))
    assert "ZeroDivisionError: division by zero" in terminal.until("(Pdb) ")
    terminal.say("p ('doubled', doubled, a, b)")
    assert "('doubled', 42, 21, 0)" in terminal.until("(Pdb) ")
    terminal.say("q")
    assert terminal.finish() == 1


def test_pdb_from_python(file: Path, tmp_path: Path, make_pool: Callable[..., transom.Pool]) -> None:
    error = failed(make_pool(capsules=tmp_path / "capsules"), f"{file}:ratio", pa.array([4, 21]), pa.array([2, 0]))
    code = f"import transom; print(transom.replay({error.capsule!r}, rows=(1, 2), pdb=True))"
    terminal = Terminal(sys.executable, "-c", code, env=dict(os.environ, TERM="dumb", NO_COLOR="1"))
    terminal.until("(Pdb) ")
    terminal.say("p doubled")
    assert "42" in terminal.until("(Pdb) ")
    terminal.say("q")
    terminal.until("None")
    assert terminal.finish() == 0


@pytest.fixture
def gdb() -> None:
    if shutil.which("gdb") is None:
        pytest.skip("gdb is not installed")


def test_gdb_shows_the_native_stack_and_pythons(gdb: None, file: Path, tmp_path: Path, make_pool: Callable[..., transom.Pool]) -> None:
    error = failed(make_pool(capsules=tmp_path / "capsules"), f"{file}:crash", X)
    done = replay(error.capsule, "--gdb", stdin=subprocess.DEVNULL)
    assert "received signal SIGSEGV" in done.stdout
    assert re.search(r"^#\d+ .*string_at", done.stdout, re.MULTILINE), "the native stack"
    assert re.search(r'File ".*functions\.py", line \d+ in crash', done.stderr), "Python's stack"


LIBRARY = r"""
#include <transom.h>

static int32_t crash(void *user_data, transom_call_t *call, struct ArrowArray *arguments, const struct ArrowSchema *schema,
                     struct ArrowArray *result, struct ArrowSchema *result_schema) {
    (void)user_data, (void)call, (void)arguments, (void)schema, (void)result, (void)result_schema;
    return *(volatile int32_t *)8;
}

static const transom_field_t parameters[] = {TRANSOM_FIELD("x", "l")};
static const transom_field_t results[] = {TRANSOM_FIELD(NULL, "l")};
static const transom_definition_t definitions[] = {
    {sizeof(transom_definition_t), "crash", TRANSOM_KIND_SCALAR, false, parameters, 1, results, 1, 0, 0, crash, NULL, NULL},
};
static const transom_library_t library = {
    sizeof(transom_library_t), TRANSOM_ABI_VERSION, sizeof(transom_definition_t), definitions, 1, "C",
};

TRANSOM_EXPORT const transom_library_t *transom_library(uint32_t abi_version) {
    return abi_version == TRANSOM_ABI_VERSION ? &library : NULL;
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("native")
    (folder / "crash.c").write_text(LIBRARY)
    subprocess.run(["cc", "-g", "-shared", "-fPIC", "-I", ROOT / "ffi/include", "-o", folder / "libcrash.so", folder / "crash.c"], check=True)
    return folder / "libcrash.so"


def test_native_functions_are_saved_and_come_again(library: Path, tmp_path: Path) -> None:
    with transom.Pool(workers=1, capsules=tmp_path / "capsules") as pool, pytest.raises(transom.WorkerDied) as caught:
        pool.call(transom.native(library, "crash"), X)
    found = record(caught.value.capsule)
    assert found["function"]["language"] == "native"
    assert found["function"]["source"] == {"file": str(library)}
    repeated = again(caught.value.capsule)
    assert (repeated.code, repeated.function, repeated.rows) == (caught.value.code, "crash", range(4))
    refused = replay(caught.value.capsule, "--pdb")
    assert refused.returncode == 3
    assert "TRN-6006 BAD_OPTION" in refused.stderr


def test_gdb_of_a_native_function(gdb: None, library: Path, tmp_path: Path) -> None:
    with transom.Pool(workers=1, capsules=tmp_path / "capsules") as pool, pytest.raises(transom.WorkerDied) as caught:
        pool.call(transom.native(library, "crash"), X)
    done = replay(caught.value.capsule, "--gdb", stdin=subprocess.DEVNULL)
    assert "received signal SIGSEGV" in done.stdout
    assert re.search(r"^#0 .*crash \(.*crash\.c:\d+$", done.stdout, re.MULTILINE), done.stdout


def test_a_call_that_works_saves_nothing(tmp_path: Path, make_pool: Callable[..., transom.Pool]) -> None:
    pool = make_pool(capsules=tmp_path / "capsules")
    assert pool.call(alive, X).equals(X)
    assert pc.sum(pool.map(alive, pa.table({"x": range(100_000)})).read_all()["alive"]).as_py() == 4_999_950_000
    assert not (tmp_path / "capsules").exists()
