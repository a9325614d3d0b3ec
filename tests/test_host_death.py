"""Hosts that are killed: nothing that they started outlives them, whatever it does. And Python workers that are killed at random moments."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import transom
import udfs
from invariants import Tally, assert_settled

TESTS = Path(__file__).parent
#: The variable by which the processes of a test are known, in whatever group or session they are.
MARK = "TEST_HOST"
#: They should take a hundredth of it; a loaded machine may not give them their turn.
GENEROUS = 20.0

HOST = """
import sys, pyarrow as pa, transom
if __name__ == "__main__":
    with transom.Pool(workers=1) as pool:
        pool.call(sys.argv[1], pa.array([1]))
"""


def living(mark: str) -> dict[int, str]:
    """The processes of a host that still run."""
    wanted = f"{MARK}={mark}".encode()
    found = {}
    for process in Path("/proc").iterdir():
        # Gone meanwhile, or another user's; and empty for one that has ended.
        with contextlib.suppress(OSError):
            if process.name.isdigit() and wanted in (process / "environ").read_bytes().split(b"\0"):
                found[int(process.name)] = (process / "comm").read_text().strip()
    return found


def assert_all_gone(mark: str) -> float:
    """Fails unless what a killed host started ends soon; gives the seconds that it took."""
    killed = time.monotonic()
    while left := living(mark):
        assert time.monotonic() - killed < GENEROUS, f"what a host started outlives it: {left}"
        time.sleep(0.002)
    return time.monotonic() - killed


@pytest.mark.parametrize("function", ["spins", "holds_the_lock", "forks", "stops"])
def test_a_killed_host_leaves_nothing(tmp_path: Path, function: str) -> None:
    gate, script = tmp_path / "gate", tmp_path / "host.py"
    os.mkfifo(gate)
    script.write_text(HOST)
    mark = f"{os.getpid()}-{function}"
    environment = {**os.environ, MARK: mark, "TEST_GATE": str(gate)}
    host = subprocess.Popen([sys.executable, script, f"{TESTS / 'held.py'}:{function}"], env=environment)
    try:
        with open(gate, "w"):  # as soon as the function stands there
            pass
        # The host and its worker, and what that has forked.
        assert len(living(mark)) >= (5 if function == "forks" else 2)
    finally:
        host.kill()
    host.wait()
    print(f"{function}: gone after {assert_all_gone(mark):.3f} s")


def test_kills_at_random_moments(make_pool: Callable[..., transom.Pool]) -> None:
    """`make soak` does hundreds of times as many."""
    pool = make_pool(workers=2)
    tally, over = Tally(), threading.Event()
    kills = threading.Thread(target=_kill, args=(pool, 20, over))
    pool.call(udfs.plus_one, udfs.X)
    kills.start()
    while not over.is_set():
        names, batches = zip(*(tally.batch(50_000) for _ in range(10)), strict=True)
        results = pool.map(udfs.plus_one, batches)
        for name in names:
            try:
                answer: object = next(results)
            except transom.WorkerDied as error:
                answer = error
            tally.note(name, answer, "WORKER_SIGNALLED")
            del answer
    kills.join()
    tally.settle()
    assert tally.answered
    del results
    assert_settled(pool)


def _kill(pool: transom.Pool, count: int, over: threading.Event) -> None:
    done = 0
    while done < count:
        time.sleep(random.uniform(0, 0.04))
        pids = [worker["pid"] for worker in pool.stats()["workers"] if worker["state"] in ("idle", "busy")]
        if pids:
            # One that has just died of the last kill may be reaped already: that is no kill.
            with contextlib.suppress(ProcessLookupError):
                os.kill(random.choice(pids), signal.SIGKILL)
                done += 1
    over.set()
