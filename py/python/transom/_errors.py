"""Errors: each has a stable code, a place and, where there is one, a next step."""

from __future__ import annotations

import os
from typing import Any

from transom._text import cap

__all__ = ["DeadlineExceeded", "FunctionError", "InvalidArgument", "InvalidResult", "SignatureError", "TransomError", "WorkerDied"]

#: The codes that the Python side gives by itself. The registry of all of them is in the core (`failure/code.rs`).
CODES = {
    "FUNCTION_NOT_FOUND": 1101,
    "FUNCTION_IMPORT_FAILED": 1102,
    "FUNCTION_NOT_CALLABLE": 1103,
    "FUNCTION_SIGNATURE": 1104,
    "CANCELLED": 2112,
    "FUNCTION_RAISED": 3001,
    "FUNCTION_EXIT": 3002,
    "WRONG_LENGTH": 4001,
    "WRONG_TYPE": 4002,
    "NOT_ARROW": 4003,
    "INVALID_DATA": 4004,
    "BAD_SCHEMA": 4006,
    "COLUMN_NOT_FOUND": 6001,
    "WRONG_ARGUMENTS": 6002,
    "ARGUMENT_TYPE": 6003,
    "ARGUMENT_LENGTH": 6004,
    "SOURCE_FAILED": 6005,
    "BAD_OPTION": 6006,
    "SCHEMA_MISMATCH": 6007,
    "INTERNAL": 9001,
}


class TransomError(Exception):
    """Base of all of Transom's errors. ``str(error)`` tells the whole story; the attributes give its parts."""

    #: The stable code, such as ``"TRN-3001"``.
    code: str
    #: Its name, such as ``"FUNCTION_RAISED"``.
    code_name: str
    #: What happened, in one sentence.
    message: str
    #: The name of the function concerned.
    function: str | None
    #: The number of the batch in its stream, counted from 0.
    batch: int | None
    #: The rows of the stream that are concerned, counted from 0.
    rows: range | None
    #: The type of the exception that the function raised, such as ``"ValueError"``.
    remote_type: str | None
    #: That exception's message.
    remote_message: str | None
    #: Its traceback in the worker, cut to the user's frames; of a worker that died, its stack.
    remote_traceback: str | None
    #: The stack that the worker wrote when it died, in its own language.
    stack: str | None
    #: The last lines that the worker printed, where it died.
    output: list[str]
    #: The folder in which the input that failed was saved, where `Pool(capsules=…)` asks for that; for `transom.replay`.
    capsule: str | None
    #: The worker that died: its number and its process.
    worker: str | None
    #: What to do next.
    hint: str | None

    def __init__(
        self,
        message: str,
        *,
        code: str = "INTERNAL",
        number: int | None = None,
        function: str | None = None,
        batch: int | None = None,
        rows: range | None = None,
        remote_type: str | None = None,
        remote_message: str | None = None,
        remote_traceback: str | None = None,
        stack: str | None = None,
        output: list[str] | None = None,
        capsule: str | os.PathLike[str] | None = None,
        worker: str | None = None,
        hint: str | None = None,
        text: str | None = None,
    ) -> None:
        number = CODES.get(code, 9001) if number is None else number
        self.code = f"TRN-{number}"
        self.code_name = code
        self.message = cap(message)
        self.function = function
        self.batch = batch
        self.rows = rows
        self.remote_type = remote_type
        self.remote_message = remote_message
        self.remote_traceback = remote_traceback
        self.stack = stack
        self.output = output or []
        self.capsule = None if capsule is None else os.fspath(capsule)
        self.worker = worker
        self.hint = None if hint is None else cap(hint)
        super().__init__(text or self._text())

    def _text(self) -> str:
        lines = [f"{self.code} {self.code_name}: {self.message}"]
        if self.function is not None:
            lines.append(f"  in function `{self.function}`")
        if self.hint is not None:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)

    def _in(self, function: str) -> TransomError:
        """Names the function that was to be called, in an error that the Python side made by itself."""
        if self.function is None:
            self.function = function
            self.args = (self._text(),)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, dict(self.__dict__))


class FunctionError(TransomError):
    """The function raised an exception: ``remote_type``, ``remote_message`` and ``remote_traceback`` say which."""


class WorkerDied(TransomError):
    """The worker process ended, or was ended, while it ran the function."""


class DeadlineExceeded(TransomError):
    """The function took longer than its deadline; its worker was ended."""


class InvalidResult(TransomError):
    """What the function returned has the wrong length or type, is not Arrow data, or does not hold together."""


class SignatureError(TransomError, TypeError):
    """The function cannot be used as it is defined: a hint is missing, or has no Arrow type."""


class InvalidArgument(TransomError, ValueError):
    """What the caller gave does not fit: a column is missing, lengths differ, an option has an impossible value."""


for _name in __all__:
    globals()[_name].__module__ = "transom"


def _class_of(number: int) -> type[TransomError]:
    if number == 1104:
        return SignatureError
    if number == 2107:
        return DeadlineExceeded
    if number in (2101, 2104, 2105, 2108, 2113):
        return WorkerDied
    return {3: FunctionError, 4: InvalidResult, 6: InvalidArgument}.get(number // 1000, TransomError)


def _make(number: int, name: str, message: str, text: str, **places: Any) -> TransomError:
    """The exception for an error of the core; called by the native side."""
    rows = places.pop("rows", None)
    return _class_of(number)(message, code=name, number=number, text=text, rows=None if rows is None else range(*rows), **places)


def _restore(kind: type[TransomError], args: tuple[Any, ...], state: dict[str, Any]) -> TransomError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error
