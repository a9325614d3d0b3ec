"""The demo: two real jobs by the program `transom`, each checked against the same work done in this process.

    .venv/bin/python examples/demo.py

It fetches its data on the first run (into data/) and needs no network after that.
"""

import hashlib
import os
import re
import shlex
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parent.parent
DATA, OUT = ROOT / "data", ROOT / "out"
PROGRAM = os.environ.get("TRANSOM_BIN", "target/release/transom")

# Three books that the source package of the brotli compressor carries as test data.
BOOKS = {"alice29.txt": "Alice in Wonderland", "asyoulik.txt": "As You Like It", "plrabn12.txt": "Paradise Lost"}
BOOKS_PACKAGE = "brotli==1.2.1"
BOOKS_SHA256 = "02b2f7b5a83485efe448a44ddf7983def05c3bb1dcf917d4f7154070260e13de"


def main():
    os.chdir(ROOT)
    OUT.mkdir(exist_ok=True)
    good = [discounted_prices(), word_count()]
    if not all(good):
        sys.exit("\nA result differs from the same work done in this process: this is a defect.")


def discounted_prices():
    lineitem = order_lines()
    rows = pq.read_metadata(lineitem).num_rows
    title(f"1  What {rows:,} order lines bring (TPC-H lineitem, scale 0.1), by a Python function in two workers")
    result = OUT / "prices.parquet"
    transom("examples/pricing.py:discounted_price", lineitem, "--workers", "2", "--output", result)
    there = pc.sum(pq.read_table(result)["discounted_price"]).as_py()
    table = pq.read_table(lineitem, columns=["l_extendedprice", "l_discount"])
    here = pc.sum(pc.multiply(table["l_extendedprice"], pc.subtract(pa.scalar(1), table["l_discount"]))).as_py()
    return compare(f"{there:,}", f"{here:,}")


def word_count():
    paths = books()
    title("2  The ten most frequent words of " + ", ".join(BOOKS.values()))
    result = OUT / "words.parquet"
    transom("examples/wordcount.py:count_words", *paths, "--output", result)
    table = pq.read_table(result)
    there = list(zip(table["word"].to_pylist(), table["count"].to_pylist(), strict=True))
    counts = Counter()
    for path in paths:
        counts.update(re.findall(r"[a-z]+(?:'[a-z]+)?", path.read_text(encoding="utf-8").lower()))
    top = counts.most_common(10)
    for word, count in there[:10]:
        print(f"   {word:<6} {count:>6,}  {'▇' * round(40 * count / top[0][1])}")
    print()
    return (
        compare(f"{len(there):,} words, {sum(count for _, count in there):,} in all", f"{len(counts):,} words, {counts.total():,} in all")
        and dict(there) == counts
    )


def title(text):
    print(f"\n{text}\n")


def transom(*words):
    command = [str(word.relative_to(ROOT)) if isinstance(word, Path) else word for word in (PROGRAM, "run", *words)]
    print(f"   $ {shlex.join(command)}", flush=True)
    ended = subprocess.run([*command, "--python", sys.executable], check=False, stderr=subprocess.PIPE, text=True)
    print("".join(f"   {line}\n" for line in ended.stderr.splitlines()))
    if ended.returncode != 0:
        sys.exit(ended.returncode)


def compare(there, here):
    same = there == here
    print(f"   by transom       {there}")
    print(f"   in this process  {here}   {'the same' if same else 'NOT THE SAME'}")
    return same


def order_lines():
    """The table lineitem by the public generator of TPC-H."""
    path = DATA / "tpch" / "lineitem.parquet"
    if not path.exists():
        # Made elsewhere first: half a file must not be taken for a whole one next time.
        with folder() as made:
            generator = Path(sys.executable).with_name("tpchgen-cli")
            subprocess.run([generator, "parquet", "--quiet", "-s", "0.1", "--tables=lineitem", f"--output-dir={made}"], check=True)
            keep(Path(made) / path.name, path)
    return path


def books():
    """Three books as text files, out of a package on PyPI."""
    paths = [DATA / "books" / name for name in BOOKS]
    if not all(path.exists() for path in paths):
        with folder() as made:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary=:all:"]
            subprocess.run([*pip, f"--dest={made}", BOOKS_PACKAGE], check=True)
            (archive,) = Path(made).glob("*.tar.gz")
            if hashlib.sha256(archive.read_bytes()).hexdigest() != BOOKS_SHA256:
                sys.exit(f"{archive.name} is not the file that it was")
            with tarfile.open(archive) as package:
                for path in paths:
                    (member,) = (member for member in package.getmembers() if member.name.endswith(f"/tests/testdata/{path.name}"))
                    (Path(made) / path.name).write_bytes(package.extractfile(member).read())
                    keep(Path(made) / path.name, path)
    return paths


def folder():
    DATA.mkdir(exist_ok=True)
    return tempfile.TemporaryDirectory(dir=DATA, prefix=".made-")


def keep(made, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    made.rename(path)


if __name__ == "__main__":
    main()
