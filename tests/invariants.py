"""The one check after every fault: nothing was left behind, every batch was answered exactly once, and the next call works.

`tests/src/invariants.rs` has the same for Rust, in the same words.
"""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import transom

#: How long what ends in the background may take: threads, zombies, leases on their way.
PATIENCE = 10.0


def _descriptors() -> dict[str, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # the listing's own
            continue
    return found


def _maps() -> list[str]:
    return [line.split()[0] for line in Path("/proc/self/maps").read_text().splitlines() if "memfd:" in line]


def _threads() -> list[str]:
    names = [thread.name for thread in threading.enumerate()]
    for task in os.listdir("/proc/self/task"):
        try:
            name = Path(f"/proc/self/task/{task}/comm").read_text().strip()
        except (FileNotFoundError, ProcessLookupError):  # It ended before its file was opened, or read.
            continue
        if name.startswith(("transom", "tokio")):
            names.append(name)
    return sorted(names)


def _children() -> set[int]:
    found: set[int] = set()
    for task in os.listdir("/proc/self/task"):
        try:
            found.update(map(int, Path(f"/proc/self/task/{task}/children").read_text().split()))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


#: Descriptors that a pool has for what its workers are forked from: a socket, and the process twice.
ZYGOTE = 3


def _zygotes(children: set[int]) -> int:
    found = 0
    for child in children:
        with contextlib.suppress(OSError):  # It has ended.
            found += Path(f"/proc/{child}/comm").read_text().strip() == "transom-zygote"
    return found


class Belongings:
    """What a process has that it may leak; two of them are compared."""

    def __init__(self) -> None:
        self.arrow = pa.total_allocated_bytes()
        self.descriptors = _descriptors()
        self.maps = _maps()
        self.threads = _threads()
        self.children = _children()
        self.zygotes = _zygotes(self.children)
        # Others on this machine make names as they like; Transom makes none, and would call it so.
        self.names = {name for name in os.listdir("/dev/shm") if "transom" in name}

    def more_than(self, before: Belongings, shared_pool: bool) -> list[str]:
        """What is held now and was not before. A pool that outlives the test keeps its segments, which are its to keep."""
        left = []
        if self.arrow > before.arrow:
            left.append(f"{self.arrow - before.arrow} bytes of pyarrow's memory")
        opened = {number: what for number, what in self.descriptors.items() if number not in before.descriptors}
        if shared_pool:
            # A worker that took another's place has pipes and a socket of its own, under other numbers; and the pool may have got what it forks from.
            more = max(self.zygotes - before.zygotes, 0)
            now, then = (sum("memfd" not in what for what in some.descriptors.values()) for some in (self, before))
            if now > then + more * ZYGOTE:
                left.append(f"descriptors {opened}")
            if len(self.children) > len(before.children) + more:
                left.append(f"processes {self.children - before.children}")
        else:
            if opened:
                left.append(f"descriptors {opened}")
            if len(self.maps) > len(before.maps):
                left.append(f"mappings {sorted(set(self.maps) - set(before.maps))}")
            if self.children - before.children:
                left.append(f"processes {self.children - before.children}")
        if len(self.threads) > len(before.threads):
            left.append(f"threads {self.threads}, before {before.threads}")
        if self.names - before.names:
            left.append(f"names {self.names - before.names}")
        return left


def settle(before: Belongings, shared_pool: bool) -> list[str]:
    """What is left once everything that ends in the background has had its time."""
    until = time.monotonic() + PATIENCE
    while True:
        gc.collect()
        left = Belongings().more_than(before, shared_pool)
        if not left or time.monotonic() > until:
            return left
        time.sleep(0.02)


def assert_settled(pool: transom.Pool) -> None:
    """Fails unless the workers give back every input that they were lent."""
    until = time.monotonic() + PATIENCE
    while any(worker["leases"] for worker in pool.stats()["workers"]):
        assert time.monotonic() < until, f"workers keep inputs: {pool.stats()}"
        time.sleep(0.001)


class Tally:
    """Batches that were sent to a function which adds a number to each value, and what became of each."""

    def __init__(self, first: int = 0, added: int = 1) -> None:
        self._next = first
        self._added = added
        self._open: dict[int, int] = {}
        self.answered = 0
        self.failed: Counter[str] = Counter()

    def batch(self, rows: int) -> tuple[int, pa.RecordBatch]:
        """A batch like no other, under its first number."""
        first = self._next
        self._next += rows
        self._open[first] = rows
        return first, pa.record_batch({"x": pa.array(range(first, first + rows), pa.int64())})

    def note(self, first: int, answer: pa.RecordBatch | transom.TransomError, *may_fail_with: str) -> None:
        """Notes what became of a batch: it is answered once, and rightly, or fails with one of these codes."""
        assert first in self._open, f"batch {first} was answered twice, or never sent"
        rows = self._open.pop(first)
        if isinstance(answer, transom.TransomError):
            assert answer.code_name in may_fail_with, f"batch {first} failed otherwise than it may: {answer}"
            self.failed[answer.code_name] += 1
            return
        right = pa.array(range(first + self._added, first + self._added + rows), pa.int64())
        assert answer.column(0).equals(right), f"a wrong answer to batch {first}"
        self.answered += 1

    def settle(self) -> None:
        """Fails unless every batch was answered."""
        assert not self._open, f"batches that nobody answered: {self._open}"
