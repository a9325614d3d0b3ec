"""The program `transom` and everything that can be wrong: inputs, functions, outputs, and its own end."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.json
import pytest
from program import PROGRAM, Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


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
