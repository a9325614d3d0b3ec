"""The program `transom` from outside: real files in every format, both ways, and everything that can be wrong with them."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.feather
import pyarrow.json
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parent.parent
PROGRAM = Path(os.environ.get("TRANSOM_BIN", ROOT / "target/release/transom"))

FUNCTIONS = """
import os, sys, time
from collections.abc import Iterator
import pyarrow as pa
import pyarrow.compute as pc
import transom

@transom.udf
def double(n: pa.Int64Array) -> pa.Int64Array:
    return pc.multiply(n, 2)

@transom.udf
def size(n: pa.Int64Array) -> pa.Int64Array:
    return pa.array([len(n)] * len(n), pa.int64())

@transom.udf
def greet(text: str, n: int | None) -> str:
    return f"{text}/{n}"

@transom.udf(returns=pa.schema([("rows", pa.int64()), ("columns", pa.string())]))
def shapes(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield pa.record_batch({"rows": [batch.num_rows], "columns": [",".join(batch.schema.names)]})

@transom.udf
def silent(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        pass
    return iter(())

@transom.udf
def shout(line: pa.StringArray) -> pa.StringArray:
    return pc.utf8_upper(line)

@transom.udf
def fails(n: pa.Int64Array) -> pa.Int64Array:
    print("this far", flush=True)
    if 700 in n.to_pylist():
        raise ValueError("no sevens, please")
    return n

@transom.udf
def too_short(n: pa.Int64Array) -> pa.Int64Array:
    return n[1:]

@transom.udf
def leaves(n: pa.Int64Array) -> pa.Int64Array:
    sys.exit(4)

@transom.udf
def vanishes(n: pa.Int64Array) -> pa.Int64Array:
    os._exit(5)

@transom.udf
def crashes(n: pa.Int64Array) -> pa.Int64Array:
    import ctypes
    ctypes.string_at(0)

@transom.udf
def sleeps(n: pa.Int64Array) -> pa.Int64Array:
    time.sleep(600)

@transom.udf
def variable(n: pa.Int64Array) -> pa.StringArray:
    return pa.array([os.environ["GREETING"]] * len(n))

nothing = 5
"""


def table(rows: int = 1000) -> pa.Table:
    return pa.table(
        {
            "n": pa.array([None if i % 7 == 3 else i for i in range(rows)], pa.int64()),
            "text": [f'row {i}, "said" né' for i in range(rows)],
            "x": [i / 4 for i in range(rows)],
        }
    )


def write_stream(data: pa.Table, path: Path) -> None:
    with pa.ipc.new_stream(str(path), data.schema) as writer:
        writer.write_table(data, max_chunksize=100)


def write_json(data: pa.Table, path: Path) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in data.to_pylist()))


def write_tsv(data: pa.Table, path: Path) -> None:
    pa.csv.write_csv(data, path, pa.csv.WriteOptions(delimiter="\t"))


WRITERS: dict[str, Callable[[pa.Table, Path], None]] = {
    "parquet": lambda data, path: pq.write_table(data, path, row_group_size=300),
    "arrow": pyarrow.feather.write_feather,
    "arrows": write_stream,
    "csv": pa.csv.write_csv,
    "tsv": write_tsv,
    "jsonl": write_json,
}

READERS: dict[str, Callable[[Path], pa.Table]] = {
    "parquet": pq.read_table,
    "arrow": lambda path: pa.ipc.open_file(str(path)).read_all(),
    "arrows": lambda path: pa.ipc.open_stream(str(path)).read_all(),
    "csv": lambda path: pa.csv.read_csv(path, convert_options=pa.csv.ConvertOptions(strings_can_be_null=True)),
    "tsv": lambda path: pa.csv.read_csv(path, parse_options=pa.csv.ParseOptions(delimiter="\t")),
    "jsonl": pa.json.read_json,
}


class Shell:
    """Runs the program in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        assert PROGRAM.exists(), f"{PROGRAM} is not built: make setup"
        self.folder = folder
        (folder / "f.py").write_text(FUNCTIONS)

    def command(self, function: str, *words: object, workers: int = 1) -> list[str]:
        return [
            str(PROGRAM),
            "run",
            f"f.py:{function}",
            *map(str, words),
            "--python",
            sys.executable,
            "--workers",
            str(workers),
        ]

    def run(self, function: str, *words: object, workers: int = 1, **options: object) -> subprocess.CompletedProcess[bytes]:
        command = self.command(function, *words, workers=workers)
        return subprocess.run(
            command,
            check=False,
            cwd=self.folder,
            capture_output=True,
            timeout=120,
            **options,
        )  # type: ignore[call-overload]

    def works(self, function: str, *words: object, workers: int = 1, **options: object) -> bytes:
        done = self.run(function, *words, workers=workers, **options)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def fails(self, function: str, *words: object, **options: object) -> str:
        before = self.names()
        done = self.run(function, *words, **options)
        text = done.stderr.decode()
        assert done.returncode == 1, text
        assert re.match(r"error\[TRN-\d{4} [A-Z_]+\]: ", text), text
        assert "panicked" not in text
        assert self.names() == before, "a file was left behind"
        return text

    def names(self) -> set[str]:
        return set(os.listdir(self.folder)) - {"__pycache__"}

    def input(self, name: str = "in.parquet", data: pa.Table | None = None) -> Path:
        path = self.folder / name
        WRITERS[path.suffix[1:]](table() if data is None else data, path)
        return path


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


# What works.


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


# What is wrong.


def test_an_exception(shell: Shell) -> None:
    shell.input()
    (shell.folder / "out.parquet").write_bytes(b"before")
    text = shell.fails("fails", "in.parquet", "-o", "out.parquet", "--batch-rows", 300)
    assert "TRN-3001 FUNCTION_RAISED]: ValueError: no sevens, please" in text
    assert "function `fails`, batch " in text
    assert "if 700 in" not in text
    assert 'raise ValueError("no sevens, please")' in text
    assert (shell.folder / "out.parquet").read_bytes() == b"before"


@pytest.mark.parametrize(
    ("function", "code"),
    [
        ("too_short", "TRN-4001 WRONG_LENGTH"),
        ("leaves", "TRN-3002 FUNCTION_EXIT"),
        ("vanishes", "TRN-2101 WORKER_EXITED"),
        ("crashes", "TRN-2104 WORKER_SIGNALLED"),
        ("absent", "TRN-1101 FUNCTION_NOT_FOUND"),
        ("nothing", "TRN-1103 FUNCTION_NOT_CALLABLE"),
    ],
)
def test_functions_that_end_badly(shell: Shell, function: str, code: str) -> None:
    shell.input()
    assert code in shell.fails(function, "in.parquet", "-o", "out.parquet")


def test_a_deadline(shell: Shell) -> None:
    shell.input()
    started = time.monotonic()
    text = shell.fails("sleeps", "in.parquet", "-o", "out.parquet", "--deadline", 1)
    assert "TRN-2107 DEADLINE_EXCEEDED" in text
    assert time.monotonic() - started < 20


def test_a_file_of_functions_that_does_not_load(shell: Shell) -> None:
    shell.input()
    (shell.folder / "f.py").write_text("import nothing_like_this\n")
    text = shell.fails("double", "in.parquet")
    assert "TRN-1102 FUNCTION_IMPORT_FAILED" in text
    assert "nothing_like_this" in text
    (shell.folder / "f.py").unlink()
    assert "TRN-1101" in shell.fails("double", "in.parquet")


def test_columns_that_are_not_there(shell: Shell) -> None:
    shell.input("in.parquet", pa.table({"m": [1], "text": ["a"], "total_price": [2.0]}))
    text = shell.fails("double", "in.parquet", "-o", "out.parquet")
    assert "TRN-6001 COLUMN_NOT_FOUND]: the input has no column `n`" in text
    assert "It has m, text, total_price" in text or "it has m, text, total_price" in text
    text = shell.fails("double", "in.parquet", "--columns", "total_prise")
    assert "did you mean total_price?" in text
    assert "TRN-6002 WRONG_ARGUMENTS" in shell.fails("double", "in.parquet", "--columns", "m,text")
    assert "TRN-6003 ARGUMENT_TYPE" in shell.fails("double", "in.parquet", "--columns", "text")


def test_options_that_do_not_fit_the_function(shell: Shell) -> None:
    shell.input("in.parquet", pa.table({"n": [1], "double": [2]}))
    assert "--as gives" in shell.fails("double", "in.parquet", "--append")
    assert "a batches function" in shell.fails("shapes", "in.parquet", "--append")
    assert "a batches function" in shell.fails("shapes", "in.parquet", "--as", "x")


def test_a_result_without_rows_or_columns(shell: Shell) -> None:
    shell.input()
    assert "TRN-4006 BAD_SCHEMA" in shell.fails("silent", "in.parquet", "-o", "out.parquet")
    assert shell.works("silent", "in.parquet", "-o", "out.jsonl") == b""


def test_types_that_a_format_cannot_hold(shell: Shell) -> None:
    shell.input("in.parquet", pa.table({"n": [1], "tags": [["a"]]}))
    text = shell.fails("double", "in.parquet", "--append", "-o", "out.csv")
    assert "TRN-6104 OUTPUT_FAILED" in text
    assert "`tags`" in text


def test_damaged_and_mistaken_inputs(shell: Shell) -> None:
    whole = shell.input().read_bytes()
    (shell.folder / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    (shell.folder / "fake.parquet").write_bytes(b"this is no table")
    (shell.folder / "latin.txt").write_bytes("fine\nnaïve\n".encode("latin-1"))
    garbled = bytearray(whole)
    garbled[200:260] = b"\xa5" * 60
    (shell.folder / "garbled.parquet").write_bytes(garbled)
    for name in ["cut.parquet", "fake.parquet", "garbled.parquet"]:
        text = shell.fails("double", name, "-o", "out.parquet")
        assert "TRN-6103 INPUT_FORMAT" in text
        assert name in text
    assert "latin.txt is not UTF-8: line 2, byte 3" in shell.fails("shout", "latin.txt")
    text = shell.fails("double", "-", input=b"n,text\n1,2\n")
    assert "standard input" in text
    assert "--format" in text


def test_an_interpreter_without_pyarrow(shell: Shell, tmp_path_factory: pytest.TempPathFactory) -> None:
    bare = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True, timeout=60)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    shell.input()
    command = [
        str(PROGRAM),
        "run",
        "f.py:double",
        "in.parquet",
        "-o",
        "out.csv",
        "--python",
        str(bare / "bin/python"),
    ]
    done = subprocess.run(
        command,
        check=False,
        cwd=shell.folder,
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )
    assert done.returncode == 1
    assert "TRN-1006 PYARROW_MISSING" in done.stderr
    assert f"{bare}/bin/python -m pip install pyarrow" in done.stderr
    command = [str(PROGRAM), "doctor", "--python", str(bare / "bin/python")]
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )
    assert done.returncode == 1
    assert re.search(r"MISSING +pyarrow", done.stdout)


def can_mount() -> bool:
    return (
        shutil.which("unshare") is not None
        and subprocess.run(
            ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"],
            check=False,
            capture_output=True,
        ).returncode
        == 0
    )


@pytest.mark.skipif(not can_mount(), reason="a small disk can be made by root only")
@pytest.mark.parametrize("extension", ["parquet", "arrow", "csv", "jsonl"])
def test_a_full_disk(shell: Shell, extension: str) -> None:
    shell.input("in.parquet", pa.table({"n": [i * 7919 % 1_000_003 for i in range(100_000)]}))
    (shell.folder / "small").mkdir()
    script = 'mount -t tmpfs -o size=64k none small; printf before > "$0"; "$@"; echo "status $?"; ls -A small; cat "$0"'
    command = shell.command("double", "in.parquet", "-o", f"small/out.{extension}")
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, f"small/out.{extension}", *command],
        check=False,
        cwd=shell.folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert f"TRN-6104 OUTPUT_FAILED]: cannot write small/out.{extension}: no space left on device" in done.stderr
    assert done.stdout.split("\n") == ["status 1", f"out.{extension}", "before"]


def children(pid: int) -> set[int]:
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.update(map(int, (task / "children").read_text().split()))
    return found


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_end_of_the_program_is_the_end_of_its_workers(shell: Shell, how: signal.Signals) -> None:
    shell.input()
    (shell.folder / "out.csv").write_text("before")
    with subprocess.Popen(
        shell.command("sleeps", "in.parquet", "-o", "out.csv", workers=2),
        cwd=shell.folder,
        stderr=subprocess.DEVNULL,
    ) as process:
        until = time.monotonic() + 30
        while len(workers := children(process.pid)) < 2 and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(1.5)  # until the function sleeps
        process.send_signal(how)
        started = time.monotonic()
        status = process.wait(timeout=10)
        assert time.monotonic() - started < 2
    assert status == (-signal.SIGKILL if how == signal.SIGKILL else 130)
    until = time.monotonic() + 5
    while any(map(is_alive, workers)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not [pid for pid in workers if is_alive(pid)]
    assert (shell.folder / "out.csv").read_text() == "before"
    if how != signal.SIGKILL:
        assert shell.names() == {"f.py", "in.parquet", "out.csv"}
