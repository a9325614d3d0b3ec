"""Who holds shared memory: leases, the error where a function keeps its arguments, and what `transom doctor --pool` shows of it."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import transom
from expect import ONE, alive
from program import PROGRAM

kept: list[Any] = []
BATCH = pa.array(range(100_000))
BYTES = BATCH.nbytes


@transom.udf
def keeps(x: pa.Int64Array) -> pa.Int64Array:
    kept.append(x)
    return pa.array([len(x)] * len(x))


@transom.udf
def keeps_cycles(x: pa.Int64Array) -> pa.Int64Array:
    gc.disable()
    cycle: list[Any] = [x]
    cycle.append(cycle)
    return pa.array([len(x)] * len(x))


@transom.udf
def collects(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield from list(batches)


def by(pool: transom.Pool, holder: str) -> list[dict[str, Any]]:
    return [lease for lease in pool.leases() if lease["holder"] == holder]


def test_what_a_function_keeps_and_what_the_host_keeps(make_pool: Callable[..., transom.Pool]) -> None:
    pool = make_pool()
    first, second = pool.call(keeps, BATCH), pool.call(keeps, BATCH)
    del first
    for _ in range(2):
        assert pool.call(alive, ONE).equals(ONE)  # takes the release along
    leases = [lease for lease in by(pool, "worker") if lease["function"] == "keeps"]
    assert [(lease["function"], lease["bytes"], lease["answered"]) for lease in leases] == [("keeps", BYTES, True)] * 2
    assert {lease["pid"] for lease in leases} == {pool.stats()["workers"][0]["pid"]}
    assert leases[0]["age_seconds"] > 0
    [result] = [lease for lease in by(pool, "host") if lease["function"] == "keeps"]
    assert (result["bytes"], result["worker"]) == (second.nbytes, 0)


def test_a_function_that_keeps_all_is_told_so(make_pool: Callable[..., transom.Pool]) -> None:
    pool = make_pool(memory_limit=16 << 20)
    with pytest.raises(transom.TransomError) as caught:
        for _ in pool.map(keeps, (pa.record_batch({"x": BATCH}) for _ in range(1000))):
            pass
    error = caught.value
    assert error.code_name == "INPUT_RETAINED"
    held = by(pool, "worker")
    assert f"function `keeps` keeps {len(held)} batches of {len(held) * BYTES} bytes" in str(error)
    assert f"{len(held) * BYTES} bytes: {len(held)} answered batches that function `keeps` keeps in worker 0" in error.hint
    assert pool.call(alive, ONE).equals(ONE)


def test_cycles_are_collected_where_memory_is_short(make_pool: Callable[..., transom.Pool]) -> None:
    pool = make_pool(memory_limit=16 << 20)
    results = pool.map(keeps_cycles, (pa.record_batch({"x": BATCH}) for _ in range(60)))
    assert sum(batch.num_rows for batch in results) == 60 * len(BATCH)


def test_a_stream_that_collects_its_input_is_told_so(make_pool: Callable[..., transom.Pool]) -> None:
    pool = make_pool(memory_limit=16 << 20)
    with pytest.raises(transom.TransomError) as caught:
        list(pool.map(collects, (pa.record_batch({"x": BATCH}) for _ in range(1000))))
    assert caught.value.code_name == "INPUT_RETAINED"
    assert caught.value.function == "collects"


def doctor(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(PROGRAM), "doctor", "--pool", *words], check=False, capture_output=True, text=True, timeout=60)


def test_doctor_shows_a_running_pool(make_pool: Callable[..., transom.Pool]) -> None:
    pool = make_pool(workers=2)
    pool.call(keeps, BATCH)
    mine = str(os.getpid())
    report = json.loads(doctor(mine, "--json").stdout)
    assert report["pid"] == os.getpid()
    assert report["memory_limit"] == pool.stats()["memory_limit"]
    assert [worker["pid"] for worker in report["workers"]] == [worker["pid"] for worker in pool.stats()["workers"]]
    assert [(lease["function"], lease["bytes"]) for lease in report["leases"] if lease["holder"] == "worker"] == [("keeps", BYTES)]
    assert {segment["role"] for segment in report["segments"]} == {"input", "output"}
    shown = doctor(mine).stdout
    assert f"process {mine} (transom {transom.__version__})" in shown
    assert "kept after its answer" in shown
    assert f"process {mine} " in doctor().stdout


def test_doctor_says_where_there_is_nobody(tmp_path: Any) -> None:
    done = doctor("1")
    assert done.returncode == 1
    assert "process 1 has no pool that answers" in done.stderr


def test_a_pool_that_was_killed_leaves_no_socket() -> None:
    # A worker that is being started has all that its host has, until it runs its own program.
    started = "signal.alarm(60)\n    while pool.stats()['workers'][0]['state'] != 'idle': pass"
    code = f"import signal, transom\nwith transom.Pool(workers=1) as pool:\n    {started}\n    print('here', flush=True)\n    input()\n"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        assert host.stdout.readline() == "here\n"
        name = f"@transom-pool-{host.pid}-"
        assert json.loads(doctor(str(host.pid), "--json").stdout)["pid"] == host.pid
        host.send_signal(signal.SIGKILL)
    assert name not in Path("/proc/net/unix").read_text()


def test_a_pool_can_keep_to_itself() -> None:
    code = "import os, transom\nwith transom.Pool(workers=1):\n    print(open('/proc/net/unix').read().count(f'@transom-pool-{os.getpid()}-'))\n"
    environment = {**os.environ, "TRANSOM_DOCTOR": "0"}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout == "0\n"
