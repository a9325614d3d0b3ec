"""Makes the golden batches of the kit: `python golden.py` writes `cases/`. The same seed gives the same values for ever.

One file has one schema and several batches; what is done with them stands in `cases/manifest.json`, which docs/conformance.md describes.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from build import build, dictionary
from cdata import DAY_TIME, YEAR_MONTH, readable, with_schema
from integration import write
from pyarrow import types

CASES = Path(__file__).parent / "cases"
ROWS = 9
NULLS = (1, 4, 8)
DEPTH = 64
SEED = 20260601
_dice = random.Random()


@dataclass
class Golden:
    """A file of golden batches: their columns as plain values, and what is run over them."""

    name: str
    schema: pa.Schema
    batches: list[pa.RecordBatch]
    runs: list[dict[str, Any]]
    values: list[list[list[Any]]] = field(default_factory=list)
    extra: tuple[str, ...] = ()
    #: How many columns go through the scalar functions.
    columns: int = 2
    #: Whether the file is in the JSON format of Arrow's integration tests.
    json: bool = False

    @property
    def file(self) -> str:
        """The name of the file."""
        return f"{self.name}.json" if self.json else f"{self.name}.arrows"

    def write(self, folder: Path) -> None:
        """Writes the file."""
        if self.json:
            (folder / self.file).write_text(json.dumps(write(self.schema, self.batches), ensure_ascii=False) + "\n")
            return
        write_stream(folder / self.file, self.schema, self.batches)


def write_stream(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    """An IPC stream, in which dictionaries grow by deltas."""
    with pa.ipc.new_stream(path, schema, options=pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)) as writer:
        for batch in batches:
            writer.write_batch(batch)


def at(batch: int, *steps: list[Any]) -> dict[str, Any]:
    """A batch as one input: its number, and what a host does with it first."""
    return {"batch": batch, "steps": list(steps)} if steps else {"batch": batch}


def cut(offset: int, length: int) -> list[Any]:
    return ["slice", offset, length]


NEST = ["nest"]
SHARE = ["share"]
PLAIN = [at(0), at(0, cut(1, 8)), at(0, cut(7, 2)), at(0, cut(4, 0)), at(1), at(1, cut(1, 8)), at(1, cut(7, 2)), at(2), at(3)]
NESTED = [at(0, cut(1, 8), NEST, cut(1, 7)), at(0, NEST), at(1, cut(7, 2), NEST, cut(1, 1)), at(1, cut(1, 8), NEST, cut(7, 1)), at(2, NEST)]
SHARED = [at(0, SHARE, cut(1, 8)), at(0, SHARE, cut(7, 2)), at(1, SHARE, cut(1, 8)), at(0, SHARE, cut(4, 0)), at(0, cut(1, 8), SHARE, cut(2, 5))]
SHARED_NESTED = [at(0, cut(1, 8), NEST, SHARE, cut(1, 7)), at(1, SHARE, cut(7, 2), NEST, cut(1, 1)), at(0, SHARE, cut(1, 8), NEST, cut(2, 6))]
RUNS = [{"name": "plain", "inputs": PLAIN}, {"name": "nested", "inputs": NESTED}]
RUNS += [{"name": "shared", "inputs": SHARED}, {"name": "shared and nested", "inputs": SHARED_NESTED}]


def without(kind: pa.DataType, value: Any) -> Any:
    """The null that stands in the place of `value`; a union has none of its own."""
    if isinstance(kind, pa.BaseExtensionType):
        return without(kind.storage_type, value)
    return (value[0], None) if types.is_union(kind) else None


def typed(name: str, kind: pa.DataType, full: list[Any], shown: pa.DataType | None = None) -> Golden:
    """A file for one type: `x` may have nulls, `y` may not. The batches: with nulls, without, empty, of one row. `shown`: the type in the file."""
    assert len(full) == ROWS, name
    nulls = [without(kind, value) if row in NULLS else value for row, value in enumerate(full)]
    never_null = types.is_null(kind)
    second = pa.field("y", kind, nullable=never_null or types.is_run_end_encoded(kind))
    schema = pa.schema([pa.field("x", kind), second])
    values = [[nulls, full[::-1]], [full, full[::-1]], [[], []], [full[3:4], full[2:3]]]
    batches = [columns(schema, some) for some in values]
    if shown is not None:
        schema = pa.schema([pa.field("x", shown), pa.field("y", shown, nullable=False)])
        batches = [with_schema(batch, schema) for batch in batches]
    return Golden(name, schema, batches, RUNS, values, columns=1)


def columns(schema: pa.Schema, values: list[list[Any]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([build(part.type, some) for part, some in zip(schema, values, strict=True)], schema=schema)


def integers(size: int, signed: bool) -> list[int]:
    low, high = (-(1 << size - 1), (1 << size - 1) - 1) if signed else (0, (1 << size) - 1)
    return [low, high, 0, 1, high - 1, low + 1, *(_dice.randint(low, high) for _ in range(3))]


def floats(size: int, mantissa: int) -> list[int]:
    """Bits: zeros, the least, the greatest, infinities, a quiet and a signalling NaN with a payload."""
    infinity = ((1 << size - 1 - mantissa) - 1) << mantissa
    sign = 1 << size - 1
    quiet = infinity | 1 << mantissa - 1 | 5
    return [0, sign, 1, infinity - 1, infinity, sign | infinity, quiet, sign | quiet, _dice.randrange(infinity)]


def primitives() -> Iterable[Golden]:
    yield typed("null", pa.null(), [None] * ROWS)
    yield typed("bool", pa.bool_(), [True, False, True, True, False, False, True, False, True])
    for size in (8, 16, 32, 64):
        yield typed(f"int{size}", getattr(pa, f"int{size}")(), integers(size, True))
        yield typed(f"uint{size}", getattr(pa, f"uint{size}")(), integers(size, False))
    yield typed("float16", pa.float16(), floats(16, 10))
    yield typed("float32", pa.float32(), floats(32, 23))
    yield typed("float64", pa.float64(), floats(64, 52))
    for size, digits in ((32, 9), (64, 18), (128, 38), (256, 76)):
        make, most = getattr(pa, f"decimal{size}"), 10**digits - 1
        yield typed(f"decimal{size}", make(digits, digits // 3), [most, -most, 0, 1, -1, 10, *(_dice.randint(-most, most) for _ in range(3))])
    yield typed("decimal128_negative_scale", pa.decimal128(5, -3), [0, 1, -1, 99999, -99999, 7, 70, 700, 7000])


def temporals() -> Iterable[Golden]:
    yield typed("date32", pa.date32(), integers(32, True))
    days = [0, 1, -1, 19_000, -719_162, 2_932_896, 11_016, -25_567, 106]
    yield typed("date64", pa.date64(), [day * 86_400_000 for day in days])
    for unit, size, most in (("s", 32, 86_399), ("ms", 32, 86_399_999), ("us", 64, 86_399_999_999), ("ns", 64, 86_399_999_999_999)):
        times = [0, 1, most, most // 2, most // 3, 60, 3600, most - 1, _dice.randint(0, most)]
        yield typed(f"time{size}_{unit}", getattr(pa, f"time{size}")(unit), times)
    for unit in ("s", "ms", "us", "ns"):
        yield typed(f"timestamp_{unit}", pa.timestamp(unit), integers(64, True))
        yield typed(f"duration_{unit}", pa.duration(unit), integers(64, True))
    yield typed("timestamp_us_zone", pa.timestamp("us", "Europe/Zurich"), integers(64, True))
    yield typed("timestamp_ns_offset", pa.timestamp("ns", "+05:30"), integers(64, True))
    yield typed("interval_year_month", pa.int32(), integers(32, True), YEAR_MONTH)
    yield typed("interval_day_time", pa.int64(), [days << 32 | 7 * days for days in range(4)] + [-1, 1 << 62, -(1 << 63), -(1 << 32), 5], DAY_TIME)
    parts = zip(integers(32, True), integers(32, True), integers(64, True), strict=True)
    yield typed("interval_month_day_nano", pa.month_day_nano_interval(), list(parts))


TEXTS = ["", "a", "grüße", "twelve bytes", "thirteen byte", "日本語のテキストです", "🎉" * 9, 'a\x00b\n"\\', "x" * 40]
BYTES = [b"", b"\x00", b"\xff\xfe", bytes(range(12)), bytes(range(13)), b"\x80" * 30, b"abc", b"\x7f" * 12, bytes(reversed(range(256)))]


def texts() -> Iterable[Golden]:
    for name, kind in (("utf8", pa.string()), ("large_utf8", pa.large_string()), ("utf8_view", pa.string_view())):
        yield typed(name, kind, TEXTS)
    for name, kind in (("binary", pa.binary()), ("large_binary", pa.large_binary()), ("binary_view", pa.binary_view())):
        yield typed(name, kind, BYTES)
    yield typed("fixed_size_binary", pa.binary(3), [bytes(_dice.randrange(256) for _ in range(3)) for _ in range(ROWS)])
    name = "fixed_size_binary_of_nothing"
    yield replace(typed(name, pa.binary(0), [b""] * ROWS), extra=(name,))


NUMBERS = [[1, None], [], [-2, 3, 4], [5], [None], [], [6, 7], [1, None], [8, 9, 10, 11]]
WORDS = [["a"], [], ["b", None, ""], ["grüße"], [None], ["thirteen bytes"], ["a"], [], ["x", "y"]]


def lists() -> Iterable[Golden]:
    for name, make in (("list", pa.list_), ("large_list", pa.large_list), ("list_view", pa.list_view), ("large_list_view", pa.large_list_view)):
        yield typed(f"{name}_of_int16", make(pa.int16()), NUMBERS)
        yield typed(f"{name}_of_utf8", make(pa.field("word", pa.string())), WORDS)
    pairs = [[row, -row] for row in range(ROWS)]
    yield typed("fixed_size_list", pa.list_(pa.int32(), 2), [[None, 1], *pairs[1:]])
    yield typed("fixed_size_list_of_nothing", pa.list_(pa.int32(), 0), [[]] * ROWS)
    yield typed("fixed_size_list_of_bool", pa.list_(pa.bool_(), 3), [[row % 2 == 0, None, row % 3 == 0] for row in range(ROWS)])
    yield typed("list_without_nulls", pa.list_(pa.field("n", pa.int64(), nullable=False)), [list(range(row % 4)) for row in range(ROWS)])
    yield typed("list_of_list", pa.list_(pa.large_list(pa.int8())), [[NUMBERS[row], None, NUMBERS[-row]][: row % 4] for row in range(ROWS)])


def structs() -> Iterable[Golden]:
    pair = pa.struct([pa.field("a", pa.int64()), pa.field("b", pa.string(), nullable=False)])
    rows = [[row if row % 3 else None, TEXTS[row]] for row in range(ROWS)]
    yield typed("struct", pair, rows)
    yield typed("struct_of_nothing", pa.struct([]), [[]] * ROWS)
    deep = pa.struct([("s", pair), ("l", pa.list_(pair)), ("v", pa.string_view())])
    yield typed("struct_of_struct", deep, [[rows[row] if row % 4 else None, rows[: row % 3], TEXTS[-row]] for row in range(ROWS)])
    yield typed("fixed_size_list_of_struct", pa.list_(pair, 2), [[rows[row], None if row == 5 else rows[0]] for row in range(ROWS)])
    yield typed("list_view_of_struct", pa.list_view(pair), [rows[row : row + row % 4] for row in range(ROWS)])
    mapped = [[("k", 1), ("l", None)], [], [("grüße", 3)], [("a", 4)], [("b", 5), ("c", 6), ("d", 7)], [], [("e", None)], [("f", 9)], [("g", 0)]]
    yield typed("map", pa.map_(pa.string(), pa.int32()), mapped)
    yield typed("map_sorted", pa.map_(pa.string(), pa.int32(), keys_sorted=True), mapped)
    inner = pa.map_(pa.int16(), pa.list_(pa.string()))
    yield typed("map_of_lists", inner, [[(row, WORDS[row]), (row + 1, None)][: row % 3] for row in range(ROWS)])
    nest = pa.list_(pa.struct([("p", pa.list_(pa.map_(pa.string(), pa.bool_())))]))
    yield typed("list_of_struct_of_list_of_map", nest, [[[[[("k", True)], None, []][: row % 4]], None][: row % 3] for row in range(ROWS)])


def dictionaries() -> Iterable[Golden]:
    few = ["b", "a", "b", "grüße", "a", "a", "", "b", "a"]
    for size in (8, 16, 32, 64):
        for sign in ("", "u"):
            yield typed(f"dictionary_{sign}int{size}", pa.dictionary(getattr(pa, f"{sign}int{size}")(), pa.string()), few)
    yield typed("dictionary_ordered", pa.dictionary(pa.int16(), pa.string(), ordered=True), few)
    yield typed("dictionary_of_int64", pa.dictionary(pa.int32(), pa.int64()), [5, 5, -1, 1 << 60, 0, 5, -1, 0, 7])
    yield typed("dictionary_of_decimal", pa.dictionary(pa.int8(), pa.decimal128(20, 2)), [5, 5, -1, 1 << 60, 0, 5, -1, 0, 7])
    yield typed("dictionary_of_utf8_view", pa.dictionary(pa.int32(), pa.string_view()), [TEXTS[row] for row in (8, 4, 4, 1, 0, 8, 6, 6, 5)])
    pair = pa.struct([("a", pa.string()), ("b", pa.list_(pa.int8()))])
    yield typed("dictionary_of_struct", pa.dictionary(pa.int16(), pair), [[few[row], NUMBERS[row % 3]] for row in range(ROWS)])
    yield typed(
        "list_of_dictionary", pa.list_(pa.dictionary(pa.int8(), pa.string())), [["b", "a"], [], ["b"], ["a", None], [], ["b"], ["a"], [], ["c", "b"]]
    )
    yield typed("struct_of_dictionary", pa.struct([("d", pa.dictionary(pa.uint8(), pa.string()))]), [[word] for word in few])


def unions_and_runs() -> Iterable[Golden]:
    parts = [pa.field("n", pa.int64()), pa.field("t", pa.string()), pa.field("l", pa.list_(pa.int16()))]
    values = [(0, 1), (1, "a"), (2, NUMBERS[2]), (1, "b"), (0, -5), (0, 7), (2, []), (1, ""), (0, 1 << 40)]
    for mode, make in (("sparse", pa.sparse_union), ("dense", pa.dense_union)):
        yield typed(f"union_{mode}", make(parts), values)
        name = f"union_{mode}_codes"
        yield replace(typed(name, make(parts, type_codes=[5, 0, 127]), values), extra=(name,))
        of_union = pa.list_(make(parts[:2]))
        yield typed(f"list_of_union_{mode}", of_union, [[(row % 2, [row, str(row)][row % 2])] * (row % 3) for row in range(ROWS)])
    runs = [4, 4, 4, 9, 9, 4, 4, 4, -1]
    for size in (16, 32, 64):
        yield typed(f"run_end_encoded_int{size}", pa.run_end_encoded(getattr(pa, f"int{size}")(), pa.int32()), runs)
    words = ["a", "a", "grüße", "grüße", "grüße", "", "b", "b", "b"]
    yield typed("run_end_encoded_utf8", pa.run_end_encoded(pa.int32(), pa.string()), words)
    yield typed("run_end_encoded_list", pa.run_end_encoded(pa.int16(), pa.list_(pa.int16())), [NUMBERS[row // 3] for row in range(ROWS)])
    yield typed("run_end_encoded_dictionary", pa.run_end_encoded(pa.int32(), pa.dictionary(pa.int8(), pa.string())), words)


def extensions() -> Iterable[Golden]:
    yield typed("extension_uuid", pa.uuid(), [_dice.randbytes(16) for _ in range(ROWS)])
    yield typed("extension_json", pa.json_(), ['{"a": 1}', "[]", "null", '"grüße"', "1", "[1,2]", "{}", "true", "0.5"])
    yield typed("extension_bool8", pa.bool8(), [0, 1, 1, 0, -1, 2, 0, 1, 1])
    yield typed("extension_tensor", pa.fixed_shape_tensor(pa.int32(), [2, 1]), [[row, row + 1] for row in range(ROWS)])
    yield typed("list_of_extension", pa.list_(pa.uuid()), [[_dice.randbytes(16)] * (row % 3) for row in range(ROWS)])
    own = {"ARROW:extension:name": "example.celsius", "ARROW:extension:metadata": "v=1"}
    schema = pa.schema([pa.field("x", pa.int16(), metadata=own), pa.field("y", pa.int16(), nullable=False, metadata=own)])
    base = typed("extension_unknown", pa.int16(), integers(16, True))
    yield Golden(base.name, schema, [batch.cast(schema) for batch in base.batches], RUNS, base.values, ("extension",), columns=1)


def _deltas() -> Golden:
    """Three batches whose dictionary grows: the stream has it once, and then what is new."""
    entries = pa.array(["a", "b", "c", "d", "e"])
    keys = [[0, 1, None, 0], [2, 1, 2, 0], [4, None, 3, 2]]
    kind = pa.dictionary(pa.int32(), pa.string())
    schema = pa.schema([pa.field("x", kind)])
    arrays = [dictionary(kind, some, entries.slice(0, size)) for some, size in zip(keys, (2, 3, 5), strict=True)]
    values = [[[None if key is None else entries[key].as_py() for key in some]] for some in keys]
    runs = [{"name": "deltas", "inputs": [at(0), at(1), at(2), at(2, cut(1, 3)), at(1, cut(3, 1))]}]
    return Golden("dictionary_delta", schema, [pa.record_batch([array], schema=schema) for array in arrays], runs, values, ("dictionary_delta",))


def _high_keys() -> Golden:
    """Keys without a sign whose highest bit is set."""
    keys = [255, 128, None, 127, 0, 200, 129, 1, 254]
    schema = pa.schema([pa.field("x", pa.dictionary(pa.uint8(), pa.int16()))])
    array = dictionary(schema.field("x").type, keys, build(pa.int16(), list(range(256))))
    return Golden(
        "dictionary_high_keys", schema, [pa.record_batch([array], schema=schema)], [{"name": "plain", "inputs": [at(0), at(0, cut(1, 8))]}], [[keys]]
    )


def _many_buffers() -> Golden:
    """Views into seven data buffers each, some of which only later rows use."""
    long = [f"{word} is longer than twelve bytes" for word in "abcdefghijklmn"]
    schema = pa.schema([pa.field("x", pa.string_view()), pa.field("y", pa.binary_view())])
    chunks = [build(pa.string_view(), long[row : row + 2]) for row in range(0, 14, 2)]
    blobs = [build(pa.binary_view(), [None, text.encode()]) for text in long[:7]]
    values = [[long, [blob for text in long[:7] for blob in (None, text.encode())]]]
    batch = pa.record_batch([pa.concat_arrays(chunks), pa.concat_arrays(blobs)], schema=schema)
    runs = [{"name": "plain", "inputs": [at(0), at(0, cut(1, 13)), at(0, cut(7, 2)), at(0, cut(13, 1))]}]
    runs.append({"name": "nested", "inputs": [at(0, cut(7, 6), NEST, cut(1, 5))]})
    return Golden("views_of_many_buffers", schema, [batch], runs, values)


def _deep(name: str, kind: pa.DataType, value: Any, wrap: Any, depth: int) -> Golden:
    """Half of the levels come from the file, half from `nest`, since IPC readers have limits of their own."""
    half = DEPTH // 2
    for _ in range(half - 1):
        kind, value = wrap(kind), [value]
    schema = pa.schema([pa.field("x", kind)])
    values = [[[value, None, value]]]
    more = [NEST] * (depth - half)
    runs = [{"name": "deep", "inputs": [at(0, *more), at(0, cut(1, 2), *more, cut(1, 1))]}]
    if depth == DEPTH:
        runs.append({"name": "beyond", "inputs": [at(0, *more, NEST)], "refused": "TRN-4006"})
    extra = (f"depth_{depth}",)
    return Golden(name, schema, [columns(schema, some) for some in values], runs, values, extra, columns=1)


def shapes() -> Iterable[Golden]:
    yield _deltas()
    yield _high_keys()
    yield _many_buffers()
    for depth in (DEPTH - 1, DEPTH):
        yield _deep(f"deep_lists_{depth}", pa.int32(), 5, pa.list_, depth)
        yield _deep(f"deep_structs_{depth}", pa.string(), "five", lambda kind: pa.struct([("s", kind)]), depth)
    bare = pa.RecordBatch.from_struct_array(pa.array([{}] * 5, pa.struct([])))
    yield Golden("no_columns", bare.schema, [bare], [{"name": "plain", "inputs": [at(0), at(0, cut(1, 3)), at(0, cut(1, 0))]}], [[]], ("no_columns",))
    yield Golden("no_batches", pa.schema([("x", pa.int64())]), [], [{"name": "plain", "inputs": []}], [], columns=1)
    inner = pa.struct([pa.field("a", pa.int8(), metadata={"unit": "m"}), pa.field("b", pa.list_(pa.field("item", pa.int8(), metadata={"k": ""})))])
    fields = [pa.field("x", pa.int8(), metadata={"grüße": "🎉", "": "empty key"}), pa.field("y", inner, nullable=False)]
    schema = pa.schema(fields, metadata={"owner": "kit", "long": "x" * 300})
    values = [[[1, None, 3], [[1, [2]], [None, []], [3, None]]]]
    runs = [{"name": "plain", "inputs": [at(0), at(0, cut(1, 2))]}, {"name": "nested", "inputs": [at(0, cut(1, 2), NEST, cut(1, 1))]}]
    yield Golden("metadata", schema, [columns(schema, some) for some in values], runs, values, ("metadata",))
    names = pa.schema([pa.field(name, pa.int16()) for name in ("twice", "twice", "", "naïve 名", "a.b")])
    values = [[[row, None] for row in range(5)]]
    yield Golden("names", names, [columns(names, some) for some in values], [{"name": "plain", "inputs": [at(0)]}], values, ("duplicate_names",), 5)
    wide = pa.schema([pa.field(f"c{number}", [pa.int32(), pa.string(), pa.bool_()][number % 3]) for number in range(300)])
    values = [[[[number, str(number), True][number % 3], None] for number in range(300)]]
    runs = [{"name": "plain", "inputs": [at(0), at(0, cut(1, 1))]}]
    yield Golden("wide", wide, [columns(wide, some) for some in values], runs, values, columns=1)


def catalogue() -> list[Golden]:
    """Every file of the kit, in the order of the matrix."""
    _dice.seed(SEED)
    makers = (primitives, temporals, texts, lists, structs, dictionaries, unions_and_runs, extensions, shapes)
    found = [golden for make in makers for golden in make()]
    return found + list(integration_files({golden.name: golden for golden in found}))


def integration_files(found: dict[str, Golden]) -> Iterable[Golden]:
    """Files in the JSON format of Arrow's integration tests: the columns `x` of a family of types side by side, under the names of the types."""
    families: dict[str, list[str]] = {}
    apart = ("metadata", "views_of_many_buffers", "fixed_size_binary_of_nothing", "union_dense_codes", "union_sparse_codes")
    for name, golden in found.items():
        if golden.schema.names == ["x", "y"] and name not in apart:
            families.setdefault(_family(name), []).append(name)
    for family, names in families.items():
        parts = [plain_floats(found[name]) if name.startswith("float") else found[name] for name in names]
        schema = pa.schema([part.schema.field("x").with_name(part.name) for part in parts])
        arrays = [readable(part.batches[0]).column("x") for part in parts]
        batch = with_schema(pa.record_batch(arrays, names=names), schema)
        runs = [
            {"name": "plain", "inputs": [at(0), at(0, cut(1, 8)), at(0, cut(7, 2))]},
            {"name": "nested", "inputs": [at(0, cut(1, 8), NEST, cut(1, 7))]},
        ]
        yield Golden(f"integration_{family}", schema, [batch], runs, [[part.values[0][0] for part in parts]], columns=0, json=True)


def _family(name: str) -> str:
    prefixes = (
        "decimal",
        "interval",
        "dictionary",
        "union",
        "run_end_encoded",
        "extension",
        "struct",
        "map",
        "list",
        "large_list",
        "fixed_size_list",
    )
    prefix = next((prefix for prefix in prefixes if name.startswith(prefix)), None)
    if "dictionary" in name:
        return "dictionaries"
    if "view" in name:
        return "views"
    if prefix in ("union", "run_end_encoded") or "union" in name:
        return "unions_and_runs"
    if "extension" in name:
        return "extensions"
    if prefix in ("decimal", "interval"):
        return f"{prefix}s"
    if prefix is not None:
        return "nested"
    return "temporals" if name.startswith(("date", "time", "duration")) else "primitives"


def plain_floats(golden: Golden) -> Golden:
    """Floats that JSON can write."""
    bits_of_one = {"float16": (0x3C00, 10), "float32": (0x3F800000, 23), "float64": (0x3FF0000000000000, 52)}
    one, mantissa = bits_of_one[golden.name]
    return typed(golden.name, golden.schema.field("x").type, [0, *(one + (step << mantissa - 3) for step in range(ROWS - 1))])


def features(schema: pa.Schema) -> set[str]:
    """What a language needs for batches of this schema: names of types, as in the table of docs/conformance.md."""
    found: set[str] = set()

    def visit(kind: pa.DataType) -> None:
        if isinstance(kind, pa.BaseExtensionType):
            found.add("extension")
            visit(kind.storage_type)
            return
        found.add(_type_name(kind))
        found.update(_special(kind))
        if types.is_dictionary(kind):
            found.add(f"dictionary_{kind.index_type}")
            visit(kind.value_type)
        elif types.is_run_end_encoded(kind):
            visit(kind.value_type)
        else:
            for index in range(kind.num_fields):
                visit(kind.field(index).type)

    for part in schema:
        visit(part.type)
    return found


_NAMES = {"string": "utf8", "large_string": "large_utf8", "string_view": "utf8_view", "halffloat": "float16", "float": "float32", "double": "float64"}
_NAMES |= {"month_interval": "interval_year_month", "day_time_interval": "interval_day_time", "month_day_nano_interval": "interval_month_day_nano"}


def _type_name(kind: pa.DataType) -> str:
    """The type without its parameters."""
    if types.is_fixed_size_list(kind):
        return "fixed_size_list"
    if types.is_fixed_size_binary(kind):
        return "fixed_size_binary"
    if types.is_timestamp(kind):
        return "timestamp"
    if types.is_union(kind):
        return f"union_{kind.mode}"
    text = str(kind).partition("<")[0].partition("[")[0].partition("(")[0]
    return _NAMES.get(text, text)


def _special(kind: pa.DataType) -> Iterable[str]:
    """What a language may lack of a type that it has otherwise."""
    nested = lambda child: types.is_nested(child) and not types.is_dictionary(child)  # noqa: E731
    if types.is_fixed_size_binary(kind) and kind.byte_width == 0:
        yield "fixed_size_binary_of_nothing"
    elif types.is_dictionary(kind) and nested(kind.value_type):
        yield "dictionary_of_nested"
    elif types.is_union(kind):
        if kind.type_codes != list(range(kind.num_fields)):
            yield f"union_{kind.mode}_codes"
        if any(nested(part.type) for part in kind):
            yield f"union_{kind.mode}_of_nested"


def manifest(goldens: list[Golden]) -> str:
    """What is run over the files, one line for each."""
    entries = []
    for golden in goldens:
        found = sorted(features(golden.schema) | set(golden.extra))
        count = min(golden.columns, len(golden.schema))
        entries.append({"name": golden.name, "file": golden.file, "features": found, "columns": count, "runs": golden.runs})
    lines = ",\n".join(json.dumps(entry) for entry in entries)
    return f"[\n{lines}\n]\n"


def main() -> None:
    """Writes the files and the manifest."""
    CASES.mkdir(exist_ok=True)
    for old in CASES.iterdir():
        old.unlink()
    goldens = catalogue()
    for golden in goldens:
        golden.write(CASES)
    (CASES / "manifest.json").write_text(manifest(goldens))


if __name__ == "__main__":
    main()
