"""The arithmetic between samples and table."""

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

import data
import table
from contestants.base import checksum
from figures import Cell, Limits, Payload, interpolate, quantile, summarise
from functions import CASES
from processes import HERE, cpu_seconds

LIMITS = {
    "pingpong": [{"way": "spin", "placement": "apart", "p50": 500, "p99": 600, "p999": 700}],
    "copying": [
        {"bytes": 1000, "warm": 10.0, "fresh": 1.0, "fresh_memfd": 1.0, "read": 20.0},
        {"bytes": 100_000, "warm": 5.0, "fresh": 1.0, "fresh_memfd": 1.0, "read": 10.0},
    ],
}


def stream(seconds: float) -> dict[str, float]:
    figures = {"seconds": seconds, "cpu_host": seconds, "cpu_workers": seconds}
    return {**figures, "checksum_seconds": 0.0, "bytes_read": 80, "bytes_copied": 40}


def test_quantiles() -> None:
    samples = list(range(1, 1001))
    assert [quantile(samples, share) for share in (0, 0.5, 0.999, 1)] == [1, 501, 1000, 1000]


def test_interpolation_is_logarithmic_and_bounded() -> None:
    points = [(1000.0, 10.0), (100_000.0, 5.0)]
    assert [interpolate(points, at) for at in (1, 1000, 10_000, 100_000, 10**9)] == [10, 10, pytest.approx(7.5), 5, 5]


def test_ratios_are_taken_round_by_round() -> None:
    # The machine is half as fast in the second round: no contestant is to blame.
    base = Cell("inprocess", "plus_one", 10, 1, [stream(1e-6), stream(2e-6), stream(1e-6)], [1100], [100])
    mine = Cell("ipc_pipe", "plus_one", 10, 1, [stream(4e-6), stream(8e-6), stream(4e-6)], [4400], [100])
    figures = summarise(mine, base, Payload(1000, 1000), Limits(LIMITS))
    assert figures["to_in_process"] == pytest.approx(0.25)
    assert figures["rows_per_second"] == pytest.approx(10 / 4e-6)
    assert figures["to_limit"] == pytest.approx(0.25)  # the function takes longer than copying 1000 bytes
    assert figures["cpu_seconds_per_million_rows"] == pytest.approx(2 * 4e-6 / 10 * 1e6)
    assert figures["bytes_copied_per_row"] == 4
    assert figures["call"]["to_in_process"] == pytest.approx(0.25)
    # The call: 1000 ns for the function, 100 for the copy, 50 for reading, 500 there and back.
    assert figures["call"]["to_limit"] == pytest.approx(1650 / 4400)


def test_the_checksum_reads_every_byte() -> None:
    batch = data.make_batch(np.random.default_rng(1), 5000)
    size = sum(buffer.size for column in batch.columns for buffer in column.buffers() if buffer is not None)
    assert checksum(batch)[1] == size
    values = np.zeros(1003, np.uint8)
    before = checksum(pa.array(values))
    for place in (0, 999, 1002):
        values[place] = 1
        assert checksum(pa.array(values)) != before
        values[place] = 0


def test_processor_time_of_another_process() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            start = cpu_seconds(busy.pid)
            while cpu_seconds(busy.pid) < start + 0.01:
                pass
        finally:
            busy.kill()


@pytest.mark.parametrize("case", CASES.values(), ids=str)
def test_functions_keep_rows_and_nulls(case) -> None:
    batch = data.make_batch(np.random.default_rng(2), 2000).select(case.columns)
    result = case.apply(batch)
    assert result.num_rows == 2000
    assert all(0 < column.null_count < 400 for column in result.columns)


def test_numbers_in_tables() -> None:
    shown = [table.number(value) for value in (None, 0, 0.0123, 0.5, 12.34, 1234.5)]
    assert shown == ["", "0", "0.012", "0.50", "12.3", "1234"]
    assert [table.si(value) for value in (12, 1234, 5e6)] == ["12.0", "1.23 k", "5.00 M"]


def test_a_whole_run_of_the_peers(tmp_path) -> None:
    pytest.importorskip("matplotlib")  # only the bench needs it
    options = ["--quick", "--rounds", "1", "--rows", "1,8192", "--functions", "plus_one,identity"]
    peers = ["--only", "inprocess,pickle_pipe,ipc_pipe,ipc_socket", "--out", str(tmp_path)]
    command = [sys.executable, str(HERE / "bench.py"), *options, *peers, "--binary", "/nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "no limits" in done.stderr
    assert done.returncode == 1  # there is no program to measure them
    results = json.loads((tmp_path / "quick.json").read_text())
    assert results["failures"] == {}
    assert len(results["cells"]) == 16
    assert "Arrow IPC over a socket" in done.stdout
    assert (tmp_path / "quick.svg").read_text().startswith("<?xml")
