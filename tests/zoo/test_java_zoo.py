"""Every function of the JVM's zoo at the first, a middle and the last batch of a stream: the error says what happened, the batches between get their
answers, and the next query works in the same host.

A JVM takes seconds to start. So those that end theirs do it once, in the middle, and those that do not meet the same one; with TRANSOM_ZOO=full
each attacks at the first, a middle and the last batch, in a worker that has worked and in one that is new.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
import transom
from expect import ONE, SHARED, alive
from hostile import ATTACK, BEHAVE, LEAVE
from test_java_worker import FUNCTIONS, WORKER
from test_zoo import ROWS, batch, outcome

FULL = os.environ.get("TRANSOM_ZOO") == "full"


@dataclass
class Case:
    """What becomes of a batch whose function attacks: an error with `code` that says `says`; without a code, its result."""

    name: str
    code: str = ""
    says: str = ""
    #: Whether the JVM is gone afterwards.
    deadly: bool = False
    #: The function's, where it does not come back.
    deadline: float | None = None


def works(name: str) -> Case:
    return Case(name)


def fails(name: str, code: str, says: str = "") -> Case:
    return Case(name, code, says)


def dies(name: str, code: str, says: str = "") -> Case:
    return Case(name, code, says, deadly=True)


def hangs(name: str, says: str = "") -> Case:
    # Long enough for a JVM that is new, on a busy machine, to come to its function.
    return Case(name, "DEADLINE_EXCEEDED", says, deadly=True, deadline=2.0)


CASES = [
    fails("Throws", "FUNCTION_RAISED", "java.io.IOException: as asked"),
    fails("ThrowsError", "FUNCTION_RAISED", "java.lang.AssertionError: as asked"),
    fails("ThrowsUnspeakable", "FUNCTION_RAISED", "its message cannot be shown"),
    fails("ThrowsFlood", "FUNCTION_RAISED", "IllegalStateException: xxxx"),
    fails("ThrowsNoText", "FUNCTION_RAISED", "half a character"),
    fails("Recurses", "FUNCTION_RAISED", "java.lang.StackOverflowError"),
    fails("TakesTheHeap", "FUNCTION_RAISED", "java.lang.OutOfMemoryError"),
    fails("TakesArrowsMemory", "FUNCTION_RAISED", "Memory"),
    fails("ReturnsNothing", "NOT_ARROW"),
    fails("ReturnsText", "WRONG_TYPE"),
    fails("ReturnsTooFew", "WRONG_LENGTH", "63 rows for 64"),
    dies("Exits", "WORKER_EXITED", "exit status 7"),
    hangs("ExitsAndHangs"),
    dies("Halts", "WORKER_EXITED", "exit status 9"),
    dies("WritesNowhere", "WORKER_SIGNALLED", "SIGABRT"),
    dies("WritesToItsInput", "WORKER_SIGNALLED", "SIG"),
    dies("KillsItself", "WORKER_SIGNALLED", "SIGKILL"),
    hangs("Spins", "Hostile$Spins.attack"),
    hangs("Sleeps", "Hostile.forEver"),
    hangs("Deadlocks", "Hostile$Deadlocks.attack"),
    hangs("HangsAtItsEnd"),
    works("Keeps"),
    works("LeavesThread"),
    works("LeavesDaemon"),
    works("LeavesDyingThread"),
    works("RunsProgram"),
    works("LeavesProgram"),
    works("Prints"),
    works("ClosesOutput"),
    works("ChangesSurroundings"),
    works("StaysInterrupted"),
]


def wishes(case: Case, order: str) -> list[int]:
    end = [] if case.deadly else [LEAVE]
    return {
        "once": [BEHAVE, ATTACK, BEHAVE] if case.deadly else [ATTACK, BEHAVE, ATTACK, BEHAVE, ATTACK],
        "reused": [ATTACK, BEHAVE, ATTACK, BEHAVE, ATTACK],
        "fresh": [ATTACK, *end, ATTACK, *end, ATTACK],
    }[order]


@pytest.fixture(scope="module")
def cage(_module_leaves_nothing: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[transom.Pool]:
    """A pool of one worker, whose JVM has little memory, and leaves the reports of its crashes in a folder of its own."""
    options = ["-Xcheck:jni", "-Xmx128m", "-Xss512k", "-XX:TieredStopAtLevel=1"]
    with transom.Pool(workers=1, java_class_path=[WORKER], java_options=options, cwd=tmp_path_factory.mktemp("cage")) as made:
        made.call(transom.java("com.acme.Rows$OfLong", jar=FUNCTIONS), ONE)
        SHARED.append(made)
        yield made
    SHARED.remove(made)


@pytest.mark.parametrize("order", ["reused", "fresh"] if FULL else ["once"])
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_the_zoo_of_the_jvm(cage: transom.Pool, case: Case, order: str) -> None:
    function = transom.java(f"com.acme.Hostile${case.name}", jar=FUNCTIONS, deadline=case.deadline)
    if order == "fresh":
        with pytest.raises(transom.WorkerDied):
            cage.call(function, batch(LEAVE, 0))
    asked = wishes(case, order)
    batches = [batch(wish, number) for number, wish in enumerate(asked)]
    results = cage.map(function, iter(batches))
    answers = [outcome(results) for _ in asked]
    with pytest.raises(StopIteration):
        next(results)
    for number, (wish, answer, sent) in enumerate(zip(asked, answers, batches, strict=True)):
        if wish == LEAVE:
            assert isinstance(answer, transom.WorkerDied), answer
        elif wish == ATTACK and case.code:
            assert isinstance(answer, transom.TransomError), answer
            text = str(answer)
            assert answer.code_name == case.code, text
            assert case.says in text
            assert len(text) < 100_000
            assert (answer.batch, answer.rows) == (number, range(number * ROWS, (number + 1) * ROWS)), text
            assert answer.function is not None
        else:
            assert isinstance(answer, pa.Array), answer
            assert answer.equals(sent.column(0))
    assert cage.call(transom.java("com.acme.Rows$OfLong", jar=FUNCTIONS), ONE).equals(ONE)
    assert cage.call(alive, ONE).equals(ONE)


def test_all_that_is_written_for_the_zoo_is_in_it() -> None:
    source = (Path(__file__).parent.parent / "java/src/main/java/com/acme/Hostile.java").read_text()
    written = {line.split(" class ")[1].split()[0] for line in source.splitlines() if line.startswith("  public static ") and " class " in line}
    assert written == {case.name for case in CASES}
