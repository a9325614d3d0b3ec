"""Family 61: inputs and outputs of the program."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
from room import Room, Seen

from triggers import trigger

FUNCTIONS = "import transom\n\n@transom.udf\ndef double(x: int) -> int:\n    return 2 * x\n"


def prepared(room: Room) -> None:
    """A file of functions and an input."""
    room.file("prices.py", FUNCTIONS)
    pq.write_table(pa.table({"x": [1, 2, 3]}), room.folder / "prices.parquet")


@trigger(6101)
def input_not_found(room: Room) -> Seen:
    prepared(room)
    return room.program("run", "prices.py:double", "price.parquet")


@trigger(6102)
def input_unreadable(room: Room) -> Seen:
    prepared(room)
    (room.folder / "circle.parquet").symlink_to("circle.parquet")
    return room.program("run", "prices.py:double", "circle.parquet")


@trigger(6103)
def input_format(room: Room) -> Seen:
    prepared(room)
    room.file("notes.parquet", "this is no table")
    return room.program("run", "prices.py:double", "notes.parquet")


@trigger(6104)
def output_failed(room: Room) -> Seen:
    prepared(room)
    (room.folder / "out.parquet").mkdir()
    return room.program("run", "prices.py:double", "prices.parquet", "--output", "out.parquet")
