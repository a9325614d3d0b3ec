"""The worker of the peers: reads batches, calls the function, sends results.

Arguments: wire, and two descriptors, or the path of a Unix socket for hosts that cannot hand descriptors down.
"""

from __future__ import annotations

import socket
import sys

from contestants.peer import SOCKET_BUFFER
from contestants.wires import WIRES, EndOfStream, Reader, Writer
from functions import CASES


def main() -> None:
    """Serves one stream after another until the host closes the descriptor."""
    wire_class = WIRES[sys.argv[1]]
    descriptors = [int(text) for text in sys.argv[2:]] if len(sys.argv) > 3 else [connect(sys.argv[2])] * 2
    reader, writer = Reader(descriptors[0]), Writer(descriptors[1])
    while True:
        try:
            name = bytes(reader.read_buffer(16)).decode().strip()
        except EndOfStream:
            return
        case = CASES[name]
        wire = wire_class(reader, writer)
        while (batch := wire.receive()) is not None:
            wire.send(case.apply(batch))
        wire.finish()


def connect(path: str) -> int:
    """The descriptor of a connection to the socket of this name, with buffers as large as those of the socket pair."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        connection.setsockopt(socket.SOL_SOCKET, buffer, SOCKET_BUFFER)
    connection.connect(path)
    return connection.detach()


if __name__ == "__main__":
    main()
