"""What an object that keeps another is called, and the line that makes it do so."""

from __future__ import annotations

import dis
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from types import CodeType, CoroutineType, FrameType, FunctionType, GeneratorType, ModuleType
from typing import Any

_HOME = os.path.dirname(os.path.abspath(__file__))
#: Methods by which something gets into a container.
_INTO = {"add", "append", "appendleft", "extend", "insert", "put", "put_nowait", "setdefault", "update", "__setitem__"}
_GLOBAL = {"LOAD_GLOBAL", "STORE_GLOBAL", "LOAD_NAME"}
_ATTRIBUTE = {"LOAD_ATTR", "STORE_ATTR", "LOAD_METHOD"}
_VARIABLE = {"LOAD_DEREF", "STORE_DEREF", "LOAD_FAST", "STORE_FAST"}


def name(parent: Any, child: Any, below: Any, objects: list[Any]) -> str | None:
    """What `parent` calls `child`, with the line, or None where it has no name for it and the way goes on up.

    below: what `child` leads to, itself on the way to what is kept.
    objects: all objects, to find functions in.
    """
    if isinstance(parent, dict):
        return _global(parent, child, objects) if "__name__" in parent and "__builtins__" in parent else None
    if isinstance(parent, FunctionType):
        return _of_function(parent, child, below)
    if isinstance(parent, (GeneratorType, CoroutineType)):
        frame = parent.gi_frame if isinstance(parent, GeneratorType) else parent.cr_frame
        return None if frame is None or is_library(frame.f_globals.get("__name__", "")) else _local(frame, child)
    if isinstance(parent, type):
        return _attribute(vars(parent), child, below, f"class attribute `{{}}` of `{parent.__qualname__}`", parent)
    if isinstance(parent, ModuleType) or is_library(type(parent).__module__):
        return None
    slots = (slot for kind in type(parent).__mro__ for slot in _slots(kind))
    own = {**getattr(parent, "__dict__", {}), **{slot: getattr(parent, slot, None) for slot in slots}}
    return _attribute(own, child, below, "attribute `{}`", type(parent))


def _slots(kind: type) -> Iterable[str]:
    slots = kind.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else slots


def _of(names: Any, *wanted: Any) -> str | None:
    return next((str(key) for key, value in names.items() if any(value is one for one in wanted if one is not None)), None)


def _global(names: dict[str, Any], child: Any, objects: list[Any]) -> str | None:
    called = _of(names, child)
    if called is None:
        return None
    codes = [found.__code__ for found in objects if type(found) is FunctionType and found.__globals__ is names]
    line = _mention(codes, called, _GLOBAL)
    return f"{line}: global `{called}`" if line else f"global `{called}` of module `{names['__name__']}`"


def _of_function(function: FunctionType, child: Any, below: Any) -> str | None:
    code = function.__code__
    for called, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        if child is function.__closure__ and cell is below:
            return f"{_mention([code], called, _VARIABLE) or place(code)}: closure variable `{called}`"
    named = code.co_varnames[: code.co_argcount]
    defaults = dict(zip(reversed(named), reversed(function.__defaults__ or ()), strict=False)) | (function.__kwdefaults__ or {})
    if child is function.__defaults__ or child is function.__kwdefaults__:
        called = _of(defaults, below)
        return called and f"{_mention([code], called, _VARIABLE) or place(code)}: default of parameter `{called}`"
    called = _of(function.__dict__, below) if child is function.__dict__ else None
    return called and f"{place(code)}: attribute `{called}` of the function"


def _local(frame: FrameType, child: Any) -> str | None:
    called = _of(frame.f_locals, child)
    return called and f"{place(frame.f_code, frame.f_lineno)}: local `{called}`, in a generator that is not at its end"


def _attribute(names: Any, child: Any, below: Any, words: str, kind: type) -> str | None:
    # Where an object's names lie in a dict of its own, the child is that dict.
    called = _of(names, child, below if isinstance(child, dict) else None)
    if called is None:
        return None
    codes = [found.__code__ for base in kind.__mro__ for found in map(_plain, vars(base).values()) if isinstance(found, FunctionType)]
    line = _mention(codes, called, _ATTRIBUTE)
    what = words.format(called)
    return f"{line}: {what}" if line else f"{what} of a `{kind.__qualname__}`"


def _plain(found: Any) -> Any:
    return found.__func__ if isinstance(found, (staticmethod, classmethod)) else found


# Lines.


def place(code: CodeType, line: int | None = None) -> str:
    """A line of a function, in words."""
    return f"{os.path.basename(code.co_filename)}:{line or code.co_firstlineno} in {getattr(code, 'co_qualname', code.co_name)}"


def _mention(codes: Iterable[CodeType], called: str, operations: set[str]) -> str | None:
    """The line that most likely puts something under a name: one that binds it, or puts something into it, or else one that reads it."""
    best, found = 0, None
    for code in _with_inner(codes):
        for rank, line in _mentions(code, called, operations):
            if rank > best:
                best, found = rank, place(code, line)
    return found


def _with_inner(codes: Iterable[CodeType]) -> Iterator[CodeType]:
    """These functions, and those that are made in them."""
    for code in codes:
        yield code
        yield from _with_inner(constant for constant in code.co_consts if isinstance(constant, CodeType))


def _mentions(code: CodeType, called: str, operations: set[str]) -> Iterator[tuple[int, int]]:
    lines = dict(dis.findlinestarts(code))
    line = code.co_firstlineno
    instructions = list(dis.get_instructions(code))
    stores = set()
    at = []
    for instruction in instructions:
        line = lines.get(instruction.offset) or line
        at.append(line)
        if instruction.opname == "STORE_SUBSCR":
            stores.add(line)
    for index, instruction in enumerate(instructions):
        if instruction.opname not in operations or instruction.argval != called:
            continue
        following = instructions[index + 1] if index + 1 < len(instructions) else None
        into = following is not None and following.opname in _ATTRIBUTE and following.argval in _INTO
        rank = 3 if into or at[index] in stores else 2 if instruction.opname.startswith("STORE") else 1
        yield rank, at[index]


@cache
def _libraries() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    found = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")} | {_HOME}
    return tuple(os.path.join(path, "") for path in found)


@cache
def is_library(module: str) -> bool:
    """Whether a module is none of the user's own: of Python, of an installed package, or of this one."""
    found = sys.modules.get(module)
    if found is None or module == "__main__":
        return False
    file = getattr(found, "__file__", None)
    # What has no file is built in.
    return file is None or file.startswith(_libraries()) or "site-packages" in file or "dist-packages" in file
