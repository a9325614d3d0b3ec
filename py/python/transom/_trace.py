"""Which line keeps an argument: looked for among all of the interpreter's objects, when the host asks for it.

Nothing is noted while functions run, so it costs nothing until then. Arguments are known by where their memory lies: whatever was made of one
(a slice, a numpy array over it) is found too. From there the way goes up along the references to it, until something has a name.
"""

from __future__ import annotations

import gc
import itertools
import sys
import threading
from bisect import bisect_right
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pyarrow as pa

from transom import _lines

#: Where the buffers of an argument lie: first address and the one behind the last.
Ranges = list[tuple[int, int]]

#: How far to go up: from an array to a list, a dict, an object, its class, and then some.
_LEVELS = 12
#: How far to look into tuples and dicts that the collector does not look at, since nothing in them could be part of a cycle.
_DEPTH = 4


def keepers(kept: list[tuple[int, Ranges]]) -> list[tuple[int, str]]:
    """For each lease, given with its memory, what keeps it."""
    gc.collect()  # what only waits for it is kept by nobody
    search = _Search(kept)
    found = search.run()
    return [(lease, found.get(lease) or search.nameless(lease)) for lease, _ in kept]


class _Node:
    """An object on the way up: what leads to it, and the leases that it keeps."""

    def __init__(self, found: Any, leases: set[int], below: Any) -> None:
        self.found, self.leases, self.below = found, set(leases), below


class _Search:
    def __init__(self, kept: list[tuple[int, Ranges]]) -> None:
        #: Held to the end, so that numbers of objects stay theirs; what is not in it was made by this search.
        self.objects = gc.get_objects()
        self.known = {id(found) for found in self.objects}
        self.locals = _locals()
        spans = sorted((start, end, lease) for lease, ranges in kept for start, end in ranges if end > start)
        self.starts = [start for start, _, _ in spans]
        self.spans = spans
        #: For what the collector does not look at: what it lies in.
        self.inside: dict[int, list[Any]] = {}
        self.looked_into: dict[int, bool] = {}
        self.over = self._over()
        self.last: dict[int, Any] = {}

    # Objects over the memory.

    def _lease_at(self, address: int) -> int | None:
        index = bisect_right(self.starts, address) - 1
        if index < 0:
            return None
        _, end, lease = self.spans[index]
        return lease if address < end else None

    def _over(self) -> dict[int, _Node]:
        """The arrays, batches and buffers that lie in the memory asked for."""
        over: dict[int, _Node] = {}
        for value, _ in self.locals.values():
            self._look_at(value, over, 0)
        # Most of a million references lead to what is of no interest: here nothing may cost more than a look at a type.
        for found in itertools.chain(self.objects, itertools.chain.from_iterable(map(gc.get_referents, self.objects))):
            if type(found) not in _PLAIN:
                self._look_at(found, over, 0)
        return over

    def _look_at(self, found: Any, over: dict[int, _Node], depth: int) -> bool:
        """Whether an object lies in the memory, or something in it does that the collector does not look at."""
        if id(found) in over:
            return True
        kind = type(found)
        if kind is tuple or kind is dict:
            return self._look_into(found, over, depth)
        addresses = _ADDRESSES.get(kind) or _addresses_of(kind)
        leases = {lease for address in addresses(found) if (lease := self._lease_at(address)) is not None}
        if leases:
            over[id(found)] = _Node(found, leases, None)
        return bool(leases)

    def _look_into(self, found: Any, over: dict[int, _Node], depth: int) -> bool:
        if depth == _DEPTH or gc.is_tracked(found) or id(found) in self.looked_into:
            return id(found) in self.looked_into and self.looked_into[id(found)]
        self.looked_into[id(found)] = False
        for child in gc.get_referents(found):
            if type(child) not in _PLAIN and self._look_at(child, over, depth + 1):
                self.inside.setdefault(id(child), []).append(found)
                self.looked_into[id(found)] = True
        return self.looked_into[id(found)]

    # The way up.

    def run(self) -> dict[int, str]:
        told: dict[int, str] = {}
        level, seen = self.over, set(self.over)
        for _ in range(_LEVELS):
            for node in level.values():
                self.last.update((lease, node.found) for lease in node.leases)
                self._tell(told, node.leases, self._local(node.found))
            level = {number: node for number, node in level.items() if not node.leases <= told.keys()}
            level = self._parents(level, seen, told)
            if not level:
                break
        return told

    @staticmethod
    def _tell(told: dict[int, str], leases: set[int], text: str | None) -> None:
        if text is not None:
            told.update((lease, text) for lease in leases if lease not in told)

    def _local(self, found: Any) -> str | None:
        _, place = self.locals.get(id(found), (None, None))
        return place

    def _parents(self, level: dict[int, _Node], seen: set[int], told: dict[int, str]) -> dict[int, _Node]:
        """What refers to these objects, without what has a name, of which is told."""
        above: dict[int, _Node] = {}
        children = [node.found for node in level.values()]
        referrers = [found for found in gc.get_referrers(*children) if id(found) in self.known] if children else []
        referrers += itertools.chain.from_iterable(self.inside.get(id(child), ()) for child in children)
        for parent in referrers:
            if id(parent) in seen or id(parent) in above:
                continue
            for child in gc.get_referents(parent):
                below = level.get(id(child))
                if below is None:
                    continue
                text = _lines.name(parent, child, below.below, self.objects)
                self._tell(told, below.leases, text)
                if text is None:
                    above.setdefault(id(parent), _Node(parent, set(), child)).leases.update(below.leases)
        seen.update(above)
        return above

    def nameless(self, lease: int) -> str:
        """For what nothing with a name leads to."""
        last = self.last.get(lease)
        if last is None:
            return "native code: no Python object refers to it"
        running = next((_lines.place(frame.f_code, frame.f_lineno) for frame in _frames()), None)
        what = f"a `{type(last).__name__}` that no name leads to"
        return f"{running}: {what}, in a call that still runs" if running else what


def _frames() -> Iterator[FrameType]:
    """The frames of the user's that run, of all threads."""
    mine = threading.get_ident()
    for thread, top in sys._current_frames().items():
        frame: FrameType | None = top
        ours = thread == mine
        while frame is not None:
            # This search's own come first; below them are those of the function that waits for its input.
            ours = ours and frame.f_globals.get("__package__") == __package__
            if not ours and not _lines.is_library(frame.f_globals.get("__name__", "")):
                yield frame
            frame = frame.f_back


def _locals() -> dict[int, tuple[Any, str]]:
    """The values of local variables of frames that run, by their numbers, and where they are."""
    found = {}
    for frame in _frames():
        for name, value in frame.f_locals.items():
            if frame.f_locals is not frame.f_globals:
                place = f"{_lines.place(frame.f_code, frame.f_lineno)}: local `{name}`, in a call that still runs"
                found.setdefault(id(value), (value, place))
    return found


# Where objects lie.


def _none(found: Any) -> Iterator[int]:
    return iter(())


def _of_array(found: Any) -> Iterator[int]:
    return (buffer.address for buffer in found.buffers() if buffer is not None)


def _of_columns(found: Any) -> Iterator[int]:
    return itertools.chain.from_iterable(_of_chunks(column) if isinstance(column, pa.ChunkedArray) else _of_array(column) for column in found.columns)


def _of_chunks(found: Any) -> Iterator[int]:
    return itertools.chain.from_iterable(map(_of_array, found.chunks))


def _of_buffer(found: Any) -> Iterator[int]:
    yield found.address


def _of_numpy(found: Any) -> Iterator[int]:
    yield found.__array_interface__["data"][0]


#: How to learn where objects of a type lie; types are added as they are met.
_ADDRESSES: dict[type, Any] = {}
#: Types whose objects lie nowhere.
_PLAIN: set[type] = set()


def _addresses_of(kind: type) -> Any:
    numpy = sys.modules.get("numpy")
    ways = [(pa.Array, _of_array), (pa.ChunkedArray, _of_chunks), ((pa.RecordBatch, pa.Table), _of_columns), (pa.Buffer, _of_buffer)]
    if numpy is not None:
        ways.append((numpy.ndarray, _of_numpy))
    way = next((way for base, way in ways if issubclass(kind, base)), _none)  # type: ignore[arg-type]
    _ADDRESSES[kind] = way
    if way is _none:
        _PLAIN.add(kind)
    return way
