"""Daft: batch functions and row functions, in this process or with `use_process`. Arguments: the folder, `process` or `thread`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import daft
import pyarrow as pa
from daft import DataType

import functions
from functions import Case
from peers.base import ROWS, Peer, serve


class Functions:
    """What the others run, given what Daft gives."""

    @daft.method.batch(return_dtype=DataType.int64(), batch_size=ROWS)
    def plus_one(self, number: daft.Series) -> pa.Array:
        return functions.plus_one(number.to_arrow())

    @daft.method.batch(return_dtype=DataType.string(), batch_size=ROWS)
    def upper(self, text: daft.Series) -> pa.Array:
        return functions.upper(text.to_arrow())

    @daft.method(return_dtype=DataType.float64())
    def score(self, number: int, ratio: float, text: str) -> float | None:
        return functions.score(number, ratio, text)


class Daft(Peer):
    """A frame of Arrow data on Daft's native runner."""

    packages = ("daft", "pyarrow")
    functions = ("plus_one", "upper", "score")

    def __init__(self, use_process: bool) -> None:
        daft.set_runner_native()
        self.isolated = use_process
        self.settings = f"native runner, frame in memory, one instance, use_process={use_process}, batch_size={ROWS}"
        self._functions = daft.cls(Functions, use_process=use_process, max_concurrency=1)()

    def prepare(self, case: Case, batches: list[pa.RecordBatch]) -> daft.DataFrame:
        return daft.from_arrow(pa.Table.from_batches(batches)).collect()

    def results(self, case: Case, prepared: daft.DataFrame) -> Iterator[pa.RecordBatch]:
        columns = [prepared[name] for name in case.columns]
        return prepared.select(getattr(self._functions, case.name)(*columns).alias(case.name)).to_arrow_iter()


if __name__ == "__main__":
    serve(lambda: Daft(sys.argv[2] == "process"))
