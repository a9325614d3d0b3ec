"""The Python functions that the examples call."""

import pyarrow as pa
import pyarrow.compute as pc
import transom


@transom.udf
def twice(x: pa.Array) -> pa.Array:
    return pc.multiply(x, 2)


@transom.udf
def ratio(x: int) -> int:
    return 1000 // x
