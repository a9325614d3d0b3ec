"""Shared memory by hand: what a careful programmer builds of `multiprocessing` and numpy. Arguments: the folder, `arrow` or `numpy`.

One worker process, three slots that exist from the start and whose pages both sides have touched. The host copies the
buffers of a batch into a slot; the worker sees them there as an Arrow array, without a copy, and calls the function. Its
result is copied into the slot's other half, and the host reads it there. With `numpy` plus one is written by hand instead,
from one half of the slot straight into the other: one copy less, and no longer a function that somebody gave.

Both sides try a semaphore for some tens of microseconds before they sleep on it. There are no checks, no types but those that
`functions.py` needs, and nothing notices when a worker dies.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import cycle, islice
from multiprocessing.shared_memory import SharedMemory
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from contestants.peer import WINDOW
from functions import CASES, Case
from peers.base import ROWS, Peer, serve

SPINS = 400  # tries of about 100 ns
TYPES = {"number": pa.int64(), "ratio": pa.float64(), "text": pa.utf8()}
RETURNS = {"plus_one": pa.int64(), "upper": pa.utf8(), "score": pa.float64()}
HALF = ROWS * 64  # bytes for the arguments of a batch, and as many for its result
ALIGNMENT = 64
HEAD = 512  # of 8-byte numbers at the start of a slot: rows of the batch, bytes of each buffer
MOST = 16  # buffers of one half


class Half(NamedTuple):
    """One direction of a slot: how long each buffer is, and the buffers, one after the other."""

    lengths: np.ndarray
    space: np.ndarray


class Slot:
    """Room for the arguments and the result of one batch."""

    size = HEAD + 2 * HALF

    def __init__(self, memory: memoryview) -> None:
        self.head = np.frombuffer(memory, np.int64, HEAD // 8)
        space = np.frombuffer(memory, np.uint8, 2 * HALF, HEAD)
        self.arguments = Half(self.head[1 : 1 + MOST], space[:HALF])
        self.result = Half(self.head[1 + MOST : 1 + 2 * MOST], space[HALF:])


def put(half: Half, columns: list[pa.Array]) -> None:
    """Copies the buffers of columns, without what pads them; -1 says that there is none."""
    place = number = 0
    for column in columns:
        # numpy's views of what this array uses; all arrays here begin at their first value.
        for buffer in column.buffers():
            half.lengths[number] = -1
            if buffer is not None:
                size = buffer.size
                np.copyto(half.space[place : place + size], np.frombuffer(buffer, np.uint8))
                half.lengths[number] = size
                place += -(-size // ALIGNMENT) * ALIGNMENT
            number += 1


def take(half: Half, rows: int, types: list[pa.DataType]) -> list[pa.Array]:
    """The columns as they lie there."""
    place = number = 0
    columns = []
    for kind in types:
        buffers: list[pa.Buffer | None] = []
        for _ in range(kind.num_buffers):
            size = int(half.lengths[number])
            buffers.append(None if size < 0 else pa.py_buffer(half.space[place : place + size]))
            place += -(-max(size, 0) // ALIGNMENT) * ALIGNMENT
            number += 1
        columns.append(pa.Array.from_buffers(kind, rows, buffers))
    return columns


def wait(semaphore: Any) -> None:
    """Takes one: at once, after a few tries, or asleep."""
    for _ in range(SPINS):
        if semaphore.acquire(False):
            return
    semaphore.acquire()


def work(memory: SharedMemory, orders: Any, filled: Any, done: Any, by_hand: bool) -> None:
    """The worker: one stream after another, each of the function that is named, until the host goes."""
    slots = slots_of(memory)
    with suppress(EOFError):
        while True:
            stream(CASES[orders.recv()], slots, filled, done, by_hand)
    slots.clear()  # their views hold the memory
    memory.close()


def stream(case: Case, slots: list[Slot], filled: Any, done: Any, by_hand: bool) -> None:
    """Slot after slot until one says that there is nothing more."""
    types = [TYPES[name] for name in case.columns]
    for slot in cycle(slots):
        wait(filled)
        rows = int(slot.head[0])
        if rows < 0:
            return
        if by_hand:
            plus_one(slot)
        else:
            batch = pa.RecordBatch.from_arrays(take(slot.arguments, rows, types), case.columns)
            put(slot.result, case.apply(batch).columns)
        done.release()


def plus_one(slot: Slot) -> None:
    """By numpy from slot to slot; the bits that say what is missing go along."""
    bits, values = map(int, slot.arguments.lengths[:2])
    start = -(-max(bits, 0) // ALIGNMENT) * ALIGNMENT
    if bits > 0:
        np.copyto(slot.result.space[:bits], slot.arguments.space[:bits])
    slot.result.lengths[:2] = bits, values
    span = slice(start, start + values)
    np.add(slot.arguments.space[span].view(np.int64), 1, out=slot.result.space[span].view(np.int64))


def slots_of(memory: SharedMemory) -> list[Slot]:
    """The slots that a shared memory is divided into."""
    return [Slot(memory.buf[number * Slot.size : (number + 1) * Slot.size]) for number in range(WINDOW)]


class SharedSlots(Peer):
    """The host's side."""

    isolated = True
    packages = ("numpy", "pyarrow")

    def __init__(self, by_hand: bool) -> None:
        self.functions = ("plus_one",) if by_hand else ("plus_one", "upper", "score")
        self.settings = f"{WINDOW} slots, semaphores tried {SPINS} times before sleeping, " + (
            "numpy from slot to slot (the function is part of the worker)" if by_hand else "Arrow arrays over the slots, results copied into them"
        )
        context = multiprocessing.get_context("spawn")
        self._memory = SharedMemory(create=True, size=WINDOW * Slot.size)
        self._memory.buf[:] = bytes(len(self._memory.buf))
        self._slots = slots_of(self._memory)
        self._filled, self._done = context.Semaphore(0), context.Semaphore(0)
        orders, self._orders = context.Pipe(duplex=False)
        self._worker = context.Process(target=work, args=(self._memory, orders, self._filled, self._done, by_hand), daemon=True)
        self._worker.start()
        orders.close()  # so that the worker sees when this side closes

    def prepare(self, case: Case, batches: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
        return batches

    def results(self, case: Case, prepared: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        self._orders.send(case.name)
        batches = iter(prepared)
        for sent, batch in enumerate(islice(batches, WINDOW)):
            self._fill(self._slots[sent], batch)
        for turn in range(len(prepared)):
            slot = self._slots[turn % WINDOW]
            wait(self._done)
            yield pa.RecordBatch.from_arrays(take(slot.result, int(slot.head[0]), [RETURNS[case.name]]), [case.name])
            # The result was read: its slot is free.
            if (batch := next(batches, None)) is not None:
                self._fill(slot, batch)
        self._slots[len(prepared) % WINDOW].head[0] = -1
        self._filled.release()

    def _fill(self, slot: Slot, batch: pa.RecordBatch) -> None:
        slot.head[0] = batch.num_rows
        put(slot.arguments, batch.columns)
        self._filled.release()

    def close(self) -> None:
        self._orders.close()
        self._worker.join(timeout=10)
        self._slots.clear()  # their views hold the memory
        self._memory.close()
        self._memory.unlink()


if __name__ == "__main__":
    serve(lambda: SharedSlots(sys.argv[2] == "numpy"))
