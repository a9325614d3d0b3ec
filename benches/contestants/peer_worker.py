"""The worker of the three peers: reads batches, calls the function, sends results. Arguments: wire, two descriptors."""

from __future__ import annotations

import sys

from contestants.wires import WIRES, EndOfStream, Reader, Writer
from functions import CASES


def main() -> None:
    """Serves one stream after another until the host closes the descriptor."""
    wire_class = WIRES[sys.argv[1]]
    reader, writer = Reader(int(sys.argv[2])), Writer(int(sys.argv[3]))
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


if __name__ == "__main__":
    main()
