"""datafusion-python: a function over Arrow arrays, in this process. It has no functions over rows."""

from __future__ import annotations

from collections.abc import Iterator

import datafusion
import pyarrow as pa

import functions
from functions import Case
from peers.base import ROWS, Peer, serve


class DataFusion(Peer):
    """Batches registered as a table, a stream of batches out."""

    isolated = False
    settings = f"table of Arrow batches, {ROWS} rows a batch, one partition"
    packages = ("datafusion", "pyarrow")
    functions = ("plus_one", "upper")

    def __init__(self) -> None:
        config = datafusion.SessionConfig().with_batch_size(ROWS).with_target_partitions(1)
        self._context = datafusion.SessionContext(config)
        self._context.register_udf(datafusion.udf(functions.plus_one, [pa.int64()], pa.int64(), "immutable", "plus_one"))
        self._context.register_udf(datafusion.udf(functions.upper, [pa.utf8()], pa.utf8(), "immutable", "upper_case"))

    def prepare(self, case: Case, batches: list[pa.RecordBatch]) -> str:
        table = f"{case.name}_{len(batches)}"
        self._context.register_record_batches(table, [batches])
        return table

    def results(self, case: Case, prepared: str) -> Iterator[pa.RecordBatch]:
        function = {"plus_one": "plus_one", "upper": "upper_case"}[case.name]  # `upper` is DataFusion's own
        query = f"SELECT {function}({case.columns[0]}) AS result FROM {prepared}"
        return (batch.to_pyarrow() for batch in self._context.sql(query).execute_stream())


if __name__ == "__main__":
    serve(DataFusion)
