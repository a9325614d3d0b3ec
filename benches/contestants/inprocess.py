"""The same function called here: no second process, no copy, no isolation. What the others are measured against."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from contestants.base import Contestant, serve
from functions import Case


class InProcess(Contestant):
    """Calls the function."""

    _case: Case

    def stream(self, case: Case, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return map(case.apply, batches)

    def open_calls(self, case: Case, schema: pa.Schema) -> None:
        self._case = case

    def call(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return self._case.apply(batch)


if __name__ == "__main__":
    serve(InProcess())
