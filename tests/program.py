"""The program `transom` as tests run it: in a folder of its own, with a file of functions and data of every format."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.json
import pyarrow.parquet as pq

ROOT = Path(__file__).parent.parent
PROGRAM = Path(os.environ.get("TRANSOM_BIN", ROOT / "target/release/transom")).resolve()

# pyarrow opens a pipe at the first use of this reader and keeps it: that is no leak of the test that comes first.
pa.csv.read_csv(pa.BufferReader(b"a\n1\n"))

FUNCTIONS = """
import atexit, os, sys, time
from collections.abc import Iterator
import pyarrow as pa
import pyarrow.compute as pc
import transom

@transom.udf
def double(n: pa.Int64Array) -> pa.Int64Array:
    return pc.multiply(n, 2)

@transom.udf
def same(n: pa.Int64Array) -> pa.Int64Array:
    return n

@transom.udf
def same_line(line: pa.StringArray) -> pa.StringArray:
    return line

@transom.udf
def size(n: pa.Int64Array) -> pa.Int64Array:
    return pa.array([len(n)] * len(n), pa.int64())

@transom.udf
def talks(n: pa.Int64Array) -> pa.Int64Array:
    print(len(n), "rows")
    print("é?", file=sys.stderr)
    atexit.register(print, "the last word")
    return n

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
        assert re.search(r"^error\[TRN-\d{4} [A-Z_]+\]: ", text, re.MULTILINE), text
        assert "panicked" not in text
        assert self.names() == before, "a file was left behind"
        return text

    def names(self) -> set[str]:
        return set(os.listdir(self.folder)) - {"__pycache__"}

    def input(self, name: str = "in.parquet", data: pa.Table | None = None) -> Path:
        path = self.folder / name
        WRITERS[path.suffix[1:]](table() if data is None else data, path)
        return path
