"""Messages without what differs from run to run and from machine to machine, so that they can be compared with files."""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path

import transom
from codes import ROOT

HERE = Path(__file__).parent
#: Applied in this order, after the paths.
RULES: list[tuple[str, str]] = [
    (rf"\b{re.escape(transom.__version__)}\b", "VERSION"),
    (r"\(protocol \d+\)", "(protocol N)"),
    (r"0x[0-9a-f]{4,}", "0xADDRESS"),
    (r"\b(pid|process) \d+", r"\1 PID"),
    (r"\b\d+(\.\d+)? m?s after its start\b", "T s after its start"),
    (r"\bup \d+(\.\d+)? s, \d+ batches", "up T s, N batches"),
    (r"(?<=batches, )\d+(\.\d+)? MiB(?= of \d)|(?<=, used )\d+(\.\d+)? MiB", "N MiB"),
    (r"\banother \d+(\.\d+)? s\b", "another T s"),
    # Which functions of the interpreter and of the C library are on the way is theirs to say.
    (r"(?<=Native stack \(most recent call first\):)(\n +\S+)+(?=\n|$)", "\n      FRAMES"),
    (r"\b\d+(\.\d+)? [KMG]iB (are )?available", r"N MiB \2available"),
    (r"has \d+ left", "has N left"),
    (r"(?<=[\"/\w]), line \d+", ", line N"),
    (r"\(os error \d+\)", "(os error N)"),
    (r"Python 3\.\d+\.\d+", "Python 3.N"),
    # Names of functions' interpreter: newer ones underline the place, and name the process of a thread.
    (r"\n *[~^]+(?=\n|$)", ""),
    (r"(?<=0xADDRESS) \[[^]\n]*\]", ""),
    # Who holds memory is told; how much depends on what came back just before.
    (r"(?m)^    \d+ bytes: \d+ ", "    N bytes: N "),
    (r"(?m)^    \d+ bytes: (shared batches, and free room in )\d+", r"    N bytes: \1N"),
]


def normal(text: str, folder: Path) -> str:
    """What the golden files hold of `text`; `folder` is where the trigger put its files."""
    library = sysconfig.get_path("stdlib")
    for path, name in [
        (f"{folder}/", ""),
        (folder, "FOLDER"),
        (f"{HERE}/triggers/", ""),
        (sys.executable, "PYTHON"),
        (library, "LIBRARY"),
        (ROOT, "REPOSITORY"),
    ]:
        text = text.replace(str(path), name)
    for pattern, replacement in RULES:
        text = re.sub(pattern, replacement, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines()) + "\n"
