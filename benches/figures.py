"""From samples to figures: medians over rounds, ratios within rounds, and the limit of each cell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any

from processes import BASE

# Where the distribution of single calls is drawn: evenly at first, then closer and closer to the slowest.
SHARES = (*(step / 20 for step in range(19)), *(1 - 10 ** (-step / 4) for step in range(4, 14)))


@dataclass
class Cell:
    """One contestant, one function, one batch size: what each round gave."""

    contestant: str
    function: str
    rows: int  # a batch
    batches: int  # a round
    streams: list[dict[str, Any]] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)  # nanoseconds of single calls, all rounds
    checksums: list[int] = field(default_factory=list)  # what of each went into reading its result

    @property
    def total(self) -> int:
        """Rows a round."""
        return self.rows * self.batches


@dataclass(frozen=True)
class Payload:
    """What a batch of a cell weighs: argument columns, and result."""

    bytes_in: float
    bytes_out: float


def quantile(ordered: Sequence[int], share: float) -> int:
    """The value below which this share of the ordered samples lies."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def interpolate(points: Sequence[tuple[float, float]], at: float) -> float:
    """Between measured points, on a logarithmic axis; at the ends, the end."""
    if at <= points[0][0]:
        return points[0][1]
    for (left, low), (right, high) in pairwise(points):
        if at <= right:
            share = math.log(at / left) / math.log(right / left)
            return low + share * (high - low)
    return points[-1][1]


class Limits:
    """The least time that a batch can take when the function runs in another process."""

    def __init__(self, limits: dict[str, Any]) -> None:
        copying = limits["copying"]
        self._warm = [(row["bytes"], row["warm"]) for row in copying]
        self._read = [(row["bytes"], row["read"]) for row in copying]
        spins = [row["p50"] for row in limits["pingpong"] if row["way"] == "spin"]
        self._trip = min(spins) / 1e9

    def host(self, payload: Payload) -> float:
        """Seconds to copy the arguments once into warm memory and to read the result once, where it lies."""
        copy = payload.bytes_in / interpolate(self._warm, payload.bytes_in)
        read = payload.bytes_out / interpolate(self._read, payload.bytes_out)
        return (copy + read) / 1e9

    def stream(self, payload: Payload, function: float) -> float:
        """Seconds a batch in a stream, where host and worker work at the same time."""
        return max(self.host(payload), function)

    def call(self, payload: Payload, function: float) -> float:
        """Seconds for a single call, where everything comes after everything else."""
        return self.host(payload) + function + self._trip


def rates(cell: Cell) -> list[float]:
    """Rows a second in each round."""
    return [cell.total / stream["seconds"] for stream in cell.streams]


def to_base(cell: Cell, base: Cell) -> float:
    """How many times as fast: the median of the rounds' ratios. One that failed half-way has fewer rounds."""
    return median(mine / its for mine, its in zip(rates(cell), rates(base), strict=False))


def function_seconds(base: Cell) -> float:
    """What the function itself takes for a batch: the time in process without the checksum."""
    return median((stream["seconds"] - stream["checksum_seconds"]) / base.batches for stream in base.streams)


def summarise(cell: Cell, base: Cell | None, payload: Payload, limits: Limits | None) -> dict[str, Any]:
    """The figures of one cell. Ratios to in-process are taken round by round, since the machine's speed drifts."""
    speeds = rates(cell)
    rate = median(speeds)
    bytes_a_row = (payload.bytes_in + payload.bytes_out) / cell.rows

    def per_row(key: str) -> float:
        return median(stream[key] for stream in cell.streams) / cell.total

    figures: dict[str, Any] = {
        "function": cell.function,
        "rows": cell.rows,
        "contestant": cell.contestant,
        "rows_per_second": rate,
        "rows_per_second_range": [min(speeds), max(speeds)],
        "gigabytes_per_second": rate * bytes_a_row / 1e9,
        "cpu_seconds_per_million_rows": (per_row("cpu_host") + per_row("cpu_workers")) * 1e6,
        "cpu_seconds_per_million_rows_host": per_row("cpu_host") * 1e6,
        "cpu_seconds_per_million_rows_workers": per_row("cpu_workers") * 1e6,
        "checksum_seconds_per_million_rows": per_row("checksum_seconds") * 1e6,
        "bytes_in_per_row": payload.bytes_in / cell.rows,
        "bytes_read_per_row": per_row("bytes_read"),
        "rounds": [stream["seconds"] for stream in cell.streams],
    }
    for copied in ("bytes_copied", "arguments_copied"):
        if cell.streams[0].get(copied) is not None:
            figures[f"{copied}_per_row"] = per_row(copied)
    if base is not None:
        figures["to_in_process"] = to_base(cell, base)
        if limits is not None:
            figures["to_limit"] = rate * limits.stream(payload, function_seconds(base)) / cell.rows
    if cell.calls:
        figures["call"] = call_figures(cell, base, payload, limits)
    return figures


def call_figures(cell: Cell, base: Cell | None, payload: Payload, limits: Limits | None) -> dict[str, Any]:
    """Microseconds for one call of one row, all rounds together, and ratios of the medians."""
    ordered = sorted(cell.calls)
    calls: dict[str, Any] = {name: quantile(ordered, share) / 1e3 for name, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999))}
    calls["quantiles"] = [(share, quantile(ordered, share) / 1e3) for share in SHARES]
    if base is not None and base.calls:
        calls["to_in_process"] = median(base.calls) / 1e3 / calls["p50"]
        if limits is not None:
            function = median(whole - reading for whole, reading in zip(base.calls, base.checksums, strict=True)) / 1e9
            calls["to_limit"] = limits.call(payload, function) * 1e6 / calls["p50"]
    return calls


def base_of(cells: list[Cell], cell: Cell) -> Cell | None:
    """The in-process cell of the same function and size."""
    same = (cell.function, cell.rows)
    return next((other for other in cells if other.contestant == BASE and (other.function, other.rows) == same), None)
