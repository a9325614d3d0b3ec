"""One trigger for each code: a function that makes the error end to end, and gives what was seen of it.

A new code needs a function here, in the file of its family, and the file `golden/TRN-….txt`, which `ERRORS_UPDATE=1 pytest tests/errors` writes.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

from room import Room, Seen

Trigger = Callable[[Room], Seen]

TRIGGERS: dict[int, Trigger] = {}


def trigger(number: int) -> Callable[[Trigger], Trigger]:
    """Marks the trigger of a code."""

    def mark(function: Trigger) -> Trigger:
        assert number not in TRIGGERS, f"TRN-{number} has two triggers"
        TRIGGERS[number] = function
        return function

    return mark


for _family in ("arguments", "deaths", "inputs", "resources", "results", "setup"):
    importlib.import_module(f"{__name__}.{_family}")
