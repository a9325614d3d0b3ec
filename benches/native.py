"""The C ABI beside Rust: the same calls and streams from a C host and from a Rust host, of the same native worker and library.

`make bench-native` runs it. The two take turns, round by round; figures are medians over rounds, and what counts are the ratios.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
PREFIX = ROOT / "target" / "ffi"
ROUNDS = 9


def main() -> int:
    """Builds the C host and the library, measures, and prints the table."""
    with tempfile.TemporaryDirectory(prefix="transom-bench-") as name:
        folder = Path(name)
        flags = ["cc", "-std=c11", "-D_GNU_SOURCE", "-O2", f"-I{PREFIX / 'include'}", f"-I{ROOT / 'ffi' / 'examples' / 'c'}"]
        library, host = folder / "libexample.so", folder / "host"
        subprocess.run([*flags, "-shared", "-fPIC", "-o", library, ROOT / "ffi" / "examples" / "c" / "library.c"], check=True)
        subprocess.run([*flags, "-o", host, ROOT / "benches" / "native" / "host.c", f"-L{PREFIX / 'lib'}", "-ltransom"], check=True)
        worker = PREFIX / "bin" / "transom-native-worker"
        hosts = {
            "C": [host, library],
            "Rust": [ROOT / "target" / "release" / "transom-bench", "native", library, worker],
        }
        environment = {**os.environ, "LD_LIBRARY_PATH": str(PREFIX / "lib"), "TRANSOM_NATIVE_WORKER": str(worker)}
        rounds: dict[str, list[dict[str, float]]] = {title: [] for title in hosts}
        for turn in range(ROUNDS):
            print(f"round {turn + 1} of {ROUNDS}, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
            for title in sorted(hosts, reverse=bool(turn % 2)):
                done = subprocess.run(hosts[title], stdout=subprocess.PIPE, env=environment, check=True, timeout=120)
                rounds[title].append(json.loads(done.stdout))
    show(rounds)
    return 0


def show(rounds: dict[str, list[dict[str, float]]]) -> None:
    """The table: a figure a line, and how many times what the Rust host takes the C host takes."""
    print("| figure | C host | Rust host | C / Rust |\n| --- | --- | --- | --- |")
    for key, title, scale, slower in (
        ("p50", "one row, p50, µs", 1e3, True),
        ("p99", "one row, p99, µs", 1e3, True),
        ("rows_per_second", "64 Ki rows, M rows/s", 1e6, False),
    ):
        c, rust = ([one[key] / scale for one in rounds[host]] for host in ("C", "Rust"))
        ratio = median(a / b if slower else b / a for a, b in zip(c, rust, strict=True))
        print(f"| {title} | {median(c):.1f} | {median(rust):.1f} | {ratio:.2f} |")


if __name__ == "__main__":
    sys.exit(main())
