"""The JVM as host and as worker, beside its peers, in one run: `make bench-jvm`. See README.md here.

Usage: python benches/bench_jvm.py [--quick]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import bench
import data
import table_jvm
from contestants.bridges import MEBIBYTE
from figures import rates
from processes import BINARY, ENTRIES, FUNCTIONS, JVM, JVM_ENTRIES, Entry, Failed, Process, class_path, java

# The others of the table: what the JVM's figures are compared with.
BESIDE = ("inprocess", "ipc_socket", "transom_host", "transom_rust")
CONTESTANTS = (*(entry for entry in ENTRIES if entry.name in BESIDE), *JVM_ENTRIES)
FUNCTION = "plus_one"
TURNS = 3


@dataclass(frozen=True)
class Task:
    """Something that a bridge does; see `contestants/bridges.py`."""

    name: str
    length: int
    repeats: int  # a turn


TASKS = (
    Task("call", 1, 1000),
    Task("bytes", MEBIBYTE, 10),
    Task("list", 100_000, 10),
    Task("column", 1_000_000, 10),
    Task("packed", 1_000_000, 5),
)
BRIDGES = {"transom": "Transom", "py4j": "Py4J", "jpype": "JPype"}
# Py4J asks Java once for each item of a list and more than once to send it: it does these once, and warms up on a part.
ONCE = (("py4j", "list"), ("py4j", "column"))
PART = 50
DEADLINE = 600  # Seconds for one of these.


def main() -> int:
    """Measures, writes the files, prints the table; 1 when something failed."""
    options = parse()
    if not class_path():
        sys.exit(f"there is nothing in {JVM}: `make bench-jvm` builds it")
    busy = bench.busy_share()
    with tempfile.TemporaryDirectory(prefix="transom-bench-") as name:
        folder = Path(name)
        cells, ratio, failures = measure_hosts(options, folder)
        bridges = measure_bridges(options.quick, failures)
        jmh = measure_jmh(options.quick, folder, failures)
    results = {
        "about": {**bench.about(options, busy), "java": java_version(), "versions": versions()},
        "limits": None,
        "cells": cells,
        "bridges": bridges,
        "jmh": jmh,
        "arena_to_rust": ratio,
        "failures": failures,
    }
    name = "jvm-quick" if options.quick else "jvm"
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    (options.out / f"{name}.md").write_text(table_jvm.markdown(results))
    print(table_jvm.markdown(results))
    for what, reason in failures.items():
        bench.say(f"{what} failed: {reason}")
    return 1 if failures else 0


def parse() -> argparse.Namespace:
    """The options, and those that `bench.Bench` wants."""
    parser = argparse.ArgumentParser(description="Measures the JVM as host and as worker.")
    parser.add_argument("--quick", action="store_true", help="trust nothing under a factor of two")
    parser.add_argument("--rounds", type=int, help=f"default {bench.ROUNDS}, or {bench.QUICK_ROUNDS} when quick")
    parser.add_argument("--binary", type=Path, default=BINARY, help="the program transom-bench")
    parser.add_argument("--out", type=Path, default=bench.RESULTS, help="the folder for jvm.*, or jvm-quick.* when quick")
    options = parser.parse_args()
    options.rounds = options.rounds or (bench.QUICK_ROUNDS if options.quick else bench.ROUNDS)
    options.only = [entry.name for entry in CONTESTANTS]
    options.functions = [FUNCTION]
    options.rows = list(data.BATCHES)
    return options


def measure_hosts(options: argparse.Namespace, folder: Path) -> tuple[list[dict[str, Any]], float | None, dict[str, str]]:
    """The same rounds as those of `bench.py`, behind one that is not counted: a JVM compiles what it has run for a while.

    Gives the cells' figures, how fast the JVM with arguments in shared memory is beside the Rust host, and failures.
    """
    bench.say("making the batches")
    data.write_all(folder, options.rows)
    contest = bench.Bench(options, folder, CONTESTANTS)
    try:
        contest.start()
        contest.check()
        bench.say("warming up")
        for function, rows in contest.grid():
            for process in contest.processes:
                contest.measure(process, function, rows)
        contest.cells.clear()
        contest.run()
    finally:
        contest.close()
    return contest.summary(None), arena_to_rust(contest.cells), contest.failures


def arena_to_rust(cells: dict[tuple[str, str, int], Any]) -> float | None:
    """At 64 Ki rows: the median of the rounds' ratios, since the machine's speed drifts."""
    mine, its = (cells.get((name, FUNCTION, 64 << 10)) for name in ("transom_jvm_arena", "transom_rust"))
    if mine is None or its is None:
        return None
    return table_jvm.median_ratio(rates(mine), rates(its))


def measure_bridges(quick: bool, failures: dict[str, str]) -> list[dict[str, Any]]:
    """Python calls Java: each task by one bridge after the other, in turns."""
    processes = {name: open_bridge(name) for name in BRIDGES}
    samples: dict[tuple[str, str], list[int]] = {}

    def ask(name: str, task: Task, length: int, repeats: int) -> list[int]:
        try:
            return processes[name].ask("run", deadline=DEADLINE, task=task.name, length=length, repeats=repeats)["nanoseconds"]
        except Failed as failure:
            failures[f"{BRIDGES[name]}, {task.name}"] = str(failure)
            return []

    try:
        for task in TASKS:
            bench.say(f"Python calls Java: {table_jvm.TASKS[task.name]}")
            able = [name for name in BRIDGES if task.name != "packed" or name == "py4j"]
            for name in able:
                once = (name, task.name) in ONCE
                ask(name, task, task.length // PART if once else task.length, task.repeats)
            for turn in range(TURNS):
                for name in able:
                    once = (name, task.name) in ONCE
                    if not once or turn == 0:
                        repeats = 1 if once or quick else task.repeats
                        samples.setdefault((name, task.name), []).extend(ask(name, task, task.length, repeats))
    finally:
        for process in processes.values():
            process.close()
    found = ((name, task, times) for (name, task), times in samples.items() if times)
    return [{"bridge": name, "task": task, "nanoseconds": times, "median": median(times)} for name, task, times in found]


def open_bridge(name: str) -> Process:
    """The Python process of a bridge, with its JVM."""
    return Process(Entry(name, BRIDGES[name]), [sys.executable, "-m", "contestants.bridges", name, class_path()])


def measure_jmh(quick: bool, folder: Path, failures: dict[str, str]) -> list[dict[str, Any]]:
    """What JMH says of `DataPath`, in microseconds. What it prints goes to standard error."""
    bench.say("JMH: the data path")
    out = folder / "jmh.json"
    properties = f"-Dtransom.bench.python={sys.executable} -Dtransom.bench.functions={FUNCTIONS}"
    less = ["-wi", "1", "-i", "1"] if quick else []
    command = [*java(), "org.openjdk.jmh.Main", "io.transom.bench.DataPath", "-rf", "json", "-rff", str(out), "-jvmArgsAppend", properties]
    try:
        subprocess.run([*command, "-foe", "true", *less], stdout=sys.stderr, check=True, timeout=DEADLINE)
    except subprocess.SubprocessError as error:
        failures["JMH"] = str(error)
        return []
    return [table_jvm.jmh_figures(run) for run in json.loads(out.read_text())]


def java_version() -> str:
    """What the program calls itself."""
    said = subprocess.run([java()[0], "-version"], capture_output=True, text=True, check=True)
    return said.stderr.splitlines()[0]


def versions() -> dict[str, str]:
    """Of the peers, and of what is on the class path."""
    jars = {name: next(JVM.glob(f"lib/{name}-[0-9]*.jar")).stem.removeprefix(f"{name}-") for name in ("arrow-vector", "jmh-core")}
    return {**jars, "py4j": version("py4j"), "JPype1": version("JPype1")}


if __name__ == "__main__":
    sys.exit(main())
