"""The picture of `bench_peers.py`: rows a second of everybody, for each function.

Usage, to draw again from saved results: python benches/plot_peers.py results.json picture.svg
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from functions import CASES
from plot import COLOURS, STYLE, save
from table import si

IN_PROCESS = COLOURS["inprocess"]
ISOLATED = COLOURS["ipc_socket"]
TRANSOM = COLOURS["transom_host"]


def draw(results: dict[str, Any], out: Path) -> None:
    """Writes the picture; the same results give the same file."""
    functions = [name for name in CASES if any(cell["function"] == name for cell in results["cells"])]
    if not functions:
        return
    with pyplot.rc_context(STYLE):
        figure, panels = pyplot.subplots(1, len(functions), figsize=(4.6 * len(functions), 4.8), layout="constrained", squeeze=False)
        for axes, function in zip(panels[0], functions, strict=True):
            bars(axes, results, function)
        handles = [
            Patch(color=TRANSOM, label="Transom"),
            Patch(color=ISOLATED, label="isolated"),
            Patch(color=IN_PROCESS, label="in process, not isolated"),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
        save(figure, out)


def bars(axes: Axes, results: dict[str, Any], function: str) -> None:
    """The fastest on top, on a logarithmic axis: they lie orders of magnitude apart."""
    contestants = {one["name"]: one for one in results["contestants"]}
    cells = sorted((cell for cell in results["cells"] if cell["function"] == function), key=lambda cell: cell["rows_per_second"])
    speeds = [cell["rows_per_second"] for cell in cells]
    drawn = axes.barh(
        [contestants[cell["contestant"]]["title"] for cell in cells], speeds, color=[colour(contestants[cell["contestant"]]) for cell in cells]
    )
    axes.bar_label(drawn, [si(speed) for speed in speeds], fontsize=7, padding=2)
    axes.set_xscale("log")
    axes.set_xlim(min(speeds) / 2, max(speeds) * 4)
    axes.tick_params(axis="y", labelsize=7)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("rows a second")
    axes.set_title(CASES[function].title)


def colour(contestant: dict[str, Any]) -> str:
    """By what it is."""
    if contestant["name"].startswith("transom"):
        return TRANSOM
    return ISOLATED if contestant["isolated"] else IN_PROCESS


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
