"""Arrow Flight: `DoExchange` with a server process of its own, over a Unix socket."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
from pyarrow import flight

from functions import CASES, Case
from peers.base import Peer, serve


class Server(flight.FlightServerBase):
    """Calls the function that the descriptor names with each batch."""

    def do_exchange(
        self,
        context: flight.ServerCallContext,
        descriptor: flight.FlightDescriptor,
        reader: flight.MetadataRecordBatchReader,
        writer: flight.MetadataRecordBatchWriter,
    ) -> None:
        case = CASES[descriptor.command.decode()]
        for number, chunk in enumerate(reader):
            result = case.apply(chunk.data)
            if number == 0:
                writer.begin(result.schema)
            writer.write_batch(result)


class Flight(Peer):
    """A client with one thread that sends and one that receives, as Flight's documentation has it."""

    isolated = True
    settings = "gRPC over a Unix socket, one server process, a thread that sends"
    packages = ("pyarrow",)
    functions = ("plus_one", "upper", "score")

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="transom-flight-")
        location = f"grpc+unix://{Path(self._folder.name, 'socket')}"
        self._server = subprocess.Popen([sys.executable, "-m", "peers.flight", "--serve", location], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self._server.stdout.readline() != b"ready\n":
            raise RuntimeError("the server did not start")
        self._client = flight.FlightClient(location)

    def prepare(self, case: Case, batches: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
        return batches

    def results(self, case: Case, prepared: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        writer, reader = self._client.do_exchange(flight.FlightDescriptor.for_command(case.name))

        def send() -> None:
            writer.begin(prepared[0].schema)
            for batch in prepared:
                writer.write_batch(batch)
            writer.done_writing()

        sender = threading.Thread(target=send, daemon=True)
        with writer:
            sender.start()
            for chunk in reader:
                yield chunk.data
            sender.join()

    def close(self) -> None:
        self._client.close()
        self._server.stdin.close()
        self._server.wait(timeout=10)
        self._folder.cleanup()


def run_server(location: str) -> None:
    """Serves until the input is closed."""
    with Server(location):
        print("ready", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        run_server(sys.argv[2])
    else:
        serve(Flight)
