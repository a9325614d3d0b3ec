"""The results as one table: plain for a terminal, and in Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from functions import CASES
from processes import ENTRIES, JVM_ENTRIES

BUSY = 0.1  # of the processors, used by others before the run: more than that is said aloud
TITLES = {entry.name: entry.title for entry in (*ENTRIES, *JVM_ENTRIES)}
HEAD = (
    "", "rows/s", "± %", "GB/s", "CPU s/M rows", "× in process", "× limit", "1 row: p50 µs", "p99", "p99.9",
    "× in process", "× limit",
)  # fmt: skip


def text(results: dict[str, Any]) -> str:
    """For a terminal: blocks of aligned columns under one head."""
    blocks = list(groups(results))
    rows = [HEAD, *(row for _, block in blocks for row in block)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEAD))]

    def line(row: tuple[str, ...]) -> str:
        first, *rest = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        return f"  {row[0]:<{len(first)}}  {'  '.join(rest)}".rstrip()

    lines = [about(results), "", *limit_lines(results), "", line(HEAD)]
    for title, block in blocks:
        lines += [title, *map(line, block)]
    return "\n".join(lines)


def markdown(results: dict[str, Any]) -> str:
    """For readers of the repository."""
    lines = [about(results), ""]
    lines += [f"- {line}" for line in limit_lines(results)]
    for title, block in groups(results):
        lines += ["", f"**{title}**", "", f"| {' | '.join(HEAD)} |", "| --- |" + " ---: |" * (len(HEAD) - 1)]
        lines += [f"| {' | '.join(row)} |" for row in block]
    return "\n".join(lines) + "\n"


def about(results: dict[str, Any]) -> str:
    """One line on where and how."""
    about = results["about"]
    return (
        f"Transom's bench of {about['date']}: {about['mode']}, median of {about['rounds']} rounds, "
        f"{about['window']} batches under way; {about['cpu']}, {about['cores']} cores, Linux {about['kernel']}, "
        f"Python {about['python']}, pyarrow {about['pyarrow']}"
        + (f"; {about['busy_before']:.0%} BUSY WITH OTHER THINGS" if about["busy_before"] > BUSY else "")
    )


def limit_lines(results: dict[str, Any]) -> Iterator[str]:
    """The machine's limits, a line each."""
    limits = results["limits"]
    if not limits:
        return
    for row in limits["pingpong"]:
        where = {"apart": "on two cores", "together": "on one core", "any": "wherever they are put"}[row["placement"]]
        times = " / ".join(number(row[name] / 1e3) for name in ("p50", "p99", "p999"))
        yield f"there and back by {row['way']}, {where}: {times} µs (p50 / p99 / p99.9)"
    for row in limits["copying"]:
        yield (
            f"{binary(row['bytes']).rstrip()}B at a time: copied into warm shared memory {number(row['warm'])} GB/s, "
            f"fresh memory {number(row['fresh'])}, a fresh memfd {number(row['fresh_memfd'])}; "
            f"read {number(row['read'])} GB/s"
        )


def groups(results: dict[str, Any]) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    """The cells of one function and batch size, with a title."""
    for (function, rows), cells in groupby(results["cells"], lambda cell: (cell["function"], cell["rows"])):
        cells = list(cells)
        title = f"{CASES[function].title}, {binary(rows)}{'row' if rows == 1 else 'rows'} a batch"
        yield f"{title} ({number(cells[0]['bytes_in_per_row'])} bytes a row in)", [line(cell) for cell in cells]


def line(cell: dict[str, Any]) -> tuple[str, ...]:
    """One contestant."""
    low, high = cell["rows_per_second_range"]
    call = cell.get("call", {})
    return (
        TITLES[cell["contestant"]],
        si(cell["rows_per_second"]),
        f"{(high - low) / 2 / cell['rows_per_second']:.0%}".rstrip("%"),
        number(cell["gigabytes_per_second"]),
        number(cell["cpu_seconds_per_million_rows"]),
        *(number(cell.get(name)) for name in ("to_in_process", "to_limit")),
        *(number(call.get(name)) for name in ("p50", "p99", "p999", "to_in_process", "to_limit")),
    )


def number(value: float | None) -> str:
    """Three digits that matter, none that do not."""
    if value is None:
        return ""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def si(value: float) -> str:
    """1234567 as 1.23 M."""
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{number(value / factor)} {letter}"
    return number(value)


def binary(value: int) -> str:
    """65536 as 64 Ki, with a space at the end for what is counted."""
    for factor, letters in ((1 << 20, "Mi"), (1 << 10, "Ki")):
        if value >= factor:
            return f"{value / factor:g} {letters} "
    return f"{value} "
