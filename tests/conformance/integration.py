"""The JSON format of Arrow's integration tests, both ways: https://arrow.apache.org/docs/format/Integration.html."""

from __future__ import annotations

import itertools
import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from build import bits, is_list, width
from cdata import DAY_TIME, YEAR_MONTH, exported_metadata, readable, with_schema
from pyarrow import types

Json = dict[str, Any]
UNITS = {"s": "SECOND", "ms": "MILLISECOND", "us": "MICROSECOND", "ns": "NANOSECOND"}
SHORT = {long: short for short, long in UNITS.items()}
PRECISIONS = {16: "HALF", 32: "SINGLE", 64: "DOUBLE"}
FLOATS = {"HALF": pa.float16(), "SINGLE": pa.float32(), "DOUBLE": pa.float64()}
#: Types without parameters, or with children alone.
PLAIN = {
    "null": pa.null(),
    "bool": pa.bool_(),
    "utf8": pa.string(),
    "largeutf8": pa.large_string(),
    "utf8view": pa.string_view(),
    "binary": pa.binary(),
    "largebinary": pa.large_binary(),
    "binaryview": pa.binary_view(),
}
LISTS = {"list": pa.list_, "largelist": pa.large_list, "listview": pa.list_view, "largelistview": pa.large_list_view}


def metadata_json(metadata: dict[bytes, bytes] | None) -> list[Json]:
    # In the order of the keys, since libraries keep them as maps.
    return [{"key": key.decode(), "value": value.decode()} for key, value in sorted((metadata or {}).items())]


def storage(part: pa.Field) -> pa.Field:
    """The field with what says its extension type in the metadata, as it is in IPC."""
    if not isinstance(part.type, pa.BaseExtensionType):
        return part
    return part.with_type(part.type.storage_type).with_metadata(exported_metadata(part))


def field_json(part: pa.Field) -> Json:
    """A field, without the number of its dictionary."""
    part = storage(part)
    kind, encoding = part.type, None
    if types.is_dictionary(kind):
        encoding = {"indexType": type_json(kind.index_type), "isOrdered": kind.ordered}
        kind = kind.value_type
    found: Json = {"name": part.name, "nullable": part.nullable, "type": type_json(kind), "children": [field_json(child) for child in children(kind)]}
    if encoding is not None:
        found["dictionary"] = encoding
    if part.metadata:
        found["metadata"] = metadata_json(part.metadata)
    return found


def schema_json(schema: pa.Schema) -> Json:
    found: Json = {"fields": [field_json(part) for part in schema]}
    if schema.metadata:
        found["metadata"] = metadata_json(schema.metadata)
    return found


def children(kind: pa.DataType) -> list[pa.Field]:
    if types.is_map(kind):
        return [pa.field("entries", pa.struct([kind.key_field, kind.item_field]), nullable=False)]
    if types.is_run_end_encoded(kind):
        return [pa.field("run_ends", kind.run_end_type, nullable=False), pa.field("values", kind.value_type)]
    return [kind.field(index) for index in range(kind.num_fields)]


def type_json(kind: pa.DataType) -> Json:
    """A type, without what its children say."""
    for name, plain in PLAIN.items():
        if kind.id == plain.id:
            return {"name": name}
    for name, make in LISTS.items():
        if kind.id == make(pa.null()).id:
            return {"name": name}
    if types.is_integer(kind):
        return {"name": "int", "bitWidth": kind.bit_width, "isSigned": types.is_signed_integer(kind)}
    if types.is_floating(kind):
        return {"name": "floatingpoint", "precision": PRECISIONS[kind.bit_width]}
    if types.is_decimal(kind):
        return {"name": "decimal", "precision": kind.precision, "scale": kind.scale, "bitWidth": kind.bit_width}
    if types.is_date(kind):
        return {"name": "date", "unit": "DAY" if types.is_date32(kind) else "MILLISECOND"}
    if types.is_time(kind):
        return {"name": "time", "unit": UNITS[kind.unit], "bitWidth": kind.bit_width}
    if types.is_timestamp(kind):
        zone = {} if kind.tz is None else {"timezone": kind.tz}
        return {"name": "timestamp", "unit": UNITS[kind.unit], **zone}
    if types.is_duration(kind):
        return {"name": "duration", "unit": UNITS[kind.unit]}
    if types.is_fixed_size_binary(kind):
        return {"name": "fixedsizebinary", "byteWidth": kind.byte_width}
    if types.is_fixed_size_list(kind):
        return {"name": "fixedsizelist", "listSize": kind.list_size}
    if types.is_map(kind):
        return {"name": "map", "keysSorted": kind.keys_sorted}
    if types.is_union(kind):
        return {"name": "union", "mode": kind.mode.upper(), "typeIds": kind.type_codes}
    if types.is_struct(kind):
        return {"name": "struct"}
    if types.is_run_end_encoded(kind):
        return {"name": "runendencoded"}
    units = {YEAR_MONTH.id: "YEAR_MONTH", DAY_TIME.id: "DAY_TIME"}
    return {"name": "interval", "unit": units.get(kind.id, "MONTH_DAY_NANO")}


def read_type(found: Json, parts: list[pa.Field]) -> pa.DataType:
    """The type of `type_json`, with its children."""
    name = found["name"]
    if name in PLAIN:
        return PLAIN[name]
    if name in LISTS:
        return LISTS[name](parts[0])
    if name == "int":
        return getattr(pa, f"{'' if found['isSigned'] else 'u'}int{found['bitWidth']}")()
    if name == "decimal":
        return getattr(pa, f"decimal{found.get('bitWidth', 128)}")(found["precision"], found["scale"])
    if name == "interval":
        return {"YEAR_MONTH": YEAR_MONTH, "DAY_TIME": DAY_TIME}.get(found["unit"], pa.month_day_nano_interval())
    if name == "union":
        make = pa.sparse_union if found["mode"] == "SPARSE" else pa.dense_union
        return make(parts, type_codes=found["typeIds"])
    makers = {
        "floatingpoint": lambda: FLOATS[found["precision"]],
        "date": lambda: pa.date32() if found["unit"] == "DAY" else pa.date64(),
        "time": lambda: getattr(pa, f"time{found['bitWidth']}")(SHORT[found["unit"]]),
        "timestamp": lambda: pa.timestamp(SHORT[found["unit"]], found.get("timezone")),
        "duration": lambda: pa.duration(SHORT[found["unit"]]),
        "fixedsizebinary": lambda: pa.binary(found["byteWidth"]),
        "fixedsizelist": lambda: pa.list_(parts[0], found["listSize"]),
        "map": lambda: pa.map_(parts[0].type.field(0), parts[0].type.field(1), keys_sorted=found["keysSorted"]),
        "struct": lambda: pa.struct(parts),
        "runendencoded": lambda: pa.run_end_encoded(parts[0].type, parts[1].type),
    }
    return makers[name]()


def read_metadata(pairs: list[Json] | None) -> dict[str, str] | None:
    return {pair["key"]: pair["value"] for pair in pairs or []} or None


@dataclass
class Column:
    """A column of a file: its field, and the numbers of the dictionaries in it."""

    field: pa.Field
    dictionary: int | None
    children: list[Column] = field(default_factory=list)


def read_column(found: Json) -> Column:
    inner = [read_column(child) for child in found["children"]]
    kind, number = read_type(found["type"], [child.field for child in inner]), None
    if "dictionary" in found:
        encoding = found["dictionary"]
        kind, number = pa.dictionary(read_type(encoding["indexType"], []), kind, encoding["isOrdered"]), encoding["id"]
    part = pa.field(found["name"], kind, found["nullable"], read_metadata(found.get("metadata")))
    return Column(part, number, inner)


def integer(text: Any) -> int:
    return int(text)


class Reader:
    """Makes arrays of one file's columns."""

    def __init__(self, dictionaries: list[Json]) -> None:
        self.dictionaries = {entry["id"]: entry["data"]["columns"][0] for entry in dictionaries}

    def array(self, column: Column, data: Json) -> pa.Array:
        kind = column.field.type
        if types.is_dictionary(kind):
            keys = fixed(kind.index_type, data)
            entries = self.plain(kind.value_type, column.children, self.dictionaries[column.dictionary])
            return pa.DictionaryArray.from_arrays(keys, entries, ordered=kind.ordered)
        return self.plain(kind, column.children, data)

    def plain(self, kind: pa.DataType, parts: list[Column], data: Json) -> pa.Array:
        inner = [self.array(part, child) for part, child in zip(parts, data.get("children", []), strict=True)]
        if types.is_null(kind):
            return pa.nulls(data["count"])
        if types.is_nested(kind):
            return pa.Array.from_buffers(kind, data["count"], nested_buffers(kind, data), children=inner)
        return fixed(kind, data) if is_fixed(kind) else text(kind, data)


def is_fixed(kind: pa.DataType) -> bool:
    return type_json(kind)["name"] not in ("utf8", "largeutf8", "utf8view", "binary", "largebinary", "binaryview")


def flags(data: Json) -> pa.Buffer | None:
    return bits([bool(flag) for flag in data["VALIDITY"]])


def packed(code: str, numbers: list[Any]) -> pa.Buffer:
    return pa.py_buffer(struct.pack(f"<{len(numbers)}{code}", *map(integer, numbers)))


def nested_buffers(kind: pa.DataType, data: Json) -> list[pa.Buffer | None]:
    if types.is_run_end_encoded(kind):
        return [None]
    if types.is_union(kind):
        return [None, packed("b", data["TYPE_ID"]), *([packed("i", data["OFFSET"])] if kind.mode == "dense" else [])]
    code = "q" if types.is_large_list(kind) or types.is_large_list_view(kind) else "i"
    return [flags(data), *(packed(code, data[name]) for name in ("OFFSET", "SIZE") if name in data)]


def fixed(kind: pa.DataType, data: Json) -> pa.Array:
    """A column of values of a fixed width."""
    values = data["DATA"]
    if types.is_boolean(kind):
        content = bits([bool(value) for value in values])
    elif types.is_floating(kind):
        content = packed_floats(kind, values)
    elif types.is_fixed_size_binary(kind):
        content = pa.py_buffer(b"".join(bytes.fromhex(value) for value in values))
    elif types.is_interval(kind):
        content = pa.py_buffer(b"".join(struct.pack("<iiq", value["months"], value["days"], value["nanoseconds"]) for value in values))
    elif kind.id == DAY_TIME.id:
        content = pa.py_buffer(b"".join(struct.pack("<ii", value["days"], value["milliseconds"]) for value in values))
    else:
        signed = not types.is_unsigned_integer(kind)
        content = pa.py_buffer(b"".join(integer(value).to_bytes(width(kind), "little", signed=signed) for value in values))
    stand_in = {YEAR_MONTH.id: pa.int32(), DAY_TIME.id: pa.int64()}.get(kind.id, kind)
    return pa.Array.from_buffers(stand_in, data["count"], [flags(data), content])


def packed_floats(kind: pa.DataType, values: list[float]) -> pa.Buffer:
    return pa.py_buffer(struct.pack(f"<{len(values)}{ {16: 'e', 32: 'f', 64: 'd'}[kind.bit_width] }", *values))


def is_text(kind: pa.DataType) -> bool:
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def as_bytes(kind: pa.DataType, value: str) -> bytes:
    return value.encode() if is_text(kind) else bytes.fromhex(value)


def text(kind: pa.DataType, data: Json) -> pa.Array:
    if "VIEWS" in data:
        views = b"".join(view_bytes(kind, view) for view in data["VIEWS"])
        variadic = [pa.py_buffer(bytes.fromhex(buffer)) for buffer in data["VARIADIC_DATA_BUFFERS"]]
        return pa.Array.from_buffers(kind, data["count"], [flags(data), pa.py_buffer(views), *variadic])
    code = "q" if types.is_large_string(kind) or types.is_large_binary(kind) else "i"
    content = b"".join(as_bytes(kind, value) for value in data["DATA"])
    return pa.Array.from_buffers(kind, data["count"], [flags(data), packed(code, data["OFFSET"]), pa.py_buffer(content)])


def view_bytes(kind: pa.DataType, view: Json) -> bytes:
    if "INLINED" in view:
        return struct.pack("<i12s", view["SIZE"], as_bytes(kind, view["INLINED"]))
    return struct.pack("<i4sii", view["SIZE"], bytes.fromhex(view["PREFIX_HEX"]), view["BUFFER_INDEX"], view["OFFSET"])


def read(found: Json) -> tuple[pa.Schema, list[pa.RecordBatch]]:
    """The schema and the batches of a file."""
    columns = [read_column(part) for part in found["schema"]["fields"]]
    metadata = read_metadata(found["schema"].get("metadata"))
    schema = pa.schema([column.field for column in columns], metadata)
    reader = Reader(found.get("dictionaries", []))
    batches = []
    for data in found["batches"]:
        arrays = [reader.array(column, part) for column, part in zip(columns, data["columns"], strict=True)]
        rows = pa.Array.from_buffers(pa.struct([(str(at), array.type) for at, array in enumerate(arrays)]), data["count"], [None], children=arrays)
        # The schema last: the interval types have no arrays of their own in pyarrow.
        batches.append(with_schema(pa.RecordBatch.from_struct_array(rows), schema))
    return schema, batches


class Writer:
    """Makes a file of batches, which have the same dictionaries."""

    def __init__(self) -> None:
        self.dictionaries: list[Json] = []
        self.numbers: dict[str, int] = {}

    def column(self, name: str, array: pa.Array, path: str) -> Json:
        array = array.storage if isinstance(array, pa.ExtensionArray) else array
        kind = array.type
        if types.is_dictionary(kind):
            self.note_dictionary(array.dictionary, path)
            return {"name": name, **fixed_json(array.indices)}
        if not types.is_nested(kind):
            return {"name": name, **(fixed_json(array) if is_fixed(kind) else text_json(array))}
        inner = zip(children(kind), child_arrays(array), strict=True)
        parts = [self.column(part.name, child, f"{path}/{number}") for number, (part, child) in enumerate(inner)]
        return {"name": name, **nested_json(array), "children": parts}

    def note_dictionary(self, entries: pa.Array, path: str) -> None:
        if path not in self.numbers:
            number = self.numbers[path] = len(self.numbers)
            data = self.column("dictionary", entries, f"{path}/dictionary")
            self.dictionaries.append({"id": number, "data": {"count": len(entries), "columns": [data]}})

    def numbered(self, part: Json, path: str) -> Json:
        """A field with the numbers of its dictionaries, which the batches have told."""
        # A dictionary's own values lie one step deeper than what it stands in.
        inner = f"{path}/dictionary" if "dictionary" in part else path
        part = {**part, "children": [self.numbered(child, f"{inner}/{number}") for number, child in enumerate(part["children"])]}
        return {**part, "dictionary": {"id": self.numbers[path], **part["dictionary"]}} if "dictionary" in part else part


def child_arrays(array: pa.Array) -> list[pa.Array]:
    kind = array.type
    if types.is_map(kind):
        entries = pa.StructArray.from_arrays([array.keys, array.items], fields=[kind.key_field, kind.item_field])
        return [entries]
    if types.is_run_end_encoded(kind):
        return [array.run_ends, array.values]
    if is_list(kind):
        return [array.values]
    return [array.field(index) for index in range(kind.num_fields)]


def unpacked(code: str, buffer: pa.Buffer | None, count: int) -> list[int]:
    return [] if buffer is None or not count else list(struct.unpack_from(f"<{count}{code}", buffer))


def validity_json(array: pa.Array) -> list[int]:
    return [int(flag) for flag in array.is_valid().to_pylist()]


def numbers_json(code: str, numbers: list[int]) -> list[Any]:
    return [str(number) for number in numbers] if code == "q" else numbers


def nested_json(array: pa.Array) -> Json:
    kind, count, buffers = array.type, len(array), array.buffers()
    if types.is_run_end_encoded(kind):
        return {"count": count}
    if types.is_union(kind):
        offsets = {"OFFSET": unpacked("i", buffers[2], count)} if kind.mode == "dense" else {}
        return {"count": count, "TYPE_ID": unpacked("b", buffers[1], count), **offsets}
    found: Json = {"count": count, "VALIDITY": validity_json(array)}
    code = "q" if types.is_large_list(kind) or types.is_large_list_view(kind) else "i"
    if types.is_list_view(kind) or types.is_large_list_view(kind):
        return found | {name: numbers_json(code, unpacked(code, buffers[at], count)) for name, at in (("OFFSET", 1), ("SIZE", 2))}
    if types.is_struct(kind) or types.is_fixed_size_list(kind):
        return found
    return found | {"OFFSET": numbers_json(code, unpacked(code, buffers[1], count + 1) or [0])}


def fixed_json(array: pa.Array) -> Json:
    kind = array.type
    if types.is_null(kind):
        return {"count": len(array)}
    # What lies under the nulls is written too.
    bare = pa.Array.from_buffers(kind, len(array), [None, array.buffers()[1]])
    return {"count": len(array), "VALIDITY": validity_json(array), "DATA": data_json(bare)}


def data_json(bare: pa.Array) -> list[Any]:
    kind = bare.type
    if types.is_boolean(kind):
        return [int(value) for value in bare.to_pylist()]
    if types.is_floating(kind):
        return [float(value) for value in bare.to_pylist()]
    if types.is_fixed_size_binary(kind):
        return [value.hex().upper() for value in bare.to_pylist()]
    raw = bare.buffers()[1].to_pybytes() if len(bare) else b""
    size = width(kind)
    values = [raw[start : start + size] for start in range(0, size * len(bare), size)]
    if types.is_interval(kind):
        return [dict(zip(("months", "days", "nanoseconds"), struct.unpack("<iiq", value), strict=True)) for value in values]
    numbers = [int.from_bytes(value, "little", signed=not types.is_unsigned_integer(kind)) for value in values]
    return [str(number) for number in numbers] if size >= 8 or types.is_decimal(kind) else numbers


def text_json(array: pa.Array) -> Json:
    kind, count, buffers = array.type, len(array), array.buffers()
    shown = (lambda raw: raw.decode()) if is_text(kind) else (lambda raw: raw.hex().upper())
    found: Json = {"count": count, "VALIDITY": validity_json(array)}
    if types.is_string_view(kind) or types.is_binary_view(kind):
        raw = buffers[1].to_pybytes() if count else b""
        views = [view_json(raw[start : start + 16], shown) for start in range(0, 16 * count, 16)]
        return found | {"VIEWS": views, "VARIADIC_DATA_BUFFERS": [buffer.to_pybytes().hex().upper() for buffer in buffers[2:]]}
    code = "q" if types.is_large_string(kind) or types.is_large_binary(kind) else "i"
    offsets = unpacked(code, buffers[1], count + 1) or [0]
    raw = buffers[2].to_pybytes() if buffers[2] is not None else b""
    data = [shown(raw[start:end]) for start, end in itertools.pairwise(offsets)]
    return found | {"OFFSET": numbers_json(code, offsets), "DATA": data}


def view_json(view: bytes, shown: Any) -> Json:
    size, prefix, buffer, offset = struct.unpack("<i4sii", view)
    if size <= 12:
        return {"SIZE": size, "INLINED": shown(view[4 : 4 + size])}
    return {"SIZE": size, "PREFIX_HEX": prefix.hex().upper(), "BUFFER_INDEX": buffer, "OFFSET": offset}


def write(schema: pa.Schema, batches: list[pa.RecordBatch]) -> Json:
    """A file of the given batches, none of which is a slice."""
    writer, written = Writer(), []
    plain = pa.schema([storage(part) for part in schema])
    for batch in batches:
        columns = with_schema(readable(batch), pa.schema([part.with_type(readable_type(part)) for part in plain])).columns
        parts = [
            interval_json(part.type, writer.column(part.name, array, str(at))) for at, (part, array) in enumerate(zip(plain, columns, strict=True))
        ]
        written.append({"count": batch.num_rows, "columns": parts})
    head = schema_json(schema)
    head["fields"] = [writer.numbered(part, str(at)) for at, part in enumerate(head["fields"])]
    found: Json = {"schema": head, "batches": written}
    return found | {"dictionaries": writer.dictionaries} if writer.dictionaries else found


def readable_type(part: pa.Field) -> pa.DataType:
    return {YEAR_MONTH.id: pa.int32(), DAY_TIME.id: pa.int64()}.get(part.type.id, part.type)


def interval_json(kind: pa.DataType, column: Json) -> Json:
    if kind.id != DAY_TIME.id:
        return column
    pairs = [struct.unpack("<ii", int(value).to_bytes(8, "little", signed=True)) for value in column["DATA"]]
    return column | {"DATA": [{"days": days, "milliseconds": milliseconds} for days, milliseconds in pairs]}


def load(path: Path) -> tuple[pa.Schema, list[pa.RecordBatch]]:
    """The schema and the batches of a file on disk."""
    return read(json.loads(path.read_text()))
