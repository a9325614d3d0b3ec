"""`c/describe.c` by itself: arrays come to workers mostly without offsets, and whoever reads it to learn must find the offsets right everywhere."""

from __future__ import annotations

import ctypes
import json
from typing import Any

import pyarrow as pa
import pytest
from c_host import Structure
from compare import values
from drivers import C_WORKER, WORKERS, absent, built
from golden import Golden, catalogue
from steps import apply

GOLDENS = catalogue()
WORKER = next(worker for worker in WORKERS if worker.name == "C")
STEPS = [[], [["slice", 1, 2]], [["slice", 7, 2]], [["slice", 1, 8], ["nest"], ["slice", 1, 7]]]


class Text(ctypes.Structure):
    """`struct text` of describe.h."""

    _fields_ = (("data", ctypes.c_void_p), ("length", ctypes.c_size_t), ("capacity", ctypes.c_size_t), ("failure", ctypes.c_char_p))


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    reason = absent(WORKER)
    if reason is not None:
        pytest.skip(reason)
    built(WORKER)
    return ctypes.CDLL(str(C_WORKER))


def described_by_c(library: ctypes.CDLL, batch: pa.RecordBatch) -> list[Any]:
    """The rows of a batch, which is a struct array in the C data interface."""
    array, schema, rows = Structure(), Structure(), []
    batch._export_to_c(ctypes.addressof(array), ctypes.addressof(schema))
    for row in range(batch.num_rows):
        text = Text()
        library.describe_row(ctypes.byref(text), ctypes.byref(schema), ctypes.byref(array), ctypes.c_int64(row))
        assert text.failure is None, text.failure
        rows.append(json.loads(ctypes.string_at(text.data, text.length)))
        ctypes.CDLL(None).free(ctypes.c_void_p(text.data))
    # What is given back to pyarrow is released by it.
    pa.RecordBatch._import_from_c(ctypes.addressof(array), ctypes.addressof(schema))
    return rows


@pytest.mark.parametrize("golden", [golden for golden in GOLDENS if "depth_64" not in golden.extra], ids=lambda golden: golden.name)
def test_every_type_is_read_at_every_offset(library: ctypes.CDLL, golden: Golden) -> None:
    for batch in golden.batches:
        for steps in STEPS:
            if steps and batch.num_rows < steps[0][1] + steps[0][2]:
                continue
            given = apply(batch, steps, lambda batch: batch)
            assert described_by_c(library, given) == [list(row) for row in zip(*values(given), strict=True)] or not given.num_columns
