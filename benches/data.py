"""The batches that are measured: (int64, float64, utf8 of about 16 bytes), 5 % of each missing.

They are made once a run and written as Arrow streams, so that hosts in both languages read the same
values. `load` then builds every column anew on the ordinary heap, buffer by buffer, as pyarrow does
for any application: a batch read from a file would be slices of one big buffer, which is easier to send.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SEED = 20240229
NULLS = 0.05
TEXT_LENGTH = (8, 24)  # 16 on average

# Rows a batch -> how many different batches. Together more than the second-level cache from 8 Ki rows on.
BATCHES = {1: 512, 8 << 10: 128, 64 << 10: 32, 1 << 20: 4}


def make_batch(random: np.random.Generator, rows: int) -> pa.RecordBatch:
    """One batch of random values; the letters have two cases so that upper-casing has work to do."""
    missing = {name: random.random(rows) < NULLS for name in ("number", "ratio", "text")}
    lengths = random.integers(*TEXT_LENGTH, rows, endpoint=True)
    lengths[missing["text"]] = 0
    offsets = np.zeros(rows + 1, dtype=np.int32)
    np.cumsum(lengths, out=offsets[1:])
    letters = np.frombuffer(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", dtype=np.uint8)
    text = letters[random.integers(0, len(letters), offsets[-1], dtype=np.uint8)]
    columns = {
        "number": pa.array(random.integers(-(1 << 40), 1 << 40, rows)),
        "ratio": pa.array(random.random(rows)),
        "text": pa.Array.from_buffers(pa.utf8(), rows, [None, pa.py_buffer(offsets), pa.py_buffer(text)]),
    }
    nothing = {name: pa.scalar(None, column.type) for name, column in columns.items()}
    return pa.RecordBatch.from_pydict({name: pc.if_else(pa.array(missing[name]), nothing[name], column) for name, column in columns.items()})


def write_all(folder: Path, sizes: list[int]) -> None:
    """Writes one Arrow stream for each batch size: `folder/ROWS.arrows`."""
    random = np.random.default_rng(SEED)
    for rows in sizes:
        first = make_batch(random, rows)
        with pa.OSFile(str(path(folder, rows)), "wb") as sink, pa.ipc.new_stream(sink, first.schema) as writer:
            writer.write_batch(first)
            for _ in range(BATCHES[rows] - 1):
                writer.write_batch(make_batch(random, rows))


def path(folder: Path, rows: int) -> Path:
    """Where the batches of this size lie."""
    return folder / f"{rows}.arrows"


def load(folder: Path, rows: int, columns: tuple[str, ...]) -> list[pa.RecordBatch]:
    """The batches of one size with the named columns, rebuilt on the heap."""
    everything = pa.array(range(rows)) if rows < 1024 else pa.array(np.arange(rows))
    with pa.OSFile(str(path(folder, rows)), "rb") as source, pa.ipc.open_stream(source) as reader:
        return [batch.select(columns).take(everything) for batch in reader]
