"""Rows for which a function failed, in a batch that goes on without them."""

from __future__ import annotations

from transom._errors import CODES
from transom._failures import cap, kind_of, render, text_of

#: Bytes of one row's message, and of all that are different.
MESSAGE_LIMIT = 512
TEXT_LIMIT = 256 << 10
_TOO_MANY = "its message is not kept, since so many rows failed"


class Suppressed:
    """The failed rows of one batch, each with its cause. Rows that failed alike share one, so what the host is told stays small."""

    def __init__(self) -> None:
        self.rows: dict[int, int] = {}
        self._causes: list[tuple[int, str, str, str, None, None]] = []
        self._numbers: dict[tuple[str, str, str], int] = {}
        self._room = TEXT_LIMIT

    def raised(self, row: int, error: BaseException) -> None:
        """The function raised for this row."""
        code = "FUNCTION_EXIT" if isinstance(error, SystemExit) else "FUNCTION_RAISED"
        self._note(row, code, cap(kind_of(error), MESSAGE_LIMIT), text_of(error), error)

    def unfit(self, row: int, reason: str) -> None:
        """What the function gave for this row does not fit."""
        self._note(row, "INVALID_DATA", "", reason, None)

    def _note(self, row: int, code: str, kind: str, message: str, error: BaseException | None) -> None:
        message = cap(message, MESSAGE_LIMIT) if self._room > 0 else _TOO_MANY
        number = self._numbers.get((code, kind, message))
        if number is None:
            number = self._numbers[code, kind, message] = len(self._causes)
            self._room -= len(message.encode())
            shown = "" if self._causes or error is None else render(error)
            self._causes.append((CODES[code], kind, message, shown, None, None))
        self.rows[row] = number

    def parts(self) -> tuple[list[tuple[int, str, str, str, None, None]], list[tuple[int, int]]]:
        """For the native side: the causes, and the rows in order, each with its cause's number."""
        return self._causes, sorted(self.rows.items())
