"""The kit itself: its files are what its script makes, its notation is right, and what is wrong is found."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import integration
import pyarrow as pa
import pytest
from build import notation
from cdata import readable
from compare import MANIFEST, RUNS, Run, difference, load, values
from functions import described
from golden import CASES, Golden, catalogue, manifest, write_stream
from integration import schema_json
from steps import apply

GOLDENS = catalogue()
goldens = pytest.mark.parametrize("golden", GOLDENS, ids=[golden.name for golden in GOLDENS])


@goldens
def test_files_are_what_the_script_makes(golden: Golden) -> None:
    schema, batches = load(CASES / golden.file)
    assert schema_json(schema) == schema_json(golden.schema)
    assert [values(batch) for batch in batches] == [values(batch) for batch in golden.batches]
    for batch in batches:
        readable(batch).validate(full=True)


def test_the_manifest_is_what_the_script_makes() -> None:
    assert (CASES / "manifest.json").read_text() == manifest(GOLDENS)
    assert {path.name for path in CASES.iterdir()} == {golden.file for golden in GOLDENS} | {"manifest.json"}
    assert sum(path.stat().st_size for path in CASES.iterdir()) < 1 << 20


@goldens
@pytest.mark.parametrize("offset", [0, 1, 7])
def test_the_reference_reads_the_plain_values(golden: Golden, offset: int) -> None:
    for batch, columns in zip(golden.batches, golden.values, strict=True):
        shown = readable(batch)
        for part, column, plain in zip(shown.schema, shown.slice(offset).columns, columns, strict=True):
            assert described(column) == [notation(part.type, value) for value in plain][offset:]


@goldens
def test_the_integration_format_goes_there_and_back(golden: Golden) -> None:
    for batch in golden.batches:
        text = json.dumps(integration.write(golden.schema, [batch]))
        schema, (back,) = integration.read(json.loads(text))
        assert json.dumps(integration.write(schema, [back])) == text
        assert schema_json(schema) == schema_json(golden.schema)
        assert back.num_rows == batch.num_rows
        if not golden.name.startswith("float"):  # JSON has no NaN with a payload
            assert values(back) == values(batch)


def find(name: str, run: str = "plain") -> Run:
    return next(found for found in RUNS[name] if found.name == run)


def results(run: Run, function: str, folder: Path, change: Any) -> str | None:
    """What the comparison says of results that are right but for `change`."""
    entry = next(entry for entry in MANIFEST if entry["name"] == run.file)
    golden = load(CASES / entry["file"])[1]
    batches = [apply(golden[part["batch"]], part.get("steps", []), lambda batch: batch) for part in run.inputs]
    if function == "identity":
        batches = [pa.record_batch([batch.column(0)], names=["identity"]) for batch in batches]
    if function == "describe":
        batches = [pa.record_batch([pa.array(map(json.dumps, described(batch.column(0))), pa.string())], names=["describe"]) for batch in batches]
    batches = change(batches)
    write_stream(folder / "out.arrows", batches[0].schema, batches)
    return difference(run, function, None if function == "identity_batches" else 0, folder / "out.arrows")


def each_value(change: Any) -> Any:
    """Changes the values of the first column, whose type stays."""
    column = lambda batch: pa.array([change(value) for value in batch.column(0).to_pylist()], batch.schema.field(0).type)  # noqa: E731
    return lambda batches: [pa.record_batch([column(batch)], names=batch.schema.names) for batch in batches]


PLAIN_NAN = struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000000))[0]
WITHOUT_SIGN = each_value(lambda value: 0.0 if value == 0 else value)
WITHOUT_PAYLOAD = each_value(lambda value: PLAIN_NAN if value is not None and value != value else value)
NUMBERS_FOR_BOOLS = each_value(lambda text: text.replace("true", "1"))


def with_schema(change: Any) -> Any:
    return lambda batches: [pa.RecordBatch.from_arrays(batch.columns, schema=change(batch.schema)) for batch in batches]


@pytest.mark.parametrize(
    ("file", "function", "change", "said"),
    [
        ("float64", "identity", WITHOUT_SIGN, "'0000000000000000', and '8000000000000000' is right"),
        ("float64", "identity", WITHOUT_PAYLOAD, "'7FF8000000000000', and '7FF8000000000005' is right"),
        ("int8", "identity", lambda batches: batches[:-1], "batches of"),
        ("int8", "identity", lambda batches: [*batches[3:], *batches[:3]], "batches of"),
        ("int8", "identity", with_schema(lambda schema: schema.set(0, schema.field(0).with_name("x"))), 'name is "x"'),
        ("int8", "identity_batches", with_schema(lambda schema: schema.set(1, schema.field(1).with_nullable(True))), "nullable is true"),
        ("metadata", "identity_batches", with_schema(lambda schema: schema.remove_metadata()), "the schema is"),
        ("metadata", "identity_batches", with_schema(lambda schema: schema.set(0, schema.field(0).remove_metadata())), "fields[0] is"),
        ("bool", "describe", NUMBERS_FOR_BOOLS, "1, and True is right"),
    ],
)
def test_what_is_wrong_is_found(file: str, function: str, change: Any, said: str, tmp_path: Path) -> None:
    run = find(file)
    assert results(run, function, tmp_path, lambda batches: batches) is None
    assert said in (results(run, function, tmp_path, change) or "")
