"""The program `transom` from outside: real files in every format, both ways."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.feather
import pyarrow.json
import pyarrow.parquet as pq
import pytest
from program import PROGRAM, READERS, ROOT, WRITERS, Shell, table


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.mark.parametrize("extension", WRITERS)
def test_every_input(shell: Shell, extension: str) -> None:
    shell.input(f"in.{extension}")
    shell.works("double", f"in.{extension}", "--append", "-o", "out.parquet")
    assert pq.read_table(shell.folder / "out.parquet") == table().append_column("double", pc.multiply(table()["n"], 2))


@pytest.mark.parametrize("extension", READERS)
def test_every_output(shell: Shell, extension: str) -> None:
    shell.input()
    shell.works("double", "in.parquet", "--append", "-o", f"out.{extension}")
    assert READERS[extension](shell.folder / f"out.{extension}") == table().append_column("double", pc.multiply(table()["n"], 2))


def test_lines_of_text(shell: Shell) -> None:
    (shell.folder / "a.txt").write_bytes("eins\r\nzwölf\n\nthree".encode())
    shell.works("shout", "a.txt", "-o", "out.jsonl")
    assert [json.loads(line)["shout"] for line in (shell.folder / "out.jsonl").read_text().splitlines()] == ["EINS", "ZWÖLF", "", "THREE"]


def test_rows_and_their_nulls(shell: Shell) -> None:
    shell.input()
    shell.works("greet", "in.parquet", "--limit", 5, "-o", "out.csv", "--as", "hello")
    assert READERS["csv"](shell.folder / "out.csv")["hello"].to_pylist()[2:4] == [
        'row 2, "said" né/2',
        'row 3, "said" né/None',
    ]


def test_batches_see_the_columns_that_are_asked_for(shell: Shell) -> None:
    shell.input()
    shell.works("shapes", "in.parquet", "--batch-rows", 400, "-o", "out.parquet")
    out = pq.read_table(shell.folder / "out.parquet")
    assert sum(out["rows"].to_pylist()) == 1000
    assert max(out["rows"].to_pylist()) <= 400
    assert set(out["columns"].to_pylist()) == {"n,text,x"}
    shell.works("shapes", "in.parquet", "--columns", "x,n", "-o", "out.parquet")
    assert pq.read_table(shell.folder / "out.parquet").to_pylist() == [{"rows": 1000, "columns": "x,n"}]


def test_batches_have_the_size_that_is_asked_for(shell: Shell) -> None:
    shell.input("small.arrows")
    shell.works("size", "small.arrows", "-o", "out.parquet", "--batch-rows", 10)
    assert max(pq.read_table(shell.folder / "out.parquet")["size"].to_pylist()) <= 10
    shell.works("size", "small.arrows", "-o", "out.parquet")
    assert pq.read_table(shell.folder / "out.parquet")["size"].to_pylist() == [1000] * 1000


def test_columns_by_place_and_a_name_for_the_result(shell: Shell) -> None:
    shell.input("in.parquet", pa.table({"price": [1, 2], "double": [3, 4]}))
    shell.works(
        "double",
        "in.parquet",
        "--columns",
        "price",
        "--append",
        "--as",
        "twice",
        "-o",
        "out.parquet",
    )
    assert pq.read_table(shell.folder / "out.parquet").to_pydict() == {
        "price": [1, 2],
        "double": [3, 4],
        "twice": [2, 4],
    }


def test_many_files_many_workers_one_order(shell: Shell) -> None:
    data = pa.table({"n": list(range(20_000))})
    (shell.folder / "parts/deep").mkdir(parents=True)
    for part in range(10):
        name = f"parts/{'deep/' if part > 7 else ''}{part:02}.parquet" if part % 2 else f"parts/{'deep/' if part > 7 else ''}{part:02}.arrow"
        shell.input(name, data.slice(part * 2000, 2000))
    (shell.folder / "parts/_SUCCESS").touch()
    (shell.folder / "parts/.hidden.crc").touch()
    shell.works("double", "parts", "-o", "out.parquet", "--batch-rows", 300, workers=2)
    assert pq.read_table(shell.folder / "out.parquet")["double"].to_pylist() == list(range(0, 40_000, 2))
    shell.works("double", "parts/*.parquet", "parts/deep/*", "-o", "out.parquet", workers=2)
    assert pq.read_table(shell.folder / "out.parquet").num_rows == 4 * 2000 + 2 * 2000


def test_streams_in_a_pipe(shell: Shell) -> None:
    source = shell.input("in.arrows").read_bytes()
    out = shell.works("double", "-", "-o", "-", input=source)
    assert pa.ipc.open_stream(out).read_all()["double"] == pc.multiply(table()["n"], 2)
    text = shell.works(
        "double",
        "-",
        "--format",
        "csv",
        "-o",
        "-",
        "--output-format",
        "jsonl",
        input=shell.input("in.csv").read_bytes(),
    )
    assert json.loads(text.splitlines()[2]) == {"double": 4}


def test_a_reader_that_has_seen_enough_is_no_error(shell: Shell) -> None:
    shell.input("in.parquet", pa.table({"n": list(range(500_000))}))
    command = [*shell.command("double", "in.parquet", "-o", "-", "--output-format", "csv")]
    with subprocess.Popen(command, cwd=shell.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"double\n"
        process.stdout.close()
        errors = process.stderr.read().decode()
        assert process.wait(timeout=60) == 0
    assert "error" not in errors


def test_a_table_of_the_first_rows(shell: Shell) -> None:
    shell.input()
    text = shell.works("double", "in.parquet").decode()
    assert text.splitlines()[1] == "| double |"
    assert text.splitlines()[-1] == "… and 980 more rows"


def test_the_closing_line(shell: Shell) -> None:
    shell.input()
    done = shell.run("double", "in.parquet", "-o", "out.parquet")
    assert re.fullmatch(
        r"1,000 rows, \d+\.\d+ s, 1 worker, [\d.]+ k?B shared, [\d.]+ k?B copied\n",
        done.stderr.decode(),
    ), done.stderr


def test_from_parquet_to_parquet_without_a_copy(shell: Shell) -> None:
    rows = 3 * 65_536
    data = pa.table({"n": list(range(rows)), "line": [f"row {i}" for i in range(rows)], "holes": [i if i % 3 else None for i in range(rows)]})
    shell.input("in.parquet", data)

    def copied(*command: str) -> str:
        done = shell.run(*command, "-o", "out.parquet", workers=2)
        return re.search(r"shared, (.*) copied\n", done.stderr.decode())[1]

    # What the reader of the file builds is shared memory, and what comes back as it was is written from there.
    assert copied("same", "in.parquet") == "0 B"
    assert copied("same_line", "in.parquet") == "0 B"
    assert pq.read_table(shell.folder / "out.parquet").column(0).to_pylist() == data["line"].to_pylist()
    # A bit a row for nulls: 8 KiB a batch is less than what is shared.
    assert copied("same", "in.parquet", "--columns", "holes") == "24.6 kB"
    assert pq.read_table(shell.folder / "out.parquet").column(0).to_pylist() == data["holes"].to_pylist()


def test_what_functions_print_is_shown_as_it_is_and_the_output_stays_clean(shell: Shell) -> None:
    shell.input()
    done = shell.run("talks", "in.parquet", "-o", "-", "--output-format", "csv")
    said = done.stderr.decode().splitlines()
    assert sorted(said[:3]) == ["1000 rows", "the last word", "é?"], said
    assert said[3].startswith("1,000 rows, ")
    assert len(done.stdout.splitlines()) == 1001


def test_the_bar_is_for_terminals(shell: Shell) -> None:
    shell.input()
    main, side = pty.openpty()
    try:
        done = subprocess.run(
            shell.command("double", "in.parquet", "-o", "out.parquet"),
            check=False,
            cwd=shell.folder,
            stderr=side,
            timeout=60,
        )
        assert done.returncode == 0
        seen = os.read(main, 65536).decode()
    finally:
        os.close(main)
        os.close(side)
    assert "rows/s" in seen or "\x1b[" in seen
    assert "1,000 rows, " in seen


def test_variables_and_interpreters(shell: Shell) -> None:
    shell.input()
    assert "good day" in shell.works("variable", "in.parquet", "--env", "GREETING=good day").decode()
    command = shell.command("double", "in.parquet", "-o", "out.parquet")
    command = command[: command.index("--python")]
    done = subprocess.run(
        command,
        check=False,
        cwd=shell.folder,
        env={**os.environ, "TRANSOM_PYTHON": sys.executable},
        timeout=60,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr


def test_decimals_dates_and_nested_types(shell: Shell) -> None:
    data = pa.table(
        {
            "n": [1, None],
            "price": pa.array([Decimal("1.50"), None], pa.decimal128(15, 2)),
            "day": pa.array([19_000, None], pa.date32()),
            "tags": [["a", "b"], None],
            "point": [{"x": 1, "y": 2.5}, None],
            "kind": pa.array(["a", "b"]).dictionary_encode(),
        }
    )
    for extension in ["parquet", "arrow", "arrows"]:
        shell.input(f"in.{extension}", data)
        shell.works("double", f"in.{extension}", "--append", "-o", f"out.{extension}")
        assert READERS[extension](shell.folder / f"out.{extension}").drop(["double"]) == data


@pytest.mark.parametrize("extension", READERS)
def test_no_rows_are_a_result(shell: Shell, extension: str) -> None:
    shell.input("in.parquet", table(0))
    shell.input("some.parquet")
    for words in [["in.parquet"], ["some.parquet", "--limit", "0"]]:
        shell.works("double", *words, "-o", f"out.{extension}")
        if extension == "jsonl":
            assert (shell.folder / "out.jsonl").read_text() == ""
        else:
            out = READERS[extension](shell.folder / f"out.{extension}")
            assert (out.num_rows, out.schema.names) == (0, ["double"])


def test_a_file_that_is_replaced_keeps_its_permissions_and_a_link_stays(
    shell: Shell,
) -> None:
    shell.input()
    real = shell.folder / "real.csv"
    real.write_text("old")
    real.chmod(0o640)
    (shell.folder / "link.csv").symlink_to("real.csv")
    shell.works("double", "in.parquet", "-o", "link.csv", "--limit", 1)
    assert (shell.folder / "link.csv").is_symlink()
    assert real.read_text() == "double\n0\n"
    assert real.stat().st_mode & 0o777 == 0o640


def test_the_examples(shell: Shell) -> None:
    prices = pa.table({name: pa.array([Decimal("100.00"), Decimal("0.07")], pa.decimal128(15, 2)) for name in ["l_extendedprice", "l_discount"]})
    shell.input("lines.parquet", prices)
    base = [str(PROGRAM), "run"]
    tail = ["--python", sys.executable, "-o", "out.parquet"]
    subprocess.run(
        [*base, f"{ROOT}/examples/pricing.py:discounted_price", "lines.parquet", *tail],
        check=True,
        cwd=shell.folder,
        timeout=60,
    )
    assert pq.read_table(shell.folder / "out.parquet")["discounted_price"].to_pylist() == [Decimal("-9900.0000"), Decimal("0.0651")]
    (shell.folder / "book.txt").write_text("The cat and the hat.\nDon't!\nAND?\n")
    subprocess.run(
        [*base, f"{ROOT}/examples/wordcount.py:count_words", "book.txt", *tail],
        check=True,
        cwd=shell.folder,
        timeout=60,
    )
    counts = {row["word"]: row["count"] for row in pq.read_table(shell.folder / "out.parquet").to_pylist()}
    assert counts == {"the": 2, "and": 2, "cat": 1, "hat": 1, "don't": 1}


def test_doctor() -> None:
    done = subprocess.run(
        [PROGRAM, "doctor", "--python", sys.executable],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"ok +transom ", done.stdout)
    assert "MISSING" not in done.stdout
