"""What is built for users has nothing of the tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from program import PROGRAM
from transom import _native


@pytest.mark.parametrize("product", [PROGRAM, Path(_native.__file__)], ids=["program", "package"])
def test_no_product_has_steps_at_which_it_can_be_made_to_die(product: Path) -> None:
    content = product.read_bytes()
    assert b"worker::exported" not in content
    assert b"TRANSOM_FAULT_FD" in content, "this is the core, as it is compiled"
