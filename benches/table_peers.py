"""Who takes part in `bench_peers.py`, and its results in Markdown: the tables, what was chosen, and what was aimed at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import table
from functions import CASES
from processes import BASE, Entry
from table import number, si

TRANSOM = "transom_host"
HEAD = ("", "isolated", "rows/s", "± %", "Transom ÷ it", "× in process", "CPU s/M rows", "memory, MB")
ALL = ("plus_one", "upper", "score")


@dataclass(frozen=True)
class Contender(Entry):
    """An entry and what is known of it beforehand; a peer, which has a module, says it itself."""

    isolated: bool = True
    functions: tuple[str, ...] = ALL
    settings: str = "as in `make bench`"
    versions: str = ""
    module: str | None = None
    arguments: tuple[str, ...] = ()
    restless: bool = False  # Its processes work while they wait for their turn.


CONTESTANTS = (
    Contender("inprocess", "in process, Python", isolated=False),
    Contender("transom_host", "Transom, Python host"),
    Contender("transom_host_shared", "Transom, Python host, shared memory", settings="arguments in shared memory beforehand"),
    Contender("transom_rust", "Transom, Rust host"),
    Contender("ipc_socket", "Arrow IPC over a socket"),
    Contender("shared_memory", "shared memory by hand", module="shared_memory", arguments=("arrow",)),
    Contender(
        "shared_memory_numpy", "shared memory by hand, plus one in numpy", functions=("plus_one",), module="shared_memory", arguments=("numpy",)
    ),
    Contender("flight", "Arrow Flight, DoExchange", module="flight"),
    Contender("spark_arrow_udf", "PySpark, arrow_udf", functions=ALL[:2], module="spark", arguments=("arrow_udf",), restless=True),
    Contender("spark_map_in_arrow", "PySpark, mapInArrow", functions=ALL[:2], module="spark", arguments=("map_in_arrow",), restless=True),
    Contender("spark_pandas_udf", "PySpark, pandas_udf", functions=ALL[:2], module="spark", arguments=("pandas_udf",), restless=True),
    Contender("spark_udf", "PySpark, udf", functions=ALL[2:], module="spark", arguments=("udf",), restless=True),
    Contender("spark_udf_arrow", "PySpark, udf(useArrow=True)", functions=ALL[2:], module="spark", arguments=("udf_arrow",), restless=True),
    Contender("ray_data", "Ray Data, map_batches and map", module="ray_data", restless=True),
    Contender("daft_process", "Daft, use_process", module="daft_udf", arguments=("process",)),
    Contender("daft", "Daft", isolated=False, module="daft_udf", arguments=("thread",)),
    Contender("duckdb", "DuckDB, Arrow and native UDF", isolated=False, module="duckdb_udf"),
    Contender("datafusion", "datafusion-python, UDF", isolated=False, functions=ALL[:2], module="datafusion_udf"),
    Contender("polars", "polars, map_batches and map_elements", isolated=False, module="polars_map"),
)
SPARK_ROWS = ("spark_udf", "spark_udf_arrow")
ENGINES = ("duckdb", "daft", "datafusion")

# What Transom is held to: times the speed of each of these.
TO_SHARED_MEMORY = 1.5
TO_SOCKET = 3
TO_ISOLATED = 20
TO_SPARK_ROWS = 10
TO_LOOP = 2


def markdown(results: dict[str, Any]) -> str:
    """The whole page."""
    lines = [about(results)]
    for function in CASES:
        if any(cell["function"] == function for cell in results["cells"]):
            lines += ["", f"**{CASES[function].title}**", "", *speeds(results, function)]
    lines += ["", "**Who took part, and how**", "", *settings(results["contestants"])]
    lines += ["", "**What was aimed at**", "", *aims(results)]
    return "\n".join(lines) + "\n"


def about(results: dict[str, Any]) -> str:
    """The line of all benches, and how much of the machine those who wait their turn use."""
    idle = results["about"]["busy_when_all_stand_ready"]
    line = f"{table.about(results)}. When all stand ready and wait, {idle[0]:.1%} of the processors are busy."
    if len(idle) > 1:
        line += f" PySpark and Ray, which never rest, come behind the others, beside Transom and in process once more: then it is {idle[1]:.1%}."
    return line


def speeds(results: dict[str, Any], function: str) -> Iterator[str]:
    """Everybody's figures for a function, the fastest first; then who has none, and why."""
    yield f"| {' | '.join(HEAD)} |"
    yield "| --- | --- |" + " ---: |" * (len(HEAD) - 2)
    contestants = {one["name"]: one for one in results["contestants"]}
    cells = [cell for cell in results["cells"] if cell["function"] == function]
    for cell in sorted(cells, key=lambda cell: -cell["rows_per_second"]):
        who = contestants[cell["contestant"]]
        low, high = cell["rows_per_second_range"]
        spread = f"{(high - low) / 2 / cell['rows_per_second']:.0%}".rstrip("%")
        ratios = (number(cell.get(name)) for name in ("transom_to_it", "to_in_process", "cpu_seconds_per_million_rows"))
        mark = " (failed later)" if who["failure"] else ""
        figures = (si(cell["rows_per_second"]), spread, *ratios, f"{cell['memory_bytes'] / 1e6:.0f}")
        yield f"| {who['title']}{mark} | {yes(who['isolated'])} | {' | '.join(figures)} |"
    measured = {cell["contestant"] for cell in cells}
    for who in results["contestants"]:
        if who["name"] not in measured:
            reason = "failed" if who["failure"] else "has no such function" if function not in who["functions"] else "not measured"
            yield f"| {who['title']} | {yes(who['isolated'])} | {reason} |" + " |" * (len(HEAD) - 3)


def settings(contestants: list[dict[str, Any]]) -> Iterator[str]:
    """Versions, settings, start-up, and what went wrong."""
    yield "| | versions | settings | start to first result, s |"
    yield "| --- | --- | --- | ---: |"
    for who in contestants:
        start = "" if who["start_seconds"] is None else number(who["start_seconds"])
        # The last line of a traceback says what happened.
        failed = f"; FAILED: {last_line(who['failure'])}" if who["failure"] else ""
        yield f"| {who['title']} | {who['versions']} | {who['settings']}{failed} | {start} |"


def last_line(text: str) -> str:
    """Short, and nothing that would end a cell."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [""]
    return lines[-1][:200].replace("|", "\\|")


def aims(results: dict[str, Any]) -> Iterator[str]:
    """Each aim with its figure, and whether it is reached; what was not measured is not judged."""
    ratios = {(cell["contestant"], cell["function"]): cell.get("transom_to_it") for cell in results["cells"]}
    isolated = [who["name"] for who in results["contestants"] if who["isolated"] and not who["name"].startswith("transom")]
    others = [name for name in isolated if not name.startswith("shared_memory") and name != "ipc_socket"]

    def judged(what: str, least: float, function: str, names: list[str] | tuple[str, ...]) -> Iterator[str]:
        found = {name: ratio for name in names if (ratio := ratios.get((name, function))) is not None}
        if found:
            # The fastest of them is where Transom's lead is smallest.
            nearest = min(found, key=found.__getitem__)
            by = f" (the fastest: {nearest})" if len(names) > 1 else ""
            word = "reached" if found[nearest] >= least else "NOT REACHED"
            yield f"- {what}, at least {number(least)} ×: {number(found[nearest])} ×{by}, {word}"

    yield from judged("plus one, shared memory by hand", TO_SHARED_MEMORY, "plus_one", ("shared_memory",))
    yield from judged("plus one, shared memory by hand with the function in numpy", TO_SHARED_MEMORY, "plus_one", ("shared_memory_numpy",))
    yield from judged("plus one, Arrow IPC over a socket", TO_SOCKET, "plus_one", ("ipc_socket",))
    yield from judged("plus one, every other isolated one", TO_ISOLATED, "plus_one", others)
    yield from judged("plus one, DuckDB, Daft and datafusion-python in process", 1, "plus_one", ENGINES)
    yield from judged("upper-case, every isolated one", 1, "upper", isolated)
    yield from judged("row function, PySpark's two row forms", TO_SPARK_ROWS, "score", SPARK_ROWS)
    yield from judged("row function, the same loop in process over `to_pylist`", TO_LOOP, "score", (BASE,))


def yes(it_is: bool) -> str:
    """In words."""
    return "yes" if it_is else "no"
