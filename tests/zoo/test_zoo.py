"""Every function of the zoo at the first, a middle and the last batch of a stream, in a worker that has worked and in one that is new: the error says
what happened, and the batches between get their answers. No two of them spoil the host for each other."""

from __future__ import annotations

import importlib.util
import math
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import hostile
import numpy as np
import pyarrow as pa
import pytest
import transom
from expect import ONE, SHARED, alive
from hostile import ATTACK, BEHAVE, LEAVE, Action
from test_host_death import MARK, living


@dataclass
class Case:
    """What becomes of a batch whose function does `action`: an error with one of `codes` that says `says`; without codes, its result."""

    action: Action
    codes: tuple[str, ...] = ()
    says: str = ""
    #: Whether the worker is gone afterwards.
    deadly: bool = False
    policies: dict[str, Any] = field(default_factory=dict)
    #: Whether the result's values are the worker's to change.
    unsteady: bool = False


def dies(action: Action, *codes: str, says: str = "", **policies: Any) -> Case:
    return Case(action, codes, says, deadly=True, policies=policies)


def fails(action: Action, *codes: str, says: str = "") -> Case:
    return Case(action, codes, says)


def works(action: Action, deadly: bool = False) -> Case:
    return Case(action, deadly=deadly)


#: Long enough for a worker on a busy machine to come to its function.
SOON = 1.0

CASES = [
    dies(hostile.exit_0, "WORKER_EXITED", says="exit status 0"),
    dies(hostile.exit_7, "WORKER_EXITED", says="exit status 7"),
    fails(hostile.sys_exit, "FUNCTION_EXIT"),
    dies(hostile.null_pointer, "WORKER_SIGNALLED", says="at address 0x0"),
    dies(hostile.null_pointer_without_faulthandler, "WORKER_SIGNALLED", says="SIGSEGV"),
    dies(hostile.abort, "WORKER_SIGNALLED", says="SIGABRT"),
    dies(hostile.stack_smash, "WORKER_SIGNALLED", says="SIG"),
    dies(hostile.another_program, "WORKER_EXITED", says="exit status 9"),
    dies(hostile.another_program_that_stays, "PROTOCOL_VIOLATION", says="closed its link"),
    dies(hostile.kills_itself, "WORKER_SIGNALLED", says="SIGKILL"),
    dies(hostile.kills_its_group, "WORKER_SIGNALLED", says="SIGTERM"),
    fails(hostile.raises_base_exception, "FUNCTION_RAISED", says="the base of all"),
    fails(hostile.raises_keyboard_interrupt, "FUNCTION_RAISED", says="KeyboardInterrupt"),
    fails(hostile.raises_generator_exit, "FUNCTION_RAISED", says="GeneratorExit"),
    fails(hostile.raises_stop_iteration, "FUNCTION_RAISED", says="StopIteration"),
    fails(hostile.raises_what_cannot_be_said, "FUNCTION_RAISED", says="Unspeakable"),
    fails(hostile.raises_a_flood, "FUNCTION_RAISED", says="ValueError: xxxx"),
    fails(hostile.raises_what_is_no_text, "FUNCTION_RAISED", says="half a character"),
    # Which exception CPython makes where memory runs out within a call is its affair.
    fails(hostile.recursion_without_limit, "FUNCTION_RAISED", says="in deeper"),
    fails(hostile.allocates_all, "FUNCTION_RAISED", says="MemoryError"),
    dies(hostile.closes_all_descriptors, "WORKER_EXITED", says="found its link to the host closed"),
    dies(hostile.puts_a_file_over_the_link, "WORKER_EXITED", says="found its link to the host closed"),
    works(hostile.closes_its_output),
    dies(hostile.ignores_all_signals, "DEADLINE_EXCEEDED", deadline=SOON),
    dies(hostile.stops_itself, "WORKER_STOPPED", says="was stopped by SIGSTOP", deadline=SOON),
    dies(hostile.leaves_its_group, "DEADLINE_EXCEEDED", says="in leaves_its_group", deadline=SOON),
    fails(hostile.begins_a_session, "FUNCTION_RAISED", says="PermissionError"),
    dies(hostile.keeps_the_interpreters_lock, "DEADLINE_EXCEEDED", says="in keeps_the_interpreters_lock", deadline=SOON),
    dies(hostile.never_ends, "DEADLINE_EXCEEDED", says="in _spin", deadline=SOON),
    works(hostile.leaves_a_child),
    works(hostile.leaves_a_child_in_a_session_of_its_own),
    works(hostile.returns_in_a_child_too),
    dies(hostile.forks_many, "WORKER_EXITED", says="exit status 5"),
    works(hostile.runs_a_program),
    works(hostile.asks_a_pool_of_processes),
    works(hostile.reads_its_input_in_a_child),
    works(hostile.asks_an_executor),
    works(hostile.asks_joblib),
    works(hostile.floods_its_output),
    works(hostile.changes_its_surroundings),
    works(hostile.mocks_time),
    works(hostile.disables_the_collector),
    works(hostile.works_at_exit),
    works(hostile.leaves_a_thread),
    works(hostile.prints_into_a_broken_stream),
    works(hostile.keeps_in_a_global),
    works(hostile.keeps_in_a_cycle),
    works(hostile.keeps_in_a_thread),
    dies(hostile.writes_to_its_input, "WORKER_SIGNALLED", says="wrote to its input column `x`, which is read-only; line"),
    fails(hostile.writes_by_numpy, "FUNCTION_RAISED", says="read-only"),
    fails(hostile.returns_a_slice, "WRONG_LENGTH", says="63 values for 64 rows"),
    works(hostile.returns_a_slice_of_its_own),
    works(hostile.returns_a_buffer_that_it_overwrites),
    works(hostile.writes_on_in_a_thread),
    # What is written there may be the worker's own memory, so that it may end in any way.
    Case(hostile.writes_into_the_outputs, unsteady=True, policies={"deadline": 5 * SOON}),
    fails(hostile.returns_too_much, "WRONG_LENGTH", says="128 values for 64 rows"),
    fails(hostile.returns_text, "WRONG_TYPE", says="string"),
    fails(hostile.returns_nothing, "NOT_ARROW"),
    fails(hostile.returns_itself, "NOT_ARROW"),
]

ROWS = 64


def batch(wish: int, number: int) -> pa.RecordBatch:
    return pa.record_batch({"x": pa.array([wish] + [number] * (ROWS - 1), pa.int64())})


def wishes(case: Case, order: str) -> list[int]:
    """A stream with the attack at its first, a middle and its last batch; after a death the worker is new."""
    end = [] if case.deadly else [LEAVE]
    return {
        "mixed": [ATTACK, *end, ATTACK, BEHAVE, ATTACK],
        "reused": [ATTACK, BEHAVE, ATTACK, BEHAVE, ATTACK],
        "fresh": [ATTACK, *end, ATTACK, *end, ATTACK],
    }[order]


#: Those that have tests of their own.
BESIDES = {"fails_lazily", "fork_bomb"}

#: In "mixed" order the first and the last batch meet a worker that has worked, and the middle one a new one.
ORDERS = ["reused", "fresh"] if os.environ.get("TRANSOM_ZOO") == "full" else ["mixed"]


@pytest.fixture(scope="module")
def cage(_module_leaves_nothing: None) -> Iterator[transom.Pool]:
    """A pool of one worker, so that it is known which one a batch meets."""
    with transom.Pool(workers=1) as made:
        SHARED.append(made)
        # With the second worker comes what the next ones are forked from, which stays.
        with pytest.raises(transom.WorkerDied):
            made.call(hostile.udf(hostile.exit_0), batch(LEAVE, 0))
        assert made.call(alive, ONE).equals(ONE)
        yield made
    SHARED.remove(made)


def told(case: Case, error: transom.TransomError, number: int) -> None:
    text = str(error)
    assert error.code_name in case.codes, text
    assert case.says in text
    assert len(text) < 100_000
    assert (error.function, error.batch) == (case.action.__name__, number)
    assert range(number * ROWS, (number + 1) * ROWS) == error.rows or len(error.rows) == 1


def outcome(results: Iterator[pa.RecordBatch]) -> pa.Array | transom.TransomError:
    try:
        return next(results).column(0)
    except transom.TransomError as error:
        return error


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("case", CASES, ids=[case.action.__name__ for case in CASES])
def test_the_zoo(cage: transom.Pool, case: Case, order: str) -> None:
    if case.action is hostile.asks_joblib and importlib.util.find_spec("joblib") is None:
        pytest.skip("joblib is not installed")
    function = hostile.udf(case.action, **case.policies)
    if order == "fresh":
        with pytest.raises(transom.WorkerDied):
            cage.call(function, batch(LEAVE, 0))
    else:
        assert cage.call(alive, ONE).equals(ONE)
    asked = wishes(case, order)
    batches = [batch(wish, number) for number, wish in enumerate(asked)]
    results = cage.map(function, iter(batches))
    # All of them first: what was returned must not change with what comes after it.
    answers = [outcome(results) for _ in asked]
    with pytest.raises(StopIteration):
        next(results)
    for number, (wish, answer, sent) in enumerate(zip(asked, answers, batches, strict=True)):
        if wish == LEAVE:
            assert isinstance(answer, transom.WorkerDied), answer
        elif wish == ATTACK and case.codes:
            assert isinstance(answer, transom.TransomError), answer
            told(case, answer, number)
        elif case.unsteady and isinstance(answer, transom.TransomError):
            assert answer.function == case.action.__name__, answer
        else:
            assert isinstance(answer, pa.Array), answer
            assert len(answer) == ROWS
            assert answer.equals(sent.column(0)) or (wish == ATTACK and case.unsteady)
    assert cage.call(alive, ONE).equals(ONE)


@pytest.mark.parametrize("attack", [0, 2, 4])
def test_an_iterator_that_fails_lazily(cage: transom.Pool, attack: int) -> None:
    batches = [batch(ATTACK if number == attack else BEHAVE, number) for number in range(5)]
    results = cage.map(hostile.fails_lazily, iter(batches))
    answers = [outcome(results) for _ in range(attack + 1)]
    assert all(answer.equals(sent.column(0)) for answer, sent in zip(answers[:attack], batches, strict=False))
    error = answers[attack]
    assert isinstance(error, transom.FunctionError), error
    assert "ValueError: not this one" in str(error)
    # Up to two batches are given ahead of what the function has asked for.
    assert error.function == "fails_lazily"
    assert error.batch in range(attack, attack + 3)
    with pytest.raises(StopIteration):
        next(results)
    assert cage.call(alive, ONE).equals(ONE)


def test_a_fork_bomb_stays_within_its_limit(make_pool: Callable[..., transom.Pool]) -> None:
    mark = f"fork-bomb-{os.getpid()}"
    try:
        pool = make_pool(worker_processes=16, env={MARK: mark})
    except transom.InvalidArgument as error:
        pytest.skip(str(error))
    assert pool.call(alive, ONE).equals(ONE)
    most, over = 0, threading.Event()

    def count() -> None:
        nonlocal most
        while not over.is_set():
            most = max(most, len(living(mark)))

    counter = threading.Thread(target=count)
    counter.start()
    with pytest.raises(transom.TransomError) as caught:
        pool.call(hostile.fork_bomb, ONE)
    over.set()
    counter.join()
    # Within the limit the bomb does not end; nor may it come to an answer by itself.
    assert caught.value.code_name == "DEADLINE_EXCEEDED", caught.value
    # The worker's own processes and threads count as they were when it became ready, so one that has ended since makes room for one more.
    assert 2 <= most <= 24
    assert pool.call(alive, ONE).equals(ONE)
    assert [name for name in living(mark).values() if name != "transom-zygote"] == ["python"], "what was forked is gone"


#: Numbers that look alike, or are equal to nothing: zeros of both signs, quiet and signalling NaN, some with a message, the smallest, the largest.
BITS = {
    "float16": ("<u2", [0x0000, 0x8000, 0x7E00, 0xFE00, 0x7E01, 0x7D55, 0x0001, 0x7BFF, 0x7C00, 0xFC00]),
    "float32": ("<u4", [0x00000000, 0x80000000, 0x7FC00000, 0xFFC00000, 0x7FC00001, 0x7FA00055, 0x00000001, 0x7F7FFFFF, 0x7F800000, 0xFF800000]),
    "float64": (
        "<u8",
        [0, 1 << 63, 0x7FF8 << 48, 0xFFF8 << 48, (0x7FF8 << 48) + 1, (0x7FF4 << 48) + 0x55, 1, (0x7FF0 << 48) - 1, 0x7FF0 << 48, 0xFFF0 << 48],
    ),
}


@pytest.mark.parametrize("kind", BITS)
def test_every_bit_of_a_float_is_kept(cage: transom.Pool, kind: str) -> None:
    form, bits = BITS[kind]
    sent = pa.Array.from_buffers(pa.type_for_alias(kind), len(bits), [None, pa.py_buffer(np.array(bits, form).tobytes())])

    def copied(x: np.ndarray) -> np.ndarray:
        return x.copy()

    def given_back(x: pa.Array) -> pa.Array:
        return x

    for function in (given_back, copied):
        for array, expected in ((sent, bits), (sent.slice(3, 5), bits[3:8])):
            result = cage.call(transom.udf(function), array)
            assert result.type == sent.type
            assert list(np.frombuffer(result.buffers()[1], form)[result.offset :][: len(result)]) == expected


@transom.udf
def unchanged(x: float) -> float:
    return x


def test_a_row_function_keeps_the_sign_of_zero_and_what_is_no_number(cage: transom.Pool) -> None:
    # Python may quieten a NaN, and has no other way to hold one.
    result = cage.call(unchanged, pa.array([0.0, -0.0, math.nan, -math.inf, 5e-324])).to_pylist()
    assert [math.copysign(1, value) for value in result[:2]] == [1, -1]
    assert math.isnan(result[2])
    assert result[3:] == [-math.inf, 5e-324]


def test_all_that_is_written_for_the_zoo_is_in_it() -> None:
    public = {name for name, found in vars(hostile).items() if getattr(found, "__module__", "") == "hostile" and callable(found) and name[0] != "_"}
    assert public - {case.action.__name__ for case in CASES} == {"udf", "Unspeakable"} | BESIDES
