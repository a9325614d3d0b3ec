"""Runs what a release is to reach: fuzz targets, noise on the link and a writing peer, piece by piece, until each has its count.

    make fuzz-release

Stop it whenever you like (Ctrl-C): counts are kept in target/fuzz/counts.json after each piece, and it goes on from there. What is reached stands
in docs/reliability/fuzz.json, one line for each, for the table of docs/reliability.md. A finding counts as an anomaly there, ends the run, and is
told of in that document once it is mended.
"""

import argparse
import contextlib
import datetime
import json
import math
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
COUNTS = ROOT / "target/fuzz/counts.json"
PUBLISHED = ROOT / "docs/reliability/fuzz.json"
# Seconds of a piece of fuzzing; what a stop loses at most. Less would go into trying first what is kept.
PIECE = 600
# Inputs that are tried for each that libFuzzer makes: itself, and others around it (fuzz/src/around.rs).
EACH = 64

# The plan's name, what is done, the unit, the aim, and how: a fuzz target, or a test with the variable for its size, the size of a piece, and
# what in its output is counted, where that is not the size.
CAMPAIGNS = [
    ("F1", "descriptors decoded and imported", "inputs", 50_000_000, "descriptor"),
    ("F5", "messages decoded, both directions", "messages", 50_000_000, "message"),
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
    arguments.add_argument("--only", action="append", default=[], help="only this target or test")
    arguments.add_argument("--until", help="the time of day at which to stop, such as 22:25")
    options, fuzzer = arguments.parse_known_args()
    counts = counted()
    tests = {}
    while todo := [
        campaign for campaign in CAMPAIGNS if reached(counts, campaign) < campaign[3] and (not options.only or key(campaign) in options.only)
    ]:
        # In turn, so that a stop leaves something of each.
        for campaign in todo:
            seconds = left(options.until)
            if seconds <= 0:
                return
            how = campaign[4]
            if isinstance(how, str):
                count, found = fuzzed(options.binaries, how, campaign[3] - reached(counts, campaign), min(PIECE, seconds), fuzzer)
            else:
                count, found = tested(tests, how, reached(counts, campaign))
            counts = note(campaign, count, bool(found))
            if found:
                sys.exit(f"{key(campaign)} found something, which is to be mended first; see fuzz/README.md\n{found[-3000:]}")


def key(campaign):
    return campaign[4] if isinstance(campaign[4], str) else campaign[4][1]


def reached(counts, campaign):
    return counts.get(key(campaign), {}).get("count", 0)


def left(until):
    """Seconds from now until this time of day, at most 12 hours ahead; below 0 where it was in the last 12 hours."""
    if until is None:
        return math.inf
    now = datetime.datetime.now()
    then = datetime.datetime.combine(now, datetime.time.fromisoformat(until))
    half = 12 * 60 * 60
    return ((then - now).total_seconds() + half) % (2 * half) - half


def fuzzed(binaries, target, most, seconds, options):
    """Fuzzes for so many seconds, or until there were so many inputs, with these options of libFuzzer.

    Says how many inputs that were, without those that were kept from before and those around them, and what was printed on a finding.
    """
    grown = ROOT / "target/fuzz/corpus" / target
    artifacts = ROOT / "fuzz/artifacts" / target
    for folder in (grown, artifacts):
        folder.mkdir(parents=True, exist_ok=True)
    corpora = [grown, ROOT / "fuzz/corpus" / target]
    runs = sum(len(list(folder.iterdir())) for folder in corpora) + math.ceil(most / EACH)
    command = [
        binaries / target,
        f"-max_total_time={math.ceil(seconds)}",
        f"-runs={runs}",
        # How often an edge was reached says nothing of the inputs around one.
        "-use_counters=0",
        *options,
        f"-artifact_prefix={artifacts}/",
        *corpora,
    ]
    environment = {**os.environ, "TRANSOM_AROUND": str(EACH - 1)}
    run = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, errors="replace")
    executed, kept = (re.search(pattern, run.stderr) for pattern in (r"stat::number_of_executed_units: *(\d+)", r"seed corpus: files: (\d+)"))
    count = EACH * max(int(executed[1]) - int(kept[1]), 0) if executed and kept else 0
    return count, run.stderr if run.returncode else None


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
        return 0, f"from round {done} on\n{run.stdout}"
    return sum(int(number) for number in re.findall(pattern, run.stdout)) if pattern else size, None


def counted():
    return json.loads(COUNTS.read_text()) if COUNTS.exists() else {}


def note(campaign, count, found):
    """Adds this to what stands in the file by now, since others may run beside; says what it is then."""
    today = datetime.date.today().isoformat()
    counts = counted()
    entry = counts.setdefault(key(campaign), {"count": 0, "found": 0, "since": today})
    entry["count"] += count
    entry["found"] += found
    entry["until"] = today
    COUNTS.parent.mkdir(parents=True, exist_ok=True)
    beside = COUNTS.with_suffix(".new")
    beside.write_text(json.dumps(counts))
    beside.rename(COUNTS)
    PUBLISHED.parent.mkdir(parents=True, exist_ok=True)
    PUBLISHED.write_text("".join(json.dumps(line(one, counts[key(one)])) + "\n" for one in CAMPAIGNS if key(one) in counts))
    return counts


def line(campaign, entry):
    name, what, unit, aim, how = campaign
    rust = subprocess.run(["rustc", "-V"], stdout=subprocess.PIPE, text=True).stdout.split()[1]
    details = f"target `{how}`, AddressSanitizer" if isinstance(how, str) else f"`{how[1]}` of the Rust tests"
    found = {"anomalies": entry["found"], "since": entry["since"], "until": entry["until"]}
    return {
        "id": name,
        "what": what,
        "unit": unit,
        "count": entry["count"],
        "aim": aim,
        **found,
        "kernel": os.uname().release.split("-")[0],
        "rust": rust,
        "details": details,
    }


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
