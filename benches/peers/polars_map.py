"""polars: `map_batches`, which calls a function with a whole column, and `map_elements`, row by row; both in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import polars
import pyarrow as pa

import functions
from functions import Case
from peers.base import Peer, serve

# In polars' own terms: what it hands to a function is a Series.
COLUMNS: dict[str, Callable[[polars.Series], polars.Series]] = {
    "plus_one": lambda number: number + 1,
    "upper": lambda text: text.str.to_uppercase(),
}


class Polars(Peer):
    """A frame in memory; the result is a frame, read where it lies."""

    isolated = False
    settings = "frame in memory, the whole column a call (fixed), functions of polars"
    packages = ("polars",)
    functions = ("plus_one", "upper", "score")

    def prepare(self, case: Case, batches: list[pa.RecordBatch]) -> polars.LazyFrame:
        return polars.from_arrow(pa.Table.from_batches(batches)).lazy()

    def results(self, case: Case, prepared: polars.LazyFrame) -> Iterator[pa.RecordBatch]:
        if case.kind == "row":
            expression = polars.struct(case.columns).map_elements(score, return_dtype=polars.Float64, skip_nulls=False)
        else:
            returns = {"plus_one": polars.Int64, "upper": polars.String}[case.name]
            expression = polars.col(case.columns[0]).map_batches(COLUMNS[case.name], return_dtype=returns)
        frame = prepared.select(expression.alias(case.name)).collect()
        # As polars has it, without a copy.
        yield from frame.to_arrow(compat_level=polars.CompatLevel.newest()).to_batches()


def score(row: dict[str, Any]) -> float | None:
    """The row function; polars gives a dictionary."""
    return functions.score(row["number"], row["ratio"], row["text"])


if __name__ == "__main__":
    serve(Polars)
