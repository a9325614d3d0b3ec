"""Arrow arrays from plain values, and plain values in the kit's notation, for every Arrow type.

A value is None, or: an integer with the bits of what has a fixed width (signed for integers, decimals, dates, times and durations; the raw
bits for floats); a tuple of integers for intervals; a bool; bytes or a str; a list for lists and structs, of pairs for maps; (number of the child,
value) for unions. Arrays are put together buffer by buffer, so that what lies under a null is known to be rubbish.
"""

from __future__ import annotations

import itertools
import struct
from typing import Any

import pyarrow as pa
from pyarrow import types

RUBBISH = 0x5A


def bits(flags: list[bool]) -> pa.Buffer:
    """A bitmap."""
    packed = bytearray((len(flags) + 7) // 8)
    for index, flag in enumerate(flags):
        packed[index // 8] |= flag << index % 8
    return pa.py_buffer(bytes(packed))


def validity(values: list[Any]) -> pa.Buffer | None:
    return bits([value is not None for value in values]) if None in values else None


def is_float(kind: pa.DataType) -> bool:
    return types.is_floating(kind)


def width(kind: pa.DataType) -> int:
    """Bytes of a value of a fixed width."""
    return kind.bit_width // 8


def is_list(kind: pa.DataType) -> bool:
    return (
        types.is_list(kind)
        or types.is_large_list(kind)
        or types.is_fixed_size_list(kind)
        or types.is_list_view(kind)
        or types.is_large_list_view(kind)
    )


def _fixed(kind: pa.DataType, values: list[Any]) -> pa.Array:
    size = width(kind)
    signed = not (types.is_unsigned_integer(kind) or is_float(kind))
    parts = []
    for value in values:
        if value is None:
            parts.append(bytes([RUBBISH]) * size)
        elif isinstance(value, tuple):
            parts.append(struct.pack("<iiq", *value))
        elif isinstance(value, bytes):
            parts.append(value)
        else:
            parts.append(value.to_bytes(size, "little", signed=signed))
    return pa.Array.from_buffers(kind, len(values), [validity(values), pa.py_buffer(b"".join(parts))])


def _offsets(lengths: list[int], wide: bool) -> pa.Buffer:
    ends = list(itertools.accumulate(lengths, initial=0))
    return pa.py_buffer(struct.pack(f"<{len(ends)}{'q' if wide else 'i'}", *ends))


def _text(kind: pa.DataType, values: list[Any]) -> pa.Array:
    # Under a null there are bytes too. In texts they are UTF-8 as everywhere: Transom, like Arrow's Rust library, looks at all of the text at once.
    under = "¿".encode() if types.is_string(kind) or types.is_large_string(kind) else bytes([RUBBISH])
    parts = [under if value is None else value.encode() if isinstance(value, str) else value for value in values]
    wide = types.is_large_string(kind) or types.is_large_binary(kind)
    buffers = [validity(values), _offsets([len(part) for part in parts], wide), pa.py_buffer(b"".join(parts))]
    return pa.Array.from_buffers(kind, len(values), buffers)


def _list(kind: pa.DataType, values: list[Any]) -> pa.Array:
    if types.is_fixed_size_list(kind):
        rows = [[None] * kind.list_size if value is None else value for value in values]
        if not kind.value_field.nullable:
            some = next((row for row, value in zip(rows, values, strict=True) if value is not None), None)
            rows = [some if value is None else value for value in values]
        child = build(kind.value_type, [item for row in rows for item in row])
        return pa.Array.from_buffers(kind, len(values), [validity(values)], children=[child])
    if types.is_list_view(kind) or types.is_large_list_view(kind):
        return _list_view(kind, values)
    if types.is_map(kind):
        return _map(kind, values)
    rows = [value or [] for value in values]
    child = build(kind.value_type, [item for row in rows for item in row])
    offsets = _offsets([len(row) for row in rows], types.is_large_list(kind))
    return pa.Array.from_buffers(kind, len(values), [validity(values), offsets], children=[child])


def _list_view(kind: pa.DataType, values: list[Any]) -> pa.Array:
    """The lists lie in the child in reverse order, with two values before the first that no list has, and equal lists lie there once."""
    items: list[Any] = [item for value in values if value for item in value][:2]
    places: dict[str, int] = {}
    for value in reversed(values):
        if value and repr(value) not in places:
            places[repr(value)] = len(items)
            items.extend(value)
    code = "q" if types.is_large_list_view(kind) else "i"
    starts = [places[repr(value)] if value else 0 for value in values]
    sizes = [len(value) if value else 0 for value in values]
    buffers = [pa.py_buffer(struct.pack(f"<{len(values)}{code}", *numbers)) for numbers in (starts, sizes)]
    return pa.Array.from_buffers(kind, len(values), [validity(values), *buffers], children=[build(kind.value_type, items)])


def _map(kind: pa.DataType, values: list[Any]) -> pa.Array:
    rows = [value or [] for value in values]
    pairs = [pair for row in rows for pair in row]
    entries = pa.struct([kind.key_field, kind.item_field])
    child = build(entries, [list(pair) for pair in pairs])
    offsets = _offsets([len(row) for row in rows], wide=False)
    return pa.Array.from_buffers(kind, len(values), [validity(values), offsets], children=[child])


def _struct(kind: pa.DataType, values: list[Any]) -> pa.Array:
    children = []
    for index, field in enumerate(kind):
        column = [None if value is None else value[index] for value in values]
        if not field.nullable:  # under a null of the parent something has to stand
            some = next((item for item in column if item is not None), None)
            column = [some if item is None else item for item in column]
        children.append(build(field.type, column))
    return pa.Array.from_buffers(kind, len(values), [validity(values)], children=children)


def _union(kind: pa.DataType, values: list[Any]) -> pa.Array:
    children: list[list[Any]] = [[] for _ in kind]
    ids, places = [], []
    for child, value in values:
        ids.append(kind.type_codes[child])
        if kind.mode == "sparse":
            for other in range(len(children)):
                children[other].append(value if other == child else None)
        else:
            places.append(len(children[child]))
            children[child].append(value)
    arrays = [build(field.type, column) for field, column in zip(kind, children, strict=True)]
    buffers = [None, pa.py_buffer(struct.pack(f"{len(ids)}b", *ids))]
    if kind.mode == "dense":
        buffers.append(pa.py_buffer(struct.pack(f"<{len(places)}i", *places)))
    return pa.Array.from_buffers(kind, len(values), buffers, children=arrays)


def _run_ends(kind: pa.DataType, values: list[Any]) -> pa.Array:
    runs = [(value, len(list(group))) for value, group in itertools.groupby(values)]
    ends = list(itertools.accumulate(length for _, length in runs))
    children = [build(kind.run_end_type, ends), build(kind.value_type, [value for value, _ in runs])]
    return pa.Array.from_buffers(kind, len(values), [None], children=children)


def _dictionary(kind: pa.DataType, values: list[Any]) -> pa.Array:
    """Nulls are null keys, except the last, which is the key of a null value."""
    distinct = sorted({repr(value): value for value in values if value is not None}.items())
    places = {text: place for place, (text, _) in enumerate(distinct)}
    entries = [value for _, value in distinct]
    keys: list[Any] = [None if value is None else places[repr(value)] for value in values]
    if None in keys:
        entries.append(None)
        keys[len(keys) - 1 - keys[::-1].index(None)] = len(entries) - 1
    return dictionary(kind, keys, build(kind.value_type, entries))


def dictionary(kind: pa.DataType, keys: list[int | None], entries: pa.Array) -> pa.Array:
    """A dictionary array of the given keys and dictionary."""
    return pa.DictionaryArray.from_arrays(build(kind.index_type, keys), entries, ordered=kind.ordered)


def build(kind: pa.DataType, values: list[Any]) -> pa.Array:
    """The array of `values`."""
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, build(kind.storage_type, values))
    if types.is_null(kind):
        return pa.nulls(len(values))
    if types.is_boolean(kind):
        return pa.Array.from_buffers(kind, len(values), [validity(values), bits([value is not False for value in values])])
    if types.is_dictionary(kind):
        return _dictionary(kind, values)
    if types.is_run_end_encoded(kind):
        return _run_ends(kind, values)
    if types.is_union(kind):
        return _union(kind, values)
    if types.is_struct(kind):
        return _struct(kind, values)
    if is_list(kind) or types.is_map(kind):
        return _list(kind, values)
    if types.is_string_view(kind) or types.is_binary_view(kind):
        return pa.array(values, kind)
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_string(kind) or types.is_large_string(kind):
        return _text(kind, values)
    return _fixed(kind, values)


def notation(kind: pa.DataType, value: Any) -> Any:
    """A value as `describe` must give it; see docs/conformance.md."""
    if isinstance(kind, pa.BaseExtensionType):
        return notation(kind.storage_type, value)
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return notation(kind.value_type, value)
    if types.is_union(kind):
        child, inner = value
        return [kind.type_codes[child], notation(kind.field(child).type, inner)]
    if value is None or isinstance(value, bool):
        return value
    if types.is_struct(kind):
        return [notation(field.type, item) for field, item in zip(kind, value, strict=True)]
    if types.is_map(kind):
        return [[notation(kind.key_type, key), notation(kind.item_type, item)] for key, item in value]
    if is_list(kind):
        return [notation(kind.value_type, item) for item in value]
    if isinstance(value, tuple):
        return dict(zip(("months", "days", "nanoseconds"), value, strict=True))
    if isinstance(value, bytes):
        return value.hex().upper()
    if isinstance(value, str):
        return value
    if is_float(kind):
        return f"{value:0{2 * width(kind)}X}"
    small = types.is_integer(kind) or types.is_date32(kind) or types.is_time32(kind)
    return value if small and width(kind) <= 4 else str(value)
