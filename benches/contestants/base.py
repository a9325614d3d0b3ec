"""What a contestant is, and the loop in which its host process does what the driver asks.

The driver writes one JSON object a line and reads one for each: all contestants stand ready at the same
time, asleep, and the driver lets them run one after another, round by round. Noise of the machine then
falls on all of them.
"""

from __future__ import annotations

import abc
import json
import os
import sys
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import data
from functions import CASES, Case
from processes import cpu_seconds

WARM_UP_CALLS = 200


class Contestant(abc.ABC):
    """A way to run a function over batches."""

    @abc.abstractmethod
    def stream(self, case: Case, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Runs the function over all batches; results come in order."""

    @abc.abstractmethod
    def open_calls(self, case: Case, schema: pa.Schema) -> None:
        """Gets ready for single calls of `case`."""

    @abc.abstractmethod
    def call(self, batch: pa.RecordBatch) -> pa.RecordBatch | pa.Array:
        """One batch there and its result back."""

    def close_calls(self) -> None:  # noqa: B027
        """Ends what `open_calls` began."""

    def placed(self, batches: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
        """The batches where they lie before anything is timed: on the heap, as pyarrow made them."""
        return batches

    def workers(self) -> list[int]:
        """The processes whose processor time counts besides this one."""
        return []

    def copied(self) -> int | None:
        """Bytes that the contestant says it copied so far, if it says."""
        return None

    def close(self) -> None:  # noqa: B027
        """Ends the workers."""


def checksum(result: pa.RecordBatch | pa.Array) -> tuple[int, int]:
    """Reads every byte of every buffer; gives a sum and the number of bytes read."""
    total = size = 0
    arrays = (result,) if isinstance(result, pa.Array) else result.columns
    for array in arrays:
        for buffer in array.buffers():
            if buffer is None:
                continue
            size += buffer.size
            if buffer.size < 1024:
                total += zlib.crc32(buffer)
                continue
            words = buffer.size >> 3
            total += int(np.add.reduce(np.frombuffer(buffer, np.uint64, words)))
            total += zlib.crc32(memoryview(buffer)[words << 3 :])
    return total, size


class Host:
    """The measuring around a contestant."""

    def __init__(self, contestant: Contestant, folder: Path) -> None:
        self.contestant = contestant
        self.folder = folder
        self._loaded: dict[tuple[int, tuple[str, ...]], list[pa.RecordBatch]] = {}

    def source(self, case: Case, rows: int) -> list[pa.RecordBatch]:
        """The batches of one size, loaded on first use and kept."""
        key = (rows, case.columns)
        if key not in self._loaded:
            self._loaded[key] = self.contestant.placed(data.load(self.folder, rows, case.columns))
        return self._loaded[key]

    def check(self, function: str, rows: int, batches: int, out: str) -> dict[str, Any]:
        """Writes the results for the first batches to a file, for the driver to compare. Warms up too."""
        case = CASES[function]
        source = iter(self.source(case, rows)[:batches])
        results = list(self.contestant.stream(case, source))
        with pa.OSFile(out, "wb") as sink, pa.ipc.new_stream(sink, results[0].schema) as writer:
            for result in results:
                writer.write_batch(result)
        return {"batches": len(results)}

    def stream(self, function: str, rows: int, batches: int) -> dict[str, Any]:
        """Times a stream of batches, with a checksum over each result."""
        case = CASES[function]
        batches_in = islice(cycle(self.source(case, rows)), batches)
        read = checking = rows_out = 0
        workers = self.contestant.workers()
        copied = self.contestant.copied()
        cpu_workers = sum(map(cpu_seconds, workers))
        cpu_host = time.process_time()
        start = time.perf_counter_ns()
        for result in self.contestant.stream(case, batches_in):
            received = time.perf_counter_ns()
            read += checksum(result)[1]
            rows_out += result.num_rows
            checking += time.perf_counter_ns() - received
        seconds = (time.perf_counter_ns() - start) / 1e9
        if rows_out != rows * batches:
            raise AssertionError(f"{rows_out} rows came back instead of {rows * batches}")
        return {
            "seconds": seconds,
            "cpu_host": time.process_time() - cpu_host,
            "cpu_workers": sum(map(cpu_seconds, workers)) - cpu_workers,
            "checksum_seconds": checking / 1e9,
            "bytes_read": read,
            "bytes_copied": None if copied is None else self.contestant.copied() - copied,
        }

    def calls(self, function: str, calls: int) -> dict[str, Any]:
        """Times single calls of one row, each with the reading of its result."""
        case = CASES[function]
        source = self.source(case, 1)
        nanoseconds, checking = [], []
        self.contestant.open_calls(case, source[0].schema)
        try:
            for batch in islice(cycle(source), WARM_UP_CALLS):
                checksum(self.contestant.call(batch))
            for batch in islice(cycle(source), calls):
                start = time.perf_counter_ns()
                result = self.contestant.call(batch)
                received = time.perf_counter_ns()
                checksum(result)
                end = time.perf_counter_ns()
                nanoseconds.append(end - start)
                checking.append(end - received)
        finally:
            self.contestant.close_calls()
        return {"nanoseconds": nanoseconds, "checksum_nanoseconds": checking}


def serve(contestant: Contestant) -> None:
    """Answers the driver until it closes the input. The first argument is the folder with the batches."""
    answer(Host(contestant, Path(sys.argv[1])), contestant.close)


def answer(host: Any, close: Callable[[], None]) -> None:
    """Does with `host` what the driver asks, line by line, then closes."""
    # Answers go to the real standard output; whatever a library prints goes to standard error instead.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        for line in sys.stdin:
            request = json.loads(line)
            try:
                given = getattr(host, request.pop("do"))(**request)
            except Exception:  # The driver shows it, and goes on without this contestant.
                given = {"error": traceback.format_exc()}
            print(json.dumps(given), file=answers, flush=True)
    finally:
        close()
