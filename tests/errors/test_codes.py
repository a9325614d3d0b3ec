"""Every code of the registry is made to happen, end to end, and says what its golden file says."""

from __future__ import annotations

import difflib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import transom
from codes import CODES
from expect import SHARED
from normal import normal
from program import PROGRAM
from room import Room, Seen
from triggers import TRIGGERS

GOLDEN = Path(__file__).parent / "golden"
#: Set to write the golden files anew, to be read before they are committed.
UPDATE = os.environ.get("ERRORS_UPDATE")

#: Codes that nothing here makes happen, each with the reason.
UNTRIGGERED = {
    2109: "a worker whose host is gone ends at once and says nothing; that it does end is tested with the deaths of hosts",
}

#: Errors of families 2 to 4 that have no call to name: those that a worker sees, or who uses a handle.
WITHOUT_PLACE = {2108: "printed by the program before the first batch is read", 2112: "seen by the function whose results nobody wants"}

# What takes a minute comes last, and waits meanwhile.
ORDER = sorted(TRIGGERS, key=lambda number: (number == 2108, number))

_seen: dict[int, Seen] = {}


@pytest.fixture(scope="module")
def starting(_module_leaves_nothing: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[bytes]]:
    """The program with a worker that is never ready: its limit passes while the other tests run."""
    folder = tmp_path_factory.mktemp("starting")
    (folder / "prices.py").write_text("import transom\n\n@transom.udf\ndef double(x: int) -> int:\n    return 2 * x\n")
    (folder / "interpreter").write_text("#!/bin/sh\nexec sleep 600\n")
    (folder / "interpreter").chmod(0o755)
    (folder / "numbers.csv").write_text("x\n1\n")
    command = [PROGRAM, "run", "prices.py:double", "numbers.csv", "--python", "./interpreter", "--workers", "1"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.fixture(scope="module")
def shared(_module_leaves_nothing: None) -> Iterator[transom.Pool]:
    with transom.Pool(workers=1) as pool:
        SHARED.append(pool)
        yield pool
    SHARED.remove(pool)


@pytest.fixture
def room(tmp_path: Path, shared: transom.Pool, starting: subprocess.Popen[bytes]) -> Iterator[Room]:
    made = Room(tmp_path, shared, starting)
    yield made
    made.close()


def test_every_code_has_a_trigger_and_a_golden_message() -> None:
    assert set(TRIGGERS) | set(UNTRIGGERED) == set(CODES), "a function in triggers/ for each code, or a reason in UNTRIGGERED"
    assert not set(TRIGGERS) & set(UNTRIGGERED)
    files = {path.name for path in GOLDEN.iterdir()}
    assert files == {f"TRN-{number}.txt" for number in TRIGGERS}, "ERRORS_UPDATE=1 writes the files"


#: What is there or not by the moment of the look: what a loop was just calling, that memory was being collected, what was still under way.
STACK = r"\n\s*Native stack \(most recent call first\):\n +FRAMES|\n +Garbage-collecting(?=\n)"
SOMETIMES = {
    2105: STACK,
    2107: STACK,
    5001: r"\n    N bytes: N batches under way in worker \d+",
}


@pytest.mark.parametrize("number", ORDER, ids=[f"TRN-{number}" for number in ORDER])
def test_a_trigger_gives_the_golden_message(room: Room, number: int) -> None:
    seen = TRIGGERS[number](room)
    assert seen.number == number, seen.text
    assert seen.text.startswith(f"TRN-{number} {CODES[number]}: ")
    found, path = normal(seen.text, room.folder), GOLDEN / f"TRN-{number}.txt"
    if UPDATE:
        path.write_text(found)
    wanted = path.read_text()
    found, wanted = (re.sub(SOMETIMES.get(number, "$^"), "", message) for message in (found, wanted))
    assert found == wanted, "\n".join(difflib.unified_diff(wanted.splitlines(), found.splitlines(), str(path), "seen", lineterm=""))
    _seen[number] = seen


@pytest.mark.parametrize("number", [number for number in ORDER if number // 1000 in (2, 3, 4) and number not in WITHOUT_PLACE])
def test_what_happened_to_a_call_has_function_batch_and_rows(number: int) -> None:
    if number not in _seen:
        pytest.skip(f"TRN-{number} was not triggered in this run")
    seen = _seen[number]
    assert seen.parts
    assert None not in (seen.function, seen.batch, seen.rows), seen.text
    assert f"function `{seen.function}`, batch {seen.batch}, row" in seen.text
