"""The decorator `udf` and the functions that it makes."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from datetime import timedelta
from types import FrameType
from typing import Any, Generic, ParamSpec, TypeVar, overload

from transom._errors import SignatureError
from transom._signature import Signature, analyse, name_of

P = ParamSpec("P")
R = TypeVar("R")


class Udf(Generic[P, R]):
    """A user-defined function with its signature and policies. Calling it calls the plain function, in this process."""

    #: The plain function, class or object.
    function: Any
    #: Its kind, parameters and result.
    signature: Signature
    #: The longest that one batch may take, in seconds; None leaves it to the pool.
    deadline: float | None
    #: How often a batch is tried again after its worker died.
    retries: int
    #: What becomes of rows for which the function fails: "raise", "null" or "dead_letter".
    on_error: str
    #: Whether the same rows give the same results, so that they may be run again.
    deterministic: bool

    def __init__(
        self,
        function: Any,
        signature: Signature,
        deadline: float | None = None,
        retries: int = 0,
        on_error: str = "raise",
        deterministic: bool = True,
    ) -> None:
        functools.update_wrapper(self, function, updated=())
        self.__name__ = signature.name
        self.function = function
        self.signature = signature
        self.deadline = deadline
        self.retries = retries
        self.on_error = on_error
        self.deterministic = deterministic

    @property
    def kind(self) -> str:
        """How the function sees data: "scalar", "row" or "batches"."""
        return self.signature.kind

    @property
    def name(self) -> str:
        """The function's name; the result column of scalar and row functions bears it."""
        return self.signature.name

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.callable()(*args, **kwargs)

    def callable(self) -> Callable[P, R]:
        """What is called: the function, or the one object made of a class in this process."""
        if not isinstance(self.function, type):
            return self.function
        made = self.__dict__.get("_made")
        if made is None:
            made = self.__dict__["_made"] = self.function()
        return made

    def __repr__(self) -> str:
        return f"<transom.Udf {self.name} ({self.kind})>"

    def __reduce__(self) -> tuple[Any, ...]:
        # The signature goes along: string hints could not be read again where their names are not known.
        return Udf, (self.function, self.signature, self.deadline, self.retries, self.on_error, self.deterministic)


@overload
def udf(function: Callable[P, R], /) -> Udf[P, R]: ...
@overload
def udf(
    function: Callable[P, R],
    /,
    *,
    kind: str | None = None,
    returns: Any = None,
    args: Any = None,
    deadline: float | timedelta | None = None,
    retries: int = 0,
    on_error: str = "raise",
    deterministic: bool = True,
) -> Udf[P, R]: ...
@overload
def udf(
    *,
    kind: str | None = None,
    returns: Any = None,
    args: Any = None,
    deadline: float | timedelta | None = None,
    retries: int = 0,
    on_error: str = "raise",
    deterministic: bool = True,
) -> Callable[[Callable[P, R]], Udf[P, R]]: ...
def udf(
    function: Any = None,
    /,
    *,
    kind: str | None = None,
    returns: Any = None,
    args: Any = None,
    deadline: float | timedelta | None = None,
    retries: int = 0,
    on_error: str = "raise",
    deterministic: bool = True,
) -> Any:
    """Makes a function, a class with ``__call__`` or a callable object a user-defined function.

    Usable bare (``@transom.udf``) and with arguments.

    kind: "scalar" (arrays in, one array out), "row" (one row's values in, one value out) or "batches" (an iterator of
        record batches in, one out). Read from the hints where it is not given.
    returns: the type of the result, where the hint does not say it: a ``pa.DataType``, a ``pa.Field``, an alias such as
        "int64"; a ``pa.Schema`` for batches functions.
    args: the types of the parameters, likewise: a list in their order, or a dict by their names.
    deadline: the longest that one batch may take, in seconds or as a timedelta. Its worker is ended then.
    retries: how often a batch is tried again after its worker died. Only for functions that may see a row twice.
    on_error: what becomes of rows for which the function raises or gives a value that does not fit: "raise" (the batch fails), "null" (their
        results are null) or "dead_letter" (they are taken out of the results and kept apart with the reason, also where the function kills
        its worker). For scalar functions the rows are found by running parts of the batch again, so each row's result must depend on that
        row alone. Not for batches functions.
    deterministic: whether the same rows give the same results. A function that says no is never run again on rows that it has seen.

    Raises SignatureError (a TypeError) where the hints do not say the Arrow types.
    """
    frame = sys._getframe(1)
    if function is None:
        return lambda found: _make(found, frame, kind, returns, args, deadline, retries, on_error, deterministic)
    return _make(function, frame, kind, returns, args, deadline, retries, on_error, deterministic)


def _make(
    function: Any,
    frame: FrameType | None,
    kind: Any,
    returns: Any,
    args: Any,
    deadline: Any,
    retries: Any,
    on_error: Any = "raise",
    deterministic: Any = True,
) -> Udf[Any, Any]:
    if isinstance(function, Udf):
        function = function.function
    name = name_of(function)
    if not isinstance(retries, int) or isinstance(retries, bool) or retries < 0:
        raise SignatureError(f"`{name}`: retries is {retries!r}", code="FUNCTION_SIGNATURE", function=name, hint="write a number of times, such as 2")
    try:
        seconds = deadline_seconds(deadline)
    except ValueError as error:
        raise SignatureError(f"`{name}`: {error}", code="FUNCTION_SIGNATURE", function=name) from None
    signature = analyse(function, kind=kind, args=args, returns=returns, frame=frame)
    objection = _objection(signature, retries, on_error, deterministic)
    if objection is not None:
        raise SignatureError(f"`{name}`: {objection}", code="FUNCTION_SIGNATURE", function=name)
    return Udf(function, signature, seconds, retries, on_error, deterministic)


#: What may become of rows for which a function fails.
ON_ERROR = ("raise", "null", "dead_letter")


def _objection(signature: Signature, retries: int, on_error: Any, deterministic: Any) -> str | None:
    """Why the function cannot be run under these policies. The core asks the same of functions of every language."""
    if not isinstance(deterministic, bool):
        return f"deterministic is {deterministic!r}, and True or False is needed"
    if retries and not deterministic:
        return "it is not deterministic, so it cannot have retries"
    if on_error not in ON_ERROR:
        return f"on_error is {on_error!r}, and {' or '.join(map(repr, ON_ERROR))} is needed"
    if on_error == "raise":
        return None
    if signature.kind == "batches":
        return "no row of its input is to blame for what a batches function raises, so on_error can only be 'raise'"
    if signature.kind == "scalar" and not deterministic:
        return "which rows of a batch fail is found by running parts of it again, so without deterministic=True on_error can only be 'raise'"
    schema = signature.schema()
    if on_error == "null" and schema is not None and not schema.field(0).nullable:
        return "its result is declared without nulls, so failing rows cannot be null"
    return None


def deadline_seconds(deadline: Any) -> float | None:
    """A deadline in seconds, from seconds or a timedelta. Raises ValueError for what is no time span."""
    if deadline is None:
        return None
    if isinstance(deadline, timedelta):
        deadline = deadline.total_seconds()
    if isinstance(deadline, bool) or not isinstance(deadline, (int, float)) or not 0 < deadline < float("inf"):
        raise ValueError(f"deadline is {deadline!r}, and a number of seconds above 0 is needed")
    return float(deadline)
