"""Family 5: resources run out."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import transom
from room import NATIVE, Room, Seen, X

from triggers import trigger

MIB = 1 << 20


@transom.udf
def same(x: pa.Int64Array) -> pa.Int64Array:
    return pa.compute.add(x, 0)


@trigger(5001)
def memory_limit(room: Room) -> Seen:
    pool = room.pool(memory_limit=32 * MIB)
    column = pa.array(range(MIB))  # 8 MiB
    kept = []

    def keep() -> None:
        while True:
            kept.append(pool.call(same, column))

    try:
        return room.seen(keep)
    finally:
        kept.clear()


@trigger(5002)
def batch_too_large(room: Room) -> Seen:
    pool = room.pool(memory_limit=8 * MIB)
    return room.seen(lambda: pool.call(same, pa.array(range(2 * MIB))))


@trigger(5003)
def pool_busy(room: Room) -> Seen:
    @transom.udf
    def running(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from batches

    pool = room.pool()
    batch = pa.record_batch({"x": X})
    with pool.map(running, iter([batch] * 10)) as results:
        next(results)
        return room.seen(lambda: pool.call(same, X))


@trigger(5004)
def result_too_large(room: Room) -> Seen:
    pool = room.pool(result_limit="1MiB")
    return room.seen(lambda: pool.call(same, pa.array(range(MIB))))


@trigger(5005)
def input_retained(room: Room) -> Seen:
    seen = []

    @transom.udf
    def first_seen(x: pa.Int64Array) -> pa.BooleanArray:
        seen.append(x)
        return pa.array([len(seen) == 1] * len(x))

    pool = room.pool(memory_limit=16 * MIB)
    batch = pa.record_batch({"x": pa.array(range(1 << 17))})  # 1 MiB
    return room.seen(lambda: [None for _ in pool.map(first_seen, (batch for _ in range(100)))])


@trigger(5006)
def too_many_failures(room: Room) -> Seen:
    # A function that takes out the rows which kill its worker, and dies of every one.
    pool = room.pool(python=NATIVE)
    return room.seen(lambda: pool.call("native:careful_always", pa.array([-2] * 1000)))
