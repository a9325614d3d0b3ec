"""What is shown of the JVM, and that its contestants are right."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import data
import table_jvm
from functions import CASES
from processes import BINARY, JVM_ENTRIES, class_path, start


def jmh(name: str, rows: str | None, p50: float) -> dict[str, Any]:
    percentiles = {"50.0": p50, "99.0": 2 * p50, "99.9": 3 * p50}
    metric = {"score": p50, "scoreUnit": "us/op", "scorePercentiles": percentiles}
    return {"benchmark": f"io.transom.bench.DataPath.{name}", "primaryMetric": metric, **({"params": {"rows": rows}} if rows else {})}


def results(there_and_back: float, arena: float, py4j: int) -> dict[str, Any]:
    runs = [jmh("thereAndBack", "1", 5.0), jmh("thereAndBack", "65536", there_and_back), jmh("call", None, 100.0)]
    bridges = [("transom", "column", 10), ("py4j", "column", py4j), ("py4j", "packed", 30)]
    return {
        "jmh": [table_jvm.jmh_figures(run) for run in runs],
        "bridges": [{"bridge": bridge, "task": task, "median": median * 10**6} for bridge, task, median in bridges],
        "arena_to_rust": arena,
    }


def test_jmh_is_read() -> None:
    assert table_jvm.jmh_figures(jmh("thereAndBack", "65536", 4.0)) == {
        "benchmark": "thereAndBack",
        "rows": 65536,
        "mean": 4.0,
        "p50": 4.0,
        "p99": 8.0,
        "p999": 12.0,
    }
    other = jmh("call", None, 4.0)
    other["primaryMetric"]["scoreUnit"] = "ns/op"
    with pytest.raises(ValueError, match="ns/op"):
        table_jvm.jmh_figures(other)


def test_each_promise_is_judged_by_its_own_figure() -> None:
    kept = ["NOT" not in line for line in table_jvm.promises(results(9.9, 0.8, 1001))]
    assert kept == [True, True, True]
    kept = ["NOT" not in line for line in table_jvm.promises(results(10.1, 0.79, 999))]
    assert kept == [False, False, False]
    # What was not measured is not promised either.
    assert list(table_jvm.promises({"jmh": [], "bridges": [], "arena_to_rust": None})) == []


def test_bridges_are_compared_task_by_task() -> None:
    lines = list(table_jvm.bridges(results(1, 1, 2000)["bridges"]))[2:]
    assert lines[3] == "| a column of 1,000,000 int64 | 10.0 | 2000 |  | 200 |  |"
    # What Py4J has packed by hand is compared with the column that Transom takes as it is.
    assert lines[4].endswith("|  | 30.0 |  | 3.00 |  |")


def test_ratios_are_taken_round_by_round() -> None:
    assert table_jvm.median_ratio([1, 10, 3], [2, 5, 3]) == 1


@pytest.mark.skipif(not class_path(), reason="`make bench-jvm` builds what it needs")
@pytest.mark.parametrize("entry", JVM_ENTRIES, ids=lambda entry: entry.name)
def test_contestants_of_the_jvm_are_right(entry, tmp_path: Path) -> None:
    # Batches that a socket takes at once, and batches that it does not.
    for rows in (1000, 600_000):
        random = np.random.default_rng(rows)
        batches = [data.make_batch(random, rows) for _ in range(3)]
        with pa.OSFile(str(data.path(tmp_path, rows)), "wb") as sink, pa.ipc.new_stream(sink, batches[0].schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        case = CASES["plus_one"]
        expected = pa.Table.from_batches([case.apply(batch.select(case.columns)) for batch in batches])
        process = start(entry, tmp_path, BINARY)
        try:
            out = tmp_path / "out.arrows"
            assert process.ask("check", function=case.name, rows=rows, batches=3, out=str(out)) == {"batches": 3}
            with pa.OSFile(str(out), "rb") as source, pa.ipc.open_stream(source) as reader:
                assert reader.read_all().equals(expected)
            timed = process.ask("stream", function=case.name, rows=rows, batches=7)
            # Values, and a bit for each whether it is there; arrow-java pads neither.
            assert timed["bytes_read"] >= 7 * (8 * rows + rows // 8)
            assert timed["cpu_host"] > 0
        finally:
            process.close()
