"""Runs what a release is to reach: fuzz targets, noise on the link and a writing peer, piece by piece, until each has its count.

    make fuzz-release

Stop it whenever you like (Ctrl-C): counts are kept in target/fuzz/counts.json after each piece, and it goes on from there. What is reached stands
in docs/reliability/fuzz.json, one line for each, for the table of docs/reliability.md.
"""

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
COUNTS = ROOT / "target/fuzz/counts.json"
PUBLISHED = ROOT / "docs/reliability/fuzz.json"
# Seconds of a piece of fuzzing; what a stop loses at most.
PIECE = 60

# The plan's name, what is done, the unit, the aim, and how: a fuzz target, or a test with the variable for its size, the size of a piece, and
# what in its output is counted, where that is not the size.
CAMPAIGNS = [
    ("F1", "descriptors decoded and imported", "inputs", 50_000_000, "descriptor"),
    ("F1", "messages decoded, both directions", "inputs", 50_000_000, "message"),
    ("F1", "schema messages decoded", "inputs", 5_000_000, "schema"),
    ("F2", "batches changed, imported in each mode, read and computed with", "inputs", 5_000_000, "batch"),
    ("F4", "batches imported while their sender writes", "flips", 10_000_000, ("transom", "flipper", "TEST_IMPORTS", 300, r"during (\d+) flips")),
    (
        "F5",
        "noise on the link, both directions, each round up to 29 messages",
        "rounds",
        100_000,
        ("transom-tests", "garbled", "TEST_ROUNDS", 1000, None),
    ),
]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("binaries", type=pathlib.Path, help="the folder of the built fuzz targets")
    arguments.add_argument("--until", help="the time of day at which to stop, such as 22:25")
    options = arguments.parse_args()
    counts = json.loads(COUNTS.read_text()) if COUNTS.exists() else {}
    tests = {}
    while todo := [campaign for campaign in CAMPAIGNS if reached(counts, campaign) < campaign[3]]:
        # In turn, so that a stop leaves something of each.
        for campaign in todo:
            if options.until and time.strftime("%H:%M") >= options.until:
                return
            how = campaign[4]
            count = fuzzed(options.binaries, how) if isinstance(how, str) else tested(tests, how, reached(counts, campaign))
            note(counts, campaign, count)


def key(campaign):
    return campaign[4] if isinstance(campaign[4], str) else campaign[4][1]


def reached(counts, campaign):
    return counts.get(key(campaign), {}).get("count", 0)


def fuzzed(binaries, target):
    """Fuzzes for one piece, and says how many inputs that were. What is found ends everything: it is to be mended first."""
    grown = ROOT / "target/fuzz/corpus" / target
    artifacts = ROOT / "fuzz/artifacts" / target
    for folder in (grown, artifacts):
        folder.mkdir(parents=True, exist_ok=True)
    command = [
        binaries / target,
        f"-max_total_time={PIECE}",
        "-print_final_stats=1",
        f"-artifact_prefix={artifacts}/",
        grown,
        ROOT / "fuzz/corpus" / target,
    ]
    run = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace")
    executed = re.search(r"stat::number_of_executed_units: *(\d+)", run.stderr)
    if run.returncode or not executed:
        sys.exit(f"{target} found something; see fuzz/README.md\n{run.stderr[-3000:]}")
    return int(executed[1])


def tested(tests, how, done):
    package, name, variable, size, pattern = how
    if name not in tests:
        build = ["cargo", "test", "--locked", "--package", package, "--test", name, "--no-run", "--message-format=json"]
        lines = subprocess.run(build, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
        built = [json.loads(line) for line in lines]
        tests[name] = next(one["executable"] for one in built if one.get("executable") and one["target"]["name"] == name)
    environment = {**os.environ, variable: str(size), "TEST_FIRST_ROUND": str(done)}
    run = subprocess.run([tests[name], "--nocapture"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if run.returncode:
        sys.exit(f"{name} failed, from round {done} on\n{run.stdout[-3000:]}")
    return sum(int(number) for number in re.findall(pattern, run.stdout)) if pattern else size


def note(counts, campaign, count):
    today = datetime.date.today().isoformat()
    entry = counts.setdefault(key(campaign), {"count": 0, "since": today})
    entry["count"] += count
    entry["until"] = today
    COUNTS.parent.mkdir(parents=True, exist_ok=True)
    beside = COUNTS.with_suffix(".new")
    beside.write_text(json.dumps(counts))
    beside.rename(COUNTS)
    PUBLISHED.parent.mkdir(parents=True, exist_ok=True)
    PUBLISHED.write_text("".join(json.dumps(line(one, counts[key(one)])) + "\n" for one in CAMPAIGNS if key(one) in counts))


def line(campaign, entry):
    name, what, unit, aim, how = campaign
    rust = subprocess.run(["rustc", "-V"], stdout=subprocess.PIPE, text=True).stdout.split()[1]
    details = f"target `{how}`, AddressSanitizer" if isinstance(how, str) else f"`{how[1]}` of the Rust tests"
    found = {"anomalies": 0, "since": entry["since"], "until": entry["until"]}
    return {
        "id": name,
        "what": what,
        "unit": unit,
        "count": entry["count"],
        "aim": aim,
        **found,
        "kernel": os.uname().release,
        "rust": rust,
        "details": details,
    }


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
