"""The host's half of the three peers: a worker process, and batches sent to it over descriptors.

As many batches are under way as in Transom's window. One thread that sends and receives in turn is the fastest host, as
long as it cannot come to wait for a worker that waits for it, for which it may have fewer under way. Larger batches
need a second thread to send them.
"""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from contestants.base import Contestant
from contestants.wires import WIRES, Reader, Wire, Writer
from functions import Case

WINDOW = 3  # Transom's default: batches under way for each worker.
SOCKET_BUFFER = 4194304
PIPE_BUFFER = 1 << 20


class Ends(NamedTuple):
    """A connection in both directions, and how much a worker can write before the host has read any of it."""

    host_in: int
    host_out: int
    worker_in: int
    worker_out: int
    capacity: int


def connect_pipe() -> Ends:
    """Two pipes, with the largest buffers that the system allows to users."""
    host_in, worker_out = os.pipe()
    worker_in, host_out = os.pipe()
    limit = int(Path("/proc/sys/fs/pipe-max-size").read_text())
    for fd in (host_out, worker_out):
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, min(PIPE_BUFFER, limit))
    return Ends(host_in, host_out, worker_in, worker_out, fcntl.fcntl(worker_out, fcntl.F_GETPIPE_SZ))


def connect_socket() -> Ends:
    """A Unix socket pair with large buffers (the kernel cuts the wish down to net.core.wmem_max)."""
    host, worker = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    for end in (host, worker):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
    # The kernel doubles the wish, and charges its own overhead to it.
    capacity = worker.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // 2
    fd_host, fd_worker = host.detach(), worker.detach()
    return Ends(fd_host, fd_host, fd_worker, fd_worker, capacity)


CONNECTIONS = {"pipe": connect_pipe, "socket": connect_socket}


class Peer(Contestant):
    """A worker behind a wire."""

    def __init__(self, wire: str, connection: str) -> None:
        ends = CONNECTIONS[connection]()
        inherited = {ends.worker_in, ends.worker_out}
        command = [sys.executable, "-m", "contestants.peer_worker", wire, str(ends.worker_in), str(ends.worker_out)]
        self._process = subprocess.Popen(command, pass_fds=inherited, stdin=subprocess.DEVNULL)
        for fd in inherited:
            os.close(fd)
        self._ends = ends
        self._reader, self._writer = Reader(ends.host_in), Writer(ends.host_out)
        self._wire_class = WIRES[wire]
        self._calls: Wire | None = None

    def _open(self, case: Case) -> Wire:
        """Begins a stream: one line with the function's name, then the batches."""
        self._writer.write(f"{case.name:<15}\n".encode())
        return self._wire_class(self._reader, self._writer)

    def stream(self, case: Case, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        first = next(batches)
        batches = chain((first,), batches)
        wire = self._open(case)
        # While the host is stuck in sending one batch, the worker has at most the others under way to answer.
        # If those answers fit, the worker goes on, and so does the host. No function here gives more than it takes.
        others = min(WINDOW - 1, int(self._ends.capacity / (first.nbytes * 1.25)))
        return self._in_turn(wire, batches, others + 1) if others else self._two_threads(wire, batches)

    def _in_turn(self, wire: Wire, batches: Iterator[pa.RecordBatch], most: int) -> Iterator[pa.RecordBatch]:
        under_way = 0
        for batch in islice(batches, most):
            wire.send(batch)
            under_way += 1
        for batch in batches:
            yield self._next(wire)
            wire.send(batch)
        for _ in range(under_way):
            yield self._next(wire)
        self._end(wire)

    def _two_threads(self, wire: Wire, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        window = threading.Semaphore(WINDOW)

        def feed() -> None:
            for batch in batches:
                window.acquire()
                wire.send(batch)
            wire.finish()

        feeder = threading.Thread(target=feed, daemon=True)
        feeder.start()
        while (result := wire.receive()) is not None:
            window.release()
            yield result
        feeder.join()

    @staticmethod
    def _next(wire: Wire) -> pa.RecordBatch:
        result = wire.receive()
        if result is None:
            raise RuntimeError("the worker ended the stream too early")
        return result

    @staticmethod
    def _end(wire: Wire) -> None:
        wire.finish()
        if wire.receive() is not None:
            raise RuntimeError("the worker sent more batches than it got")

    def open_calls(self, case: Case, schema: pa.Schema) -> None:
        self._calls = self._open(case)

    def call(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        self._calls.send(batch)
        return self._next(self._calls)

    def close_calls(self) -> None:
        self._end(self._calls)

    def workers(self) -> list[int]:
        return [self._process.pid]

    def close(self) -> None:
        for fd in {self._ends.host_in, self._ends.host_out}:
            os.close(fd)
        self._process.wait(timeout=10)
