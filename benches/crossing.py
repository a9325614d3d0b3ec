"""What it costs to bring a row into pyarrow and out again within one process: no call of a function in another process can do without."""

from __future__ import annotations

import ctypes
import gc
import time
from statistics import median

import pyarrow as pa

from functions import first

# sizeof(struct ArrowArray), of the C data interface.
STRUCT = 80
ROUNDS = 2000


def measure() -> dict[str, float]:
    """Nanoseconds, medians, of an identity of two columns of one row: two arrays imported by pointer, the call, its result exported by pointer."""
    columns = [pa.array([1]), pa.array([0.5])]
    kinds = [column.type for column in columns]
    places = [(ctypes.c_byte * STRUCT)() for _ in columns]
    addresses = [ctypes.addressof(place) for place in places]
    out = ctypes.addressof(places[0])
    bring, clock = pa.Array._import_from_c, time.perf_counter_ns
    seen: dict[str, list[int]] = {"import": [], "call": [], "export": []}
    gc.collect()
    for _ in range(ROUNDS):
        for column, address in zip(columns, addresses, strict=True):
            column._export_to_c(address)
        began = clock()
        one, two = bring(addresses[0], kinds[0]), bring(addresses[1], kinds[1])
        imported = clock()
        result = first(one, two)
        called = clock()
        result._export_to_c(out)
        exported = clock()
        for name, took in (("import", imported - began), ("call", called - imported), ("export", exported - called)):
            seen[name].append(took)
        bring(out, kinds[0])  # whoever imports it lets go of it
    return {name: median(times) for name, times in seen.items()}
