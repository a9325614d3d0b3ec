"""Family 6: what the caller gave."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import transom
from codes import ROOT
from room import Room, Seen, X

from triggers import trigger

TABLE = pa.table({"l_quantity": [1, 2, 3], "l_extendedprice": [10.0, 20.0, 30.0], "l_discount": [0.1, 0.2, 0.3]})


@transom.udf
def discounted(l_extendedprice: float, discount: float) -> float:
    return l_extendedprice * (1 - discount)


@trigger(6001)
def column_not_found(room: Room) -> Seen:
    return room.seen(lambda: room.shared.map(discounted, TABLE).read_all())


@trigger(6002)
def wrong_arguments(room: Room) -> Seen:
    return room.seen(lambda: room.shared.call(discounted, X, X, X))


@trigger(6003)
def argument_type(room: Room) -> Seen:
    return room.seen(lambda: room.shared.call(discounted, pa.array(["10 €", "20 €", "30 €"]), pa.array([0.1, 0.2, 0.3])))


@trigger(6004)
def argument_length(room: Room) -> Seen:
    return room.seen(lambda: room.shared.call(discounted, X, X.slice(1)))


@trigger(6005)
def source_failed(room: Room) -> Seen:
    # From an iterator the exception itself would be raised; a C stream gives its text.
    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"x": X})
        raise OSError("the disk is on fire")

    def double(x: int) -> int:
        return 2 * x

    reader = pa.RecordBatchReader.from_batches(pa.schema([("x", pa.int64())]), batches())
    return room.seen(lambda: room.shared.map(double, reader).read_all())


@trigger(6006)
def bad_option(room: Room) -> Seen:
    return room.seen(lambda: transom.Pool(workers=0))


@trigger(6007)
def schema_mismatch(room: Room) -> Seen:
    def double(x: int) -> int:
        return 2 * x

    batches = [pa.record_batch({"x": X}), pa.record_batch({"x": X.cast("int32")})]
    return room.seen(lambda: room.shared.map(double, iter(batches)).read_all())


@trigger(6009)
def capsule_unreadable(room: Room) -> Seen:
    return room.seen(lambda: transom.replay(room.folder / "capsule"))


@trigger(6008)
def bad_argument(room: Room) -> Seen:
    # Only the C ABI takes pointers.
    library = ctypes.CDLL(str(Path(ROOT / "target/ffi/lib/libtransom.so.1")))
    library.transom_error_text.restype = ctypes.c_char_p
    error = ctypes.c_void_p()
    assert library.transom_init(library.transom_abi_version(), ctypes.byref(error)) == 0
    assert library.transom_pool_close(None, ctypes.byref(error)) == 6008
    text = library.transom_error_text(error).decode()
    library.transom_error_free(error)
    return Seen(text)
