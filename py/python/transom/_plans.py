"""How a worker runs a function: each kind is prepared once for a schema, then called for every batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pyarrow as pa

from transom import _native
from transom._arguments import argument, convert, frame, values
from transom._failures import Failure, kind_of, raised, render, text_of
from transom._hints import Hint
from transom._results import not_arrow, shown, to_array, to_batches
from transom._signature import Parameter
from transom._suppressed import Suppressed
from transom._udf import Udf
from transom._values import Unfit, build, too_large, writer

T = TypeVar("T")


class Prepared:
    """A function in a worker."""

    def __init__(self, udf: Udf[Any, Any]) -> None:
        self.udf = udf
        self.signature = udf.signature
        self.returns = udf.signature.returns
        try:
            self.function = udf.callable()
        except BaseException as error:
            said = f"making `{udf.name}` failed with {kind_of(error)}: {text_of(error)}"
            raise Failure("FUNCTION_IMPORT_FAILED", said, kind=kind_of(error), traceback=render(error)) from None
        self.schema: pa.Schema | None = self.signature.schema()
        self.write = writer(self.returns.shape)
        # The native side makes columns of plain values alone; it leaves others to `finish`.
        self.plain = self.write is None and not isinstance(self.returns.type, pa.BaseExtensionType)
        if self.signature.kind == "row" and not (self.plain and _native.Rows.builds(self.returns.type)):
            # pyarrow imports pandas, where it is installed, when it makes its first array of Python values: now, and not in the first batch's time.
            pa.array([], type=self.returns.type)

    def describe(self) -> tuple[str, str, list[tuple[str, pa.DataType | None, bool]], bool, pa.Schema | None, float | None, int, str, bool]:
        """The signature, as the native side reads it."""
        found = self.signature
        batches = found.kind == "batches"
        parameters = [] if batches else [(p.name, p.hint.type, p.optional) for p in found.parameters]
        udf = self.udf
        variadic = found.variadic is not None
        return (found.name, found.kind, parameters, variadic, self.schema, udf.deadline, udf.retries, udf.on_error, udf.deterministic)

    def plan(self, schema: pa.Schema) -> _native.Arrays | _native.Rows:
        """What runs batches of this schema. Its fields bear the names of the parameters that they are for."""
        nullable = self.schema is None or self.schema.field(0).nullable
        if self.signature.kind == "row":
            columns, keywords = self._match(schema, values)
            return _native.Rows(self, self._call(keywords), columns, self.returns.type if self.plain else None, nullable)
        changes, keywords = self._match(schema, lambda name, kind, hint: (name, argument(name, kind, hint)))
        return _native.Arrays(self, self._call(keywords), changes, nullable)

    def _match(self, schema: pa.Schema, change: Callable[[str, pa.DataType, Hint], T]) -> tuple[list[T], list[str | None]]:
        """For each column its conversion, and the keyword by which it is given where a parameter before it is left out."""
        changes: list[T] = []
        keywords: list[str | None] = []
        left = list(schema)
        skipped: Parameter | None = None
        for parameter in self.signature.parameters:
            if left and (left[0].name == parameter.name or not parameter.optional):
                field = left.pop(0)
                if skipped is not None and not parameter.keyword:
                    raise self._left_out(skipped)
                changes.append(change(parameter.name, field.type, parameter.hint))
                keywords.append(None if skipped is None else parameter.name)
            elif parameter.optional:
                skipped = skipped or parameter
            else:
                raise Failure("WRONG_ARGUMENTS", f"parameter `{parameter.name}` has no column")
        if left and self.signature.variadic is None:
            raise Failure("WRONG_ARGUMENTS", f"{len(schema)} columns came for {len(self.signature.parameters)} parameters")
        if left and skipped is not None:
            raise self._left_out(skipped)
        for field in left if self.signature.variadic is not None else ():
            changes.append(change(field.name, field.type, self.signature.variadic))
            keywords.append(None)
        return changes, keywords

    def _left_out(self, parameter: Parameter) -> Failure:
        return Failure("WRONG_ARGUMENTS", f"parameter `{parameter.name}` cannot be left out where columns after it are given")

    def _call(self, keywords: list[str | None]) -> Callable[..., Any]:
        """The function, called with all columns by position; those behind a parameter that is left out become keywords."""
        names = [name for name in keywords if name is not None]
        if not names:
            return self.function
        function, split = self.function, len(keywords) - len(names)
        return lambda *values: function(*values[:split], **dict(zip(names, values[split:], strict=True)))

    def returned(self, result: Any, rows: int) -> pa.Array:
        """The column that a scalar function returned; called by the native side for what is not of the type of the result before."""
        return self._nulls_allowed(to_array(result, rows, self.returns))

    def finish(self, results: list[Any], failed: Suppressed | None) -> pa.Array:
        """The column of what a row function gave; called by the native side where it has not made it itself."""
        if self.write is not None:
            results = _written(self.write, results, failed)
        if failed is not None:
            return self._fitting(results, failed)
        try:
            return self._nulls_allowed(build(results, self.returns.type))
        except Unfit as unfit:
            raise _unfit(unfit) from None

    def full(self) -> Failure:
        """The report that the column can hold no more; asked for by the native side."""
        return _unfit(too_large(self.returns.type))

    def _fitting(self, results: list[Any], failed: Suppressed) -> pa.Array:
        """The column of `results`, with nulls for those that do not fit."""
        kind = self.returns.type
        try:
            built = build(results, kind)
        except Unfit:
            # One by one, which takes its time, but only in a batch with such a value.
            for row, value in enumerate(results):
                try:
                    build([value], kind)
                except Unfit as unfit:
                    failed.unfit(row, unfit.reason)
                    results[row] = None
            try:
                built = build(results, kind)
            except Unfit as unfit:
                raise _unfit(unfit) from None
        if built.null_count > len(failed.rows) and self.schema is not None and not self.schema.field(0).nullable:
            for row, value in enumerate(results):
                if value is None and row not in failed.rows:
                    failed.unfit(row, _NULL)
        return built

    def _nulls_allowed(self, array: pa.Array) -> pa.Array:
        if array.null_count and self.schema is not None and not self.schema.field(0).nullable:
            raise Failure("INVALID_DATA", _NULL)
        return array

    def open(self, batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The stream of a batches function's results over a stream of batches."""
        hint = self.signature.parameters[0].hint
        if isinstance(hint.type, pa.Schema) and not schema.equals(hint.type):
            wanted, found = (", ".join(f"{field.name}: {field.type}" for field in fields) for fields in (hint.type, schema))
            raise Failure("ARGUMENT_TYPE", f"the function takes batches of ({wanted}), and the source has ({found})")
        change = frame(hint)
        if hint.container == "reader":
            given: Any = pa.RecordBatchReader.from_batches(schema, batches)
        elif hint.container == "batch":
            given = batches
        else:
            given = (convert(change, batch, "batch") for batch in batches)
        return self._results(given)

    def _results(self, given: Any) -> Iterator[pa.RecordBatch]:
        results = _guarded(lambda: self.function(given))
        if hasattr(results, "__arrow_c_array__") or hasattr(results, "columns") or results is None or isinstance(results, (str, bytes, dict)):
            if results is None:
                raise not_arrow(results)
            raise Failure("NOT_ARROW", f"the function returned {shown(results)}, and an iterator of batches is needed", hint="write `yield batch`")
        if not hasattr(results, "__iter__"):
            raise Failure("NOT_ARROW", f"the function returned {shown(results)}, and an iterator of batches is needed", hint="write `yield batch`")
        iterator = _guarded(lambda: iter(results))
        try:
            schema = self.schema
            while True:
                item = _guarded(lambda: next(iterator, _END))
                if item is _END:
                    return
                ready = to_batches(item, schema)
                del item
                ready.reverse()
                while ready:
                    schema = schema or ready[-1].schema  # one stream has one schema
                    yield ready.pop()  # held by nobody here: only then can it go as it is
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                _guarded(close)


_END = object()
_NULL = "the function returned a null, and its result is declared to have none"


def _guarded(step: Callable[[], Any]) -> Any:
    """One step of the user's code; whatever it raises is a report."""
    failure = None
    try:
        return step()
    except BaseException as error:
        failure = raised(error)
    raise failure


def _unfit(unfit: Unfit) -> Failure:
    return Failure("INVALID_DATA", unfit.reason, row=unfit.row, hint="return a value of the declared type, or None")


def _written(write: Callable[[Any], Any], results: list[Any], failed: Suppressed | None) -> list[Any]:
    plain: list[Any] = []
    rest = iter(results)
    while len(plain) < len(results):
        try:
            plain.extend(map(write, rest))
        except Exception as error:
            said = f"the value does not have the declared shape: {error}"
            if failed is None:
                raise Failure("INVALID_DATA", said, row=len(plain)) from None
            failed.unfit(len(plain), said)
            plain.append(None)
    return plain
