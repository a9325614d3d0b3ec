"""The results of `bench_jvm.py` in Markdown: the table of hosts, the bridges, what JMH says, and what was promised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

import table
from table import number

# What the JVM path is held to.
JNI_MICROSECONDS = 10
ARENA_TO_RUST = 0.8
TO_PY4J = 100

TASKS = {
    "call": "a call with one int",
    "bytes": "1 MiB of bytes",
    "list": "a list of 100,000 ints",
    "column": "a column of 1,000,000 int64",
    "packed": "the same column, packed into bytes by hand",
}
JMH = {
    "thereAndBack": "there and back through JNI, no worker, {} rows, 0 bytes copied",
    "call": "a call of one row of a Python function",
}


def median_ratio(mine: Sequence[float], its: Sequence[float]) -> float:
    """The median of the ratios, round by round."""
    return median(one / other for one, other in zip(mine, its, strict=False))


def jmh_figures(run: dict[str, Any]) -> dict[str, Any]:
    """The part of JMH's report on one benchmark that is shown: microseconds, and how many samples they come from."""
    metric = run["primaryMetric"]
    if metric["scoreUnit"] != "us/op":
        raise ValueError(f"JMH measured in {metric['scoreUnit']}")
    percentiles = {name: metric["scorePercentiles"][key] for name, key in (("p50", "50.0"), ("p99", "99.0"), ("p999", "99.9"))}
    rows = run.get("params", {}).get("rows")
    return {"benchmark": run["benchmark"].rpartition(".")[2], "rows": None if rows is None else int(rows), "mean": metric["score"], **percentiles}


def markdown(results: dict[str, Any]) -> str:
    """The whole page."""
    about = results["about"]
    used = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    lines = [table.markdown(results).rstrip(), "", f"{about['java']}; {used}"]
    lines += ["", "**Python calls Java: milliseconds, medians**", "", *bridges(results["bridges"])]
    lines += ["", "**JMH: microseconds**", "", *jmh(results["jmh"])]
    lines += ["", "**What was promised**", "", *promises(results)]
    return "\n".join(lines) + "\n"


def bridges(found: list[dict[str, Any]]) -> Iterator[str]:
    """A line for each task."""
    times = {(one["bridge"], one["task"]): one["median"] / 1e6 for one in found}
    yield "| | Transom | Py4J | JPype | Py4J ÷ Transom | JPype ÷ Transom |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for task, title in TASKS.items():
        # What is packed is compared with the column that need not be.
        mine = times.get(("transom", "column" if task == "packed" else task))
        cells = [times.get((bridge, task)) for bridge in ("transom", "py4j", "jpype")]
        cells += [None if mine is None or its is None else its / mine for its in cells[1:]]
        yield f"| {title} | {' | '.join(map(number, cells))} |"


def jmh(found: list[dict[str, Any]]) -> Iterator[str]:
    """A line for each benchmark."""
    yield "| | p50 | p99 | p99.9 | mean |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for one in found:
        cells = " | ".join(number(one[name]) for name in ("p50", "p99", "p999", "mean"))
        yield f"| {JMH[one['benchmark']].format(one['rows'])} | {cells} |"


def promises(results: dict[str, Any]) -> Iterator[str]:
    """Each promise with the figure, and whether it is kept."""
    there_and_back = [one["p50"] for one in results["jmh"] if one["benchmark"] == "thereAndBack"]
    columns = {one["bridge"]: one["median"] for one in results["bridges"] if one["task"] == "column"}
    if there_and_back:
        most = max(there_and_back)
        yield f"- JNI and data for a batch, there and back, under {JNI_MICROSECONDS} µs: {number(most)} µs, {kept(most < JNI_MICROSECONDS)}"
    if results["arena_to_rust"] is not None:
        ratio = results["arena_to_rust"]
        yield f"- 64 Ki rows from shared memory at least {ARENA_TO_RUST} × the Rust host: {number(ratio)} ×, {kept(ratio >= ARENA_TO_RUST)}"
    if {"transom", "py4j"} <= columns.keys():
        faster = columns["py4j"] / columns["transom"]
        yield f"- a column of a million int64 more than {TO_PY4J} × as fast as Py4J: {number(faster)} ×, {kept(faster > TO_PY4J)}"


def kept(it_is: bool) -> str:
    """In words."""
    return "kept" if it_is else "NOT KEPT"
