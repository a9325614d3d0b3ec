"""The registry of codes, as the core has it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: Number and name of every code.
CODES = {
    int(number): name
    for number, name in re.findall(r'^    \w+ = (\d{4}) "([A-Z_]+)",$', (ROOT / "bridge/core/src/failure/code.rs").read_text(), re.MULTILINE)
}
