"""From a function's hints and declarations to its signature: kind, parameters, result."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

import pyarrow as pa

from transom._errors import SignatureError
from transom._hints import ADVICE, ARRAYS, FRAMES, Hint, HintError, parse, show
from transom._scope import Scope

KINDS = ("scalar", "row", "batches")


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One parameter: its name, what the function wants to see, and whether it may be left out."""

    name: str
    hint: Hint
    optional: bool = False
    #: Whether it can be given by keyword.
    keyword: bool = True


@dataclasses.dataclass(frozen=True)
class Signature:
    """What a function takes and gives."""

    name: str
    kind: str
    parameters: tuple[Parameter, ...]
    #: What `*columns` holds, for functions that take any number of columns.
    variadic: Hint | None
    #: The result. Its type is None where only the first result tells.
    returns: Hint
    #: The declared field or schema, with its metadata.
    declared: pa.Field | pa.Schema | None

    def schema(self) -> pa.Schema | None:
        """The schema of results: one column named after the function, or what batches functions declare."""
        if self.kind == "batches":
            return self.returns.type
        if self.returns.type is None:
            return None
        if isinstance(self.declared, pa.Field):
            return pa.schema([self.declared.with_name(self.name)])
        return pa.schema([pa.field(self.name, self.returns.type)])


def name_of(function: Any) -> str:
    """The name by which users know a function, a class, a partial or an instance."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__name__", None)
    return name if isinstance(name, str) else type(function).__name__


class _Analysis:
    """One function on its way to a signature; it knows the names for messages."""

    def __init__(self, function: Any, kind: str | None, args: Any, returns: Any, frame: FrameType | None) -> None:
        self.function = function
        self.name = name_of(function)
        self.kind = self._kind(kind)
        self.target = self._target()
        self.signature = self._inspect()
        inner = _innermost(self.target)
        self.scope = Scope(inner, frame)
        self.hints = {name: self._evaluate(name, hint) for name, hint in (getattr(inner, "__annotations__", None) or {}).items()}
        self.returns = self._declaration(returns, "returns") if returns is not None else None
        self.args = self._args(args)

    def refuse(self, reason: str, hint: str | None = None) -> SignatureError:
        return SignatureError(f"`{self.name}`: {reason}", code="FUNCTION_SIGNATURE", function=self.name, hint=hint)

    def _kind(self, kind: str | None) -> str | None:
        if kind is None or kind in KINDS:
            return kind
        raise self.refuse(f"there is no kind {kind!r}", 'kinds are "scalar" (arrays), "row" (one row\'s values) and "batches" (iterators)')

    def _target(self) -> Callable[..., Any]:
        """What is called for each batch: the function itself, or `__call__` of a class or an instance."""
        function = self.function
        if isinstance(function, type):
            if not any("__call__" in vars(base) for base in function.__mro__):
                raise self.refuse("the class has no __call__", "give it `def __call__(self, …)`, which is called for every batch")
            needed = [p.name for p in _parameters_of(function) if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
            if needed:
                raise self.refuse(
                    f"__init__ needs {_listed(needed)}, and workers make the class without arguments",
                    f"give them defaults, or pass a made object: transom.udf({self.name}(…))",
                )
            return function.__call__
        if not callable(function):
            raise self.refuse(f"it is of type {type(function).__name__}, which cannot be called", "pass a function, or a class with __call__")
        target = function if inspect.isroutine(function) or isinstance(function, functools.partial) else type(function).__call__
        if inspect.iscoroutinefunction(_innermost(target)) or inspect.isasyncgenfunction(_innermost(target)):
            raise self.refuse("async functions cannot be used", "write a plain function; workers run one batch at a time")
        return target

    def _inspect(self) -> inspect.Signature:
        try:
            signature = inspect.signature(self.target)
        except (TypeError, ValueError) as error:
            raise self.refuse(f"its parameters cannot be read: {error}", "wrap it in a function with hints") from None
        if self.target is not self.function:  # __call__ of a class or an instance: without self
            rest = list(signature.parameters.values())[1:]
            signature = signature.replace(parameters=rest)
        for parameter in signature.parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                raise self.refuse(f"**{parameter.name} cannot be given columns", "name the parameters, or write *columns")
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
                raise self.refuse(f"the keyword-only parameter `{parameter.name}` has no default", "remove the * before it, or give it a default")
        return signature

    def _evaluate(self, name: str, annotation: Any) -> Any:
        def carrier() -> None: ...

        carrier.__annotations__ = {"hint": annotation}
        try:
            return typing.get_type_hints(carrier, self.scope.globals, self.scope, include_extras=True)["hint"]
        except Exception as error:
            raise self.refuse(
                f"the hint `{show(annotation)}` of {_place(name)} cannot be read: {error}", "check the names in it, and that they are imported"
            ) from None

    def _declaration(self, value: Any, where: str) -> pa.DataType | pa.Field | pa.Schema:
        if isinstance(value, (pa.DataType, pa.Field, pa.Schema)):
            return value
        if isinstance(value, str):
            try:
                return pa.type_for_alias(value)
            except ValueError:
                near = difflib.get_close_matches(value, _aliases(), 3)
                advice = f"near names: {', '.join(near)}" if near else 'names are such as "int64", "float64", "string"; others as pa.DataType'
                raise self.refuse(f"{where}: there is no Arrow type named {value!r}", advice) from None
        try:
            hint = self.read(value)
        except HintError as error:
            raise self.refuse(f"{where}: {error.reason}", error.advice) from None
        if hint.type is None:
            raise self.refuse(f"{where}: `{show(value)}` does not name an Arrow type", 'write a pa.DataType, or an alias such as "int64"')
        return hint.type

    def _args(self, args: Any) -> dict[str, pa.DataType]:
        if args is None:
            return {}
        columns = list(self.signature.parameters)
        if isinstance(args, pa.Schema):
            args = {field.name: field.type for field in args}
        if isinstance(args, Mapping):
            for name in args:
                if name not in columns:
                    near = difflib.get_close_matches(str(name), columns, 1)
                    raise self.refuse(f"args names `{name}`, which is no parameter", f"did you mean `{near[0]}`?" if near else None)
            pairs = list(args.items())
        elif isinstance(args, (list, tuple)):
            if len(args) > len(columns):
                raise self.refuse(f"args declares {len(args)} types, and there are {len(columns)} parameters")
            pairs = list(zip(columns, args, strict=False))
        else:
            raise self.refuse(f"args is a {type(args).__name__}", "write a list of types, or a dict from parameter name to type")
        declared = {}
        for name, value in pairs:
            if value is None:
                continue
            found = self._declaration(value, f"args of parameter `{name}`")
            if isinstance(found, pa.Schema):
                raise self.refuse(f"args of parameter `{name}` is a schema", "write a pa.DataType")
            declared[name] = found.type if isinstance(found, pa.Field) else found
        return declared

    def read(self, hint: Any) -> Hint:
        return parse(hint, self.scope)

    def parse(self, name: str, declared: bool, optional: bool = False) -> Hint | None:
        """The hint of one parameter or of `return`; None where there is none, or where it may have no Arrow type."""
        if name not in self.hints:
            return None
        try:
            return self.read(self.hints[name])
        except HintError as error:
            if declared or optional:
                return None
            raise self.refuse(f"{_place(name)}: {error.reason}", error.advice) from None

    def infer(self, hints: dict[str, Hint | None]) -> str:
        """The kind that the hints show."""
        seen = {name: hint for name, hint in hints.items() if hint is not None}
        iterators = [name for name, hint in seen.items() if hint.iterator]
        if iterators:
            return "batches"
        frames = [name for name, hint in seen.items() if hint.container in FRAMES]
        if frames:
            raise self.refuse(
                f"{_place(frames[0])} has the hint `{show(self.hints[frames[0]])}`, one batch, where a stream of them comes",
                "write Iterator[pa.RecordBatch] on both sides, or one array parameter for each column",
            )
        arrays = [name for name, hint in seen.items() if hint.container in ARRAYS]
        values = [name for name, hint in seen.items() if hint.container == "value"]
        if arrays and values:
            raise self.refuse(
                f"{_place(arrays[0])} is an array and {_place(values[0])} is one row's value",
                'use one sort of hints, or say kind="scalar" or kind="row"',
            )
        if arrays:
            return "scalar"
        if values:
            return "row"
        raise self.missing(next(iter(self.signature.parameters), "return"), 'hints tell the kind; without them write kind="scalar" or kind="row"')

    def missing(self, name: str, more: str | None = None) -> SignatureError:
        return self.refuse(f"{_place(name)} has no hint", ADVICE if more is None else f"{more}; {ADVICE}")


def analyse(function: Any, *, kind: str | None = None, args: Any = None, returns: Any = None, frame: FrameType | None = None) -> Signature:
    """The signature of `function`; `frame` is where it is made one, whose local names string annotations may use.

    Raises SignatureError, naming the function, the parameter, the hint and what to write instead.
    """
    work = _Analysis(function, kind, args, returns, frame)
    columns = {p.name: p for p in work.signature.parameters.values() if p.kind is not p.KEYWORD_ONLY}
    hints = {name: work.parse(name, name in work.args, p.default is not p.empty) for name, p in columns.items()}
    for name in _settings(work, columns, hints):
        del columns[name], hints[name]
    given = work.parse("return", work.returns is not None)
    chosen = work.kind or work.infer({**hints, "return": given})
    found, variadic = [], None
    for name, p in columns.items():
        hint = _parameter(work, chosen, name, hints[name])
        if p.kind is p.VAR_POSITIONAL:
            variadic = hint
        else:
            found.append(Parameter(name, hint, p.default is not p.empty, p.kind is p.POSITIONAL_OR_KEYWORD))
    result = _result(work, chosen, given)
    _check_shape(work, chosen, found, variadic)
    declared = work.returns if isinstance(work.returns, (pa.Field, pa.Schema)) else None
    return Signature(work.name, chosen, tuple(found), variadic, result, declared)


def _settings(work: _Analysis, columns: dict[str, inspect.Parameter], hints: dict[str, Hint | None]) -> list[str]:
    """Parameters that are settings rather than columns, and keep their defaults.

    Those with a default and either no hint, or a hint of another sort than the parameters without one:
    `scale` in `def f(x: pa.Array, scale: float = 2.0)`.
    """
    needed = {_sort(hints[name]) for name, p in columns.items() if p.default is p.empty and hints[name] is not None}
    found = []
    for name, p in columns.items():
        if p.default is p.empty or name in work.args:
            continue
        hint = hints[name]
        if hint is None or (needed and _sort(hint) not in needed):
            found.append(name)
    return found


def _sort(hint: Hint | None) -> str | None:
    if hint is None:
        return None
    if hint.container == "value":
        return "value"
    return "array" if hint.container in ARRAYS else "frame"


def _parameter(work: _Analysis, kind: str, name: str, hint: Hint | None) -> Hint:
    declared = work.args.get(name)
    if hint is None and declared is None and work.kind is None:
        raise work.missing(name)
    hint = hint or Hint({"scalar": "pyarrow", "row": "value", "batches": "batch"}[kind])
    if declared is not None:
        hint = dataclasses.replace(hint, type=declared, declared=True)
    return _as_kind(work, kind, name, hint)


def _result(work: _Analysis, kind: str, hint: Hint | None) -> Hint:
    declared = work.returns.type if isinstance(work.returns, pa.Field) else work.returns
    if hint is None and declared is None and not (kind == "batches" and work.kind):
        raise work.missing("return")
    hint = hint or Hint({"scalar": "pyarrow", "row": "value", "batches": "batch"}[kind])
    if declared is not None:
        hint = dataclasses.replace(hint, type=declared, declared=True)
    if kind == "batches" and isinstance(hint.type, pa.StructType):
        hint = dataclasses.replace(hint, type=pa.schema(list(hint.type)))
    if hint.type is not None and isinstance(hint.type, pa.Schema) != (kind == "batches"):
        wanted = "a pa.Schema" if kind == "batches" else "a pa.DataType"
        raise work.refuse(f"a {kind} function's result is declared by {wanted}, not by {_article(hint.type)}")
    hint = _as_kind(work, kind, "return", hint)
    if kind == "row" and hint.type is None:
        raise work.refuse("a row function must say the type of its values", 'write a hint such as `-> int`, or returns="int64"')
    return hint


def _as_kind(work: _Analysis, kind: str, name: str, hint: Hint) -> Hint:
    """The hint as the kind sees it: an explicit kind wins over what the hint alone would say."""
    if kind == "scalar" and hint.container == "value":
        return dataclasses.replace(hint, container="pyarrow", shape=None)
    if kind == "row" and hint.container in ARRAYS:
        return dataclasses.replace(hint, container="value", array_class=None)
    if kind == "batches" and (hint.container in FRAMES or hint.container == "reader"):
        return hint
    if kind == "batches" or hint.container in FRAMES or hint.container == "reader":
        raise work.refuse(
            f"{_place(name)} has the hint `{show(work.hints.get(name))}`, which a {kind} function cannot take",
            "batches functions take and give Iterator[pa.RecordBatch]; scalar and row functions have a parameter for each column",
        )
    return hint


def _check_shape(work: _Analysis, kind: str, parameters: list[Parameter], variadic: Hint | None) -> None:
    needed = [p for p in parameters if not p.optional]
    if kind == "batches" and (len(needed) > 1 or len(parameters) != 1 or variadic is not None):
        raise work.refuse("a batches function takes one parameter, the iterator of batches", "write def f(batches: Iterator[pa.RecordBatch])")
    if kind == "scalar" and not parameters and variadic is None:
        raise work.refuse("a scalar function without parameters cannot know how many rows to give", "give it a column")
    generator = inspect.isgeneratorfunction(_innermost(work.target))
    if generator and kind != "batches":
        raise work.refuse(f"it yields, and a {kind} function returns", "return the result, or take and give Iterator[pa.RecordBatch]")


def _innermost(function: Any) -> Any:
    """The function under wrappers, partials and methods, whose annotations and globals count."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif inspect.ismethod(function):
            function = function.__func__
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        else:
            return function


def _parameters_of(cls: type) -> list[inspect.Parameter]:
    if cls.__init__ is object.__init__:
        return []
    try:
        return list(inspect.signature(cls).parameters.values())
    except (TypeError, ValueError):
        return []


def _aliases() -> list[str]:
    names = "null bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 half float double string utf8 large_string"
    more = "binary large_binary date32 date64 time32[s] time64[us] timestamp[s] timestamp[ms] timestamp[us] timestamp[ns] duration[us]"
    return [*names.split(), *more.split()]


def _place(name: str) -> str:
    return "the result" if name == "return" else f"parameter `{name}`"


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _article(kind: pa.DataType | pa.Schema) -> str:
    return "a pa.Schema" if isinstance(kind, pa.Schema) else f"the type {kind}"
