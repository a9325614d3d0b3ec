"""Apache Lucene's standard analyzer, called from Python over a column of a million texts.

    make jvm                                        # builds transom-worker and the examples
    .venv/bin/python examples/lucene/tokens.py

A sample of the words is compared with what a plain regular expression finds, and the rate is printed.
"""

from __future__ import annotations

import argparse
import random
import re
import time
from pathlib import Path

import pyarrow as pa
import transom

ROOT = Path(__file__).resolve().parent.parent.parent
WORDS = ["The", "quick", "brown", "fox", "can't", "jump", "over", "3.14", "lazy", "dogs", "Größe", "naïve", "e-mail", "2026", "x_1", "и", "мир"]
STOPS = [", ", " ", " ", " ", "; ", " – ", "! ", " (", ") ", "... "]


def texts(rows: int) -> pa.Array:
    """Texts of twelve words each, always the same ones."""
    chance = random.Random(7)
    pieces = [word + stop for word in WORDS for stop in STOPS]
    return pa.array(["".join(chance.choices(pieces, k=12)) for _ in range(rows)])


def reference(text: str) -> list[str]:
    """What Unicode's rules say about the words above."""
    return [word.lower() for word in re.findall(r"\w+(?:['.]\w+)*", text)]


def jar(folder: str, name: str) -> Path:
    found = sorted((ROOT / folder / "target").glob(f"{name}-[0-9]*.jar"))
    if not found:
        raise SystemExit(f"{folder} is not built: run `make jvm` first")
    return found[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    tokens = transom.java("com.example.text.Tokens", jar=jar("examples/lucene", "example-lucene"))
    table = pa.table({"text": texts(options.rows)})
    with transom.Pool(workers=options.workers, java_class_path=[jar("jvm/transom-worker", "transom-worker")]) as pool:
        pool.call(tokens, table["text"].chunk(0).slice(0, 10_000))  # the JVM is up, and has compiled what is hot
        began = time.perf_counter()
        results = list(pool.map(tokens, table))
        seconds = time.perf_counter() - began
    words = pa.chunked_array([result.column(0) for result in results])
    for row in range(0, options.rows, max(options.rows // 1000, 1)):
        expected = reference(table["text"][row].as_py())
        assert words[row].as_py() == expected, f"row {row}: {words[row]} and not {expected}"
    count = sum(len(chunk.flatten()) for chunk in words.chunks)
    print(f"{options.rows:,} texts, {count:,} words in {seconds:.1f} s: {options.rows / seconds:,.0f} texts/s, {count / seconds:,.0f} words/s")


if __name__ == "__main__":
    main()
