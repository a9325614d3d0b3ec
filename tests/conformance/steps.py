"""What a host does with a golden batch before it calls: slices, which IPC does not keep, and nesting, which gives children offsets of their own."""

from __future__ import annotations

from typing import Any

import pyarrow as pa


def apply(batch: pa.RecordBatch, steps: list[list[Any]]) -> pa.RecordBatch:
    """The batch after `steps`."""
    for step in steps:
        batch = nested(batch) if step[0] == "nest" else batch.slice(*step[1:])
    return batch


def nested(batch: pa.RecordBatch) -> pa.RecordBatch:
    """One column `nested` of structs, whose fields are the columns."""
    return pa.RecordBatch.from_arrays([batch.to_struct_array()], schema=nested_schema(batch.schema))


def nested_schema(schema: pa.Schema) -> pa.Schema:
    """The schema of `nested`; the metadata of the schema stays."""
    return pa.schema([pa.field("nested", pa.struct(list(schema)))], schema.metadata)
