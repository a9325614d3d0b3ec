"""Replaying failure capsules: in a fresh worker, or in this process for a debugger."""

from __future__ import annotations

import faulthandler
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from types import TracebackType

import pyarrow as pa

from transom import _failures, _native
from transom._errors import InvalidArgument, TransomError
from transom._udf import deadline_seconds


def replay(
    path: str | os.PathLike[str],
    rows: range | tuple[int, int] | None = None,
    pdb: bool = False,
    *,
    python: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    deadline: float | timedelta | None = None,
) -> pa.Table | None:
    """Runs the function of a failure capsule once more, alone, with the arguments with which it failed, in a fresh worker of the same interpreter.

    path: the capsule's folder, such as an error's ``capsule``. A replay runs the function in it: replay only what is yours.
    rows: only these, by the numbers that errors have, such as an error's ``rows``.
    pdb: runs it under Python's debugger on this terminal, in a process of its own; an exception is looked at where it was raised.
    python, env, deadline: another interpreter, environment variables (a capsule has their names only), and another deadline than it had.

    Raises the failure, where it comes again; otherwise gives what the function returns, as a table. With ``pdb`` it gives None.
    """
    if isinstance(rows, range) and rows.step != 1:
        raise InvalidArgument(f"{rows!r} leaves rows out", code="BAD_OPTION")
    bounds = (rows.start, rows.stop) if isinstance(rows, range) else rows
    if bounds is not None and min(bounds) < 0:
        raise InvalidArgument(f"rows {bounds} are counted from 0", code="BAD_OPTION")
    place, program = os.fspath(path), None if python is None else os.fspath(python)
    if pdb:
        command, directory = _native.replay_command(place, bounds, program)
        subprocess.run([*command, "--pdb"], cwd=directory, env={**os.environ, **(env or {})}, check=False)
        return None
    try:
        seconds = deadline_seconds(deadline)
    except ValueError as error:
        raise InvalidArgument(str(error), code="BAD_OPTION") from None
    batches = _native.replay(place, bounds, program, [(str(key), str(value)) for key, value in (env or {}).items()], seconds)
    return pa.Table.from_batches(batches) if batches else pa.table({})


def main() -> None:
    """`python -c … CAPSULE A..B [--pdb]`: calls the function in this process, which a debugger may watch."""
    from transom._worker import Runtime

    faulthandler.enable()
    path, rows = sys.argv[1:3]
    start, end = map(int, rows.split(".."))
    raised: list[BaseException] = []
    _failures.watch = raised.append
    try:
        batches = _native.replay_here(path, (start, end), Runtime())
    except TransomError as error:
        print(error, file=sys.stderr)
        if "--pdb" in sys.argv[3:] and raised:
            import pdb

            pdb.post_mortem(_users(raised[-1].__traceback__))
        sys.exit(1)
    print(pa.Table.from_batches(batches) if batches else "the function gave nothing")
    print("the failure did not come again", file=sys.stderr)


def _users(frames: TracebackType | None) -> TracebackType | None:
    """The frames without those of Transom before the function's."""
    first = frames
    while first is not None and _failures.is_own(first.tb_frame.f_code.co_filename):
        first = first.tb_next
    return first or frames
