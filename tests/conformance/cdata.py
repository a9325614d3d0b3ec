"""What pyarrow does by the C data interface alone: two interval types, and how extension types look to others.

pyarrow's core has intervals of months and of days and time, and pyarrow has no array class for them. A batch with such a column can be held,
sliced, sent by IPC and exported as long as nobody touches the column itself. Here the same memory is given another type, by which it can be made and
read.
"""

from __future__ import annotations

import ctypes

import pyarrow as pa
from pyarrow import types


class _Schema(ctypes.Structure):
    """`ArrowSchema` of the C data interface."""


_Release = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Schema))
_Schema._fields_ = [
    ("format", ctypes.c_char_p),
    ("name", ctypes.c_char_p),
    ("metadata", ctypes.c_void_p),
    ("flags", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("children", ctypes.c_void_p),
    ("dictionary", ctypes.c_void_p),
    ("release", _Release),
    ("private_data", ctypes.c_void_p),
]
_ARRAY_BYTES = 80


@_Release
def _release(schema: ctypes._Pointer[_Schema]) -> None:
    schema.contents.release = _Release()


def _imported(form: bytes) -> pa.DataType:
    schema = _Schema(format=form, name=b"", release=_release)
    return pa.DataType._import_from_c(ctypes.addressof(schema))


YEAR_MONTH = _imported(b"tiM")
DAY_TIME = _imported(b"tiD")


def _stand_in(kind: pa.DataType) -> pa.DataType:
    """A type with the same memory that pyarrow has arrays for."""
    if kind.id == YEAR_MONTH.id:
        return pa.int32()
    if kind.id == DAY_TIME.id:
        return pa.int64()
    if types.is_struct(kind):
        return pa.struct([_field(field) for field in kind])
    return kind


def _field(field: pa.Field) -> pa.Field:
    return field.with_type(_stand_in(field.type))


def exported_metadata(field: pa.Field) -> dict[bytes, bytes]:
    """The metadata of a field as other libraries see it, where it says the extension type too."""
    schema = _Schema()
    field._export_to_c(ctypes.addressof(schema))
    numbers, at = ctypes.c_int32, schema.metadata
    found, texts = {}, []
    if at:
        count = numbers.from_address(at).value
        at += 4
        for _ in range(2 * count):
            length = numbers.from_address(at).value
            texts.append(ctypes.string_at(at + 4, length))
            at += 4 + length
        found = dict(zip(texts[::2], texts[1::2], strict=True))
    schema.release(ctypes.byref(schema))
    return found


def with_schema(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The same memory under another schema of the same layout."""
    array = (ctypes.c_byte * _ARRAY_BYTES)()
    batch._export_to_c(ctypes.addressof(array))
    return pa.RecordBatch._import_from_c(ctypes.addressof(array), schema)


def readable(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with its columns of these types as integers."""
    fields = [_field(field) for field in batch.schema]
    if all(field.type.id == old.type.id and field.type == old.type for field, old in zip(fields, batch.schema, strict=True)):
        return batch
    return with_schema(batch, pa.schema(fields, batch.schema.metadata))
