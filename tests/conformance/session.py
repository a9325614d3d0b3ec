"""A host at work: its process, the requests to it, and what it holds."""

from __future__ import annotations

import json
import os
import select
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drivers import ROOT, Host, Worker

#: How long a host may take for an answer, and to give back what it held.
PATIENCE = 60.0
SETTLE = 10.0


class Broken(Exception):
    """The host did not keep to the contract."""


@dataclass(frozen=True)
class Holds:
    """What a process has that it may leak."""

    files: tuple[str, ...]
    shared: int
    children: int

    @staticmethod
    def of(pid: int, shared: bool) -> Holds:
        """What `pid` has now. A pool keeps its segments of shared memory, so those are looked at when it is closed (`shared`)."""
        proc = Path("/proc", str(pid))
        files = []
        for number in os.listdir(proc / "fd"):
            try:
                files.append(os.readlink(proc / "fd" / number).rstrip("0123456789:[]"))
            except FileNotFoundError:
                continue
        memory = sum(name.startswith("/memfd:transom") for name in files)
        memory += (proc / "maps").read_text().count("/memfd:transom") if shared else 0
        children = 0
        for task in (proc / "task").iterdir():
            try:
                children += len((task / "children").read_text().split())
            except (FileNotFoundError, ProcessLookupError):
                continue  # a thread that has ended meanwhile
        return Holds(tuple(sorted(name for name in files if not name.startswith("/memfd:transom"))), memory if shared else 0, children)

    def more_than(self, before: Holds) -> str:
        """What is here and was not before."""
        left = []
        if len(self.files) > len(before.files):
            left.append(f"open files {self.files}, before {before.files}")
        if self.shared > before.shared:
            left.append(f"{self.shared} files and mappings of shared memory, before {before.shared}")
        if self.children > before.children:
            left.append(f"{self.children} children, before {before.children}")
        return "; ".join(left)


class Session:
    """One host with a pool of one worker."""

    def __init__(self, host: Host, worker: Worker) -> None:
        self.host, self.worker = host, worker
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(host.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, cwd=ROOT, bufsize=0)
        self.asked = b""
        try:
            # The first answer comes when the program is up; what it holds from then on is what it must come back to.
            self.ask({"do": "open", **self._pool()})
            self.ask({"do": "close"})
            self.bare = Holds.of(self.process.pid, shared=True)
            self.ask({"do": "open", **self._pool()})
        except BaseException:
            self.kill()
            raise
        self.open: Holds | None = None
        self.allocated: int | None = None

    def _pool(self) -> dict[str, Any]:
        worker = self.worker
        return {"language": worker.language, "program": worker.program, "class_path": list(worker.class_path), "options": list(worker.options)}

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request and its answer."""
        self.asked = json.dumps(request).encode() + b"\n"
        try:
            self.process.stdin.write(self.asked)
        except BrokenPipeError:
            raise self._broken("it has ended") from None
        line = b""
        until = time.monotonic() + PATIENCE
        while not line.endswith(b"\n"):
            if not select.select([self.process.stdout], [], [], max(0.0, until - time.monotonic()))[0]:
                raise self._broken(f"no answer in {PATIENCE:.0f} s")
            read = self.process.stdout.read(1 << 16)
            if not read:
                raise self._broken("it ended")
            line += read
        return json.loads(line)

    def _broken(self, what: str) -> Broken:
        self.process.kill()
        self.process.wait()
        self.errors.seek(0)
        said = self.errors.read().decode(errors="replace")[-4000:]
        self.kill()
        return Broken(f"the {self.host.name} host, asked {self.asked.decode()[:600]}: {what}; status {self.process.returncode}\n{said}")

    def settle(self) -> None:
        """Waits until what the last run took has been given back."""
        until = time.monotonic() + SETTLE
        while True:
            held, holds = self.ask({"do": "held"}), Holds.of(self.process.pid, shared=False)
            if self.open is None and held["leases"] == 0:
                self.open, self.allocated = holds, held["allocated"]
            left = "" if self.open is None else holds.more_than(self.open)
            if held["leases"] == 0 and held["allocated"] <= self.allocated and not left:
                return
            if time.monotonic() > until:
                raise Broken(f"left behind: {held}, at first {self.allocated} bytes were allocated; {left}")
            time.sleep(0.001)

    def close(self) -> None:
        """Ends the pool and the program, and looks whether anything is left."""
        try:
            self.ask({"do": "close"})
            until = time.monotonic() + SETTLE
            while left := Holds.of(self.process.pid, shared=True).more_than(self.bare):
                if time.monotonic() > until:
                    raise Broken(f"left behind by a pool that was closed: {left}")
                time.sleep(0.01)
            self.process.stdin.close()
            if self.process.wait(PATIENCE) != 0:
                raise self._broken("it did not end well")
        finally:
            self.kill()

    def kill(self) -> None:
        """Makes sure that the program is gone."""
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.errors.close()

    @property
    def alive(self) -> bool:
        """Whether it can still be asked."""
        return self.process.poll() is None and not self.process.stdin.closed
