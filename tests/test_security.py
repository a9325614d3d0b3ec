"""What SECURITY.md says of the code: the host unpickles nothing, nothing has a name, and the audit fails on findings and on nothing else."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
from pathlib import Path
from types import ModuleType

import pytest
import transom
from expect import ONE, alive, fails

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "py/python/transom"

#: What makes objects of bytes, and with them whatever the bytes say.
UNPICKLERS = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib"}
#: Modules of the package that may, each with the reason.
ALLOWED = {
    "_load.py": "runs in workers only: it loads the functions that their own host sent",
    "_ship.py": "makes the bytes of functions for the host's own workers, and reads none",
}


@pytest.fixture
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / "audit/audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FINE = {"name": "numpy", "version": "2.4.6", "vulns": []}
UNKNOWN = {"name": "ours", "skip_reason": "not found on PyPI"}
BAD = {"name": "old", "version": "1", "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-2"], "description": "it burns"}]}


def test_a_vulnerable_package_fails_and_an_unknown_one_is_said(audit: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.judged("r.txt", [FINE])
    assert "1 packages" in capsys.readouterr().out
    assert audit.judged("r.txt", [FINE, UNKNOWN])
    assert "SKIPPED advisories on 1 of 2" in capsys.readouterr().out
    assert not audit.judged("r.txt", [FINE, BAD, UNKNOWN])
    assert "FOUND old 1: PYSEC-1" in capsys.readouterr().out
    audit.EXCEPTIONS["CVE-2"] = "nothing here is flammable"
    assert audit.judged("r.txt", [BAD])
    assert "nothing here is flammable" in capsys.readouterr().out


def test_what_cannot_be_asked_is_no_finding(audit: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    audit.TOOLS = tmp_path
    for name in ("pip-audit", "cargo-deny"):
        tool = tmp_path / name
        tool.write_text("#!/bin/sh\necho 'cannot resolve host' >&2\nexit 1\n")
        tool.chmod(0o755)
    assert audit.packages("r.txt")
    assert audit.advisories()
    assert capsys.readouterr().out.count("cannot resolve host") == 2
    assert not audit.crates(), "what needs no network is no exception"


def uses(path: Path) -> set[str]:
    """The modules of `UNPICKLERS` that a file imports anywhere, by name or by a call."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return found & UNPICKLERS


def test_the_host_unpickles_nothing() -> None:
    using = {path.name for path in PACKAGE.glob("*.py") if uses(path)}
    assert using == set(ALLOWED), "a module that unpickles needs a reason why it runs in workers only"
    shipped = (PACKAGE / "_ship.py").read_text()
    assert not re.search(r"\bloads?\(|Unpickler|allow_pickle", shipped), ALLOWED["_ship.py"]


def test_only_workers_load_functions() -> None:
    """`_load.from_bytes` is the one place that unpickles; nothing but a worker's own modules calls it, and only what runs in a process of its own
    starts those: a worker's bootstrap, and a replay under a debugger."""
    texts = {path.name: path.read_text() for path in PACKAGE.glob("*.py")}
    assert {name for name, text in texts.items() if "from_bytes(name" in text} == {"_load.py", "_worker.py"}
    assert {name for name, text in texts.items() if re.search(r"\b_worker\b", text)} - {"_worker.py"} == {"_replay.py"}
    replay = (PACKAGE / "_replay.py").read_text()
    assert "_worker" not in replay.split("def main()")[0], "the host's part of a replay starts a process, and loads nothing"
    assert "from transom import _worker" in (ROOT / "bridge/core/src/worker/bootstrap.py").read_text()


def test_rust_and_java_unpickle_nothing() -> None:
    sources = [path for folder in ("bridge", "py/src", "ffi/src") for path in (ROOT / folder).rglob("*.rs")]
    sources += (ROOT / "jvm").glob("*/src/main/**/*.java")
    assert len(sources) > 100
    reading = re.compile(r"serde_pickle|bincode|ObjectInputStream|readObject\(|XMLDecoder|import\(.*\"(cloud)?pickle\"")
    assert [path for path in sources if reading.search(path.read_text())] == []


def sockets() -> dict[str, str]:
    """Number and name of every Unix socket of this process; the name is empty where nobody can find it."""
    mine = {link[len("socket:[") : -1] for link in links() if link.startswith("socket:[")}
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return {row[6]: " ".join(row[7:]) for row in rows if row[6] in mine}


def links() -> list[str]:
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{number}"))
        except FileNotFoundError:  # the listing's own
            continue
    return found


def test_sockets_and_segments_have_no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    # The one with a name, for `transom doctor --pool`, has tests of its own.
    monkeypatch.setenv("TRANSOM_DOCTOR", "0")
    before, shared_memory = sockets(), set(os.listdir("/dev/shm"))
    with transom.Pool(workers=2) as pool:
        pool.call(alive, ONE)
        opened = {number: name for number, name in sockets().items() if number not in before}
        assert len(opened) >= 2
        assert set(opened.values()) == {""}
        segments = [link for link in links() if "transom-" in link]
        assert segments
        assert all(link.startswith("/memfd:") and link.endswith(" (deleted)") for link in segments)
        assert set(os.listdir("/dev/shm")) == shared_memory


SECRET = "correct-horse-battery-staple"


def test_the_environment_is_in_no_message(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", SECRET)
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\nexit 5\n")
    broken.chmod(0o755)

    @transom.udf
    def dies(x: int) -> int:
        os._exit(1)

    @transom.udf
    def hangs(x: int) -> int:
        while True:
            pass

    @transom.udf
    def raises(x: int) -> int:
        raise ValueError(x)

    texts = []
    for options in ({"env": {"TOKEN": SECRET}, "python": broken}, {"env": {"TOKEN": SECRET}, "cwd": tmp_path / "gone"}):
        with transom.Pool(workers=1, **options) as pool, pytest.raises(transom.TransomError) as caught:
            pool.call(alive, ONE)
        texts.append(str(caught.value))
    with transom.Pool(workers=1, env={"TOKEN": SECRET}, deadline=0.3) as pool:
        texts.append(str(fails(pool, dies, kind=transom.WorkerDied, name="WORKER_EXITED")))
        texts.append(str(fails(pool, hangs, kind=transom.DeadlineExceeded, name="DEADLINE_EXCEEDED")))
        texts.append(str(fails(pool, raises, kind=transom.FunctionError, name="FUNCTION_RAISED")))
    assert not [text for text in texts if SECRET in text]
