"""What is shown of the peers, and that those which need no system are right."""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import bench_peers
import data
import table_peers
from bench import same
from functions import CASES
from processes import Failed, Process, family, memory
from table_peers import CONTESTANTS

HANDMADE = [one for one in CONTESTANTS if one.module in ("shared_memory", "flight")]


def cell(contestant: str, function: str, ratio: float) -> dict[str, Any]:
    speeds = {"rows_per_second": 1e9 / ratio, "rows_per_second_range": [0.9e9 / ratio, 1.1e9 / ratio], "transom_to_it": ratio}
    return {"contestant": contestant, "function": function, **speeds, "cpu_seconds_per_million_rows": 0.5, "memory_bytes": 5e6}


def results(cells: list[dict[str, Any]], failed: str | None = None) -> dict[str, Any]:
    reasons = {failed: "Traceback\nOSError: no | here"} if failed else {}
    contestants = [{**vars(one), "start_seconds": 1.5, "failure": reasons.get(one.name)} for one in CONTESTANTS]
    about = {"date": "2026-01-01", "mode": "quick", "rounds": 3, "window": 2, "cpu": "a", "cores": 2, "kernel": "6", "python": "3", "pyarrow": "1"}
    return {"about": {**about, "busy_before": 0.0, "busy_when_all_stand_ready": [0.013, 0.2]}, "contestants": contestants, "cells": cells}


def test_each_aim_is_judged_by_the_nearest_of_those_it_names() -> None:
    near = [
        cell("flight", "plus_one", 25),
        cell("ray_data", "plus_one", 21),
        cell("shared_memory", "plus_one", 1.5),
        cell("ipc_socket", "plus_one", 3),
    ]
    lines = list(table_peers.aims(results([*near, cell("spark_udf", "score", 30), cell("spark_udf_arrow", "score", 9)])))
    assert [("NOT" not in line) for line in lines] == [True, True, True, False]
    assert "21.0 × (the fastest: ray_data)" in lines[2]
    assert "9.00 × (the fastest: spark_udf_arrow)" in lines[3]
    # Shared memory by hand and the socket have aims of their own; who is in process does not count among the isolated.
    assert list(table_peers.aims(results([cell("polars", "upper", 0.5)]))) == []
    assert "NOT REACHED" in next(table_peers.aims(results([cell("duckdb", "plus_one", 0.9), cell("daft", "plus_one", 2)])))


def test_nobody_is_dropped() -> None:
    page = table_peers.markdown(results([cell("transom_host", "plus_one", 1), cell("polars", "plus_one", 2)], failed="ray_data"))
    table = page.split("**plus one**")[1].split("**Who took part")[0].strip().splitlines()
    assert len(table) == 2 + len(CONTESTANTS)
    # The fastest first, and whoever has no figure says why.
    assert table[2].startswith("| Transom, Python host | yes | 1.00 G | 10 | 1.00 |")
    assert table[3].startswith("| polars, map_batches and map_elements | no | 500 M |")
    assert "| Ray Data, map_batches and map | yes | failed |" in page
    assert "| PySpark, udf | yes | has no such function |" in page
    assert "FAILED: OSError: no \\| here" in page
    assert "1.3% of the processors are busy" in page
    assert "once more: then it is 20.0%" in page
    assert {line.count("|") - line.count("\\|") for line in table} == {table[0].count("|")}


def test_nobody_shares_the_machine_with_those_who_never_rest() -> None:
    only = ["inprocess", "transom_host", "polars", "ray_data", "spark_udf"]
    calm, restless = bench_peers.groups(argparse.Namespace(only=only))
    assert [one.name for one in calm] == ["inprocess", "transom_host", "polars"]
    assert [one.name for one in restless] == ["inprocess", "transom_host", "spark_udf", "ray_data"]
    assert len(bench_peers.groups(argparse.Namespace(only=["transom_host", "flight"]))) == 1


def test_the_picture_shows_every_function(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    import plot_peers

    found = results([cell("transom_host", "plus_one", 1), cell("polars", "plus_one", 2), cell("spark_udf", "score", 12)])
    plot_peers.draw(found, tmp_path / "picture.svg")
    assert (tmp_path / "picture.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize("contestant", HANDMADE, ids=lambda one: one.name)
def test_peers_of_python_and_arrow_alone_are_right(contestant, tmp_path: Path) -> None:
    # More batches than slots, and a size that is no multiple of anything.
    rows, count = 50_001, 7
    random = np.random.default_rng(3)
    batches = [data.make_batch(random, rows) for _ in range(count)]
    with pa.OSFile(str(data.path(tmp_path, rows)), "wb") as sink, pa.ipc.new_stream(sink, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    process = Process(contestant, [sys.executable, "-m", f"peers.{contestant.module}", str(tmp_path), *contestant.arguments])
    try:
        described = process.ask("describe")
        assert described["isolated"]
        assert len(family(process.pid)) > 1  # there is a worker
        assert memory(family(process.pid)) > 1 << 20
        out = tmp_path / "out.arrows"
        for function in described["functions"]:
            case = CASES[function]
            expected = pa.Table.from_batches([case.apply(batch.select(case.columns)) for batch in batches])
            assert process.ask("check", function=function, rows=rows, batches=count, out=str(out)) == {"batches": count}
            with pa.OSFile(str(out), "rb") as source, pa.ipc.open_stream(source) as reader:
                assert same(reader.read_all(), expected)
            timed = process.ask("stream", function=function, rows=rows, batches=count)
            assert timed["bytes_read"] >= count * rows * 8
            assert timed["cpu_workers"] > 0
    finally:
        process.close()


def test_a_peer_that_cannot_start_says_why(tmp_path: Path) -> None:
    process = Process(CONTESTANTS[0], [sys.executable, "-m", "peers.no_such_peer", str(tmp_path)])
    try:
        with pytest.raises(Failed, match="ended with status 1"):
            process.ask("describe")
    finally:
        process.close()


def test_a_family_is_a_process_and_all_below_it() -> None:
    grandchild = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"
    with subprocess.Popen([sys.executable, "-c", grandchild], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"1\n"
        assert len(family(child.pid)) == 2
        child.stdin.close()
