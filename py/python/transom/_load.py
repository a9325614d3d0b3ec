"""Loading a function in a worker: from a file, a module, or as the host's own bytes. Each way to fail has its own error."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import sys
import zlib
from typing import Any

from transom._errors import SignatureError
from transom._failures import Failure, kind_of, render, text_of
from transom._udf import Udf, udf

#: What stands before a pickled function: its format and the Python that made it, whose byte code no other one runs.
MARK = b"transom-pickle-1 %d.%d\n" % sys.version_info[:2]


def add_import_path(folders: list[str]) -> None:
    """Puts the host's folders in front of this interpreter's, in their order."""
    new = [folder for folder in folders if folder not in sys.path]
    if new:
        sys.path[:0] = new
        importlib.invalidate_caches()


def from_file(path: str, name: str) -> Udf[Any, Any]:
    """The function `name` of the source file `path`, which is run once in a worker."""
    if not os.path.isfile(path):
        there = "is a folder" if os.path.isdir(path) else "does not exist"
        raise Failure("FUNCTION_NOT_FOUND", f"the file {path} {there}", hint=_near_files(path))
    # Its folder is searched, as if it were run as a script; its module name must not hide a real module.
    add_import_path([os.path.dirname(os.path.abspath(path))])
    stem = os.path.splitext(os.path.basename(path))[0]
    module_name = f"_transom_file_{stem}_{zlib.crc32(os.fsencode(os.path.abspath(path))):08x}"
    module = sys.modules.get(module_name)
    if module is None:
        module = _run(module_name, path)
    return as_udf(_attribute(module, name, path), name)


def _run(module_name: str, path: str) -> Any:
    try:
        spec = importlib.util.spec_from_file_location(module_name, path)
        if spec is None or spec.loader is None:
            raise Failure("FUNCTION_NOT_FOUND", f"{path} is not a Python source file", hint="the file's name must end in .py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        spec.loader.exec_module(module)
    except Failure:
        raise
    except BaseException as error:
        sys.modules.pop(module_name, None)
        raise _import_failed(path, error) from None
    return module


def from_module(module_name: str, name: str) -> Udf[Any, Any]:
    """The function `name` of an importable module."""
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise Failure(
                "FUNCTION_NOT_FOUND",
                f"there is no module `{error.name}` for {sys.executable}",
                hint="install it for that interpreter, set PYTHONPATH in env=, or name the file: path/file.py:name",
            ) from None
        raise _import_failed(module_name, error) from None
    except BaseException as error:
        raise _import_failed(module_name, error) from None
    return as_udf(_attribute(module, name, module_name), name)


def from_bytes(name: str, data: bytes) -> Udf[Any, Any]:
    """The function that the host sent by value."""
    mark, _, payload = data.partition(b"\n")
    if mark + b"\n" != MARK:
        theirs = mark.rpartition(b" ")[2].decode("ascii", "replace")
        ours = ".".join(map(str, sys.version_info[:2]))
        raise Failure(
            "FUNCTION_IMPORT_FAILED",
            f"`{name}` was sent by value from Python {theirs}, and the worker runs Python {ours}",
            hint="put it in a file or module and name it, such as file.py:name, or give workers the host's Python",
        )
    import pickle

    try:
        import cloudpickle  # noqa: F401  (what the bytes refer to)
    except ImportError as error:
        raise Failure(
            "FUNCTION_IMPORT_FAILED",
            f"functions sent by value need cloudpickle, which {sys.executable} cannot import: {error}",
            kind=kind_of(error),
            hint=f"{sys.executable} -m pip install cloudpickle, or name the function: file.py:name",
        ) from None
    try:
        sources, found = pickle.loads(payload)
    except BaseException as error:
        raise _import_failed(f"the bytes of `{name}`", error) from None
    _remember(sources)
    return as_udf(found, name)


def _remember(sources: dict[str, str]) -> None:
    """Lets tracebacks show lines of code that stands in no file: a notebook's cells, a console's lines."""
    import linecache

    for filename, text in sources.items():
        linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)


def _import_failed(what: str, error: BaseException) -> Failure:
    if isinstance(error, SignatureError):  # the first cause: it says what is wrong with which function
        return Failure(error.code_name, error.message, kind=kind_of(error), traceback=render(error), hint=error.hint)
    hint = None
    if isinstance(error, ModuleNotFoundError) and error.name:
        hint = f"install `{error.name}` for {sys.executable}"
    said = f"{kind_of(error)}: {text_of(error)}".removesuffix(": ")
    return Failure("FUNCTION_IMPORT_FAILED", f"loading {what} failed with {said}", kind=kind_of(error), traceback=render(error), hint=hint)


def _attribute(module: Any, name: str, where: str) -> Any:
    found = module
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise Failure("FUNCTION_NOT_FOUND", f"`{name}` is not in {where}", hint=_near_names(module, name)) from None
    return found


def _near_names(module: Any, name: str) -> str:
    here = [n for n, v in vars(module).items() if not n.startswith("_") and callable(v) and _is_own(v, module)]
    near = difflib.get_close_matches(name, here, 3) or sorted(here)[:10]
    return f"functions there: {', '.join(near)}" if near else "no function is defined there"


def _is_own(value: Any, module: Any) -> bool:
    return isinstance(value, Udf) or getattr(value, "__module__", None) == module.__name__


def _near_files(path: str) -> str | None:
    folder = os.path.dirname(path) or "."
    try:
        files = [entry for entry in os.listdir(folder) if entry.endswith(".py")]
    except OSError:
        return f"the folder {folder} cannot be read"
    near = difflib.get_close_matches(os.path.basename(path), files, 3)
    return f"near names there: {', '.join(near)}" if near else None


def as_udf(found: Any, name: str) -> Udf[Any, Any]:
    """What was found, as a function of Transom; plain functions and classes are read by their hints."""
    if isinstance(found, Udf):
        return found
    if not callable(found):
        raise Failure(
            "FUNCTION_NOT_CALLABLE", f"`{name}` is a {type(found).__name__}, which cannot be called", hint="name a function, or a class with __call__"
        )
    try:
        return udf(found)
    except SignatureError as error:
        raise Failure("FUNCTION_SIGNATURE", error.message, hint=error.hint) from None
