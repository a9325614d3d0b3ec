"""Family 4: the result is wrong."""

from __future__ import annotations

import pyarrow as pa
import transom
from room import ROGUE, Room, Seen, X

from triggers import trigger


@trigger(4001)
def wrong_length(room: Room) -> Seen:
    @transom.udf
    def positive(x: pa.Int64Array) -> pa.Int64Array:
        return x.filter(pa.compute.greater(x, 1))

    return room.seen(lambda: room.shared.call(positive, X))


@trigger(4002)
def wrong_type(room: Room) -> Seen:
    @transom.udf
    def half(x: pa.Int64Array) -> pa.Int64Array:
        return pa.compute.divide(pa.compute.cast(x, "float64"), 2.0)

    return room.seen(lambda: room.shared.call(half, X))


@trigger(4003)
def not_arrow(room: Room) -> Seen:
    @transom.udf
    def doubled(x: pa.Int64Array) -> pa.Int64Array:
        return [2 * value for value in x.to_pylist()]

    return room.seen(lambda: room.shared.call(doubled, X))


@trigger(4004)
def invalid_data(room: Room) -> Seen:
    @transom.udf
    def latin(x: pa.Int64Array) -> pa.StringArray:
        offsets = pa.array(range(len(x) + 1), pa.int32()).buffers()[1]
        return pa.StringArray.from_buffers(len(x), offsets, pa.py_buffer("äöü".encode("latin-1")))

    return room.seen(lambda: room.shared.call(latin, X))


@trigger(4005)
def bad_descriptor(room: Room) -> Seen:
    pool = room.pool(python=ROGUE)
    return room.seen(lambda: pool.call("native:gives_what_was_never_lent", X))


@trigger(4006)
def bad_schema(room: Room) -> Seen:
    @transom.udf
    def rows(batches: transom_batches) -> transom_batches:
        yield from batches

    wide = pa.record_batch({f"column_{number}": X for number in range(10_001)})
    return room.seen(lambda: room.shared.call(rows, wide))


transom_batches = __import__("collections.abc").abc.Iterator[pa.RecordBatch]
