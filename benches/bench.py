"""The driver: limits, then all contestants in rounds, then one table. `make bench` runs it; see README.md here.

Usage: python benches/bench.py [--quick] [--only contestant,...] [--functions plus_one,...] [--rows 1,8192,...]
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import pyarrow as pa

import data
import table
from contestants.peer import WINDOW
from figures import Cell, Limits, Payload, base_of, summarise
from functions import CASES, STANDARD
from processes import BINARY, ENTRIES, HERE, Entry, Failed, Process, start

RESULTS = HERE / "results"
# Batches whose results are compared with what the function gives here.
CHECKED = {1: 4, 8 << 10: 4, 64 << 10: 4, 1 << 20: 1}

# Batches a round. About ten million rows, fewer where Python works row by row or batch by batch.
STREAMS = {1: 4000, 8 << 10: 1280, 64 << 10: 160, 1 << 20: 10}
STREAMS_BY_ROW = {1: 4000, 8 << 10: 128, 64 << 10: 16, 1 << 20: 2}
CALLS = 2000
ROUNDS = 7
QUICK = 8  # times less in a quick round
QUICK_ROUNDS = 3


def main() -> int:
    """Measures, writes the files, prints the table; 1 when a contestant failed."""
    options = parse()
    with tempfile.TemporaryDirectory(prefix="transom-bench-") as name:
        folder = Path(name)
        busy = busy_share()
        if busy > table.BUSY:
            say(f"this machine is busy ({busy:.0%} of its processors): the figures will be of little use")
        say("making the batches")
        data.write_all(folder, options.rows)
        say("measuring the machine's limits")
        limits = measure_limits(options.binary, options.quick)
        bench = Bench(options, folder, ENTRIES)
        try:
            bench.start()
            bench.check()
            bench.run()
        finally:
            bench.close()
    results = {
        "about": about(options, busy),
        "limits": limits,
        "cells": bench.summary(Limits(limits) if limits else None),
        "failures": bench.failures,
    }
    write(results, options.out)
    print(table.text(results))
    for contestant, reason in bench.failures.items():
        say(f"{contestant} failed: {reason}")
    return 1 if bench.failures or limits is None else 0


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description="Measures Transom beside its peers and the machine's limits.")
    parser.add_argument("--quick", action="store_true", help="a minute's worth: trust nothing under a factor of two")
    parser.add_argument("--rounds", type=int, help=f"default {ROUNDS}, or {QUICK_ROUNDS} when quick")
    parser.add_argument("--only", type=listed(str), default=[entry.name for entry in ENTRIES], help="contestants")
    parser.add_argument("--functions", type=listed(str), default=list(STANDARD), help=", ".join(CASES))
    parser.add_argument("--rows", type=listed(int), default=list(data.BATCHES), help="batch sizes")
    parser.add_argument("--binary", type=Path, default=BINARY, help="the program transom-bench")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder for latest.*, or quick.* when quick")
    options = parser.parse_args()
    options.rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    return options


def listed(kind: type) -> Callable[[str], list[Any]]:
    """An option with several values, between commas."""
    return lambda text: [kind(item) for item in text.split(",")]


def say(text: str) -> None:
    """Progress goes to standard error: the table alone is the output."""
    print(text, file=sys.stderr, flush=True)


def measure_limits(binary: Path, quick: bool) -> dict[str, Any] | None:
    """What `transom-bench limits` prints, or None with a word about why."""
    command = [str(binary), "limits", *(["--quick"] if quick else [])]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=120)
    except (OSError, subprocess.SubprocessError) as error:
        say(f"no limits: {error}")
        return None
    return json.loads(done.stdout)


class Bench:
    """All contestants, standing ready, and what they gave so far."""

    def __init__(self, options: argparse.Namespace, folder: Path, entries: Sequence[Entry]) -> None:
        self.options = options
        self.folder = folder
        self.entries = entries
        self.processes: list[Process] = []
        self.failures: dict[str, str] = {}
        self.cells: dict[tuple[str, str, int], Cell] = {}
        self.payloads: dict[tuple[str, int], Payload] = {}

    def start(self) -> None:
        """Starts the host processes."""
        for entry in self.entries:
            if entry.name in self.options.only:
                try:
                    self.processes.append(start(entry, self.folder, self.options.binary))
                except OSError as error:
                    self.failures[entry.name] = str(error)

    def close(self) -> None:
        """Ends them."""
        for process in self.processes:
            process.close()

    def grid(self) -> list[tuple[str, int]]:
        """Functions by sizes."""
        return list(product(self.options.functions, self.options.rows))

    def takes(self, process: Process, function: str) -> bool:
        """Whether the contestant has this function, as all have in most benches."""
        return True

    def ask(self, process: Process, do: str, **details: Any) -> dict[str, Any] | None:
        """An answer, or None from now on for a contestant that failed."""
        if process.entry.name in self.failures:
            return None
        try:
            return process.ask(do, **details)
        except Failed as failure:
            self.failures[process.entry.name] = str(failure)
            say(f"{process.entry.name}: {failure}")
            return None

    def check(self) -> None:
        """Every contestant gives the same result for the same batches; this warms them up, too."""
        for function, rows in self.grid():
            say(f"checking {function}, {rows} rows")
            expected = self.expected(function, rows)
            for process in self.processes:
                if not self.takes(process, function):
                    continue
                out = self.folder / "check.arrows"
                if self.ask(process, "check", function=function, rows=rows, batches=CHECKED[rows], out=str(out)) is None:
                    continue
                with pa.OSFile(str(out), "rb") as source, pa.ipc.open_stream(source) as reader:
                    given = reader.read_all()
                if not same(given, expected):
                    self.failures[process.entry.name] = f"wrong result of {function} for {rows} rows"

    def expected(self, function: str, rows: int) -> pa.Table:
        """The right result, and on the way what a batch weighs."""
        case = CASES[function]
        batches = data.load(self.folder, rows, case.columns)[: CHECKED[rows]]
        results = [case.apply(batch) for batch in batches]
        weights = (fmean(batch.nbytes for batch in some) for some in (batches, results))
        self.payloads[function, rows] = Payload(*weights)
        return pa.Table.from_batches(results)

    def run(self) -> None:
        """The rounds. Within a cell the contestants follow each other at once, each round beginning with another."""
        for turn in range(self.options.rounds):
            say(f"round {turn + 1} of {self.options.rounds}")
            self.round(turn)

    def round(self, turn: int) -> None:
        """All cells once."""
        first = turn % max(len(self.processes), 1)
        for function, rows in self.grid():
            for process in self.processes[first:] + self.processes[:first]:
                if self.takes(process, function):
                    self.measure(process, function, rows)

    def measure(self, process: Process, function: str, rows: int) -> None:
        """One round of one cell."""
        batches = (STREAMS_BY_ROW if CASES[function].kind == "row" else STREAMS)[rows]
        less = QUICK if self.options.quick else 1
        batches = max(batches // less, 1)
        stream = self.ask(process, "stream", function=function, rows=rows, batches=batches)
        if stream is None:
            return
        key = (process.entry.name, function, rows)
        cell = self.cells.setdefault(key, Cell(process.entry.name, function, rows, batches))
        cell.streams.append(stream)
        if rows == 1 and (calls := self.ask(process, "calls", function=function, calls=CALLS // less)) is not None:
            cell.calls += calls["nanoseconds"]
            cell.checksums += calls["checksum_nanoseconds"]

    def summary(self, limits: Limits | None) -> list[dict[str, Any]]:
        """The figures of all cells, function by function, size by size."""
        cells = list(self.cells.values())
        order = {entry.name: place for place, entry in enumerate(self.entries)}
        places = {cell: place for place, cell in enumerate(self.grid())}
        cells.sort(key=lambda cell: (places[cell.function, cell.rows], order[cell.contestant]))
        weights = self.payloads
        return [summarise(cell, base_of(cells, cell), weights[cell.function, cell.rows], limits) for cell in cells]


def same(given: pa.Table, expected: pa.Table) -> bool:
    """Equal values under equal names; where the batches end does not matter."""
    if given.column_names != expected.column_names:
        return False
    return all(one.equals(other) for one, other in zip(given.columns, expected.columns, strict=True))


def busy_share() -> float:
    """How much of the processors others use, over one second."""

    def times() -> list[int]:
        return [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]

    before = times()
    time.sleep(1)
    spent = [late - early for early, late in zip(before, times(), strict=True)]
    return 1 - (spent[3] + spent[4]) / max(sum(spent), 1)  # idle, and waiting for disks


def about(options: argparse.Namespace, busy: float) -> dict[str, Any]:
    """Where and how it was measured."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "date": datetime.date.today().isoformat(),
        "mode": "quick" if options.quick else "full",
        "rounds": options.rounds,
        "window": WINDOW,
        "cpu": models[0].partition(":")[2].strip() if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": ".".join(platform.release().split(".")[:2]),
        "python": platform.python_version(),
        "pyarrow": version("pyarrow"),
        "busy_before": busy,
    }


def write(results: dict[str, Any], out: Path) -> None:
    """The three files: figures, table in Markdown, picture. A quick run leaves those of the full one alone."""
    out.mkdir(parents=True, exist_ok=True)
    name = "quick" if results["about"]["mode"] == "quick" else "latest"
    (out / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    (out / f"{name}.md").write_text(table.markdown(results))
    import plot  # only who draws needs matplotlib: this module's tests run without it

    plot.draw(results, out / f"{name}.svg")


if __name__ == "__main__":
    sys.exit(main())
