"""Transom beside the field's own systems, in one run: `make bench-peers`. See README.md here.

Usage: .venv/bin/python benches/bench_peers.py [--quick] [--only spark_udf,transom_host,...] [--functions plus_one,...]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import bench
import data
import table
import table_peers
from figures import to_base
from processes import BASE, BINARY, HERE, Process, family, memory, start
from table_peers import CONTESTANTS, TRANSOM, Contender

PYTHON = HERE.parent / "target" / "peers-venv" / "bin" / "python"
FUNCTIONS = ("plus_one", "upper", "score")
ROWS = 64 << 10
ROUNDS = 5
START = 120  # Seconds for a system to be there.


def main() -> int:
    """Measures, writes the files, prints the table; 1 when a contestant failed."""
    options = parse()
    busy = bench.busy_share()
    if busy > table.BUSY:
        bench.say(f"this machine is busy ({busy:.0%} of its processors): the figures will be of little use")
    with tempfile.TemporaryDirectory(prefix="transom-peers-") as name:
        folder = Path(name)
        bench.say("making the batches")
        data.write_all(folder, options.rows)
        parts = [run(options, folder, entries) for entries in groups(options)]
    results = {
        "about": {**bench.about(options, busy), "busy_when_all_stand_ready": [idle for _, idle in parts]},
        "contestants": [who for part, _ in parts for who in part.described()],
        "cells": [cell for part, _ in parts for cell in part.figures()],
        "failures": {name: failure for part, _ in parts for name, failure in part.failures.items()},
    }
    name = "peers-quick" if options.quick else "peers"
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    (options.out / f"{name}.md").write_text(table_peers.markdown(results))
    import plot_peers  # as in bench.py

    plot_peers.draw(results, options.out / f"{name}.svg")
    print(table_peers.markdown(results))
    return 1 if results["failures"] else 0


def groups(options: argparse.Namespace) -> list[list[Contender]]:
    """Those who sit still while they wait; and behind them, so that nobody else shares the machine with them, those who do not."""
    chosen = [one for one in CONTESTANTS if one.name in options.only]
    calm, restless = ([one for one in chosen if one.restless is it_is] for it_is in (False, True))
    beside = [one for one in calm if one.name in (BASE, TRANSOM)]
    return [part for part in (calm, [*beside, *restless] if restless else []) if part]


def run(options: argparse.Namespace, folder: Path, entries: list[Contender]) -> tuple[Peers, float]:
    """The rounds of these contestants, and how busy the machine was when all stood ready."""
    contest = Peers(options, folder, entries)
    try:
        contest.start()
        contest.check()
        idle = bench.busy_share()
        bench.say("warming up")
        contest.round(0)
        contest.cells.clear()
        contest.run()
    finally:
        contest.close()
    return contest, idle


def parse() -> argparse.Namespace:
    """The options, and those that `bench.Bench` wants."""
    parser = argparse.ArgumentParser(description="Measures Transom beside the field's own systems.")
    parser.add_argument("--quick", action="store_true", help="trust nothing under a factor of two")
    parser.add_argument("--rounds", type=int, help=f"default {ROUNDS}, or {bench.QUICK_ROUNDS} when quick")
    parser.add_argument("--only", type=bench.listed(str), default=[one.name for one in CONTESTANTS], help="contestants")
    parser.add_argument("--functions", type=bench.listed(str), default=list(FUNCTIONS), help=", ".join(FUNCTIONS))
    parser.add_argument("--python", type=Path, default=PYTHON, help="the peers' Python")
    parser.add_argument("--binary", type=Path, default=BINARY, help="the program transom-bench")
    parser.add_argument("--out", type=Path, default=bench.RESULTS, help="the folder for peers.*, or peers-quick.* when quick")
    options = parser.parse_args()
    options.rounds = options.rounds or (bench.QUICK_ROUNDS if options.quick else ROUNDS)
    options.rows = [ROWS]
    return options


class Peers(bench.Bench):
    """The rounds of `bench.Bench`, with contestants that say who they are, and that need not know every function."""

    def __init__(self, options: argparse.Namespace, folder: Path, entries: Sequence[Contender]) -> None:
        super().__init__(options, folder, entries)
        self.descriptions: dict[str, dict[str, Any]] = {}
        self.started: dict[str, float] = {}
        self.memory: dict[tuple[str, str], list[int]] = {}
        #: Whose figures are told: where some are restless, the others are only there to be compared with.
        self.told = [one for one in entries if one.restless] or list(entries)

    def start(self) -> None:
        """Starts one after the other, each up to the first result of the first function that it has."""
        for entry in self.entries:
            bench.say(f"starting {entry.title}")
            begin = time.monotonic()
            try:
                process = self.open(entry)
            except OSError as error:
                self.failures[entry.name] = str(error)
                continue
            self.processes.append(process)
            self.descriptions[entry.name] = asdict(entry)
            if entry.module is not None:
                described = self.ask(process, "describe", deadline=START)
                self.descriptions[entry.name].update(described or {})
            functions = [name for name in self.options.functions if self.takes(process, name)]
            out = str(self.folder / "check.arrows")
            if functions and self.ask(process, "check", deadline=START, function=functions[0], rows=ROWS, batches=1, out=out):
                self.started[entry.name] = time.monotonic() - begin

    def open(self, entry: Contender) -> Process:
        """The host process: a peer's under its own Python, the others' as everywhere."""
        if entry.module is None:
            return start(entry, self.folder, self.options.binary)
        if not self.options.python.exists():
            raise OSError(f"{self.options.python} is missing: `make bench-peers` makes it")
        return Process(entry, [str(self.options.python), "-m", f"peers.{entry.module}", str(self.folder), *entry.arguments])

    def takes(self, process: Process, function: str) -> bool:
        return function in self.descriptions[process.entry.name]["functions"]

    def measure(self, process: Process, function: str, rows: int) -> None:
        super().measure(process, function, rows)
        key = (process.entry.name, function)
        self.memory.setdefault(key, []).append(memory(family(process.pid)))

    def described(self) -> list[dict[str, Any]]:
        """Who took part, who did not, and why."""
        return [
            {
                **asdict(entry),
                **self.descriptions.get(entry.name, {}),
                "start_seconds": self.started.get(entry.name),
                "failure": self.failures.get(entry.name),
            }
            for entry in self.told
        ]

    def figures(self) -> list[dict[str, Any]]:
        """Those of all benches, and what is asked here only."""
        names = [one.name for one in self.told]
        found = [figures for figures in self.summary(None) if figures["contestant"] in names]
        for figures in found:
            name, function, rows = (figures[key] for key in ("contestant", "function", "rows"))
            transom = self.cells.get((TRANSOM, function, rows))
            if transom is not None:
                figures["transom_to_it"] = 1 / to_base(self.cells[name, function, rows], transom)
            figures["memory_bytes"] = max(self.memory[name, function])
        return found


if __name__ == "__main__":
    os.environ["PYTHONWARNINGS"] = "ignore"  # what the peers deprecate is no news here
    sys.exit(main())
