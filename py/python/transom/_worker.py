"""A worker process: what the host starts, and what the native side calls. The protocol itself is in the core."""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import sys
import threading

from transom import _load, _native
from transom._plans import Prepared


class Runtime:
    """Python as a language of functions."""

    def language(self) -> str:
        """The language and its version, for messages."""
        return "Python " + ".".join(map(str, sys.version_info[:3]))

    def define(self, source: str, place: str, name: str, data: bytes, import_path: list[str]) -> Prepared:
        """Loads a function: `source` is "file", "module" or "pickle", `place` the path or the module."""
        _load.add_import_path(import_path)
        if source == "file":
            found = _load.from_file(place, name)
        elif source == "module":
            found = _load.from_module(place, name)
        else:
            found = _load.from_bytes(name, data)
        return Prepared(found)


def share_memory() -> str | None:
    """Has what functions build lie in shared memory from the start. Gives the reason where that cannot be."""
    if sys.flags.dev_mode or hasattr(sys, "gettotalrefcount") or "debug" in os.environ.get("PYTHONMALLOC", ""):
        # A result goes as it is when the last reference is gone; then nothing may write to it any more.
        return "Python's debugging allocator writes to what it frees"
    return _native.share_heap()


def main(descriptor: int) -> None:
    """Serves the host at the other end of `descriptor` until it says goodbye or is gone."""
    # What is there now is there for good: the collector need not look at it again, nor copy its pages in a fork.
    gc.freeze()
    descriptor = _born(descriptor)
    fault = _native.write_stacks()
    os.environ.pop("TRANSOM_FAULT_FD", None)
    if fault is not None:
        # A crash in native code writes the Python stack there first, and so does the host's request; each then calls the native side's handler.
        faulthandler.enable(file=fault, all_threads=True)
        faulthandler.register(signal.SIGQUIT, file=fault, all_threads=True, chain=True)
        _native.write_addresses(fault)
    for stream in (sys.stdout, sys.stderr):
        # What a function prints is seen when it prints it, whatever characters it has.
        stream.reconfigure(line_buffering=True, errors="backslashreplace")
    share_memory()
    _native.serve(descriptor, Runtime())
    # All that is there ends with the process: looking through it for what nothing refers to would take longer than the rest of the end.
    gc.freeze()


def _born(descriptor: int) -> int:
    """Leaves a zygote behind where the host wants one; gives the link, which in a worker that is forked from there is another one."""
    fault = os.environ.get("TRANSOM_FAULT_FD")
    newborn = _native.split(descriptor, None if fault is None else int(fault))
    os.environ.pop("TRANSOM_ZYGOTE_FD", None)
    if newborn is None:
        return descriptor
    descriptor, own = newborn
    os.environ["TRANSOM_FAULT_FD"] = str(own)
    sys.argv[-1] = str(descriptor)
    # CPython before 3.13 leaves the main thread the number that it had in the parent.
    if set_native_id := getattr(threading.main_thread(), "_set_native_id", None):
        set_native_id()
    if "numpy.random" in sys.modules:
        # Python's own `random` has a new seed after a fork; numpy's has not.
        sys.modules["numpy.random"].seed()
    return descriptor
