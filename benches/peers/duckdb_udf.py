"""DuckDB: functions over Arrow arrays, and over rows, in this process. DuckDB calls both with 2,048 rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import pyarrow as pa

import functions
from functions import CASES, Case
from peers.base import CPUS, ROWS, Peer, serve

TYPES = {"number": "BIGINT", "ratio": "DOUBLE", "text": "VARCHAR"}
RETURNS = {"plus_one": "BIGINT", "upper": "VARCHAR", "score": "DOUBLE"}


class DuckDb(Peer):
    """A table in memory, a function in SQL, a stream of batches out."""

    isolated = False
    settings = f"table in memory, 2,048 rows a call (fixed), {CPUS} threads, Arrow and native functions"
    packages = ("duckdb", "pyarrow")
    functions = ("plus_one", "upper", "score")

    def __init__(self) -> None:
        self._connection = duckdb.connect(config={"threads": CPUS})
        for name in self.functions:
            case = CASES[name]
            # By default a row with anything missing would not reach the function.
            kind = {"type": "native" if case.kind == "row" else "arrow", "null_handling": "special"}
            self._connection.create_function(
                f"python_{name}", getattr(functions, name), [TYPES[column] for column in case.columns], RETURNS[name], **kind
            )

    def prepare(self, case: Case, batches: list[pa.RecordBatch]) -> str:
        table = f"{case.name}_{len(batches)}"
        arguments = pa.Table.from_batches(batches)
        self._connection.register("arguments", arguments)
        self._connection.execute(f"CREATE TABLE {table} AS SELECT * FROM arguments")
        self._connection.unregister("arguments")
        return table

    def results(self, case: Case, prepared: Any) -> Iterator[pa.RecordBatch]:
        query = f"SELECT python_{case.name}({', '.join(case.columns)}) AS {case.name} FROM {prepared}"
        yield from self._connection.sql(query).to_arrow_reader(ROWS)

    def close(self) -> None:
        self._connection.close()


if __name__ == "__main__":
    serve(DuckDb)
