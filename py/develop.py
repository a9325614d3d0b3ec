"""Installs the package into the environment that runs this, in place: what `maturin develop` does, for an extension that cargo has built already.

    PYTHON develop.py path/to/lib_native.so

Cargo resolves the features of libraries for each command. One that builds the program and the extension together compiles each library once; maturin
would compile a third of them again. Wheels are built by maturin: `maturin build --release`.
"""

import compileall
import shutil
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main(library: str) -> None:
    package = HERE / "python" / "transom"
    extension = package / "_native.abi3.so"
    # By a new file: a running worker has the old one mapped.
    fresh = extension.with_suffix(".new")
    shutil.copy(library, fresh)
    fresh.replace(extension)
    # What a worker loads before all others (transom-malloc). Without it results are copied once, and `transom doctor` says so.
    loaded = Path(library).with_name("libtransom_malloc.so")
    if loaded.is_file():
        (package / "_bin").mkdir(exist_ok=True)
        shutil.copy(loaded, fresh)
        fresh.replace(package / "_bin" / loaded.name)

    # As an installation of a wheel does: without it each worker would compile the package anew where Python may not write beside it.
    compileall.compile_dir(package, quiet=1)

    site = Path(sysconfig.get_path("purelib"))
    (site / "transom.pth").write_text(f"{package.parent}\n")
    sys.path.insert(0, str(package.parent))
    import transom

    for old in site.glob("transom-*.dist-info"):
        shutil.rmtree(old)
    metadata = site / f"transom-{transom.__version__}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: transom\nVersion: {transom.__version__}\n")
    (metadata / "INSTALLER").write_text("develop.py\n")
    (metadata / "RECORD").write_text(
        "".join(f"{name},,\n" for name in ("transom.pth", *(f"{metadata.name}/{part}" for part in ("METADATA", "INSTALLER", "RECORD"))))
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
