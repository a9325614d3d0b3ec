"""Where a trigger works: a folder, pools that are closed at its end, scripts of its own, and what was seen of an error."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import transom
from codes import ROOT
from program import PROGRAM

#: Programs of the Rust tests, which are built with them: workers that lie, and workers that fail as they are told.
BUILT = Path(os.environ.get("TRANSOM_TEST_PROGRAMS", ROOT / "target/debug"))
ROGUE = BUILT / "rogue-worker"
NATIVE = BUILT / "native-worker"
X = pa.array([1, 2, 3])

#: What a script begins with: `tell(call)` prints the error of a call, for `Room.script`.
SCRIPT = """
import json, os, sys
import pyarrow as pa
import transom

X = pa.array([1, 2, 3])

def tell(call):
    try:
        call()
    except transom.TransomError as error:
        rows = None if error.rows is None else [error.rows.start, error.rows.stop]
        print(json.dumps({"text": str(error), "function": error.function, "batch": error.batch, "rows": rows}), flush=True)
"""


@dataclass
class Seen:
    """An error as somebody saw it. Who sees a text only leaves out the rest."""

    text: str
    function: str | None = None
    batch: int | None = None
    rows: range | None = None
    #: Whether it was seen as an object, whose parts can be looked at.
    parts: bool = False

    @property
    def number(self) -> int:
        """The code."""
        found = re.match(r"TRN-(\d{4}) [A-Z_]+: ", self.text)
        assert found, f"no code at the beginning of {self.text!r}"
        return int(found[1])


class Room:
    """Given to each trigger."""

    def __init__(self, folder: Path, shared: transom.Pool, starting: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        #: A pool of one worker that triggers share: for functions that fail, and not for pools that do.
        self.shared = shared
        #: A program that has waited for a worker since the tests began.
        self.starting = starting
        self._pools = contextlib.ExitStack()

    def close(self) -> None:
        self._pools.close()

    def pool(self, **options: Any) -> transom.Pool:
        """A pool of its own."""
        return self._pools.enter_context(transom.Pool(**({"workers": 1} | options)))

    def interpreter(self, text: str) -> Path:
        """A program that is started in place of an interpreter."""
        path = self.folder / "interpreter"
        path.write_text("#!/bin/sh\n" + text + "\n")
        path.chmod(0o755)
        return path

    def file(self, name: str, text: str) -> Path:
        """A file in the folder."""
        path = self.folder / name
        path.write_text(text)
        return path

    def seen(self, call: Callable[[], object]) -> Seen:
        """The error that a call raises here."""
        try:
            call()
        except transom.TransomError as error:
            return Seen(str(error), error.function, error.batch, error.rows, parts=True)
        raise AssertionError("the call raised nothing")

    def script(self, text: str, **options: Any) -> Seen:
        """The error that `tell` told in a process of its own: for what would do this one harm."""
        path = self.file("script.py", SCRIPT + text)
        done = subprocess.run([sys.executable, path], cwd=self.folder, capture_output=True, text=True, timeout=120, check=False, **options)
        assert done.stdout.startswith("{"), done.stdout + done.stderr
        told = json.loads(done.stdout.splitlines()[0])
        rows = told.pop("rows")
        return Seen(**told, rows=None if rows is None else range(*rows), parts=True)

    def program(self, *words: object) -> Seen:
        """The error that the program prints."""
        command = [PROGRAM, *words, "--python", sys.executable, "--workers", "1"]
        done = subprocess.run(list(map(str, command)), cwd=self.folder, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 1, done.stderr
        return printed(done.stderr)


def printed(text: str) -> Seen:
    """The error in what the program printed, in the form that it has everywhere else."""
    found = re.search(r"error\[(TRN-\d{4} [A-Z_]+)\](: .*)", text, re.DOTALL)
    assert found, text
    return Seen(found[1] + found[2])
