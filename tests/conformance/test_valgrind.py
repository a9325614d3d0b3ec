"""The kit's functions in C under valgrind's memcheck: every type is walked, and no byte is read that is not there, none lost."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
from compare import MANIFEST, RUNS, as_stream, difference
from drivers import HOSTS, WORKERS, absent, built
from session import Session

HOST = next(host for host in HOSTS if host.name == "Rust")
WORKER = next(worker for worker in WORKERS if worker.name == "C")
MEMCHECK = "valgrind --leak-check=full --show-leak-kinds=definite,indirect --errors-for-leak-kinds=definite,indirect"
#: The worker program gives its threads stacks for signals, which live as long as the process.
SUPPRESSIONS = """{
   stacks for signals
   Memcheck:Leak
   ...
   fun:*worker*stacks*use_large_signal_stack*
}
"""


def test_functions_in_c_are_clean(tmp_path: Path) -> None:
    reason = absent(HOST, WORKER) or (None if shutil.which("valgrind") else "valgrind is not there: install it")
    if reason is not None:
        pytest.skip(reason)
    built(WORKER)
    wrapper = tmp_path / "worker"
    suppressions = tmp_path / "suppressions"
    suppressions.write_text(SUPPRESSIONS)
    memcheck = f"{MEMCHECK} --suppressions={suppressions} --log-file={tmp_path}/memcheck.%p"
    wrapper.write_text(f'#!/bin/sh\nexec {memcheck} {WORKER.program} "$@"\n')
    wrapper.chmod(0o755)
    session = Session(HOST, dataclasses.replace(WORKER, program=str(wrapper)))
    try:
        for entry in MANIFEST:
            source, output = as_stream(entry, tmp_path), tmp_path / "out.arrows"
            for run in RUNS[entry["name"]]:
                for function, column in run.calls():
                    if function == "identity_batches":  # moves a stream and reads nothing
                        continue
                    request = {"function": WORKER.functions[function], "file": str(source), "inputs": run.inputs, "column": column}
                    answer = session.ask({"do": "run", **request, "output": str(output)})
                    if run.refused is None:
                        assert difference(run, function, column, output) is None, (entry["name"], run.name, function, answer)
        session.settle()
        session.close()
    finally:
        session.kill()
    # Those that ran a function; a pool that is closed at once ends its worker before it is up.
    logs = [text for text in (path.read_text() for path in tmp_path.glob("memcheck.*")) if "ERROR SUMMARY" in text]
    assert logs
    for log in logs:
        assert "ERROR SUMMARY: 0 errors" in log, log
