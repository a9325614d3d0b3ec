"""How functions go from the host to workers: by name where a worker can import them, else by value."""

from __future__ import annotations

import importlib.machinery
import io
import linecache
import os
import pickle
import site
import sys
import sysconfig
import threading
import types
from functools import cache
from typing import Any

from transom._errors import InvalidArgument
from transom._failures import kind_of, text_of
from transom._load import MARK
from transom._udf import Udf

_by_value_lock = threading.Lock()


@cache
def _library_folders() -> tuple[str, ...]:
    """Where this interpreter's own libraries are: a worker's interpreter has its own, perhaps of another version."""
    paths = sysconfig.get_paths()
    folders = {paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")} | set(site.getsitepackages())
    folders.add(site.getusersitepackages())
    return tuple(os.path.realpath(folder) for folder in folders)


def import_path() -> list[str]:
    """The folders of `sys.path` that are the user's: where scripts and modules beside them lie."""
    found = []
    for entry in sys.path:
        folder = os.path.realpath(entry or os.getcwd())
        if not os.path.isdir(folder) or folder.endswith("lib-dynload"):
            continue
        if any(folder == library or folder.startswith(library + os.sep) for library in _library_folders()):
            continue
        if folder not in found:
            found.append(folder)
    return found


def reference(function: Any) -> str | None:
    """`module:name` where a worker that has the host's import path finds this very function; None where it must go by value."""
    plain = function.function if isinstance(function, Udf) else function
    module, name = (getattr(plain, "__module__", None), getattr(plain, "__qualname__", None))
    if not isinstance(module, str) or not isinstance(name, str) or "<" in name:
        return None
    found: Any = sys.modules.get(module)
    if found is None or not importable(found):
        return None
    for part in name.split("."):
        found = getattr(found, part, None)
    # The decorated function for a Udf, the plain one for a plain function: another of the same name is another function.
    return f"{module}:{name}" if found is function else None


def importable(module: types.ModuleType) -> bool:
    """Whether a worker would import this module as the host did, from a file on the import path."""
    name = module.__name__
    if name == "__main__":
        return False
    top = name.partition(".")[0]
    if top in sys.builtin_module_names or top in sys.stdlib_module_names:
        return True
    origin = getattr(sys.modules.get(top), "__spec__", None)
    if origin is None:
        return False
    spec = _found(top)
    return spec is not None and spec.origin == origin.origin and getattr(module, "__spec__", None) is not None


def _found(top: str) -> importlib.machinery.ModuleSpec | None:
    """Where a new interpreter would find a module: by its path, or by the finders that editable installations bring."""
    for finder in (importlib.machinery.PathFinder, *sys.meta_path):
        if finder is importlib.machinery.PathFinder or getattr(finder, "__module__", "").startswith("__editable__"):
            try:
                spec = finder.find_spec(top, None)
            except (ImportError, ValueError, AttributeError):
                continue
            if spec is not None:
                return spec
    return None


def dumps(udf: Udf[Any, Any]) -> bytes:
    """The function by value, with whatever it refers to that a worker could not import."""
    try:
        import cloudpickle
    except ImportError as error:
        raise InvalidArgument(
            f"sending `{udf.name}` by value needs cloudpickle: {error}",
            code="FUNCTION_IMPORT_FAILED",
            function=udf.name,
            hint=f"{sys.executable} -m pip install cloudpickle, or name the function: file.py:name",
        ) from None

    marked: dict[str, types.ModuleType] = {}
    seen: set[str] = set()

    class Pickler(cloudpickle.Pickler):
        def reducer_override(self, thing: Any) -> Any:
            name = thing.__name__ if isinstance(thing, types.ModuleType) else None
            if isinstance(thing, (types.FunctionType, type)):
                name = getattr(thing, "__module__", None)
            if isinstance(name, str) and name not in seen and name in sys.modules:
                seen.add(name)
                module = sys.modules[name]
                if name != "__main__" and not importable(module) and name not in cloudpickle.list_registry_pickle_by_value():
                    cloudpickle.register_pickle_by_value(module)
                    marked[name] = module
            return super().reducer_override(thing)

    stream = io.BytesIO()
    with _by_value_lock:  # cloudpickle's list of modules is the process's, so it is put back at once
        try:
            Pickler(stream, protocol=pickle.HIGHEST_PROTOCOL).dump((_sources(udf.function), udf))
        except Exception as error:
            raise InvalidArgument(
                f"`{udf.name}` cannot be sent to a worker: {kind_of(error)}: {text_of(error)}",
                code="BAD_OPTION",
                function=udf.name,
                hint="it refers to something that cannot leave this process, such as a lock, a connection or an open file: "
                "make that inside the function, or in the __init__ of a class, which is made once per worker",
            ) from error
        finally:
            for module in marked.values():
                cloudpickle.unregister_pickle_by_value(module)
    return MARK + stream.getvalue()


def _sources(function: Any) -> dict[str, str]:
    """The text of code that stands in no file, so that tracebacks in the worker show its lines."""
    target = function.__call__ if isinstance(function, type) else function
    code = getattr(target, "__code__", None)
    if code is None or os.path.exists(code.co_filename):
        return {}
    lines = linecache.getlines(code.co_filename)
    return {code.co_filename: "".join(lines)} if lines else {}
