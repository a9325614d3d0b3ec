"""Ray Data: `map_batches`, and `map` for rows. Arguments lie in Ray's object store beforehand, results are read there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray.data import DataContext, TaskPoolStrategy

import functions
from functions import CASES, Case
from peers.base import ROWS, Peer, serve

BATCHES_A_BLOCK = 10  # so that scheduling a block costs little of what is in it
ONE = TaskPoolStrategy(size=1)  # one at a time; Ray keeps the worker process for the next


class RayData(Peer):
    """A Ray node on this machine."""

    isolated = True
    settings = f"one task at a time, {BATCHES_A_BLOCK} batches a block in the object store, batch_format pyarrow, batch_size {ROWS}, zero_copy_batch"
    packages = ("ray", "pyarrow")
    functions = ("plus_one", "upper", "score")

    def __init__(self) -> None:
        os.environ["RAY_DATA_DISABLE_PROGRESS_BARS"] = "1"
        ray.init(num_cpus=2, object_store_memory=3 << 30, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        context = DataContext.get_current()
        context.enable_progress_bars = False
        context.execution_options.preserve_order = True

    def prepare(self, case: Case, batches: list[pa.RecordBatch]) -> ray.data.Dataset:
        blocks = (batches[start : start + BATCHES_A_BLOCK] for start in range(0, len(batches), BATCHES_A_BLOCK))
        return ray.data.from_arrow([pa.Table.from_batches(block).combine_chunks() for block in blocks])

    def results(self, case: Case, prepared: ray.data.Dataset) -> Iterator[pa.RecordBatch]:
        if case.kind == "row":
            mapped = prepared.map(score, compute=ONE)
        else:
            mapped = prepared.map_batches(
                apply, fn_args=(case.name,), batch_format="pyarrow", batch_size=ROWS, zero_copy_batch=True, compute=ONE, udf_modifying_row_count=False
            )
        for table in mapped.iter_batches(batch_format="pyarrow", batch_size=None):
            yield from table.to_batches()

    def close(self) -> None:
        ray.shutdown()


def apply(table: pa.Table, name: str) -> pa.Table:
    """The function over what Ray hands out."""
    return pa.Table.from_batches([CASES[name].apply(batch) for batch in table.to_batches()])


def score(row: dict[str, Any]) -> dict[str, float | None]:
    """The row function; Ray gives a dictionary and wants one."""
    return {"score": functions.score(row["number"], row["ratio"], row["text"])}


if __name__ == "__main__":
    serve(RayData)
