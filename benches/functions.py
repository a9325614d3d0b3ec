"""The functions that every contestant runs, and what each one takes.

They are plain Python with type hints, so the same objects are called in process, imported by the
workers of the peers, and given to Transom by path.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc


def identity(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Gives back what it gets: what is left is the cost of the way there and back."""
    yield from batches


def plus_one(number: pa.Int64Array) -> pa.Int64Array:
    """One pass over fixed-width values: the cheapest function that does something."""
    return pc.add(number, 1)


def upper(text: pa.StringArray) -> pa.StringArray:
    """Variable-width in and out."""
    return pc.utf8_upper(text)


def score(number: int | None, ratio: float | None, text: str | None) -> float | None:
    """Python values, one row a call, three columns, any of them missing."""
    if number is None or ratio is None:
        return None
    return number * ratio + (len(text) if text is not None else 0)


def same(number: pa.Int64Array) -> pa.Int64Array:
    """Values as they came, by a function of arrays."""
    return number


def first_of_two(number: pa.Int64Array, ratio: pa.DoubleArray) -> pa.Int64Array:
    """As little as a function of two columns can do."""
    return number


@dataclass(frozen=True)
class Case:
    """A function with what a contestant has to know to call it."""

    name: str
    title: str
    kind: Literal["batches", "scalar", "row"]
    columns: tuple[str, ...]
    returns: pa.DataType | None = None

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The function called here, in this process, on a batch that has just its columns.

        The in-process contestant and the workers of the peers share it: what differs between them
        is only how the batch got there.
        """
        function = globals()[self.name]
        if self.kind == "batches":
            return next(function(iter((batch,))))
        if self.kind == "scalar":
            result = function(*batch.columns)
        else:
            values = map(function, *(column.to_pylist() for column in batch.columns))
            result = pa.array(list(values), self.returns)
        return pa.RecordBatch.from_arrays([result], [self.name])


CASES = {
    case.name: case
    for case in (
        Case("identity", "identity", "batches", ("number", "ratio", "text")),
        Case("plus_one", "plus one", "scalar", ("number",)),
        Case("upper", "upper-case", "scalar", ("text",)),
        Case("score", "row function", "row", ("number", "ratio", "text"), pa.float64()),
        Case("first_of_two", "the first of two columns", "scalar", ("number", "ratio")),
    )
}
# What every bench runs; the others are for single measurements.
STANDARD = ("identity", "plus_one", "upper", "score")
