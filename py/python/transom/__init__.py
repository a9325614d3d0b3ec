"""Runs user-defined functions over Arrow record batches in worker processes: isolated like a process, as cheap as a call.

>>> import pyarrow as pa, pyarrow.compute as pc, transom
>>> @transom.udf
... def plus_one(x: pa.Int64Array) -> pa.Int64Array:
...     return pc.add(x, 1)
>>> with transom.Pool(workers=2) as pool:
...     print(pool.call(plus_one, pa.array([1, 2, 3])).to_pylist())
[2, 3, 4]
"""

import importlib
from typing import TYPE_CHECKING, Any

from transom._errors import DeadlineExceeded, FunctionError, InvalidArgument, InvalidResult, SignatureError, TransomError, WorkerDied
from transom._native import __version__
from transom._udf import Udf, udf

if TYPE_CHECKING:
    from transom._foreign import ForeignFunction, java, native
    from transom._native import Batches
    from transom._pool import Pool
    from transom._replay import replay

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

#: What only hosts use, and where it is: a worker, whose start is waited for, does without.
_LATER = {
    "Batches": "_native",
    "ForeignFunction": "_foreign",
    "Pool": "_pool",
    "java": "_foreign",
    "native": "_foreign",
    "replay": "_replay",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
