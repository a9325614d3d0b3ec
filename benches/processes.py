"""The contestants' host processes, as the driver sees them: one question, one answer, both a line of JSON."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
FUNCTIONS = HERE / "functions.py"
DEADLINE = 180  # Seconds for one answer. Nothing here takes a tenth of it.


@dataclass(frozen=True)
class Entry:
    """A contestant's name in results and its title in tables."""

    name: str
    title: str


ENTRIES = (
    Entry("inprocess", "in process, Python"),
    Entry("pickle_pipe", "pickle over a pipe"),
    Entry("ipc_pipe", "Arrow IPC over a pipe"),
    Entry("ipc_socket", "Arrow IPC over a socket"),
    Entry("transom_host", "Transom, Python host"),
    Entry("transom_rust", "Transom, Rust host"),
)
BASE = "inprocess"


class Failed(Exception):
    """A contestant could not do what it was asked, and why."""


class Process:
    """A host process that is asked things."""

    def __init__(self, entry: Entry, folder: Path, binary: Path) -> None:
        self.entry = entry
        if entry.name == "transom_rust":
            command = [str(binary), "host", str(folder), str(FUNCTIONS), sys.executable]
        else:
            command = [sys.executable, "-m", f"contestants.{entry.name}", str(folder)]
        environment = {**os.environ, "PYTHONPATH": str(HERE)}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=HERE, env=environment)

    def ask(self, do: str, **details: Any) -> dict[str, Any]:
        """Sends a request and waits for its answer; a contestant that does not answer in time is killed."""
        stdin, stdout = self._process.stdin, self._process.stdout
        try:
            stdin.write(json.dumps({"do": do, **details}).encode() + b"\n")
            stdin.flush()
        except BrokenPipeError:
            raise Failed(f"the host process ended with status {self._process.wait()}") from None
        if not select.select([stdout], [], [], DEADLINE)[0]:
            self._process.kill()
            raise Failed(f"no answer to {do} {details} after {DEADLINE} s")
        line = stdout.readline()
        if not line:
            raise Failed(f"the host process ended with status {self._process.wait()} at {do} {details}")
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"].strip())
        return answer

    def close(self) -> None:
        """Lets the process end; kills it if it does not."""
        with suppress(BrokenPipeError):  # It is gone already.
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
