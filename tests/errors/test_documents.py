"""docs/errors.md shows of each code the message that its trigger gives, and seven functions that fail as they are tested."""

from __future__ import annotations

import inspect
import os
import re
import textwrap

from codes import CODES, ROOT
from test_codes import GOLDEN
from triggers import TRIGGERS

DOCUMENT = ROOT / "docs/errors.md"
EXAMPLE = re.compile(r"\n<!-- golden: TRN-(\d{4}) -->\n```text\n(.*?)\n```\n", re.DOTALL)
SECTION = re.compile(r"(### TRN-(\d{4}) [A-Z_]+\n.*?)(?=\n##|\Z)", re.DOTALL)


def example(number: int) -> str:
    return f"\n<!-- golden: TRN-{number} -->\n```text\n{(GOLDEN / f'TRN-{number}.txt').read_text().rstrip()}\n```\n"


def with_examples(text: str) -> str:
    """The document with the golden message at the end of each code's section, and wherever else one is shown."""
    # Where a message has moved on, the seven functions show the new one too.
    text = EXAMPLE.sub(lambda found: example(int(found[1])), text)

    def shown(found: re.Match[str]) -> str:
        number = int(found[2])
        return found[0] if number not in TRIGGERS or EXAMPLE.search(found[1]) else found[1].rstrip("\n") + "\n" + example(number)

    return SECTION.sub(shown, text)


def test_every_code_shows_its_golden_message() -> None:
    text = DOCUMENT.read_text()
    if os.environ.get("ERRORS_UPDATE"):
        DOCUMENT.write_text(with_examples(text))
        text = DOCUMENT.read_text()
    assert text == with_examples(text), "ERRORS_UPDATE=1 writes the messages into the document"
    sections = {int(number): section for section, number in SECTION.findall(text)}
    assert set(sections) == set(CODES)
    for number in TRIGGERS:
        assert EXAMPLE.search(sections[number]), f"TRN-{number} shows no message"


def test_the_seven_functions_are_those_that_are_tested() -> None:
    text = DOCUMENT.read_text()
    part = text[text.index("## Seven ways to fail") : text.index("## 1: setting up")]
    functions = re.findall(r"```python\n(.*?)```", part, re.DOTALL)
    shown = [int(found[1]) for found in EXAMPLE.finditer(part)]
    assert len(functions) == len(shown) == 7
    for function, number in zip(functions, shown, strict=True):
        source = textwrap.dedent(inspect.getsource(TRIGGERS[number]))
        assert textwrap.indent(function, "    ") in source, f"the trigger of TRN-{number} has another function"
