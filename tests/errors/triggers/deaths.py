"""Families 2 and 3: the end of a worker or of the pool, and functions that raise."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

import pyarrow as pa
import transom
from room import ROGUE, Room, Seen, X, printed

from triggers import trigger


@trigger(2101)
def worker_exited(room: Room) -> Seen:
    @transom.udf
    def leave(x: int) -> int:
        print("nothing more to do here", flush=True)
        os._exit(3)

    return room.seen(lambda: room.shared.call(leave, X))


@trigger(2104)
def worker_signalled(room: Room) -> Seen:
    @transom.udf
    def text_at(address: int) -> str:
        return ctypes.string_at(address).decode()

    return room.seen(lambda: room.shared.call(text_at, pa.array([0])))


@trigger(2105)
def worker_out_of_memory(room: Room) -> Seen:
    @transom.udf
    def pairs(most: int) -> int:
        found = []
        while len(found) < most:
            found.append((most, len(found)))
        return len(found)

    pool = room.pool(worker_memory="256MiB")
    return room.seen(lambda: pool.call(pairs, pa.array([10, 1_000_000_000])))


@trigger(2106)
def worker_stopped(room: Room) -> Seen:
    @transom.udf(deadline=0.2)
    def pause(x: int) -> int:
        signal.raise_signal(signal.SIGTSTP)
        return x

    return room.seen(lambda: room.shared.call(pause, X))


@trigger(2107)
def deadline_exceeded(room: Room) -> Seen:
    @transom.udf(deadline=0.2)
    def collatz(x: int) -> int:
        while x != 0:
            x = x // 2 if x % 2 == 0 else 3 * x + 1
        return x

    return room.seen(lambda: room.shared.call(collatz, X))


@trigger(2108)
def start_timeout(room: Room) -> Seen:
    # The program waits for its worker, which was started with the tests.
    _, text = room.starting.communicate(timeout=120)
    return printed(text.decode())


@trigger(2110)
def forked_handle(room: Room) -> Seen:
    return room.script("""
def double(x: int) -> int:
    return 2 * x
with transom.Pool(workers=1) as pool:
    pool.call(double, X)
    child = os.fork()
    if child == 0:
        tell(lambda: pool.call(double, X))
        os._exit(0)
    os.waitpid(child, 0)
""")


@trigger(2111)
def pool_closed(room: Room) -> Seen:
    @transom.udf
    def wait(x: int) -> int:
        time.sleep(600)
        return x

    pool = room.pool()

    def close() -> None:
        while not any(worker["state"] == "busy" for worker in pool.stats()["workers"]):
            time.sleep(0.01)
        pool.close()

    closer = threading.Thread(target=close)
    closer.start()
    try:
        return room.seen(lambda: pool.call(wait, X))
    finally:
        closer.join()


@trigger(2112)
def cancelled(room: Room) -> Seen:
    note = room.folder / "note"

    @transom.udf
    def endless(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        try:
            while True:
                yield next(batches)
        except BaseException as error:
            note.write_text(f"TRN-{error.reported[0]} CANCELLED: {error}")
            raise

    @transom.udf
    def after(x: int) -> str:
        return note.read_text()

    more = threading.Event()

    def source() -> Iterator[pa.RecordBatch]:
        while not more.is_set():
            yield pa.record_batch({"x": X})

    results = room.shared.map(endless, source())
    next(results)
    results.close()
    more.set()
    # The one worker has ended the stream when it takes the next call.
    return Seen(room.shared.call(after, pa.array([1]))[0].as_py())


@trigger(2113)
def protocol_violation(room: Room) -> Seen:
    pool = room.pool(python=ROGUE)
    return room.seen(lambda: pool.call("native:sends_an_unknown_message", X))


@trigger(2114)
def function_suspended(room: Room) -> Seen:
    @transom.udf
    def leave_always(x: int) -> int:
        os._exit(3)

    pool = room.pool()
    for _ in range(5):
        room.seen(lambda: pool.call(leave_always, X))
    return room.seen(lambda: pool.call(leave_always, X))


@trigger(3001)
def function_raised(room: Room) -> Seen:
    @transom.udf
    def ratio(part: int, whole: int) -> float:
        return part / whole

    table = pa.table({"part": [1, 2, 3, 4], "whole": [5, 6, 0, 8]})
    return room.seen(lambda: room.shared.map(ratio, table.to_batches(max_chunksize=2)).read_all())


@trigger(3002)
def function_exit(room: Room) -> Seen:
    @transom.udf
    def checked(x: int) -> int:
        if x > 2:
            sys.exit("2 is the most that there may be")
        return x

    return room.seen(lambda: room.shared.call(checked, X))
