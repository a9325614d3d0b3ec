"""What a host does with a golden batch before it calls: slices, which IPC does not keep, nesting, which gives children offsets of their own, and
sharing, after which slices cross without a copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa


def apply(batch: pa.RecordBatch, steps: list[list[Any]], share: Callable[[pa.RecordBatch], pa.RecordBatch]) -> pa.RecordBatch:
    """The batch after `steps`; `share` puts one into shared memory."""
    known = {"slice": pa.RecordBatch.slice, "nest": nested, "share": share}
    for name, *numbers in steps:
        batch = known[name](batch, *numbers)
    return batch


def nested(batch: pa.RecordBatch) -> pa.RecordBatch:
    """One column `nested` of structs, whose fields are the columns."""
    return pa.RecordBatch.from_arrays([batch.to_struct_array()], schema=nested_schema(batch.schema))


def nested_schema(schema: pa.Schema) -> pa.Schema:
    """The schema of `nested`; the metadata of the schema stays."""
    return pa.schema([pa.field("nested", pa.struct(list(schema)))], schema.metadata)
