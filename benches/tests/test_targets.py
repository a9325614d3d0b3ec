"""What the page of aims says, and that its measures are taken from where they should be."""

import os
from pathlib import Path

import pytest

import data
from processes import private_memory
from targets import Aim, crossing, markdown

ABOUT = {"date": "2026-01-01", "mode": "quick", "cpu": "a", "cores": 2, "kernel": "6", "busy_before": 0.03}


@pytest.mark.parametrize(
    ("figure", "at_least", "word"),
    [(0.9, True, "reached"), (0.89, True, "NOT REACHED"), (0.9, False, "reached"), (0.91, False, "NOT REACHED")],
)
def test_an_aim_is_judged_by_its_figure(figure: float, at_least: bool, word: str) -> None:
    page = markdown(ABOUT, [Aim("a call", "in process", "×", figure, 0.9, at_least)])
    sign = "≥" if at_least else "≤"
    assert page.splitlines()[-1] == f"| a call | in process | {figure:.2f} × | {sign} 0.90 × | {word} |"


def test_private_memory_is_what_a_process_alone_has() -> None:
    before = private_memory([os.getpid()])
    block = bytearray(64 << 20)
    block[::4096] = b"x" * (len(block) // 4096)
    assert 60 << 20 < private_memory([os.getpid()]) - before < 80 << 20


def test_what_a_call_must_do_takes_some_time(tmp_path: Path) -> None:
    data.write_all(tmp_path, [1])
    assert crossing(tmp_path) > 0
