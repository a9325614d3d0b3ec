"""The examples of the Python guide do what the guide says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = Path(__file__).parent.parent / "docs" / "python.md"
EXAMPLE = re.compile(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TEXT = GUIDE.read_text()
EXAMPLES = [(TEXT.count("\n", 0, found.start()) + 2, found[1], found[2]) for found in EXAMPLE.finditer(TEXT)]


def test_every_example_has_its_output() -> None:
    assert len(EXAMPLES) == TEXT.count("```python\n") >= 10


@pytest.mark.parametrize(("line", "code", "output"), EXAMPLES, ids=[f"line {line}" for line, _, _ in EXAMPLES])
def test_example(line: int, code: str, output: str, tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(code)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, cwd=tmp_path, check=False)
    assert (done.stdout, done.stderr, done.returncode) == (output, "", 0), f"{GUIDE.name}, line {line}"


def test_links_lead_somewhere() -> None:
    headings = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)}
    for link in re.findall(r"\]\(#(.*?)\)", TEXT):
        assert link in headings, link
    for link in re.findall(r"\]\(([^#)]+?)\)", TEXT):
        assert (GUIDE.parent / link).exists(), link
