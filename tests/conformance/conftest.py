"""The table of the matrix, printed at the end of a run."""

from __future__ import annotations

import pytest
from matrix import Matrix

MATRIX = pytest.StashKey[Matrix]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[MATRIX] = Matrix()


@pytest.fixture(scope="session")
def matrix(request: pytest.FixtureRequest) -> Matrix:
    return request.config.stash[MATRIX]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    found = config.stash[MATRIX]
    if found.cells or found.skipped:
        terminalreporter.section("conformance")
        for line in found.summary():
            terminalreporter.write_line(line)
