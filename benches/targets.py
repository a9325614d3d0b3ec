"""What Transom aims at, measured: each aim beside the limit or the peer that it is held to. `make bench` runs it after bench.py; see README.md here.

Usage: python benches/targets.py [--quick]
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import transom

import bench
import data
import functions
from figures import Cell, Payload, quantile, summarise
from processes import BASE, BINARY, ENTRIES, FUNCTIONS, HERE, SHARED_ENTRIES, Entry, Process, family, private_memory, start
from table import number

PROGRAM = HERE.parent / "target" / "release" / "transom"
HOSTS = ("transom_rust", "transom_host")
STREAM_BYTES = 10 << 30
SAMPLES = 0.02  # Seconds between two looks at the memory.


@dataclass(frozen=True)
class Aim:
    """One line of the page: what was measured, in which unit, and where it should be."""

    what: str
    against: str
    unit: str
    figure: float
    aim: float
    at_least: bool = False

    @property
    def reached(self) -> bool:
        """As good as hoped for, or better."""
        return self.figure >= self.aim if self.at_least else self.figure <= self.aim


def main() -> int:
    """Measures, writes results/targets.*, prints the page."""
    parser = argparse.ArgumentParser(description="Measures what Transom aims at.")
    parser.add_argument("--quick", action="store_true", help="trust nothing under a factor of two")
    parser.add_argument("--out", type=Path, default=bench.RESULTS, help="the folder for targets.*, or targets-quick.* when quick")
    options = parser.parse_args()
    options.rounds = 3 if options.quick else 7
    busy = bench.busy_share()
    limits = bench.measure_limits(BINARY, options.quick)
    with tempfile.TemporaryDirectory(prefix="transom-targets-") as name:
        folder = Path(name)
        data.write_all(folder, [1, 8 << 10, 64 << 10, 1 << 20])
        aims = [aim for measure in MEASURES for aim in told(measure, options, folder, limits)]
    about = bench.about(options, busy)
    page = markdown(about, aims)
    stem = "targets-quick" if options.quick else "targets"
    (options.out / f"{stem}.json").write_text(json.dumps({"about": about, "aims": [asdict(aim) for aim in aims]}, indent=1) + "\n")
    (options.out / f"{stem}.md").write_text(page)
    print(page)
    return 0


def told(measure: Callable[..., Iterator[Aim]], *arguments: Any) -> Iterator[Aim]:
    """Its figures, with a word about what goes on."""
    bench.say((measure.__doc__ or "").splitlines()[0])
    yield from measure(*arguments)


def streams(options: argparse.Namespace, folder: Path, limits: Any) -> Iterator[Aim]:
    """Streams of plus one, hosts and in process in turn."""
    entries = [entry for entry in ENTRIES if entry.name in (BASE, *HOSTS)] + list(SHARED_ENTRIES)
    least = f"in process; the same while another process does it too: {number(side_by_side('plus_one', options, folder)[1])} ×"
    with opened(entries, folder) as processes:
        for rows, aim in ((64 << 10, 0.9), (8 << 10, 0.75), (1 << 20, 0.9)):
            cells = rounds(processes, "plus_one", rows, options)
            base = summarise(cells[BASE], None, NOTHING, None)["cpu_seconds_per_million_rows"]
            for host in (*HOSTS, *(entry.name for entry in SHARED_ENTRIES)):
                figures = summarise(cells[host], cells[BASE], NOTHING, None)
                what = f"plus one, {rows >> 10} Ki rows a batch, one worker, {TITLES[host]}"
                yield Aim(f"{what}: rows a second", "in process", "×", figures["to_in_process"], aim, at_least=True)
                if rows == 64 << 10:
                    cpu = figures["cpu_seconds_per_million_rows"] / base
                    yield Aim(f"{what}: CPU seconds a million rows", least, "×", cpu, 1.3)


def scaling(options: argparse.Namespace, folder: Path, limits: Any) -> Iterator[Aim]:
    """Upper-case with two workers, and with one."""
    command = [str(BINARY), "host", str(folder), str(FUNCTIONS), sys.executable]
    entries = {workers: Entry(f"{workers}", "") for workers in (1, 2)}
    processes = [Process(entry, [*command, str(workers)]) for workers, entry in entries.items()]
    try:
        for process in processes:
            process.ask("check", function="upper", rows=64 << 10, batches=4, out=str(folder / "check"))
        cells = rounds(processes, "upper", 64 << 10, options)
    finally:
        for process in processes:
            process.close()
    one, two = (summarise(cells[workers], None, NOTHING, None) for workers in ("1", "2"))
    ratio = two["rows_per_second"] / one["rows_per_second"]
    busy = two["cpu_seconds_per_million_rows"] * two["rows_per_second"] / 1e6
    most = number(side_by_side("upper", options, folder)[0])
    against = f"one worker; two processes that share nothing reach {most} ×; host and workers had {number(busy)} cores"
    yield Aim("upper-case, 64 Ki rows a batch, two workers: rows a second", against, "×", ratio, 1.8, at_least=True)


def side_by_side(function: str, options: argparse.Namespace, folder: Path) -> tuple[float, float]:
    """A function in two processes at once that share nothing, beside one alone: rows a second of both, and CPU seconds a row."""
    base = next(entry for entry in ENTRIES if entry.name == BASE)
    details = {"function": function, "rows": 64 << 10, "batches": bench.STREAMS[64 << 10] // (bench.QUICK if options.quick else 1)}
    speeds, costs = [], []
    with opened([base, base], folder) as processes, ThreadPoolExecutor(2) as threads:
        for turn in range(options.rounds + 1):
            alone = processes[turn % 2].ask("stream", **details)
            both = list(threads.map(lambda process: process.ask("stream", **details), processes))
            if turn:
                speeds.append(2 * alone["seconds"] / max(stream["seconds"] for stream in both))
                costs.append(fmean(stream["cpu_host"] for stream in both) / alone["cpu_host"])
    return median(speeds), median(costs)


def calls(options: argparse.Namespace, folder: Path, limits: Any) -> Iterator[Aim]:
    """Single calls of one row of two columns."""
    floor = crossing(folder) + (min(row["p50"] for row in limits["pingpong"] if row["way"] == "spin") / 1e3 if limits else 0)
    with opened([entry for entry in ENTRIES if entry.name in (BASE, *HOSTS)], folder) as processes:
        times: dict[str, list[int]] = {process.entry.name: [] for process in processes}
        for _ in range(options.rounds):
            for process in processes:
                times[process.entry.name] += process.ask("calls", function="first_of_two", calls=2000)["nanoseconds"]
    for host, most in zip(HOSTS, (10, 20), strict=True):
        ordered = sorted(times[host])
        p50, p99 = (quantile(ordered, share) / 1e3 for share in (0.5, 0.99))
        what = f"one row of two columns, {TITLES[host]}"
        yield Aim(f"{what}: p50", f"in process: {number(quantile(sorted(times[BASE]), 0.5) / 1e3)} µs", "µs", p50, most)
        if host == "transom_rust":
            yield Aim(f"{what}: p50", f"spinning there and back, and import, call and export in process: {number(floor)} µs", "×", p50 / floor, 1.5)
        yield Aim(f"{what}: p99", "its p50", "×", p99 / p50, 4)


def crossing(folder: Path) -> float:
    """Microseconds for what a call must do wherever it runs: import the columns by pointer, call, export, import the result."""
    batch = data.load(folder, 1, ("number", "ratio"))[0]
    place = ctypes.create_string_buffer(80)  # sizeof(struct ArrowArray) of the C data interface
    pointer = ctypes.addressof(place)

    def moved(array: pa.Array) -> pa.Array:
        array._export_to_c(pointer)
        return pa.Array._import_from_c(pointer, array.type)

    times = []
    for _ in range(5000):
        begin = time.perf_counter_ns()
        moved(functions.first_of_two(*map(moved, batch.columns)))
        times.append(time.perf_counter_ns() - begin)
    return median(times) / 1e3


def sizes(options: argparse.Namespace, folder: Path, limits: Any) -> Iterator[Aim]:
    """A batch of 64 KiB and one of 64 MiB, both in shared memory."""
    times: dict[int, list[int]] = {8 << 10: [], 8 << 20: []}
    with transom.Pool(workers=1) as pool:
        shared = {rows: pool.share(pa.record_batch({"number": pa.array(range(rows), pa.int64())})) for rows in times}
        for turn in range(200 * options.rounds):
            for rows, batch in shared.items():
                begin = time.perf_counter_ns()
                result = pool.call(functions.same, batch)
                if turn >= 100:
                    times[rows].append(time.perf_counter_ns() - begin)
                del result
        del shared, batch
    small, large = (median(some) for some in times.values())
    yield Aim("a batch of 64 MiB that lies in shared memory, values only: time of a call", "one of 64 KiB", "×", large / small, 1.3)


def private(options: argparse.Namespace, folder: Path, limits: Any) -> Iterator[Aim]:
    """Private memory of host and worker while 10 GB go through them."""
    entry = next(entry for entry in ENTRIES if entry.name == "transom_host")
    seen: list[int] = []
    with opened([entry], folder) as (process,):
        members = family(process.pid)
        own = private_memory(members)
        done = threading.Event()

        def look() -> None:
            while not done.wait(SAMPLES):
                seen.append(private_memory(members))

        looking = threading.Thread(target=look)
        looking.start()
        try:
            process.ask("stream", function="plus_one", rows=64 << 10, batches=STREAM_BYTES // (8 * (64 << 10)) // (8 if options.quick else 1))
        finally:
            done.set()
            looking.join()
    half = len(seen) // 2
    yield Aim("10 GB of plus one: private memory of host and worker, at most", "what they had before", "MB", (max(seen) - own) / 1e6, 150)
    grown = (max(seen[half:]) - max(seen[:half])) / 1e6
    yield Aim("the same in the second half", "in the first", "MB more", grown, 8)


def starts(options: argparse.Namespace, folder: Path, limits: Any) -> Iterator[Aim]:
    """Cold starts of the program, and of the next worker."""
    small = folder / "small.parquet"
    pq.write_table(pa.table({"number": list(range(1000))}), small)
    # It imports what the interpreter beside it imports: `pc.add(number, 1)` would have pyarrow import pandas, which takes longer than all the rest.
    same = folder / "same.py"
    same.write_text("import pyarrow as pa\n\ndef same(number: pa.Int64Array) -> pa.Int64Array:\n    return number\n")
    run = [str(PROGRAM), "run", f"{same}:same", str(small), "-o", str(folder / "out.arrow"), "--python", sys.executable]
    both: dict[str, list[float]] = {"run": [], "import": []}
    for _ in range(2 * options.rounds + 1):
        for name, command in (("run", run), ("import", [sys.executable, "-c", "import pyarrow"])):
            begin = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            both[name].append(time.perf_counter() - begin)
    program, interpreter = (median(some[1:]) for some in both.values())
    what = "`transom run` on a small Parquet file, to its end"
    yield Aim(what, f'`python -c "import pyarrow"`: {number(interpreter * 1e3)} ms', "×", program / interpreter, 1.5)
    yield from next_worker(options)


@transom.udf
def process_of(number: int) -> int:
    """Which process it runs in. It is sent by value and makes no array of Python's values, for which pyarrow imports pandas."""
    return os.getpid()


def next_worker(options: argparse.Namespace) -> Iterator[Aim]:
    """From the death of a worker, through the start of the next, to its answer."""
    one = pa.array([1])
    times = []
    with transom.Pool(workers=1) as pool:
        for turn in range(4 * options.rounds):
            pid = pool.call(process_of, one)[0].as_py()
            os.kill(pid, signal.SIGKILL)
            begin = time.perf_counter()
            while True:
                try:
                    following = pool.call(process_of, one)[0].as_py()
                except transom.WorkerDied:
                    continue
                if following != pid:
                    break
            if turn >= 2:
                times.append(time.perf_counter() - begin)
    yield Aim("from a worker's death to the next one's answer", "", "ms", median(times) * 1e3, 30)


def rounds(processes: list[Process], function: str, rows: int, options: argparse.Namespace) -> dict[str, Cell]:
    """Streams of one function, one after the other, each round beginning with another."""
    batches = max(bench.STREAMS[rows] // (bench.QUICK if options.quick else 1), 1)
    cells = {process.entry.name: Cell(process.entry.name, function, rows, batches) for process in processes}
    for turn in range(options.rounds + 1):
        first = turn % len(processes)
        for process in processes[first:] + processes[:first]:
            stream = process.ask("stream", function=function, rows=rows, batches=batches)
            if turn:
                cells[process.entry.name].streams.append(stream)
    return cells


@contextmanager
def opened(entries: list[Entry], folder: Path) -> Iterator[list[Process]]:
    """Their host processes, warm, and closed in the end."""
    processes = [start(entry, folder, BINARY) for entry in entries]
    try:
        for process in processes:
            process.ask("check", function="plus_one", rows=64 << 10, batches=4, out=str(folder / "check"))
        yield processes
    finally:
        for process in processes:
            process.close()


def markdown(about: dict[str, Any], aims: list[Aim]) -> str:
    """The page."""
    lines = [
        f"Transom's aims on {about['date']}: {about['mode']}, {about['cpu']}, {about['cores']} cores, Linux {about['kernel']}; "
        f"{about['busy_before']:.0%} of the machine busy before",
        "",
        "| measure | against | figure | aim | |",
        "| --- | --- | ---: | ---: | --- |",
    ]
    for aim in aims:
        sign = "≥" if aim.at_least else "≤"
        word = "reached" if aim.reached else "NOT REACHED"
        lines.append(f"| {aim.what} | {aim.against} | {number(aim.figure)} {aim.unit} | {sign} {number(aim.aim)} {aim.unit} | {word} |")
    return "\n".join(lines) + "\n"


NOTHING = Payload(0, 0)
TITLES = {entry.name: entry.title for entry in (*ENTRIES, *SHARED_ENTRIES)}
MEASURES = (streams, scaling, calls, sizes, private, starts)

if __name__ == "__main__":
    sys.exit(main())
