#!/usr/bin/env python3
"""A worker written from docs/protocol.md alone, without any library: no Transom, no Arrow.

It knows three functions over one int64 column without nulls: `plus_one` makes new values, `identity`
gives its argument back where it lies, and `stream` is a batches function that passes batches on.
The test beside it (`protocol.rs`) runs it under a real pool, so the document is enough to write a worker.
"""

import array
import fcntl
import mmap
import os
import socket
import struct
import sys
import time

MAX_PACKET = 48 * 1024
SIZES = (16, 32, 24)
ABSENT = 0xFFFFFFFF
SIZE_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
INPUT_SEALS = SIZE_SEALS | fcntl.F_SEAL_SEAL | 0x10  # F_SEAL_FUTURE_WRITE

# What an Arrow library writes for a schema of one nullable int64 column `plus_one` (docs/protocol.md, "Schemas").
PLUS_ONE = bytes.fromhex(
    "ffffffff800000001000000000000a000c000a00090004000a00000010000000"
    "0001040008000800000004000800000004000000010000001400000010001400"
    "10000e000f00040000000800100000001800000020000000000001021c000000"
    "08000c0004000b000800000040000000000000010000000008000000706c7573"
    "5f6f6e6500000000"
)

HELLO, SEGMENT, NO_SEGMENT, TRY_AGAIN, DEFINE, SCHEMA, CALL, OPEN = range(1, 9)
INPUT, END, CREDIT, CANCEL, RELEASE, FORGET, SPILLED, BYE = range(9, 17)
TRACE = 18


def text(value):
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(data)) + data


def failure(code, message):
    """An error without an exception: code, kind, message, traceback, row, hint."""
    return struct.pack("<H", code) + text("") + text(message) + text("") + b"\0\0"


class Fields:
    """The fields of one message, taken one after another."""

    def __init__(self, data):
        self.data = data

    def take(self, form):
        size = struct.calcsize("<" + form)
        values = struct.unpack("<" + form, self.data[:size])
        self.data = self.data[size:]
        return values[0] if len(values) == 1 else values

    def blob(self):
        size = self.take("Q")
        value, self.data = self.data[:size], self.data[size:]
        return value

    def text(self):
        return self.blob().decode()


class Descriptor:
    """Rows, and the buffers of all arrays; enough for one column without children."""

    def __init__(self, data):
        fields = Fields(data)
        self.rows, nodes, buffers = fields.take("QII")
        self.nodes = [fields.take("QQQIB3x") for _ in range(nodes)]
        self.buffers = [fields.take("QQQ") for _ in range(buffers)]


def describe(rows, values):
    """A descriptor of one column of fixed width without nulls, whose values lie at `values`."""
    header = struct.pack("<QII", rows, 1, 2)
    node = struct.pack("<QQQIB3x", rows, 0, 0, 2, 0)
    return header + node + struct.pack("<QQQ", ABSENT, 0, 0) + struct.pack("<QQQ", *values)


class Worker:
    def __init__(self, descriptor):
        self.link = socket.socket(fileno=descriptor)
        self.segments = {}
        self.schemas_received = {}
        self.schemas_sent = []
        self.mine = []
        self.functions = {}
        self.held = {}
        self.results = 0

    # The link: one packet is one message, and segments come with a descriptor beside it.

    def send(self, kind, *parts):
        data = struct.pack("<H", kind) + b"".join(parts)
        assert len(data) <= MAX_PACKET, "a larger message would have to be spilled"
        self.link.send(data)

    def receive(self):
        data, beside, flags, _ = self.link.recvmsg(MAX_PACKET + 1, socket.CMSG_SPACE(4))
        if not data:
            sys.exit(0)
        assert not flags & socket.MSG_CTRUNC, "a segment's descriptor was lost"
        descriptors = array.array("i")
        for _, kind, payload in beside:
            assert kind == socket.SCM_RIGHTS
            descriptors.frombytes(payload)
        return self.message(data, descriptors[0] if descriptors else None)

    def message(self, data, descriptor=None):
        """Does the link's own affairs; gives the kind and the fields of everything else."""
        fields = Fields(data)
        kind = fields.take("H")
        if kind == SEGMENT:
            self.attach(descriptor, *fields.take("IBQ"))
        elif kind == SCHEMA:
            number = fields.take("I")
            self.schemas_received[number] = fields.blob()
        elif kind == RELEASE:
            for _ in range(fields.take("I")):
                self.held.pop(fields.take("Q"), None)
        elif kind == FORGET:
            for _ in range(fields.take("I")):
                self.segments.pop(fields.take("I"), None)
        elif kind == SPILLED:
            lease, extent = fields.take("Q"), fields.take("IQQ")
            inner = bytes(self.read(extent))
            self.release(lease)
            return self.message(inner)
        return kind, fields

    def wait_for(self, *kinds):
        while True:
            kind, fields = self.receive()
            if kind in kinds:
                return kind, fields

    # Segments: checked, mapped, and for those of its own written from the front.

    def attach(self, descriptor, number, writable, size):
        seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
        needed = SIZE_SEALS if writable else INPUT_SEALS
        assert seals & needed == needed, "the segment is not sealed"
        assert os.fstat(descriptor).st_size == size, "the segment has another size"
        access = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        self.segments[number] = mmap.mmap(descriptor, size, mmap.MAP_SHARED, access)
        os.close(descriptor)
        if writable:
            self.mine.append(number)
            self.send(102, struct.pack("<I", number))

    def read(self, extent):
        number, offset, size = extent
        return memoryview(self.segments[number])[offset : offset + size]

    def allocate(self, size):
        """A place in a segment of this worker's own: behind the last result that is held."""
        while True:
            for number in self.mine:
                ends = [at + n for segment, at, n in self.held.values() if segment == number]
                start = -(-max(ends, default=0) // 64) * 64
                if start + size <= len(self.segments[number]):
                    return number, start, size
            self.send(103, struct.pack("<Q", size))
            kind, fields = self.wait_for(SEGMENT, TRY_AGAIN, NO_SEGMENT)
            if kind == NO_SEGMENT:
                raise MemoryError(fields.take("H"))

    def release(self, lease):
        self.send(110, struct.pack("<IQ", 1, lease))

    # Functions.

    def define(self, fields):
        number, source = fields.take("IB")
        place = fields.text()
        name = fields.text() if source != 3 else place
        self.functions[number] = name
        if name == "stream":
            signature = text(name) + struct.pack("<BBI", 3, 0, 0)
        elif name in ("plus_one", "identity"):
            signature = text(name) + struct.pack("<BBI", 1, 0, 1) + text("x") + b"\0\0"
        else:
            self.send(104, struct.pack("<IB", number, 0), failure(1101, f"there is no {name}"))
            return
        # Neither a type nor a deadline; no retries; a batch fails as a whole, and may be run again.
        signature += b"\0\0" + struct.pack("<IBB", 0, 0, 1)
        self.send(104, struct.pack("<IB", number, 1), signature)

    def answer(self, call, schema, rows, values, began):
        """Sends a result; what it names is kept until the host has released it."""
        if schema not in self.schemas_sent:
            self.schemas_sent.append(schema)
            number = struct.pack("<I", len(self.schemas_sent) - 1)
            self.send(105, number, text(schema))
        self.results += 1
        self.held[self.results] = values
        busy = int((time.monotonic() - began) * 1e9)
        schema = self.schemas_sent.index(schema)
        head = struct.pack("<QQIQ", call, self.results, schema, busy)
        # Nothing shared, nothing copied, no causes, no failed rows.
        self.send(106, head, struct.pack("<QIII", 0, 0, 0, 0), text(describe(rows, values)))

    def call(self, fields):
        began = time.monotonic()
        call, function, _, lease, _ = fields.take("QIIQB")
        batch = Descriptor(fields.blob())
        name, values = self.functions[function], batch.buffers[1]
        # The column of the result is named after the function; both names have eight letters.
        schema = PLUS_ONE.replace(b"plus_one", name.encode())
        if name == "identity" and batch.rows == 13:
            self.send(107, struct.pack("<Q", call), failure(3001, "13 is too much"))
        else:
            if name == "plus_one":
                numbers = array.array("q", bytes(self.read(values)))
                more = array.array("q", [number + 1 for number in numbers]).tobytes()
                values = self.allocate(len(more))
                self.read(values)[:] = more
            self.answer(call, schema, batch.rows, values, began)
        # Behind the answer: what was lent may be named in it.
        self.release(lease)

    def stream(self, fields):
        call, _, schema, credit = fields.take("QIII")
        schema = self.schemas_received[schema]
        while True:
            self.send(108, struct.pack("<Q", call))
            kind, fields = self.wait_for(INPUT, END, CREDIT, CANCEL)
            while kind == CREDIT:
                credit += fields.take("QI")[1]
                kind, fields = self.wait_for(INPUT, END, CREDIT, CANCEL)
            if kind != INPUT:
                break
            _, lease = fields.take("QQ")
            batch = Descriptor(fields.blob())
            while credit == 0:
                credit += self.wait_for(CREDIT)[1].take("QI")[1]
            credit -= 1
            values = batch.buffers[1]
            self.answer(call, schema, batch.rows, values, time.monotonic())
            self.release(lease)
        self.send(109, struct.pack("<Q", call))

    def serve(self):
        kind, fields = self.receive()
        assert kind == HELLO
        protocol, *sizes = fields.take("IIII")
        assert protocol == 3
        assert tuple(sizes) == SIZES
        fields.take("I")
        version = fields.text()
        self.send(101, struct.pack("<IIII", 3, *SIZES), text(version), text("Python, by hand"))
        while True:
            kind, fields = self.receive()
            if kind == BYE:
                return
            if kind == DEFINE:
                self.define(fields)
            elif kind == CALL:
                self.call(fields)
            elif kind == OPEN:
                self.stream(fields)
            elif kind == INPUT:
                _, lease = fields.take("QQ")
                self.release(lease)
            elif kind == TRACE:
                # It does not know what keeps its leases.
                self.send(113, struct.pack("<QI", fields.take("Q"), 0))


if __name__ == "__main__":
    Worker(int(sys.argv[-1])).serve()
