"""Functions in Java, Scala and Kotlin, called from Python. The worker's JVM runs under -Xcheck:jni, and must never have anything to say about it."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import transom
from expect import ONE, SHARED, alive, fails
from test_host_death import MARK, assert_all_gone, living
from test_types import CASES, identical

ROOT = Path(__file__).resolve().parent.parent


def built(folder: str, name: str) -> Path:
    return next((ROOT / folder / "target").glob(f"{name}-[0-9]*.jar"), Path("not built"))


WORKER = built("jvm/transom-worker", "transom-worker")
FUNCTIONS = built("tests/java", "test-functions")
if not WORKER.is_file() or not FUNCTIONS.is_file():
    pytest.skip("the JVM part is not built: `make jvm` does it", allow_module_level=True)

#: How many workers are killed at random moments; 200 for a soak.
KILLS = int(os.environ.get("TRANSOM_JVM_KILLS", "8"))


def java(name: str, **policies: Any) -> Any:
    return transom.java(f"com.acme.{name}", jar=FUNCTIONS, **policies)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the JVM of the shared pool prints."""
    return tmp_path_factory.mktemp("jvm") / "output"


@pytest.fixture(scope="module")
def pool(_module_leaves_nothing: None, log: Path) -> Iterator[transom.Pool]:
    """A pool that the tests of this module share. Its JVM prints into a file, so that every warning is seen."""
    home = os.environ.get("JAVA_HOME")
    program = f"{home}/bin/java" if home else shutil.which("java")
    wrapper = log.parent / "java"
    wrapper.write_text(f'#!/bin/sh\nexec {program} "$@" >> {log} 2>&1\n')
    wrapper.chmod(0o755)
    with transom.Pool(workers=2, java=wrapper, java_class_path=[WORKER], java_options=["-Xcheck:jni", "-ea:io.transom..."]) as made:
        # The JVM starts with the first function in Java, and is there from then on.
        made.call(java("Rows$OfLong"), ONE)
        SHARED.append(made)
        yield made
    SHARED.remove(made)
    said = log.read_text()
    assert not re.search(r"WARNING in native|FATAL ERROR|JNI local refs|Warning: .* in native", said), said


@pytest.fixture
def make_java_pool(make_pool: Callable[..., transom.Pool], tmp_path: Path) -> Callable[..., transom.Pool]:
    """Pools whose workers may die: a JVM that crashes leaves its report in the working directory."""

    def make(workers: int = 1, **options: Any) -> transom.Pool:
        return make_pool(workers, **{"java_class_path": [WORKER], "java_options": ["-Xcheck:jni"], "cwd": tmp_path, **options})

    return make


# Types.

#: What arrow-java cannot hold: the error names the type.
LACKS = {"decimal32": "Decimal32", "decimal64": "Decimal64"}
#: What arrow-java holds, and cannot copy value by value.
COPIES_NOT = {
    "null",
    "run-end encoded",
    "list_view<item: int16>",
    "large_list_view<item: string>",
    "dense union",
    "sparse union",
    "sparse union of structs",
}


@pytest.mark.parametrize(("name", "make"), CASES, ids=[name for name, _ in CASES])
@pytest.mark.parametrize("function", ["Identity", "Copied"])
def test_every_type_goes_there_and_back(pool: transom.Pool, name: str, make: Callable[[], pa.Array], function: str) -> None:
    column = make()
    if name in LACKS:
        error = fails(pool, java("Columns$Identity"), column, kind=transom.TransomError, name="BAD_SCHEMA")
        assert LACKS[name] in str(error)
        return
    if function == "Copied" and name in COPIES_NOT:
        pytest.skip("arrow-java's copyFromSafe does not do this type")
    long = column if pa.types.is_dictionary(column.type) or "encoded" in name or "union" in name else pa.concat_arrays([column] * 9)
    for part in (column, column.slice(1), column.slice(0, 0), column.slice(len(column) - 1), long.slice(3, max(len(long) - 9, 1)), long.slice(7)):
        assert identical(part, pool.call(java(f"Columns${function}"), part))


def test_a_result_that_is_a_slice(pool: transom.Pool) -> None:
    error = fails(pool, java("Columns$Tail"), kind=transom.TransomError, name="WRONG_LENGTH")
    assert "2 rows for 3" in str(error)


def test_a_dictionary_of_its_own(pool: transom.Pool) -> None:
    texts = pa.array(["b", "a", None, "b"])
    result = pool.call(java("Columns$Encoded"), texts)
    assert pa.types.is_dictionary(result.type)
    assert result.to_pylist() == texts.to_pylist()


ROW_TYPES: list[tuple[str, pa.DataType, list[Any]]] = [
    ("OfBoolean", pa.bool_(), [True, None, False]),
    ("OfByte", pa.int8(), [-128, None, 127]),
    ("OfShort", pa.int16(), [-(2**15), None]),
    ("OfInteger", pa.int32(), [-(2**31), None]),
    ("OfLong", pa.int64(), [-(2**63), None, 2**63 - 1]),
    ("OfFloat", pa.float32(), [0.5, None, float("-inf")]),
    ("OfDouble", pa.float64(), [0.1, None, -0.0]),
    ("OfString", pa.string(), ["", None, "grüße 🎉"]),
    ("OfBytes", pa.binary(), [b"", None, b"\x00\xff"]),
    ("OfLocalDate", pa.date32(), [dt.date(1, 1, 1), None, dt.date(9999, 12, 31)]),
    ("OfLocalTime", pa.time64("us"), [dt.time(23, 59, 59, 999999), None]),
    ("OfLocalDateTime", pa.timestamp("us"), [dt.datetime(1900, 1, 2, 3, 4, 5, 6), None]),
    ("OfInstant", pa.timestamp("us", "UTC"), [dt.datetime(1900, 1, 2, 3, 4, 5, 6, dt.timezone.utc), None]),
    ("OfDuration", pa.duration("us"), [dt.timedelta(days=-3, microseconds=1), None]),
    ("OfLists", pa.list_(pa.list_(pa.string())), [[["a", None], None, []], None, []]),
    ("OfDecimal", pa.decimal128(10, 2), [decimal.Decimal("-12345678.90"), None]),
]


@pytest.mark.parametrize(("name", "kind", "values"), ROW_TYPES, ids=[name for name, _, _ in ROW_TYPES])
def test_values_of_a_row_function(pool: transom.Pool, name: str, kind: pa.DataType, values: list[Any]) -> None:
    column = pa.array(values, kind)
    for part in (column, column.slice(1), column.slice(0, 0)):
        result = pool.call(java(f"Rows${name}"), part)
        assert result.type == kind
        assert result.equals(part)


def test_a_row_function_without_columns(pool: transom.Pool) -> None:
    [result] = pool.map(java("Rows$Constant"), pa.table({"unused": [1, 2, 3]}), columns=[])
    assert result.column(0).to_pylist() == [7, 7, 7]


def test_any_number_of_columns(pool: transom.Pool) -> None:
    result = pool.call(java("Columns$Width"), pa.array([1, 2]), pa.array(["a", "b"]), pa.array([None, 1.5]))
    assert result.equals(pa.array([3, 3], pa.int32()))


def test_an_argument_given_back_is_not_copied(make_java_pool: Callable[..., transom.Pool]) -> None:
    pool = make_java_pool()
    shared = pool.share({"x": pa.array(range(1 << 16))})
    pool.call(java("Columns$Identity"), shared)
    before = pool.copies()["bytes_copied"]
    pool.call(java("Columns$Identity"), shared)
    assert pool.copies()["bytes_copied"] == before


# Arguments that are not quite what was declared.


def test_columns_are_cast_where_nothing_is_lost(pool: transom.Pool) -> None:
    assert pool.call(java("Rows$OfLong"), pa.array([1, None], pa.uint8())).equals(pa.array([1, None], pa.int64()))
    assert pool.call(java("Rows$OfString"), pa.array(["a", "b", "a"]).dictionary_encode()).equals(pa.array(["a", "b", "a"]))
    assert pool.call(java("Rows$Mixed"), pa.array(["ab"]), pa.array([2], pa.int64())).equals(pa.array(["abab"], pa.large_string()))


@pytest.mark.parametrize(
    ("name", "column", "said"),
    [
        ("OfLong", pa.array(["1"]), "parameter `x` takes Int64, and its column is Utf8"),
        ("OfByte", pa.array([1, 1000]), "column `x` is Int64, and its values do not all fit the parameter's type Int8"),
        ("OfLocalDateTime", pa.array([1], pa.timestamp("ns")), "do not all fit"),
        ("OfInteger", pa.array([1.0]), "takes Int32, and its column is Float64"),
    ],
)
def test_columns_that_do_not_fit(pool: transom.Pool, name: str, column: pa.Array, said: str) -> None:
    assert said in str(fails(pool, java(f"Rows${name}"), column, kind=transom.TransomError, name="ARGUMENT_TYPE"))


def test_a_null_for_a_primitive(pool: transom.Pool) -> None:
    error = fails(pool, java("Rows$Raises"), pa.array([1, 2, None]), kind=transom.TransomError, name="ARGUMENT_TYPE")
    assert error.rows == range(2, 3)
    assert "a long cannot hold" in str(error)
    assert "Long" in error.hint


def test_the_wrong_number_of_columns(pool: transom.Pool) -> None:
    error = fails(pool, java("Rows$OfLong"), ONE, ONE, kind=transom.TransomError, name="WRONG_ARGUMENTS")
    assert "OfLong(x)" in str(error)


# Exceptions.


def test_an_exception(pool: transom.Pool) -> None:
    error = fails(pool, java("Rows$Raises"), kind=transom.FunctionError, name="FUNCTION_RAISED")
    assert error.rows == range(2, 3)
    assert error.remote_type == "java.lang.IllegalStateException"
    lines = error.remote_traceback.splitlines()
    assert lines[0] == "java.lang.IllegalStateException: three is not allowed"
    assert re.fullmatch(r"    at .*com\.acme\.Rows\$Raises\.call\(Rows\.java:\d+\)", lines[1])
    assert lines[2] == "Caused by: java.lang.NumberFormatException: a cause"
    assert len(lines) == 4, "no frame of the worker's own, none of reflection"


def test_a_failure_that_was_saved_comes_again(make_java_pool: Callable[..., transom.Pool], tmp_path: Path) -> None:
    pool = make_java_pool(java_options=["-Xcheck:jni", "-Xmx200m"], capsules=tmp_path / "capsules")
    error = fails(pool, java("Rows$Raises"), kind=transom.FunctionError, name="FUNCTION_RAISED")
    record = json.loads((Path(error.capsule) / "capsule.json").read_text())
    assert record["function"]["source"] == {"module": "com.acme.Rows$Raises"}
    assert (record["runtime"]["java_options"], record["runtime"]["java_class_path"]) == (["-Xcheck:jni", "-Xmx200m"], [str(WORKER)])
    assert "java" in record["runtime"]["versions"]
    with pytest.raises(transom.FunctionError) as caught:
        transom.replay(error.capsule)
    assert (caught.value.remote_traceback, caught.value.rows) == (error.remote_traceback, error.rows)
    with pytest.raises(transom.InvalidArgument, match="a JVM has debuggers of its own"):
        transom.replay(error.capsule, pdb=True)


def test_an_endless_recursion(pool: transom.Pool) -> None:
    error = fails(pool, java("Rows$Deep"), kind=transom.FunctionError, name="FUNCTION_RAISED")
    assert error.remote_type == "java.lang.StackOverflowError"
    assert "frames more" in error.remote_traceback
    assert "-Xss" in error.hint


def test_too_little_memory(make_java_pool: Callable[..., transom.Pool]) -> None:
    pool = make_java_pool(java_options=["-Xcheck:jni", "-Xmx128m"])
    error = fails(pool, java("Rows$Hungry"), kind=transom.FunctionError, name="FUNCTION_RAISED")
    assert error.remote_type == "java.lang.OutOfMemoryError"
    assert "-Xmx" in error.hint
    assert pool.call(java("Rows$OfLong"), ONE).equals(ONE)


def test_a_column_that_is_not_there(pool: transom.Pool) -> None:
    error = fails(pool, java("Columns$Asks"), kind=transom.FunctionError, name="FUNCTION_RAISED")
    assert "there is no column `y`" in str(error)


# Results that are wrong.


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("Columns$Nothing", "NOT_ARROW", "the function returned null"),
        ("Columns$Liar", "WRONG_TYPE", "the function returned Int64, and Utf8 is declared"),
        ("Rows$Pi", "INVALID_DATA", "the value 3.14159 does not fit Decimal(10, 2, 128)"),
    ],
)
def test_wrong_results(pool: transom.Pool, name: str, code: str, said: str) -> None:
    assert said in str(fails(pool, java(name), kind=transom.TransomError, name=code))


def test_a_null_that_is_declared_away(pool: transom.Pool) -> None:
    never = java("Columns$NeverNull")
    fails(pool, never, pa.array([1, None]), kind=transom.TransomError, name="INVALID_DATA")
    assert pool.call(never, ONE).equals(ONE)


def test_a_leak_is_told_and_fails_nothing(pool: transom.Pool, log: Path) -> None:
    assert pool.call(java("Columns$Leaks"), ONE).equals(ONE)
    # It is told when the result has been sent, which the worker knows by the next call.
    assert pool.call(java("Columns$Leaks"), ONE).equals(ONE)
    assert "transom: function `Leaks` left 4096 bytes of its allocator unreleased" in log.read_text()


# Loading.


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("NoCall", "FUNCTION_SIGNATURE", "one public method `call`, and there are 0"),
        ("TwoCalls", "FUNCTION_SIGNATURE", "one public method `call`, and there are 2"),
        ("TakesMap", "FUNCTION_SIGNATURE", "parameter `x` of call is java.util.Map"),
        ("ReturnsVoid", "FUNCTION_SIGNATURE", "the result of call is void"),
        ("Digits", "FUNCTION_SIGNATURE", "does not follow from BigDecimal"),
        ("Mismatch", "FUNCTION_SIGNATURE", "parameter `x` of call is long, and Utf8 is declared"),
        ("TooMany", "FUNCTION_SIGNATURE", "call has 1 parameters, and 2 are declared"),
        ("Twice", "FUNCTION_SIGNATURE", "two parameters are named `x`"),
        ("Mute", "FUNCTION_SIGNATURE", "signature() returns null"),
        ("Both", "FUNCTION_SIGNATURE", "of more than one kind"),
        ("Unmade", "FUNCTION_IMPORT_FAILED", "not today"),
        ("Unready", "FUNCTION_IMPORT_FAILED", "NumberFormatException"),
        ("Needy", "FUNCTION_NOT_CALLABLE", "cannot be made"),
    ],
)
def test_functions_that_cannot_be_loaded(pool: transom.Pool, name: str, code: str, said: str) -> None:
    assert said in str(fails(pool, java(f"Wrong${name}"), kind=transom.TransomError, name=code))


def test_a_class_that_is_not_there(pool: transom.Pool, tmp_path: Path) -> None:
    error = fails(pool, transom.java("com.other.OfLong", jar=FUNCTIONS), kind=transom.TransomError, name="FUNCTION_NOT_FOUND")
    assert "com.acme.Rows$OfLong" in error.hint
    error = fails(pool, transom.java("com.acme.Columns$Identity"), kind=transom.TransomError, name="FUNCTION_NOT_FOUND")
    assert "on the workers' class path" in str(error)
    error = fails(pool, transom.java("Fn", jar=tmp_path / "none.jar"), kind=transom.TransomError, name="FUNCTION_NOT_FOUND")
    assert "none.jar does not exist" in str(error)


def test_a_class_that_is_no_function(pool: transom.Pool) -> None:
    fails(pool, transom.java("java.lang.String"), kind=transom.TransomError, name="FUNCTION_NOT_CALLABLE")


def test_services_are_found_by_their_simple_names(pool: transom.Pool) -> None:
    assert pool.call(transom.java("OfLong", jar=FUNCTIONS), ONE).equals(ONE)
    error = fails(pool, transom.java("Same", jar=FUNCTIONS), kind=transom.TransomError, name="FUNCTION_NOT_FOUND")
    assert "com.acme.a.Same, com.acme.b.Same" in str(error)
    assert pool.call(transom.java("com.acme.b.Same", jar=FUNCTIONS), pa.array([1])).to_pylist() == ["b"]
    error = fails(pool, transom.java("Nothing", jar=FUNCTIONS), kind=transom.TransomError, name="FUNCTION_NOT_FOUND")
    assert "com.acme.Columns$Nothing" in error.hint


def test_one_instance_for_all(pool: transom.Pool) -> None:
    assert pool.call(java("Rows$Only"), ONE).to_pylist() == [-1, -2, -3]


def test_the_context_class_loader_is_the_functions(pool: transom.Pool) -> None:
    assert pool.call(java("Rows$Loads"), pa.array([1])).to_pylist() == ["com.acme.Rows"]


@pytest.mark.parametrize("language", ["java", "scala", "kotlin"])
def test_the_examples(pool: transom.Pool, language: str) -> None:
    jar = built(f"examples/{language}", f"example-{language}")
    if not jar.is_file():
        pytest.skip("the examples are not built: `mvn -P examples package` does it")
    for package in ("com.example.", ""):
        assert pool.call(transom.java(f"{package}PlusOne", jar=jar), pa.array([1, None])).to_pylist() == [2, None]
        assert pool.call(transom.java(f"{package}Upper", jar=jar), pa.array(["straße", None])).to_pylist() == ["STRASSE", None]
        totals = pool.map(transom.java(f"{package}RunningTotal", jar=jar), pa.table({"x": [1, None, 3, 4]}).to_batches(max_chunksize=2))
        assert [batch.column("total").to_pylist() for batch in totals] == [[1, 1], [4, 8]]


# Batches functions.


def table(rows: int = 30) -> list[pa.RecordBatch]:
    return pa.table({"x": range(rows), "t": pa.array([str(i) for i in range(rows)]).dictionary_encode()}).to_batches(max_chunksize=10)


def test_batches_go_through(pool: transom.Pool) -> None:
    given = table()
    assert pa.Table.from_batches(pool.map(java("Streams$Identity"), given)).to_pylist() == pa.Table.from_batches(given).to_pylist()
    [count] = pool.map(java("Streams$Counts"), table(1000))
    assert count.to_pydict() == {"rows": [1000]}


def test_one_root_filled_anew(pool: transom.Pool) -> None:
    assert [batch.to_pydict() for batch in pool.map(java("Streams$Reuses"), table())] == [{"n": [1]}, {"n": [2, 2]}, {"n": [3, 3, 3]}]


def test_an_exception_in_a_stream(pool: transom.Pool) -> None:
    results = pool.map(java("Streams$Fails"), table())
    assert next(results).num_rows == 10
    with pytest.raises(transom.FunctionError, match="the second is one too many") as caught:
        next(results)
    assert "com.acme.Streams$Fails" in caught.value.remote_traceback


def test_a_source_that_fails_is_not_the_functions_affair(pool: transom.Pool) -> None:
    def source() -> Iterator[pa.RecordBatch]:
        yield from table(20)
        raise RuntimeError("the source is dry")

    with pytest.raises(Exception, match="the source is dry"):
        list(pool.map(java("Streams$Stubborn"), source()))
    assert pool.call(alive, ONE).equals(ONE)


def test_a_stream_that_is_left(pool: transom.Pool, log: Path) -> None:
    before = log.read_text().count("the results were closed")
    results = pool.map(java("Streams$Stubborn"), table(1000))
    next(results)
    del results
    # The worker takes no call of this stream's place before it has ended the stream.
    until = time.monotonic() + 30
    while log.read_text().count("the results were closed") == before and time.monotonic() < until:
        time.sleep(0.01)
    assert log.read_text().count("the results were closed") == before + 1


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("Changes", "WRONG_TYPE", "the columns `b`, and `a` are declared"),
        ("Nothing", "NOT_ARROW", "an iterator of batches is needed"),
        ("Declares", "FUNCTION_SIGNATURE", "declares parameters"),
    ],
)
def test_wrong_streams(pool: transom.Pool, name: str, code: str, said: str) -> None:
    with pytest.raises(transom.TransomError, match=re.escape(said)) as caught:
        list(pool.map(java(f"Streams${name}"), table()))
    assert caught.value.code_name == code


# Threads, memory.


def test_two_functions_at_once_in_one_process(pool: transom.Pool) -> None:
    results = pool.map(java("Rows$Meets"), pa.table({"x": [1, 2]}).to_batches(max_chunksize=1))
    met = {result.column(0)[0].as_py() for result in results}
    assert len(met) == 2
    assert len({one.split()[0] for one in met}) == 1


def test_a_column_that_is_kept(make_java_pool: Callable[..., transom.Pool]) -> None:
    pool = make_java_pool()
    sums = [pool.call(java("Columns$Keeps"), pa.array([value, 0]))[0].as_py() for value in (1, 10, 100)]
    assert sums == [1, 11, 111]


# Deaths.


def dies(pool: transom.Pool, function: Any, name: str, kind: type[transom.TransomError] = transom.WorkerDied) -> transom.TransomError:
    error = fails(pool, function, kind=kind, name=name)
    assert pool.call(java("Rows$OfLong"), ONE).equals(ONE)
    return error


def test_exits(make_java_pool: Callable[..., transom.Pool]) -> None:
    pool = make_java_pool()
    error = dies(pool, java("Rows$Exits"), "WORKER_EXITED")
    assert "exit status 7" in str(error)
    assert "com.acme.Rows$Exits.call(Rows.java:" in str(error), "where System.exit was called"
    assert "exit status 9" in str(dies(pool, java("Rows$Halts"), "WORKER_EXITED"))


def test_last_lines(make_java_pool: Callable[..., transom.Pool]) -> None:
    error = dies(make_java_pool(), java("Rows$Prints"), "WORKER_EXITED")
    assert {"said: grüß 1", "complained: 1"} <= set(error.output)


def test_a_crash_in_native_code(make_java_pool: Callable[..., transom.Pool]) -> None:
    error = dies(make_java_pool(), java("Rows$Crashes"), "WORKER_SIGNALLED")
    assert "SIGABRT" in str(error)


def test_writing_to_an_argument(make_java_pool: Callable[..., transom.Pool]) -> None:
    column = pa.array([1, 2, 3])
    fails(make_java_pool(), java("Columns$Writes"), column, kind=transom.WorkerDied, name="WORKER_SIGNALLED")
    assert column[0].as_py() == 1


def test_a_deadline_has_the_stack(make_java_pool: Callable[..., transom.Pool]) -> None:
    pool = make_java_pool()
    for function in (java("Rows$Loops", deadline=0.5), java("Rows$Late")):
        error = dies(pool, function, "DEADLINE_EXCEEDED", transom.DeadlineExceeded)
        assert f"at {FUNCTIONS.name}" in str(error) or "com.acme.Rows" in str(error)
        assert "io.transom.worker" not in str(error)


HOST = """
import sys, pyarrow as pa, transom
if __name__ == "__main__":
    with transom.Pool(workers=1, java_class_path=[sys.argv[1]]) as pool:
        x = pa.array([1])
        pool.call(transom.java("com.acme.Rows$OfLong", jar=sys.argv[2]), x)
        print("ready", flush=True)
        pool.call(transom.java("com.acme.Rows$Loops", jar=sys.argv[2]), x)
"""


def test_a_killed_host_takes_its_jvm_along(tmp_path: Path) -> None:
    """`make soak` kills a hundred."""
    script, mark = tmp_path / "host.py", f"{os.getpid()}-jvm"
    script.write_text(HOST)
    with subprocess.Popen([sys.executable, script, WORKER, FUNCTIONS], env={**os.environ, MARK: mark}, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        assert host.stdout.readline() == "ready\n"
        assert "java" in living(mark).values()
        host.kill()
        host.wait()
        assert_all_gone(mark)


def test_kills(make_java_pool: Callable[..., transom.Pool]) -> None:
    """Every batch is answered once, or fails with its code; the next one works."""
    pool = make_java_pool(workers=2, java_options=["-Xcheck:jni", "-XX:TieredStopAtLevel=1"])
    batches = pa.table({"x": range(20_000)}).to_batches(max_chunksize=1000)
    assert pool.call(java("Columns$Identity"), ONE).equals(ONE)
    for kill in range(KILLS):
        results = pool.map(java("Columns$Identity"), batches)
        failed: list[str] = []
        for number, batch in enumerate(batches):
            if number == kill % len(batches):
                killed = {worker["pid"] for worker in pool.stats()["workers"] if worker["language"] == "java" and worker["state"] in ("idle", "busy")}
                for pid in killed:
                    os.kill(pid, signal.SIGKILL)
            try:
                assert next(results).column(0).equals(batch.column(0))
            except transom.WorkerDied as error:
                failed.append(error.code_name)
        with pytest.raises(StopIteration):
            next(results)
        assert failed == ["WORKER_SIGNALLED"] * len(failed)
        # The next kill comes when this one has been told, so each costs at most one batch a thread.
        while any(worker["restarts"] <= kill for worker in pool.stats()["workers"] if worker["language"] == "java"):
            time.sleep(0.01)
        assert len(failed) <= 2
        assert pool.call(java("Columns$Identity"), ONE).equals(ONE)
