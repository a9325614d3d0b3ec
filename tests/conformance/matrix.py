"""The table of all pairs: what is printed at the end of a run, and `docs/conformance-matrix.md`."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from drivers import HOSTS, ROOT, WORKERS

KEPT = ROOT / "docs" / "conformance-matrix.md"
Pair = tuple[str, str]

HEAD = """# The conformance matrix

Made by `python -m pytest tests/conformance`, which fails where this is not what it found. `CONFORMANCE_UPDATE=1` has it written anew.
[conformance.md](conformance.md) says what is compared. A number is the batches that came back as they must, through `identity`, `describe`
and `identity_batches`. Beside it may stand letters: what they stand for was refused with a clear error, or went through unread.

"""


class Matrix:
    """What the tests of this run found."""

    def __init__(self) -> None:
        self.cells: dict[Pair, dict[str, tuple[int, frozenset[str]]]] = defaultdict(dict)
        self.skipped: dict[Pair, str] = {}

    def note(self, pair: Pair, file: str, batches: int, lacked: frozenset[str]) -> None:
        self.cells[pair][file] = (batches, lacked)

    def summary(self) -> list[str]:
        """Hosts by workers, in lines."""
        rows = [["host \\ worker", *(worker.name for worker in WORKERS)]]
        rows += [[host.name, *(self._sum((host.name, worker.name)) for worker in WORKERS)] for host in HOSTS]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return lines + [f"{host} host, {worker} worker not run: {reason}" for (host, worker), reason in self.skipped.items()]

    def _sum(self, pair: Pair) -> str:
        found = self.cells.get(pair)
        if not found:
            return "not run"
        whole = sum(not lacked for _, lacked in found.values())
        return f"{whole} files, {sum(batches for batches, _ in found.values())} batches" + (
            f", {len(found) - whole} lacking" if whole < len(found) else ""
        )

    def rows(self, files: list[str]) -> dict[Pair, list[str]]:
        """The columns of the kept table, of pairs that ran through all files."""
        letters = {feature: chr(ord("a") + number) for number, feature in enumerate(lacked_features())}
        cell = lambda batches, lacked: f"{batches} {''.join(sorted(letters[feature] for feature in lacked))}".strip()  # noqa: E731
        return {pair: [cell(*found[file]) for file in files] for pair, found in self.cells.items() if set(found) >= set(files)}

    def page(self, files: list[str]) -> str:
        """The page of `docs`."""
        columns = self.rows(files)
        pairs = [(host.name, worker.name) for host in HOSTS for worker in WORKERS if (host.name, worker.name) in columns]
        lines = [f"| {' | '.join(['batches', *(f'{host} host, {worker} worker' for host, worker in pairs)])} |"]
        lines.append(f"|{' --- |' * (len(pairs) + 1)}")
        lines += [f"| {' | '.join([file, *(columns[pair][row] for pair in pairs)])} |" for row, file in enumerate(files)]
        notes = [f"* {chr(ord('a') + number)}: {feature}. {reason}" for number, (feature, reason) in enumerate(lacked_features().items())]
        return HEAD + "\n".join(lines) + "\n\n" + "\n".join(notes) + "\n"


def lacked_features() -> dict[str, str]:
    """Everything that some host or worker lacks, with who and why."""
    found: dict[str, list[str]] = defaultdict(list)
    for what, parts in (("host", HOSTS), ("worker", WORKERS)):
        for part in parts:
            for feature, reason in (*part.missing.items(), *part.limits.items()):
                found[feature].append(f"{part.name} {what}: {reason}")
    return {feature: "; ".join(found[feature]) for feature in sorted(found)}


def kept(path: Path = KEPT) -> dict[str, list[str]]:
    """The kept table: the cells of each column, by its heading."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in path.read_text().splitlines()
        if line.startswith("| ") and not line.startswith("| ---")
    ]
    return {heading: [row[column] for row in rows[1:]] for column, heading in enumerate(rows[0])}
