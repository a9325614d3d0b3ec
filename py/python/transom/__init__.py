"""Runs user-defined functions over Arrow record batches in worker processes: isolated like a process, as cheap as a call.

>>> import pyarrow as pa, pyarrow.compute as pc, transom
>>> @transom.udf
... def plus_one(x: pa.Int64Array) -> pa.Int64Array:
...     return pc.add(x, 1)
>>> with transom.Pool(workers=2) as pool:
...     print(pool.call(plus_one, pa.array([1, 2, 3])).to_pylist())
[2, 3, 4]
"""

from transom._errors import DeadlineExceeded, FunctionError, InvalidArgument, InvalidResult, SignatureError, TransomError, WorkerDied
from transom._foreign import ForeignFunction, java, native
from transom._native import Batches, __version__
from transom._pool import Pool
from transom._replay import replay
from transom._udf import Udf, udf

__all__ = [
    "Batches",
    "DeadlineExceeded",
    "ForeignFunction",
    "FunctionError",
    "InvalidArgument",
    "InvalidResult",
    "Pool",
    "SignatureError",
    "TransomError",
    "Udf",
    "WorkerDied",
    "__version__",
    "java",
    "native",
    "replay",
    "udf",
]
