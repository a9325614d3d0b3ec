"""How the peers put batches on a file descriptor: as Arrow IPC, or pickled. Both ends use the same code.

Written to be as fast as Python allows: one `writev` a batch straight from the batch's own buffers, one `readv` for
most messages, straight into memory from pyarrow's pool; no buffer is copied on the way to or from the kernel.
"""

from __future__ import annotations

import os
import pickle
import struct
from typing import Protocol

import pyarrow as pa

IOV_MAX = 1024
READ_AHEAD = 16 << 10


class EndOfStream(Exception):
    """The other side has closed the descriptor in the middle of a read."""


class Writer:
    """Collects pieces, then sends them together. As the sink of a pyarrow writer it gets the buffers themselves."""

    closed = False

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._pieces: list[memoryview] = []

    def write(self, piece: bytes | memoryview | pa.Buffer) -> int:
        """Remembers a piece."""
        view = memoryview(piece).cast("B")
        if view.nbytes:
            self._pieces.append(view)
        return view.nbytes

    def flush(self) -> None:
        """What pyarrow calls after each message; `send` is what sends."""

    def send(self) -> None:
        """Writes all pieces, in one system call where the kernel takes them at once."""
        pieces = self._pieces
        self._pieces = []
        while pieces:
            written = os.writev(self._fd, pieces[:IOV_MAX])
            done = 0
            while done < len(pieces) and written >= pieces[done].nbytes:
                written -= pieces[done].nbytes
                done += 1
            del pieces[:done]
            if written:
                pieces[0] = pieces[0][written:]


class Reader:
    """Reads exact lengths; the start of the next message comes along in the same system call."""

    closed = False

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._ahead = memoryview(bytearray(READ_AHEAD))
        self._start = self._end = 0

    def read_buffer(self, size: int) -> pa.Buffer | bytes:
        """What pyarrow calls, and wraps without a copy."""
        have = self._end - self._start
        if size <= have:
            taken = bytes(self._ahead[self._start : self._start + size])
            self._start += size
            return taken
        buffer = pa.allocate_buffer(size)
        view = memoryview(buffer).cast("B")
        view[:have] = self._ahead[self._start : self._end]
        self._start = self._end = 0
        while have < size:
            count = os.readv(self._fd, (view[have:], self._ahead))
            if count == 0:
                raise EndOfStream
            have += count
        self._end = have - size
        return buffer

    read = read_buffer


class Wire(Protocol):
    """One stream of batches in each direction over a pair of descriptors."""

    def send(self, batch: pa.RecordBatch) -> None:
        """Sends a batch; before the first one, whatever the format needs."""

    def finish(self) -> None:
        """Says that no more batches will be sent."""

    def receive(self) -> pa.RecordBatch | None:
        """The next batch, or None at the end."""


class IpcWire:
    """Arrow IPC streams: the schema once, then a message for each batch."""

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self._reader = reader
        self._writer = writer
        self._stream_in: pa.RecordBatchStreamReader | None = None
        self._stream_out: pa.RecordBatchStreamWriter | None = None

    def send(self, batch: pa.RecordBatch) -> None:
        if self._stream_out is None:
            self._stream_out = pa.ipc.new_stream(pa.PythonFile(self._writer, "w"), batch.schema)
        self._stream_out.write_batch(batch)
        self._writer.send()

    def finish(self) -> None:
        if self._stream_out is not None:
            self._stream_out.close()
            self._writer.send()

    def receive(self) -> pa.RecordBatch | None:
        if self._stream_in is None:
            self._stream_in = pa.ipc.open_stream(pa.PythonFile(self._reader, "r"))
        try:
            return self._stream_in.read_next_batch()
        except StopIteration:
            return None


class PickleWire:
    """Pickle protocol 5 with the batch's buffers out of band: a header with the lengths, the pickle, the buffers.

    `multiprocessing` pickles in band, which copies each buffer once more on both sides.
    """

    _HEAD = struct.Struct("<II")

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, batch: pa.RecordBatch) -> None:
        buffers: list[pickle.PickleBuffer] = []
        payload = pickle.dumps(batch, protocol=5, buffer_callback=buffers.append)
        views = [buffer.raw() for buffer in buffers]
        self._writer.write(self._HEAD.pack(len(payload), len(views)))
        self._writer.write(struct.pack(f"<{len(views)}Q", *(view.nbytes for view in views)))
        self._writer.write(payload)
        for view in views:
            self._writer.write(view)
        self._writer.send()

    def finish(self) -> None:
        self._writer.write(self._HEAD.pack(0, 0))
        self._writer.send()

    def receive(self) -> pa.RecordBatch | None:
        read = self._reader.read_buffer
        length, count = self._HEAD.unpack(read(self._HEAD.size))
        if length == 0:
            return None
        sizes = struct.unpack(f"<{count}Q", read(8 * count))
        payload = read(length)
        return pickle.loads(payload, buffers=[read(size) for size in sizes])


WIRES = {"ipc": IpcWire, "pickle": PickleWire}
