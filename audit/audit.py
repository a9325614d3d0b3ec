"""Asks of everything that Transom is built from whether it is known to be dangerous, and whether it may be given on. `make audit` runs it.

A finding fails. What cannot be asked, since a registry does not answer, is said and does not fail: the next run may get an answer, and a commit
is not to blame for an outage. Exceptions stand in `deny.toml`, and here, each with its reason.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = Path(sys.executable).parent
REQUIREMENTS = ["py/requirements-dev.txt", "benches/requirements.txt", "audit/requirements.txt"]
#: Advisories on Python packages that do not concern us: number and reason.
EXCEPTIONS: dict[str, str] = {}
PATIENCE = 180


def run(*words: str, quiet: bool = False) -> subprocess.CompletedProcess[str]:
    """A tool, whose output is kept where it is read here."""
    try:
        return subprocess.run([TOOLS / words[0], *words[1:]], cwd=ROOT, capture_output=quiet, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, 1, "", f"no answer within {PATIENCE} s")


def skipped(what: str, why: str) -> bool:
    """Says what was not asked; that is no finding."""
    print(f"SKIPPED {what}: {why}", flush=True)
    return True


def crates() -> bool:
    """Licences, sources and versions, from Cargo.lock alone."""
    return run("cargo-deny", "--locked", "check", "--hide-inclusion-graph", "licenses", "bans", "sources").returncode == 0


def advisories() -> bool:
    """RustSec's list of vulnerable, unsound and yanked crates."""
    fetched = run("cargo-deny", "fetch", "db", quiet=True)
    if fetched.returncode != 0:
        return skipped("advisories on crates", (fetched.stderr.strip() or "no answer").splitlines()[-1])
    return run("cargo-deny", "--locked", "--offline", "check", "--hide-inclusion-graph", "advisories").returncode == 0


def packages(requirements: str) -> bool:
    """PyPI's list of vulnerable packages."""
    asked = run("pip-audit", "--requirement", requirements, "--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json", quiet=True)
    if not asked.stdout.startswith("{"):
        return skipped(f"advisories on {requirements}", (asked.stderr.strip() or "no answer").splitlines()[-1])
    found = json.loads(asked.stdout)["dependencies"]
    return judged(requirements, found)


def judged(requirements: str, found: list[dict[str, object]]) -> bool:
    """What pip-audit's list of packages comes to."""
    unknown = [package["name"] for package in found if "skip_reason" in package]
    known = [(package, finding) for package in found for finding in package.get("vulns", [])]
    for package, finding in known:
        reason = next((EXCEPTIONS[name] for name in [finding["id"], *finding["aliases"]] if name in EXCEPTIONS), None)
        print(
            f"{'allowed' if reason else 'FOUND'} {package['name']} {package['version']}: {finding['id']}",
            reason or finding["description"],
            sep="\n    ",
        )
    if unknown:
        skipped(f"advisories on {len(unknown)} of {len(found)} packages of {requirements}", "the registry has no answer on them")
    else:
        print(f"advisories on {requirements} ok: {len(found)} packages")
    return all(any(name in EXCEPTIONS for name in [finding["id"], *finding["aliases"]]) for _, finding in known)


def main() -> int:
    outcomes = [crates(), advisories(), *(packages(requirements) for requirements in REQUIREMENTS)]
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
