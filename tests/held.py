"""Functions that never end, for hosts that are killed meanwhile. Each waits at the gate first, which tells the test that it runs."""

from __future__ import annotations

import ctypes
import os
import signal
import time

import pyarrow as pa
import transom


def _wait_at_the_gate() -> None:
    # Opening a named pipe takes until somebody has opened its other end.
    with open(os.environ["TEST_GATE"]):
        pass


@transom.udf
def spins(x: pa.Int64Array) -> pa.Int64Array:
    _wait_at_the_gate()
    while True:
        pass


@transom.udf
def holds_the_lock(x: pa.Int64Array) -> pa.Int64Array:
    _wait_at_the_gate()
    # `PyDLL` keeps the interpreter's lock during the call, as native code of an extension does.
    ctypes.PyDLL(None).sleep(1000)
    return x


@transom.udf
def forks(x: pa.Int64Array) -> pa.Int64Array:
    for _ in range(3):
        if os.fork() == 0:
            time.sleep(1000)
            os._exit(0)
    _wait_at_the_gate()
    time.sleep(1000)
    return x


@transom.udf
def stops(x: pa.Int64Array) -> pa.Int64Array:
    _wait_at_the_gate()
    os.kill(os.getpid(), signal.SIGSTOP)
    return x
