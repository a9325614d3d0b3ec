"""What a peer is, and what its host process does for the driver.

A peer is a whole system, which has its data in its own form: in the JVM, in an object store, in tables. So the
batches are brought there before the clock runs, and what is measured begins and ends in the peer's own host.
"""

from __future__ import annotations

import abc
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import version
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

import data
from contestants.base import answer, checksum
from functions import CASES, Case
from processes import cpu_seconds, family

ROWS = 64 << 10  # a batch, in every system that lets one choose
CPUS = len(os.sched_getaffinity(0))


class Reading(NamedTuple):
    """What came of reading all results."""

    rows: int
    size: int  # bytes
    seconds: float  # that reading took by itself, as far as it can be told


class Peer(abc.ABC):
    """A system that runs functions over batches. `Data` below is what the system makes of them."""

    isolated: bool  # does the function run in another process than the one with the data?
    settings: str  # what was chosen, in a line
    packages: tuple[str, ...]  # whose versions matter
    functions: tuple[str, ...]  # what it can run

    @abc.abstractmethod
    def prepare(self, case: Case, batches: list[pa.RecordBatch]) -> Any:
        """Brings the arguments to where this system has its data. Not timed; the result is kept for all rounds."""

    @abc.abstractmethod
    def results(self, case: Case, prepared: Any) -> Iterator[pa.RecordBatch]:
        """Runs the function. A result may be overwritten once the next one is asked for."""

    def read(self, case: Case, prepared: Any) -> Reading:
        """Runs the function and reads every byte of every result, in the host's language."""
        rows = size = nanoseconds = 0
        for result in self.results(case, prepared):
            received = time.perf_counter_ns()
            size += checksum(result)[1]
            rows += result.num_rows
            nanoseconds += time.perf_counter_ns() - received
        return Reading(rows, size, nanoseconds / 1e9)

    def close(self) -> None:  # noqa: B027
        """Ends what was started."""


class PeerHost:
    """The measuring around a peer: the answers that `contestants.base.Host` gives, and who the peer is."""

    peer: Peer | None = None

    def __init__(self, make: Callable[[], Peer], folder: Path) -> None:
        self._make = make
        self.folder = folder
        self._prepared: dict[tuple[str, int, int], Any] = {}

    def describe(self) -> dict[str, Any]:
        """What the table says of the peer. It is asked first, and starts the peer, so that a reason why it cannot start is an answer."""
        self.peer = peer = self._make()
        versions = ", ".join(f"{name} {version(name)}" for name in peer.packages)
        return {"isolated": peer.isolated, "settings": peer.settings, "versions": versions, "functions": peer.functions}

    def prepared(self, function: str, rows: int, batches: int) -> Any:
        """The arguments in the peer's own form, made on first use."""
        key = (function, rows, batches)
        if key not in self._prepared:
            case = CASES[function]
            source = data.load(self.folder, rows, case.columns)
            self._prepared[key] = self.peer.prepare(case, list(islice(cycle(source), batches)))
        return self._prepared[key]

    def check(self, function: str, rows: int, batches: int, out: str) -> dict[str, Any]:
        """Writes the results for the first batches to a file, as the type that the function gives elsewhere."""
        case = CASES[function]
        schema = case.apply(data.load(self.folder, rows, case.columns)[0]).schema
        count = 0
        with pa.OSFile(out, "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
            for result in self.peer.results(case, self.prepared(function, rows, batches)):
                writer.write_batch(pa.RecordBatch.from_arrays([result.column(0).cast(schema.field(0).type)], schema=schema))
                count += 1
        return {"batches": count}

    def stream(self, function: str, rows: int, batches: int) -> dict[str, Any]:
        """Times all batches, with the reading of each result."""
        case, prepared = CASES[function], self.prepared(function, rows, batches)
        before = self._cpu()
        cpu_host = time.process_time()
        start = time.perf_counter_ns()
        reading = self.peer.read(case, prepared)
        seconds = (time.perf_counter_ns() - start) / 1e9
        cpu_host = time.process_time() - cpu_host
        cpu_workers = self._cpu() - before
        if reading.rows != rows * batches:
            raise AssertionError(f"{reading.rows} rows came back instead of {rows * batches}")
        spent = {"cpu_host": cpu_host, "cpu_workers": cpu_workers}
        return {"seconds": seconds, **spent, "checksum_seconds": reading.seconds, "bytes_read": reading.size}

    @staticmethod
    def _cpu() -> float:
        """Processor time of everything that descends from this process, and of what did and has ended."""
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = ended.ru_utime + ended.ru_stime
        for pid in family(os.getpid())[1:]:
            with suppress(OSError):  # It has ended.
                spent += cpu_seconds(pid)
        return spent

    def close(self) -> None:
        """Ends the peer, if it began."""
        if self.peer is not None:
            self.peer.close()


def serve(make: Callable[[], Peer]) -> None:
    """Answers the driver until it closes the input. The first argument is the folder with the batches."""
    host = PeerHost(make, Path(sys.argv[1]))
    answer(host, host.close)
