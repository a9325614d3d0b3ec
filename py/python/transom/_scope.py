"""The names that annotations written as strings may use."""

from __future__ import annotations

import builtins
import inspect
import sys
from types import FrameType
from typing import Any


class Scope(dict[str, Any]):
    """Local names for evaluating an annotation: a function's closure first, then the locals of the place where the decorator stands.

    Those are read only when an annotation needs them: reading a frame's locals keeps all of them alive as long as the frame.
    """

    def __init__(self, function: Any, frame: FrameType | None = None) -> None:
        super().__init__(_closure(function))
        self.function_globals: dict[str, Any] = getattr(function, "__globals__", {})
        self.globals = self.function_globals
        self.frame = frame

    def inside(self, cls: type) -> Scope:
        """The names that a class's annotations may use: itself and its module's before those of the function."""
        inner = Scope.__new__(Scope)
        dict.update(inner, self)
        inner[cls.__name__] = cls
        inner.function_globals, inner.frame = self.function_globals, self.frame
        inner.globals = vars(sys.modules.get(cls.__module__, builtins))
        return inner

    def __missing__(self, name: str) -> Any:
        if name in self.globals or hasattr(builtins, name):
            raise KeyError(name)  # found there by whoever evaluates
        if name in self.function_globals:
            return self.function_globals[name]
        return _locals(self.frame)[name]


def _closure(function: Any) -> dict[str, Any]:
    code, cells = (getattr(function, "__code__", None), getattr(function, "__closure__", None))
    found = {}
    for name, cell in zip(code.co_freevars if code else (), cells or (), strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not filled yet
            continue
    return found


def _locals(frame: FrameType | None) -> dict[str, Any]:
    if frame is None:
        return {}
    seen = frame.f_locals
    found = dict(seen)
    if type(seen) is dict and frame.f_code.co_flags & inspect.CO_OPTIMIZED:
        # Up to Python 3.12 this is a copy that the frame keeps, and with it what the function deletes later. It is made anew when it is asked for.
        seen.clear()
    return found
