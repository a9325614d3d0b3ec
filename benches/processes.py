"""The contestants' host processes, as the driver sees them: one question, one answer, both a line of JSON."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
FUNCTIONS = HERE / "functions.py"
BINARY = HERE.parent / "target" / "release" / "transom-bench"
JVM = HERE / "jvm" / "target"  # what Maven made
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
# For `targets.py` and `bench_peers.py`: arguments that lie in shared memory before anything is timed.
SHARED_ENTRIES = (
    Entry("transom_host_shared", "Transom, Python host, shared memory"),
    Entry("transom_rust_shared", "Transom, Rust host, shared memory"),
)
# Only `bench_jvm.py` has them.
JVM_ENTRIES = (
    Entry("ipc_socket_jvm", "Arrow IPC over a socket, JVM host"),
    Entry("transom_jvm_heap", "Transom, JVM host"),
    Entry("transom_jvm_arena", "Transom, JVM host, shared memory"),
    Entry("transom_java", "Transom, Python host, JVM worker"),
)
BASE = "inprocess"


def class_path() -> str:
    """The jars of the JVM contestants, whichever versions Maven took."""
    return os.pathsep.join(map(str, sorted([*JVM.glob("*.jar"), *JVM.glob("lib/*.jar")])))


def java() -> list[str]:
    """The java program, with what Arrow needs, and the class path."""
    home = os.environ.get("JAVA_HOME")
    program = str(Path(home, "bin", "java")) if home else "java"
    return [program, "--add-opens=java.base/java.nio=ALL-UNNAMED", "-Dslf4j.internal.verbosity=ERROR", "-cp", class_path()]


def start(entry: Entry, folder: Path, binary: Path) -> Process:
    """Starts a contestant's host process."""
    if entry.name in ("transom_rust", "transom_rust_shared"):
        shared = ["shared"] if entry in SHARED_ENTRIES else []
        return Process(entry, [str(binary), "host", str(folder), str(FUNCTIONS), sys.executable, *shared])
    if entry.name in ("ipc_socket_jvm", "transom_jvm_heap", "transom_jvm_arena"):
        return JvmProcess(entry, [*java(), "io.transom.bench.Host", entry.name, str(folder), str(FUNCTIONS), sys.executable])
    jars = [class_path()] if entry.name == "transom_java" else []
    return Process(entry, [sys.executable, "-m", f"contestants.{entry.name}", str(folder), *jars])


class Failed(Exception):
    """A contestant could not do what it was asked, and why."""


class Process:
    """A host process that is asked things."""

    def __init__(self, entry: Entry, command: list[str]) -> None:
        self.entry = entry
        environment = {**os.environ, "PYTHONPATH": str(HERE)}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=HERE, env=environment)

    @property
    def pid(self) -> int:
        """The host's process."""
        return self._process.pid

    def ask(self, do: str, *, deadline: float = DEADLINE, **details: Any) -> dict[str, Any]:
        """Sends a request and waits for its answer; a contestant that does not answer in time is killed."""
        stdin, stdout = self._process.stdin, self._process.stdout
        try:
            stdin.write(json.dumps({"do": do, **details}).encode() + b"\n")
            stdin.flush()
        except BrokenPipeError:
            raise Failed(f"the host process ended with status {self._process.wait()}") from None
        if not select.select([stdout], [], [], deadline)[0]:
            self._process.kill()
            raise Failed(f"no answer to {do} {details} after {deadline} s")
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


class JvmProcess(Process):
    """A JVM cannot read the clocks of its workers: they are read here, around the request."""

    def ask(self, do: str, **details: Any) -> dict[str, Any]:
        if do != "stream":
            return super().ask(do, **details)
        workers = super().ask("workers")["pids"]
        before = cpu_seconds(self.pid), sum(map(cpu_seconds, workers))
        answer = super().ask(do, **details)
        after = cpu_seconds(self.pid), sum(map(cpu_seconds, workers))
        return {**answer, "cpu_host": after[0] - before[0], "cpu_workers": after[1] - before[1]}


def cpu_seconds(pid: int) -> float:
    """User and system time of a whole process, in nanosecond steps: the kernel's clock of that process.

    /proc/PID/stat says the same in steps of 10 ms, too coarse here. See clock_getcpuclockid(3) for the number.
    """
    return time.clock_gettime_ns((~pid << 3) | 2) / 1e9


def family(pid: int) -> list[int]:
    """A process and all that descend from it, as far as they run."""
    parents: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # It has ended.
            # The name, in parentheses, may hold anything.
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(status.parent.name))
    found = [pid]
    for member in found:
        found += parents.get(member, [])
    return found


def memory(pids: list[int]) -> int:
    """Bytes of memory that these processes hold, what they share counted once (PSS, by proc_pid_smaps(5))."""
    return _of_smaps(pids, "Pss:")


def private_memory(pids: list[int]) -> int:
    """Bytes of memory that these processes hold and that no other process maps."""
    return _of_smaps(pids, "Private_Clean:", "Private_Dirty:")


def _of_smaps(pids: list[int], *names: str) -> int:
    total = 0
    for pid in pids:
        with suppress(OSError):  # It has ended.
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) << 10 for line in lines if line.startswith(names))
    return total
