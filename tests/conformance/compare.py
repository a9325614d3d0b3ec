"""What must come back, and whether it did."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import integration
import pyarrow as pa
from cdata import DAY_TIME, readable
from functions import described
from golden import CASES, features, write_stream
from integration import field_json, schema_json
from pyarrow import types
from steps import apply

MANIFEST: list[dict[str, Any]] = json.loads((CASES / "manifest.json").read_text())


def load(path: Path) -> tuple[pa.Schema, list[pa.RecordBatch]]:
    """The schema and the batches of a file, in either format."""
    if path.suffix == ".json":
        return integration.load(path)
    with pa.ipc.open_stream(path.read_bytes()) as reader:
        return reader.schema, list(reader)


def as_stream(entry: dict[str, Any], folder: Path) -> Path:
    """The file as an IPC stream, which hosts read."""
    path = CASES / entry["file"]
    if path.suffix != ".json":
        return path
    made = folder / f"{entry['name']}.arrows"
    if not made.exists():
        write_stream(made, *load(path))
    return made


def values(batch: pa.RecordBatch) -> list[list[Any]]:
    """Every value of every column, in the kit's notation."""
    columns = readable(batch).columns
    return [[_days(part.type, value) for value in described(column)] for part, column in zip(batch.schema, columns, strict=True)]


def _days(kind: pa.DataType, value: Any) -> Any:
    """Intervals of days and time, which pyarrow can only show as a number of 64 bits."""
    if value is None:
        return None
    if kind.id == DAY_TIME.id:
        bits = int(value) & (1 << 64) - 1
        days, milliseconds = (int.from_bytes(part.to_bytes(4, "little"), "little", signed=True) for part in (bits & 0xFFFFFFFF, bits >> 32))
        return {"days": days, "milliseconds": milliseconds}
    if types.is_struct(kind):
        return [_days(part.type, item) for part, item in zip(kind, value, strict=True)]
    return value


class Run:
    """One run of the manifest: what goes in, as plain values, which take no Arrow memory."""

    def __init__(self, entry: dict[str, Any], run: dict[str, Any]) -> None:
        self.file, self.name, self.inputs = entry["name"], run["name"], run["inputs"]
        self.refused: str | None = run.get("refused")
        schema, golden = load(CASES / entry["file"])
        batches = [apply(golden[part["batch"]], part.get("steps", []), lambda batch: batch) for part in self.inputs]
        schema = batches[0].schema if batches else schema
        self.schema = schema_json(schema)
        self.rows = [batch.num_rows for batch in batches]
        self.values = [values(batch) for batch in batches]
        self.fields = [field_json(pa.field("identity", _of_an_array(part.type))) for part in schema]
        own = set(entry["features"]) - features(load(CASES / entry["file"])[0])
        self.features = [features(pa.schema([part])) | own for part in schema]
        self.all_features = set(entry["features"])
        nested = any(["nest"] in part.get("steps", []) for part in self.inputs)
        self.columns = range(1) if nested else range(entry["columns"])

    def calls(self) -> list[tuple[str, int | None]]:
        """The functions that are called with it, and with which column."""
        return [*((name, column) for column in self.columns for name in ("identity", "describe")), ("identity_batches", None)]


def _of_an_array(kind: pa.DataType) -> pa.DataType:
    """What a scalar function gives back of a type: without a field, nothing says that an array is of an extension type or its dictionary in order."""
    if isinstance(kind, pa.BaseExtensionType):
        return kind.storage_type
    return pa.dictionary(kind.index_type, kind.value_type) if types.is_dictionary(kind) else kind


#: The runs of each file. Made before the first test, so that the search for garbage after each has no need to look at them.
RUNS = {entry["name"]: [Run(entry, run) for run in entry["runs"]] for entry in MANIFEST}


def difference(run: Run, function: str, column: int | None, output: Path) -> str | None:
    """What is not as it must be in the results, if anything is."""
    with pa.ipc.open_stream(output.read_bytes()) as reader:
        schema, results = reader.schema, list(reader)
    for result in results:
        readable(result).validate(full=True)
    if [result.num_rows for result in results] != run.rows:
        return f"batches of {[result.num_rows for result in results]} rows, and {run.rows} are right"
    if not results:
        return None
    if function == "describe":
        got = [[[json.loads(text) for text in result.column(0).to_pylist()]] for result in results]
        return _first_difference(got, [[batch[column]] for batch in run.values])
    wanted = run.schema if column is None else {"fields": [run.fields[column]]}
    found = schema_json(schema)
    if column is not None:
        found.pop("metadata", None)
    if found != wanted:
        return _schema_difference(found, wanted, "the schema")
    return _first_difference(map(values, results), run.values if column is None else [[batch[column]] for batch in run.values])


def _schema_difference(found: Any, wanted: Any, place: str) -> str:
    """The first place where two schemas part."""
    if isinstance(found, dict) and isinstance(wanted, dict) and found.keys() == wanted.keys():
        key = next(key for key in found if found[key] != wanted[key])
        return _schema_difference(found[key], wanted[key], f"{place}.{key}")
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        index = next(index for index, (one, other) in enumerate(zip(found, wanted, strict=True)) if one != other)
        return _schema_difference(found[index], wanted[index], f"{place}[{index}]")
    return f"{place} is {json.dumps(found)}, and {json.dumps(wanted)} is right"


def _first_difference(got: Iterable[list[list[Any]]], wanted: list[list[list[Any]]]) -> str | None:
    for number, (batch, right) in enumerate(zip(got, wanted, strict=True)):
        for place, (column, right_column) in enumerate(zip(batch, right, strict=True)):
            for row, (value, right_value) in enumerate(zip(column, right_column, strict=True)):
                # JSON has one kind of number and two booleans, which Python takes for each other.
                if json.dumps(value, sort_keys=True) != json.dumps(right_value, sort_keys=True):
                    return f"batch {number}, column {place}, row {row}: {value!r}, and {right_value!r} is right"
    return None


def lacking(run: Run, column: int | None, *missing: dict[str, str]) -> dict[str, str]:
    """What hosts and workers say that they do not have, of what this call needs."""
    needed = run.all_features if column is None else run.features[column]
    return {feature: reason for table in missing for feature, reason in table.items() if feature in needed}


#: What refusals say, where that is not the name of the feature.
WORDS = {
    "depth_63": "levels",
    "depth_64": "levels",
    "fixed_size_binary_of_nothing": "fixed_size_binary(0)",
    "union_dense_codes": "dense unions",
}


def names_the_type(message: str, feature: str) -> bool:
    """Whether a refusal says what it refuses."""
    plain = lambda text: "".join(letter for letter in text.lower() if letter.isalnum())  # noqa: E731
    return plain(WORDS.get(feature, feature)) in plain(message)
