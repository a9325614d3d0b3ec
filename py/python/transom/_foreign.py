"""Functions that are not Python's: named here, run by workers of their own language."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from transom import _native
from transom._errors import InvalidArgument
from transom._udf import ON_ERROR, deadline_seconds

#: What a wheel brings along for workers of other languages.
_BROUGHT = Path(__file__).parent / "_bin"


@dataclass(frozen=True)
class ForeignFunction:
    """A function of another language, for `Pool.call` and `Pool.map`. `transom.native` and `transom.java` make them."""

    #: "native" or "java".
    language: str
    #: The shared library's path, or the class's name.
    place: str
    #: The function's name in a library; empty for a class.
    name: str = ""
    #: The jars and folders of classes in which a class is looked for.
    jars: tuple[str, ...] = ()
    #: The longest that one batch may take, in seconds; None leaves it to the function and the pool.
    deadline: float | None = None
    #: How often a batch is tried again after its worker died.
    retries: int = 0
    #: What becomes of rows for which the function fails; None leaves it to the function's definition.
    on_error: str | None = None

    def _bound(self) -> _native.Function:
        if self.language == "native":
            function = _native.Function.native(self.place, self.name)
        else:
            function = _native.Function.java(self.place, list(self.jars))
        return function.with_policies(self.deadline, self.retries, self.on_error)


def native(
    library: str | os.PathLike[str], name: str, *, deadline: float | timedelta | None = None, retries: int = 0, on_error: str | None = None
) -> ForeignFunction:
    """A function in a shared library, run in a process of its own: a crash of it is an error here.

    library: the library's file, made against ``transom.h`` in C or in any language that can export a C function.
    name: the name under which the library describes the function.
    deadline, retries, on_error: as for `transom.udf`.

    >>> import transom
    >>> transom.native("./libprices.so", "discount").name
    'discount'
    """
    return ForeignFunction("native", os.path.abspath(os.fspath(library)), name, (), *_policies(deadline, retries, on_error))


def java(
    function: str,
    jar: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] = (),
    *,
    deadline: float | timedelta | None = None,
    retries: int = 0,
    on_error: str | None = None,
) -> ForeignFunction:
    """A function written in Java, Scala or Kotlin, run in a JVM of its own.

    function: the name of a class, such as ``"com.acme.Discount"``, or of a service that the jar offers.
    jar: the jar in which it lies, or several with what it needs. The worker brings transom-java and arrow-java itself.
    deadline, retries, on_error: as for `transom.udf`.

    >>> import transom
    >>> transom.java("com.acme.Discount", jar="acme.jar").place
    'com.acme.Discount'
    """
    jars = [jar] if isinstance(jar, (str, os.PathLike)) else jar
    return ForeignFunction("java", function, "", tuple(os.path.abspath(os.fspath(one)) for one in jars), *_policies(deadline, retries, on_error))


def _policies(deadline: Any, retries: Any, on_error: Any) -> tuple[float | None, int, str | None]:
    try:
        seconds = deadline_seconds(deadline)
    except ValueError as error:
        raise InvalidArgument(str(error), code="BAD_OPTION") from None
    if not isinstance(retries, int) or isinstance(retries, bool) or retries < 0:
        raise InvalidArgument(f"retries is {retries!r}, and a whole number from 0 is needed", code="BAD_OPTION")
    if on_error is not None and on_error not in ON_ERROR:
        raise InvalidArgument(f"on_error is {on_error!r}, and {' or '.join(map(repr, ON_ERROR))} is needed", code="BAD_OPTION")
    return seconds, retries, on_error


def native_worker() -> str | None:
    """The program that runs shared libraries, where this package brings one and nobody named another."""
    return _brought("transom-native-worker", "TRANSOM_NATIVE_WORKER")


def java_class_path() -> list[str]:
    """The jar that JVM workers need, where this package brings it and nobody named another."""
    jar = _brought("transom-worker.jar", "TRANSOM_JAVA_CLASS_PATH")
    return [] if jar is None else [jar]


def _brought(name: str, variable: str) -> str | None:
    path = _BROUGHT / name
    return str(path) if not os.environ.get(variable) and path.is_file() else None
