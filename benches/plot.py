"""The picture for the README: what a row costs at each batch size, throughput beside the in-process call, and how long single calls take.

Usage, to draw again from saved results: python benches/plot.py results.json picture.svg
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from functions import CASES
from processes import BASE, ENTRIES
from table import si

# Okabe and Ito's colours, which most people can tell apart.
COLOURS = {
    "inprocess": "#666666",
    "pickle_pipe": "#E69F00",
    "ipc_pipe": "#56B4E9",
    "ipc_socket": "#0072B2",
    "transom_host": "#D55E00",
    "transom_rust": "#009E73",
}
CURVE = "plus_one"
BARS = 64 << 10
SIZES = {1: "1", 8 << 10: "8 Ki", 64 << 10: "64 Ki", 1 << 20: "1 Mi"}


STYLE = {
    "font.size": 9,
    "svg.hashsalt": "transom",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
}


def draw(results: dict[str, Any], out: Path) -> None:
    """Writes the picture; the same results give the same file. Results of an older run may lack the times of single calls."""
    calls = [cell for cell in results["cells"] if cell["function"] == CURVE and "quantiles" in cell.get("call", {})]
    panels = 3 if calls else 2
    with pyplot.rc_context(STYLE):
        ratios = (1, 1.25, 1)[:panels]
        figure, axes = pyplot.subplots(1, panels, figsize=(sum(ratios) * 4.4, 4.5), width_ratios=ratios, layout="constrained")
        curves(axes[0], results["cells"])
        bars(axes[1], results["cells"])
        if calls:
            distribution(axes[2], calls)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
        save(figure, out)


def save(figure: Figure, out: Path) -> None:
    """As SVG without a date."""
    figure.savefig(out, format="svg", metadata={"Date": None})
    pyplot.close(figure)


def distribution(axes: Axes, cells: list[dict[str, Any]]) -> None:
    """Which share of single calls took longer than so many microseconds."""
    for cell in cells:
        shares = [1 - share for share, _ in cell["call"]["quantiles"]]
        times = [time for _, time in cell["call"]["quantiles"]]
        axes.plot(times, shares, color=COLOURS[cell["contestant"]])
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("microseconds")
    axes.set_ylabel("share of calls that take longer")
    axes.set_title(f"Single calls of one row: {CASES[CURVE].title}")


def curves(axes: Axes, cells: list[dict[str, Any]]) -> None:
    """Nanoseconds a row against rows a batch, both in powers."""
    for entry in ENTRIES:
        mine = [cell for cell in cells if cell["contestant"] == entry.name and cell["function"] == CURVE]
        if mine:
            rows = [cell["rows"] for cell in mine]
            cost = [1e9 / cell["rows_per_second"] for cell in mine]
            axes.plot(rows, cost, marker="o", markersize=4, color=COLOURS[entry.name], label=entry.title)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(list(SIZES), list(SIZES.values()))
    axes.minorticks_off()
    axes.set_xlabel("rows a batch")
    axes.set_ylabel("nanoseconds a row")
    axes.set_title(f"Cost of a row: {CASES[CURVE].title}, one worker")


def bars(axes: Axes, cells: list[dict[str, Any]]) -> None:
    """Throughput at one batch size as a share of the in-process call."""
    cells = [cell for cell in cells if cell["rows"] == BARS and "to_in_process" in cell]
    functions = [name for name in CASES if any(cell["function"] == name for cell in cells)]
    entries = [entry for entry in ENTRIES if entry.name != BASE]
    width = 0.8 / len(entries)
    for place, entry in enumerate(entries):
        values = {cell["function"]: cell["to_in_process"] for cell in cells if cell["contestant"] == entry.name}
        at = [functions.index(name) + (place - (len(entries) - 1) / 2) * width for name in values]
        drawn = axes.bar(at, list(values.values()), width * 0.92, color=COLOURS[entry.name])
        axes.bar_label(drawn, fmt="%.2f", fontsize=6, padding=1)
    axes.axhline(1, color=COLOURS[BASE], linewidth=1.5)
    speed = {cell["function"]: cell["rows_per_second"] for cell in cells if cell["contestant"] == BASE}
    labels = [f"{CASES[name].title}\nin process\n{si(speed[name])} rows/s" for name in functions]
    axes.set_xticks(range(len(functions)), labels, fontsize=8)
    axes.grid(visible=False, axis="x")
    axes.set_ylabel("rows a second, in process = 1")
    axes.set_title(f"Throughput at {SIZES[BARS]} rows a batch")


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
