"""Rows for which a function fails: null or dead letters where that is asked for, and the other rows as if nothing were."""

from __future__ import annotations

import ctypes
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import transom
from expect import ONE, alive, fails
from program import Shell, table

REASON = ["transom_function", "transom_batch", "transom_row", "transom_code", "transom_error", "transom_attempts"]


def counted(pool: transom.Pool, name: str) -> tuple[int, int]:
    """Rows that were suppressed so far, and attempts that it took to find them."""
    of = [function for function in pool.stats()["functions"] if function["name"] == name]
    return sum(function["suppressed"] for function in of), sum(function["attempts"] for function in of)


@transom.udf(on_error="null")
def inverse(x: int) -> float:
    return 1 / x


@pytest.mark.parametrize("bad", [(), (0,), (499,), (999,), (0, 1, 998, 999), tuple(range(1000))], ids=lambda bad: f"{len(bad)} rows from {bad[:1]}")
def test_failing_rows_are_null(pool: transom.Pool, bad: tuple[int, ...]) -> None:
    before, _ = counted(pool, "inverse")
    values = [0 if row in bad else row + 1 for row in range(1000)]
    assert pool.call(inverse, pa.array(values)).to_pylist() == [None if value == 0 else 1 / value for value in values]
    assert counted(pool, "inverse") == (before + len(bad), 0)


def test_nothing_is_suppressed_unasked(pool: transom.Pool) -> None:
    @transom.udf
    def f(x: int) -> float:
        return 1 / (x - 2)

    assert fails(pool, f, kind=transom.FunctionError, name="FUNCTION_RAISED").rows == range(1, 2)


class Point(NamedTuple):
    x: int
    name: str


@transom.udf(on_error="dead_letter")
def point(x: int | None, name: str | None) -> Point:
    return Point({1: 2, 3: "three"}[x], name)  # type: ignore[arg-type]


def test_dead_letters_are_whole_and_said_why(pool: transom.Pool) -> None:
    source = pa.table({"name": ["a", "b", None, "d"], "id": [10, 11, 12, 13], "x": [1, 2, None, 3]})
    results = pool.map(point, source, append=True)
    assert results.read_all().to_pylist() == [{"name": "a", "id": 10, "x": 1, "point": {"x": 2, "name": "a"}}]
    letters = results.dead_letters()
    assert letters.column_names == ["x", "name", *REASON]
    assert letters.select(["x", "name", "transom_function", "transom_batch", "transom_row", "transom_code", "transom_attempts"]).to_pylist() == [
        {"x": x, "name": n, "transom_function": "point", "transom_batch": 0, "transom_row": row, "transom_code": c, "transom_attempts": 1}
        for row, x, n, c in [(1, 2, "b", "TRN-3001"), (2, None, None, "TRN-3001"), (3, 3, "d", "TRN-4004")]
    ]
    said = letters["transom_error"].to_pylist()
    assert said[:2] == ["KeyError: 2", "KeyError: None"]
    assert "'three'" in said[2]
    assert "int64" in said[2]
    assert results.dead_letters().num_rows == 0
    assert results.dead_letters().schema == letters.schema


def test_values_that_do_not_fit_fail_alone(pool: transom.Pool) -> None:
    @transom.udf(on_error="null", returns="int8")
    def f(x: int):  # type: ignore[no-untyped-def]
        return {1: 1.5, 2: 1000, 3: "no", 4: None}.get(x, x)

    assert pool.call(f, pa.array([0, 1, 2, 3, 4, 5])).to_pylist() == [0, None, None, None, None, 5]
    assert counted(pool, "f") == (3, 0)


def test_a_null_where_none_is_declared_is_a_failure(pool: transom.Pool) -> None:
    @transom.udf(on_error="dead_letter", returns=pa.field("f", pa.int64(), nullable=False))
    def never_null(x: int | None) -> int | None:
        return x

    result = pool.call(never_null, pa.array([1, None, 3]))
    assert result.to_pylist() == [1, 3]
    (letters,) = pool.dead_letters()
    assert letters["transom_error"].to_pylist() == ["the function returned a null, and its result is declared to have none"]
    assert pool.dead_letters() == []


def test_exceptions_of_every_sort(pool: transom.Pool) -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise ValueError("no text")

    @transom.udf(on_error="dead_letter")
    def sorts(x: int) -> int:
        if x == 1:
            sys.exit("bye")
        if x == 2:
            raise StopIteration("lost")
        if x == 3:
            raise Odd
        if x == 4:
            return sorts.function(x)  # for ever
        if x == 5:
            raise MemoryError
        if x == 6:
            raise ValueError("ü" * 10_000)
        return x

    assert pool.call(sorts, pa.array(range(8))).to_pylist() == [0, 7]
    (letters,) = pool.dead_letters()
    said = dict(
        zip(letters["x"].to_pylist(), zip(letters["transom_code"].to_pylist(), letters["transom_error"].to_pylist(), strict=True), strict=True)
    )
    assert said[1] == ("TRN-3002", "SystemExit: bye")
    assert said[2] == ("TRN-3001", "StopIteration: lost")
    assert "Odd: <its message cannot be shown" in said[3][1]
    assert said[4][1].startswith("RecursionError: ")
    assert said[5][1] == "MemoryError"
    assert 400 < len(said[6][1].encode()) <= 1024


def test_an_interrupt_is_no_row(pool: transom.Pool) -> None:
    @transom.udf(on_error="null", deterministic=False)
    def once(x: int) -> int:
        raise KeyboardInterrupt

    assert fails(pool, once, kind=transom.FunctionError, name="FUNCTION_RAISED").remote_type == "KeyboardInterrupt"


def test_so_many_different_failures_stay_small(pool: transom.Pool) -> None:
    @transom.udf(on_error="dead_letter")
    def wordy(x: int) -> int:
        raise ValueError(f"{x}" * 300)

    rows = 65_536
    assert len(pool.call(wordy, pa.array(range(rows)))) == 0
    (letters,) = pool.dead_letters()
    assert letters.num_rows == rows
    said = letters["transom_error"].to_pylist()
    assert said[0] == "ValueError: " + "0" * 300
    assert said[-1] == "ValueError: its message is not kept, since so many rows failed"
    assert sum(map(len, set(said))) < 512 << 10


def test_functions_without_columns_and_with_settings(pool: transom.Pool) -> None:
    @transom.udf(on_error="null")
    def f(x: int, divisor=2) -> float:  # type: ignore[no-untyped-def]
        return divisor / x

    assert pool.call(f, pa.array([0, 1])).to_pylist() == [None, 2.0]


@transom.udf(on_error="null")
def strict_log(x: pa.Array) -> pa.Array:
    return pc.ln_checked(x)


def test_scalar_functions_are_run_in_parts(pool: transom.Pool) -> None:
    bad = {0, 40_000, 40_001, 65_535}
    values = [0.0 if row in bad else 1.0 for row in range(65_536)]
    result = pool.call(strict_log, pa.array(values))
    assert {row for row, valid in enumerate(result.is_valid().to_pylist()) if not valid} == bad
    suppressed, attempts = counted(pool, "strict_log")
    assert suppressed == 4
    assert 16 < attempts < 2 * 16 * 4
    assert fails(pool, strict_log, pa.array([0.0, 0.0]), kind=transom.TransomError, name="TOO_MANY_FAILURES").rows == range(2)


def test_a_numpy_function_that_drops_rows_is_to_blame_itself(pool: transom.Pool) -> None:
    @transom.udf(on_error="null", returns="int64")
    def f(x: pa.Array) -> pa.Array:
        return x[1:]

    fails(pool, f, kind=transom.InvalidResult, name="WRONG_LENGTH")


@transom.udf(on_error="dead_letter", deadline=1.0)
def deadly(x: int) -> int:
    if x == -1:
        raise ValueError("minus one")
    if x == -2:
        ctypes.string_at(0)
    if x == -3:
        os._exit(7)
    if x == -4:
        time.sleep(60)
    return x + 1


def test_deaths_are_found_one_by_one(make_pool: Callable[..., transom.Pool]) -> None:
    pool = make_pool(workers=2)
    source = [pa.record_batch({"x": [0, 1, -2, 3]}), pa.record_batch({"x": [4, 5]}), pa.record_batch({"x": [-4, 6, -1, -3]})]
    results = pool.map(deadly, source)
    assert results.read_all()["deadly"].to_pylist() == [1, 2, 4, 5, 6, 7]
    letters = results.dead_letters()
    assert letters.select(["x", "transom_batch", "transom_row", "transom_code"]).to_pylist() == [
        {"x": -2, "transom_batch": 0, "transom_row": 2, "transom_code": "TRN-2104"},
        {"x": -4, "transom_batch": 2, "transom_row": 6, "transom_code": "TRN-2107"},
        {"x": -1, "transom_batch": 2, "transom_row": 8, "transom_code": "TRN-3001"},
        {"x": -3, "transom_batch": 2, "transom_row": 9, "transom_code": "TRN-2101"},
    ]
    assert "SIGSEGV" in letters["transom_error"][0].as_py()
    assert counted(pool, "deadly")[0] == 4
    assert pool.call(alive, ONE).equals(ONE)


def test_a_death_is_no_null(make_pool: Callable[..., transom.Pool]) -> None:
    @transom.udf(on_error="null")
    def f(x: int) -> int:
        os._exit(5)

    fails(make_pool(), f, kind=transom.WorkerDied, name="WORKER_EXITED")


def test_who_is_not_deterministic_is_never_run_again(make_pool: Callable[..., transom.Pool], tmp_path: Path) -> None:
    pool, seen = make_pool(), tmp_path / "seen"

    @transom.udf(on_error="dead_letter", deterministic=False)
    def f(x: int) -> int:
        with seen.open("a") as file:
            file.write(f"{x} ")
        if x == 2:
            raise ValueError
        if x == 4:
            os._exit(5)
        return x

    assert pool.call(f, pa.array([1, 2, 3])).to_pylist() == [1, 3]
    assert len(pool.dead_letters()) == 1
    fails(pool, f, pa.array([4, 5]), kind=transom.WorkerDied, name="WORKER_EXITED")
    assert seen.read_text() == "1 2 3 4 "


def test_other_batches_go_on_meanwhile(make_pool: Callable[..., transom.Pool]) -> None:
    pool = make_pool(workers=2)
    source = [pa.record_batch({"x": [-2] if batch == 0 else [batch]}) for batch in range(20)]
    results = pool.map(deadly, source, ordered=False)
    found = [batch["deadly"].to_pylist() for batch in results]
    assert sorted(value for values in found for value in values) == list(range(2, 21))
    assert results.dead_letters().num_rows == 1


def test_closing_the_results_ends_the_search(make_pool: Callable[..., transom.Pool]) -> None:
    pool = make_pool()
    results = pool.map(deadly, [pa.record_batch({"x": list(range(100))}), pa.record_batch({"x": [-2] * 100})])
    assert next(results).num_rows == 100
    results.close()
    assert results.dead_letters().num_rows == 0
    assert pool.call(alive, ONE).equals(ONE)


def test_closing_the_pool_ends_the_search(make_pool: Callable[..., transom.Pool]) -> None:
    pool = make_pool()
    found: list[str] = []

    def call() -> None:
        try:
            pool.call(deadly, pa.array([-2] * 5000))
        except transom.TransomError as error:
            found.append(error.code_name)

    caller = threading.Thread(target=call)
    caller.start()
    while not any(worker["restarts"] for worker in pool.stats()["workers"]):
        time.sleep(0.01)
    pool.close()
    caller.join()
    assert found == ["POOL_CLOSED"]


def test_functions_of_other_places_keep_their_policies(pool: transom.Pool, functions_file: Callable[[str], Path]) -> None:
    path = functions_file(
        """
        import transom

        @transom.udf(on_error="null")
        def half(x: int) -> int:
            return {2: 1, 4: 2}[x]
        """
    )
    assert pool.call(f"{path}:half", pa.array([1, 2])).to_pylist() == [None, 1]


def test_a_function_sent_by_value_keeps_its_policies(pool: transom.Pool) -> None:
    factor = 3
    local = transom.udf(lambda x: factor // x, kind="row", args=["int64"], returns="int64", on_error="null")
    assert pool.call(local, pa.array([0, 1])).to_pylist() == [None, 3]


def no_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    return batches


def an_array(x: pa.Array) -> pa.Array:
    return x


def a_value(x: int) -> int:
    return x


@pytest.mark.parametrize(
    ("function", "options", "words"),
    [
        (no_batches, {"on_error": "null"}, "no row of its input is to blame"),
        (an_array, {"on_error": "dead_letter", "deterministic": False}, "deterministic=True"),
        (a_value, {"on_error": "null", "returns": pa.field("f", pa.int64(), nullable=False)}, "without nulls"),
        (a_value, {"on_error": "ignore"}, "on_error is 'ignore'"),
        (a_value, {"deterministic": "yes"}, "deterministic is 'yes'"),
        (a_value, {"deterministic": False, "retries": 1}, "cannot have retries"),
    ],
)
def test_policies_that_cannot_be_kept_are_refused(function: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(transom.SignatureError, match=words) as caught:
        transom.udf(**options)(function)
    assert caught.value.code_name == "FUNCTION_SIGNATURE"


def test_foreign_functions_are_given_a_policy() -> None:
    assert transom.native("lib.so", "f", on_error="dead_letter").on_error == "dead_letter"
    with pytest.raises(transom.InvalidArgument, match="on_error is 'skip'"):
        transom.java("a.F", on_error="skip")


@pytest.mark.parametrize("seed", range(4))
def test_every_row_is_a_result_or_a_dead_letter(make_pool: Callable[..., transom.Pool], seed: int) -> None:
    pool, choose = make_pool(workers=2), random.Random(seed)
    share = choose.choice([0.0, 0.02, 0.3, 1.0])
    values = [-1 if choose.random() < share else choose.randrange(1000) for _ in range(choose.randrange(1, 60))]
    for _ in range(choose.randrange(3)):  # each costs some processes
        values[choose.randrange(len(values))] = -3
    source = pa.table({"key": list(range(len(values))), "x": values})
    results = pool.map(deadly, source.to_batches(max_chunksize=choose.randrange(1, 30)), append=True)
    good = results.read_all()
    letters = results.dead_letters()
    assert sorted(good["key"].to_pylist() + letters["transom_row"].to_pylist()) == list(range(len(values)))
    assert [(key, x + 1) for key, x in enumerate(values) if x >= 0] == list(zip(good["key"].to_pylist(), good["deadly"].to_pylist(), strict=True))
    assert letters["x"].to_pylist() == [x for x in values if x < 0]


# The program.

PROGRAM_FUNCTIONS = """
import os
import transom

@transom.udf
def careful(n: int | None) -> float:
    if n == 501:
        os._exit(9)
    return 1 / (n or 0)

@transom.udf(on_error="dead_letter")
def by_definition(n: int | None) -> float:
    return 1 / (n or 0)
"""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    made = Shell(tmp_path)
    (tmp_path / "f.py").write_text(PROGRAM_FUNCTIONS)
    made.input()
    return made


def last_line(done: subprocess.CompletedProcess[bytes]) -> str:
    assert done.returncode == 0, done.stderr.decode()
    return done.stderr.decode().splitlines()[-1]


def test_the_program_writes_dead_letters(shell: Shell) -> None:
    source = table()
    bad = [row for row, n in enumerate(source["n"].to_pylist()) if not n or n == 501]
    options = ["--batch-rows", 64, "--append", "-o", "out.parquet", "--dead-letters", "bad.parquet"]
    line = last_line(shell.run("careful", "in.parquet", *options, workers=2))
    assert line.startswith(f"1,000 rows in, {1000 - len(bad)} rows out, ")
    assert line.endswith(f"; {len(bad)} rows in dead letters (bad.parquet)")
    out, letters = pq.read_table(shell.folder / "out.parquet"), pq.read_table(shell.folder / "bad.parquet")
    assert out.drop_columns(["careful"]) == source.take([row for row in range(1000) if row not in bad])
    assert letters["transom_row"].to_pylist() == bad
    assert letters.select(["n"]) == source.take(bad).select(["n"])
    assert set(letters["transom_code"].to_pylist()) == {"TRN-3001", "TRN-2101"}


def test_the_program_makes_failing_rows_null(shell: Shell) -> None:
    line = last_line(shell.run("by_definition", "in.parquet", "--limit", 4, "--on-error", "null", "-o", "out.csv"))
    assert line.endswith("; 2 rows failed and are null")
    assert (shell.folder / "out.csv").read_text() == 'by_definition\n""\n1.0\n0.5\n""\n'
    line = last_line(shell.run("by_definition", "in.parquet", "--limit", 2, "--on-error", "null"))
    assert line.endswith("; 1 row failed and is null")


def test_no_dead_letters_are_a_file_without_rows(shell: Shell) -> None:
    shell.input("good.parquet", pa.table({"n": [1, 2]}))
    line = last_line(shell.run("by_definition", "good.parquet", "--dead-letters", "bad.jsonl", "-o", "out.csv"))
    assert "dead letters" not in line
    assert (shell.folder / "bad.jsonl").read_text() == ""
    line = last_line(shell.run("by_definition", "good.parquet", "--dead-letters", "bad.parquet", "-o", "out.csv"))
    assert pq.read_table(shell.folder / "bad.parquet").schema.names == ["n", *REASON]


def test_a_run_that_fails_leaves_no_dead_letters(shell: Shell) -> None:
    text = shell.fails("careful", "in.parquet", "--on-error", "null", "-o", "out.csv")
    assert "WORKER_EXITED" in text
    text = shell.fails("by_definition", "in.parquet", "--dead-letters", "no/where.parquet")
    assert "OUTPUT_FAILED" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["by_definition", "in.parquet"], "--dead-letters FILE"),
        (["careful", "in.parquet", "--on-error", "dead-letter"], "--dead-letters FILE"),
        (["careful", "in.parquet", "--on-error", "null", "--dead-letters", "bad.csv"], "leave one of them out"),
        (["careful", "in.parquet", "--dead-letters", "-"], "is a file"),
        (["careful", "in.parquet", "--dead-letters", "bad.csv", "-o", "bad.csv"], "same file"),
        (["careful", "in.parquet", "--dead-letters", "in.parquet"], "also an input"),
    ],
)
def test_options_that_lose_rows_are_refused(shell: Shell, words: list[str], said: str) -> None:
    text = shell.fails(*words)
    assert "BAD_OPTION" in text
    assert said in text
