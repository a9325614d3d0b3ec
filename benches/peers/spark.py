"""PySpark on this machine, with one task at a time. Arguments: the folder, and which kind of function.

Spark's host is the JVM: arguments are cached there, and an aggregate reads every byte of every result there, in
the code that Spark compiles for it. To bring results to Python would cost more than many of the functions.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as sql

import functions
from functions import Case
from peers.base import ROWS, Peer, Reading, serve

SETTINGS = {
    "spark.sql.execution.arrow.maxRecordsPerBatch": ROWS,
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.inMemoryColumnarStorage.batchSize": ROWS,
    "spark.sql.inMemoryColumnarStorage.compressed": "false",
    "spark.sql.shuffle.partitions": 1,
    "spark.driver.memory": "3g",
    "spark.driver.maxResultSize": 0,
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}
RETURNS = {"plus_one": "bigint", "upper": "string", "score": "double"}


def plus_one(number: pd.Series) -> pd.Series:
    """For pandas; missing values make it a Series of floats, which is Spark's way."""
    return number + 1


def upper(text: pd.Series) -> pd.Series:
    """For pandas."""
    return text.str.upper()


class Spark(Peer):
    """One session with one Python worker, which Spark keeps."""

    isolated = True
    packages = ("pyspark", "pandas", "pyarrow")

    def __init__(self, form: str) -> None:
        home = java_home()
        if home is None:
            raise RuntimeError("there is no Java: install a JDK 17 or 21, or set JAVA_HOME")
        os.environ["JAVA_HOME"] = home
        self.form = form
        self.functions = ("score",) if form in ("udf", "udf_arrow") else ("plus_one", "upper")
        self.settings = f"local[1], cached in the JVM, results read by an aggregate there, maxRecordsPerBatch {ROWS}"
        # The workers are this Python, and find `functions` where this process does.
        os.environ["PYSPARK_PYTHON"] = sys.executable
        os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
        builder = SparkSession.builder.master("local[1]")
        for name, value in SETTINGS.items():
            builder = builder.config(name, value)
        self._session = builder.getOrCreate()
        self._session.sparkContext.setLogLevel("ERROR")

    def prepare(self, case: Case, batches: list[pa.RecordBatch]) -> DataFrame:
        frame = self._session.createDataFrame(pa.Table.from_batches(batches)).coalesce(1).cache()
        frame.count()
        return frame

    def results(self, case: Case, prepared: DataFrame) -> Iterator[pa.RecordBatch]:
        yield from self._result(case, prepared).toArrow().to_batches()

    def read(self, case: Case, prepared: DataFrame) -> Reading:
        result = sql.col(case.name)
        summed = {"plus_one": sql.bit_xor(result), "upper": sql.sum(sql.crc32(result)), "score": sql.sum(result)}[case.name]
        size = sql.octet_length(result) if case.name == "upper" else sql.when(result.isNotNull(), 8)
        row = self._result(case, prepared).agg(sql.count(sql.lit(1)), sql.sum(size), summed).first()
        return Reading(row[0], row[1], 0)

    def _result(self, case: Case, frame: DataFrame) -> DataFrame:
        returns = RETURNS[case.name]
        if self.form == "map_in_arrow":

            def apply(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
                return map(case.apply, batches)

            return frame.mapInArrow(apply, f"{case.name} {returns}")
        makers: dict[str, Callable[[], Any]] = {
            "pandas_udf": lambda: sql.pandas_udf({"plus_one": plus_one, "upper": upper}[case.name], returns),
            "arrow_udf": lambda: sql.arrow_udf(array_function(case), returns),
            "udf": lambda: sql.udf(functions.score, returns, useArrow=False),
            "udf_arrow": lambda: sql.udf(functions.score, returns, useArrow=True),
        }
        columns: list[Column] = [sql.col(name) for name in case.columns]
        return frame.select(makers[self.form]()(*columns).alias(case.name))

    def close(self) -> None:
        self._session.stop()


def array_function(case: Case) -> Callable[[pa.Array], pa.Array]:
    """The function with the type hints that Spark asks for."""
    function = getattr(functions, case.name)

    def apply(column: pa.Array) -> pa.Array:
        return function(column)

    apply.__annotations__ = {"column": pa.Array, "return": pa.Array}
    return apply


def java_home() -> str | None:
    """Where Java lies: as the environment says, where the program on the path leads to, or a usual place for a version that Spark knows."""
    if home := os.environ.get("JAVA_HOME"):
        return home
    homes = [path for version in (17, 21) for path in sorted(Path("/usr/lib/jvm").glob(f"*{version}*")) if (path / "bin" / "java").exists()]
    if homes:
        return str(homes[0])
    program = shutil.which("java")
    return str(Path(program).resolve().parent.parent) if program else None


if __name__ == "__main__":
    serve(lambda: Spark(sys.argv[2]))
