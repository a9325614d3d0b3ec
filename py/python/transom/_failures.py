"""A failure in a worker as text: nothing of the worker's is ever unpickled in the host."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from typing import Any

from transom._errors import CODES, TransomError
from transom._text import TRACEBACK_LIMIT, cap, clean

# Of a very deep stack (endless recursion) the ends tell the story.
_FRAMES_AT_AN_END = 20
_CAUSES = 10
#: The most bytes of an exception's type, which stands before its message.
KIND_LIMIT = 256

_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep


class Failure(Exception):
    """What the host is told: a code, the exception's type, message and traceback, the row to blame, what to do."""

    def __init__(self, code: str, message: str, *, kind: str = "", traceback: str = "", row: int | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.number = CODES[code]
        self.kind = cap(kind, KIND_LIMIT)
        self.message = cap(message)
        self.traceback = traceback
        self.row = row
        self.hint = None if hint is None else cap(hint)

    def parts(self) -> tuple[int, str, str, str, int | None, str | None]:
        """For the native side, in its order."""
        return self.number, self.kind, self.message, self.traceback, self.row, self.hint


class Interrupted(BaseException):
    """Raised in a batches function where its input ends otherwise than by its end: the source failed, or nobody wants the results.

    Not an Exception, so that a function's own `except Exception` does not take it for the function's affair.
    """

    def __init__(self, number: int, kind: str, message: str, traceback: str, row: int | None, hint: str | None) -> None:
        super().__init__(message)
        self.reported = (number, kind, message, traceback, row, hint)


#: Hears of every exception that the user's code raised, with its frames: for a debugger. The host gets text alone.
watch: Callable[[BaseException], None] | None = None


def report(error: BaseException) -> tuple[int, str, str, str, int | None, str | None]:
    """What the native side tells the host of any exception that came out of this package."""
    if isinstance(error, Interrupted):
        return error.reported
    if isinstance(error, (KeyboardInterrupt, SystemExit, MemoryError)):
        error = raised(error)
    if isinstance(error, TransomError):  # the native side's own: what users raise has become a Failure before
        error = Failure(error.code_name, error.message, hint=error.hint)
    return (error if isinstance(error, Failure) else internal(error)).parts()


def raised(error: BaseException, *, row: int | None = None, code: str | None = None, message: str | None = None) -> BaseException:
    """The report on an exception that the user's code raised, whatever it is, to be raised instead of it."""
    if isinstance(error, (Failure, Interrupted)):
        return error
    if watch is not None:
        watch(error)
    hint = error.hint if isinstance(error, TransomError) else None
    if code is None:
        code = "FUNCTION_EXIT" if isinstance(error, SystemExit) else "FUNCTION_RAISED"
    if code == "FUNCTION_EXIT":
        hint = "a function must not end its process: return a value, or raise an exception"
    said = text_of(error)
    return Failure(code, said if message is None else message, kind=kind_of(error), traceback=render(error), row=row, hint=hint)


def internal(error: BaseException) -> Failure:
    """The report on a defect of Transom itself."""
    shown = cap("".join(traceback.format_exception(error)), TRACEBACK_LIMIT)
    return Failure("INTERNAL", text_of(error), kind=kind_of(error), traceback=shown)


def kind_of(error: BaseException) -> str:
    """The exception's type as a traceback names it."""
    cls = type(error)
    try:
        module, name = str(cls.__module__), str(cls.__qualname__)
    except BaseException:
        return "an exception without a name"
    name = name.rpartition("<locals>.")[2]
    return clean(name if module in ("builtins", "__main__") or module.startswith("_transom_file_") else f"{module}.{name}")


def text_of(error: BaseException) -> str:
    """The exception's message, even where making it fails. Of Transom's own, which tell a story of many lines, the first."""
    if isinstance(error, TransomError):
        return cap(f"{error.code} {error.code_name}: {error.message}")
    try:
        text = str(error)
    except BaseException as second:
        return f"<its message cannot be shown: __str__ raised {type(second).__name__}>"
    return cap(text)


def render(error: BaseException) -> str:
    """The traceback as Python shows it, causes included, without Transom's own frames."""
    blocks: list[str] = []
    seen: set[int] = set()
    here: BaseException | None = error
    joined = ""
    while here is not None and id(here) not in seen and len(blocks) < _CAUSES:
        seen.add(id(here))
        blocks.append(_block(here) + joined)
        if here.__cause__ is not None:
            here, joined = (here.__cause__, "\nThe above exception was the direct cause of the following exception:\n")
        elif here.__context__ is not None and not here.__suppress_context__:
            here, joined = (here.__context__, "\nDuring handling of the above exception, another exception occurred:\n")
        else:
            here = None
    text = "\n".join(reversed(blocks))
    if len(text) > TRACEBACK_LIMIT:
        # The exception itself stands at the end, so the end is what must stay.
        text = "… (the beginning is cut off)\n" + clean(text)[-(TRACEBACK_LIMIT // 2) :]
    return cap(text, TRACEBACK_LIMIT)


def _block(error: BaseException) -> str:
    frames = _frames(error)
    head = "Traceback (most recent call last):\n" + "".join(frames) if frames else ""
    lines = [f"{kind_of(error)}: {text_of(error)}".removesuffix(": ")]
    if isinstance(error, SyntaxError):
        lines = ["".join(traceback.format_exception_only(error)).rstrip("\n")]
    notes = getattr(error, "__notes__", None)
    if isinstance(notes, list):
        lines += [cap(note) for note in notes if isinstance(note, str)]
    parts = getattr(error, "exceptions", None)
    if isinstance(parts, tuple):
        for number, part in enumerate(parts[:_CAUSES], 1):
            if isinstance(part, BaseException):
                lines += [f"  {number}: {line}" if i == 0 else f"     {line}" for i, line in enumerate(_block(part).splitlines())]
    return clean(head + "\n".join(lines))


def _frames(error: BaseException) -> list[str]:
    count, walk = 0, error.__traceback__
    while walk is not None:
        count, walk = count + 1, walk.tb_next
    try:
        if count <= 4 * _FRAMES_AT_AN_END:
            return _formatted(traceback.extract_tb(error.__traceback__))
        first = _formatted(traceback.extract_tb(error.__traceback__, limit=_FRAMES_AT_AN_END))
        last = _formatted(traceback.extract_tb(error.__traceback__, limit=-_FRAMES_AT_AN_END))
        return [*first, f"  … {count - 2 * _FRAMES_AT_AN_END} frames more …\n", *last]
    except Exception:  # a source file in an odd encoding, a loader that fails: the message is worth more than the frames
        return []


def _formatted(frames: Any) -> list[str]:
    users = [frame for frame in frames if not is_own(frame.filename)]
    return traceback.StackSummary.from_list(users).format()


def is_own(filename: str) -> bool:
    """Whether code of this file is Transom's, or Python's machinery for imports."""
    return filename.startswith((_HERE, "<frozen importlib"))
