"""The peers are fair only if they are right: what they send arrives, whole and in order."""

import os
import socket
import threading

import numpy as np
import pyarrow as pa
import pytest

import data
from contestants.peer import CONNECTIONS
from contestants.wires import WIRES, EndOfStream, Reader, Writer


def batches(rows: int) -> list[pa.RecordBatch]:
    random = np.random.default_rng(7)
    return [data.make_batch(random, rows) for _ in range(5)]


@pytest.mark.parametrize("connection", CONNECTIONS)
@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("rows", [1, 1000, 200_000])
def test_a_stream_arrives_whole(wire: str, connection: str, rows: int) -> None:
    ends = CONNECTIONS[connection]()
    sent = batches(rows)
    try:
        for _ in range(2):  # a second stream follows on the same descriptors
            here = WIRES[wire](Reader(ends.host_in), Writer(ends.host_out))
            there = WIRES[wire](Reader(ends.worker_in), Writer(ends.worker_out))
            sender = threading.Thread(target=lambda wire=here: [*map(wire.send, sent), wire.finish()])
            sender.start()
            received = list(iter(there.receive, None))
            sender.join()
            assert received == sent
    finally:
        for fd in set(ends[:4]):
            os.close(fd)


def test_reads_of_every_size_join_up() -> None:
    one, other = socket.socketpair()
    text = bytes(range(256)) * 1000
    with one, other:
        sender = threading.Thread(target=lambda: (one.sendall(text), one.close()))
        sender.start()
        reader = Reader(other.fileno())
        sizes = [0, 1, 7, 20_000, 3, 16_384, 100_000, 5]
        pieces = [bytes(reader.read_buffer(size)) for size in sizes]
        rest = bytes(reader.read_buffer(len(text) - sum(sizes)))
        with pytest.raises(EndOfStream):
            reader.read_buffer(1)
        sender.join()
    assert b"".join(pieces) + rest == text


def test_many_pieces_go_out_in_order() -> None:
    one, other = socket.socketpair()
    pieces = [bytes([number % 256]) * (number % 50) for number in range(3000)]
    with one, other:
        writer = Writer(one.fileno())
        for piece in pieces:
            writer.write(piece)
        sender = threading.Thread(target=writer.send)
        sender.start()
        text = b"".join(pieces)
        assert bytes(Reader(other.fileno()).read_buffer(len(text))) == text
        sender.join()
