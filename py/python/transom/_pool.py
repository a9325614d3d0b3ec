"""The pool: Python as a host."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import weakref
from collections.abc import Iterable, Mapping
from datetime import timedelta
from types import FrameType
from typing import Any

import pyarrow as pa

from transom import _foreign, _native, _ship, _sources
from transom._errors import InvalidArgument, TransomError
from transom._foreign import ForeignFunction
from transom._udf import Udf, _make, deadline_seconds

_open: weakref.WeakSet[Pool] = weakref.WeakSet()


class Pool:
    """Worker processes that run functions over Arrow data. Use it as a context manager, or call `close()`.

    workers: how many processes; by default one for each processor.
    python: the interpreter of the workers; by default this one. It needs pyarrow and this version of transom.
    env: environment variables for the workers, besides those of this process.
    cwd: the workers' working directory.
    memory_limit: the most bytes of shared memory that the pool may hold.
    mode: how results are checked: "guarded" (the default: nothing that shapes the data is believed), "strict" (everything
        is copied first, for workers that are not trusted) or "trusted" (bounds only).
    deadline: the longest that one batch may take, in seconds or as a timedelta; a function's own deadline comes first.
    window: how many batches each worker may have at a time: one that it works on, the others ready.
    worker_memory: the most memory that each worker may have of its own, in bytes or as a text such as "512MiB"; no limit by default.
    worker_descriptors: the most files and other descriptors that each worker may have open.
    worker_processes: the most processes and threads that functions may start in each worker.
    result_limit: the most bytes of one batch of a result, in bytes or as a text.
    native_worker: the program that runs functions of `transom.native`; the package brings one.
    java, java_class_path, java_options: for functions of `transom.java`: the program, by default that of JAVA_HOME or of the path; the jar of
        transom-worker, which the package brings; and options of the JVM, such as "-Xmx1g".
    capsules: a folder in which the input of every failure is saved, for `transom.replay`; by default that of TRANSOM_CAPSULES, and none where it
        is not set. A capsule holds the data itself.
    capsule_bytes, capsule_count: the most bytes of arguments in one, 64 MiB by default; and the most capsules of the pool, 16 by default.
    trace_leases: whether workers say which line keeps an argument that a function has not let go of, for `leases` and for the errors of a shortage.
        For finding a leak: a worker that is asked looks through all of its objects. By default what TRANSOM_TRACE_LEASES says, else not.

    `workers` holds for each language that is used: processes for Python and for native functions, threads of one JVM for Java's.
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        python: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        memory_limit: int | None = None,
        mode: str = "guarded",
        deadline: float | timedelta | None = None,
        window: int = 3,
        worker_memory: int | str | None = None,
        worker_descriptors: int | None = None,
        worker_processes: int | None = None,
        result_limit: int | str | None = None,
        native_worker: str | os.PathLike[str] | None = None,
        java: str | os.PathLike[str] | None = None,
        java_class_path: Iterable[str | os.PathLike[str]] = (),
        java_options: Iterable[str] = (),
        capsules: str | os.PathLike[str] | None = None,
        capsule_bytes: int | None = None,
        capsule_count: int | None = None,
        trace_leases: bool | None = None,
    ) -> None:
        try:
            seconds = deadline_seconds(deadline)
        except ValueError as error:
            raise InvalidArgument(str(error), code="BAD_OPTION") from None
        worker_memory, result_limit = (_native.bytes_in(size) if isinstance(size, str) else size for size in (worker_memory, result_limit))
        numbers = {
            "workers": workers,
            "window": window,
            "memory_limit": memory_limit,
            "worker_memory": worker_memory,
            "worker_descriptors": worker_descriptors,
            "worker_processes": worker_processes,
            "result_limit": result_limit,
            "capsule_bytes": capsule_bytes,
            "capsule_count": capsule_count,
        }
        for name, value in numbers.items():
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise InvalidArgument(f"{name} is {value!r}, and a whole number above 0 is needed", code="BAD_OPTION")
        self._native = _native.Pool(
            workers=workers,
            python=os.fspath(python) if python is not None else sys.executable,
            env=[(str(key), str(value)) for key, value in (env or {}).items()],
            cwd=None if cwd is None else os.fspath(cwd),
            memory_limit=memory_limit,
            mode=mode,
            deadline=seconds,
            window=window,
            worker_memory=worker_memory,
            worker_descriptors=worker_descriptors,
            worker_processes=worker_processes,
            result_limit=result_limit,
            native_worker=_foreign.native_worker() if native_worker is None else os.fspath(native_worker),
            java=None if java is None else os.fspath(java),
            java_class_path=[os.fspath(entry) for entry in java_class_path] or _foreign.java_class_path(),
            java_options=[str(option) for option in java_options],
            capsules=None if capsules is None else os.fspath(capsules),
            capsule_bytes=capsule_bytes,
            capsule_count=capsule_count,
            trace_leases=None if trace_leases is None else bool(trace_leases),
        )
        self._named: dict[tuple[str, ...], _native.Function] = {}
        self._functions: weakref.WeakKeyDictionary[Any, _native.Function] = weakref.WeakKeyDictionary()
        self._last: tuple[dict[str, Any], dict[str, Any]] | None = None
        _open.add(self)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, f: Any, /, *values: Any) -> Any:
        """Calls `f` once, in a worker, and waits for the result.

        f: a function of ``@transom.udf``, a plain function or class with hints, a name (``"file.py:name"``, ``"package.module:name"``), or
            a function of another language, by `transom.native` or `transom.java`.
        values: arrays by position; or one record batch, table, data frame or dict of columns, whose columns go by the names of the parameters.

        Gives a ``pyarrow.Array`` for scalar and row functions, a ``pyarrow.RecordBatch`` for batches functions.
        """
        function = self._function(f, sys._getframe(1))
        try:
            given = _sources.arguments(values)
        except TransomError as error:
            raise error._in(function.name) from error.__cause__
        if isinstance(given, list):
            return self._native.call_arrays(function, given)
        return self._native.call(function, given)

    def map(
        self, f: Any, source: Any, columns: list[str] | tuple[str, ...] | str | None = None, append: bool = False, ordered: bool = True
    ) -> _native.Batches:
        """Runs `f` over every batch of `source`, on all workers, and gives the results as an iterator of record batches.

        source: a table, a reader, a record batch, a data frame, anything with ``__arrow_c_stream__``, a dict of columns, or an iterable of batches.
            Tables and data frames are sent in batches of 65,536 rows, other sources as they come.
        columns: which columns `f` takes, in its order; by default those with the names of its parameters.
        append: whether results have the source's columns before the function's.
        ordered: whether results come in the source's order; without it each comes as soon as it is there.

        Batches functions run as one stream in one worker, so that they may keep state.
        """
        function = self._function(f, sys._getframe(1))
        names = [columns] if isinstance(columns, str) else columns
        try:
            found = _sources.stream(source)
        except TransomError as error:
            raise error._in(function.name) from error.__cause__
        names = None if names is None else [str(name) for name in names]
        if isinstance(found, pa.RecordBatchReader):
            return self._native.map_reader(function, found, names, append, ordered)
        return self._native.map_iterator(function, found, names, append, ordered)

    def share(self, batch: Any) -> pa.RecordBatch:
        """The same batch in shared memory: calls with it, or with slices of it, copy nothing."""
        given = _sources.arguments((batch,))
        if isinstance(given, list):
            raise InvalidArgument(
                f"a {_sources.shown(batch)} is not a record batch", code="ARGUMENT_TYPE", hint="share a record batch, a table or a data frame"
            )
        return self._native.share(given)

    def dead_letters(self) -> list[pa.Table]:
        """Takes the rows that were taken out of results of `call`, one table for each function and types of its arguments.

        Only functions with ``on_error="dead_letter"`` have any. Those of `map` are taken by ``dead_letters()`` of its results. A table has the
        columns that the function was given, and behind them ``transom_function``, ``transom_batch``, ``transom_row`` (the row of the
        stream, from 0), ``transom_code``, ``transom_error`` and ``transom_attempts``.
        """
        return [pa.Table.from_batches([batch]) for batch in self._native.dead_letters()]

    def stats(self) -> dict[str, Any]:
        """What the pool is doing: ``workers`` is a list of dicts with ``pid``, ``language``, ``state``, ``batches``, ``rows``, ``restarts`` and more;
        ``functions`` says for each function by ``name`` how many rows were ``suppressed`` and how many ``attempts`` it took to find them.

        After the pool's end it is what it was before.
        """
        return self._last[0] if self._last else self._native.stats()

    def leases(self) -> list[dict[str, Any]]:
        """Every batch that is in shared memory for somebody, as a dict.

        ``holder`` says who has to let go of it: "worker" for an argument, "host" for a result. ``worker`` and ``pid`` say which worker has the
        argument or gave the result; ``function``, ``batch`` and ``call`` what it belongs to; ``bytes`` and ``age_seconds`` how much, and since
        when. ``answered`` is true where the function has answered and holds its argument all the same. With ``trace_leases`` of the pool,
        ``kept_by`` says what in the worker does so, such as "udfs.py:12 in keep: global `CACHE`"; workers are waited for, for three seconds at most.
        """
        return self._native.leases()

    def copies(self) -> dict[str, Any]:
        """The copy ledger: ``bytes_shared``, ``bytes_copied`` and ``reasons``, in all and apart for ``inputs`` and ``results``.

        After the pool's end it is what it was before.
        """
        return self._last[1] if self._last else self._native.copies()

    def close(self) -> None:
        """Ends the workers. Calls that are running fail with POOL_CLOSED; arrays that came from the pool stay valid."""
        _open.discard(self)
        with contextlib.suppress(TransomError):  # closed already, by another thread too, or a fork's
            self._last = self._last or (self._native.stats(), self._native.copies())
        self._native.close()

    def _function(self, f: Any, frame: FrameType) -> _native.Function:
        if isinstance(f, str):
            # What it stands for depends on these as well.
            key = (f, os.getcwd(), *sys.path)
            named = self._named.get(key)
            if named is None:
                named = self._named[key] = _native.Function.python(f, _ship.import_path())
            return named
        try:
            known = self._functions.get(f)
        except TypeError:  # not hashable, or not weakly referable: made anew each time
            return self._made(f, frame)
        if known is None:
            known = self._functions[f] = self._made(f, frame)
        return known

    def _made(self, f: Any, frame: FrameType) -> _native.Function:
        if isinstance(f, ForeignFunction):
            return f._bound()
        udf = f if isinstance(f, Udf) else _make(f, frame, None, None, None, None, 0)
        place = _ship.reference(f)
        if place is not None:
            function = _native.Function.python(place, _ship.import_path())
        else:
            function = _native.Function.pickled(udf.name, _ship.dumps(udf), _ship.import_path())
        return function.with_policies(udf.deadline, udf.retries, udf.on_error)


@atexit.register
def _close_all() -> None:
    # Before the interpreter goes: afterwards no thread may come back into Python to give memory back.
    for pool in list(_open):
        pool._native.close()
