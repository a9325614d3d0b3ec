"""Family 1: setting up; and 9."""

from __future__ import annotations

import pyarrow
import transom
from confine import CONFINE
from room import NATIVE, ROGUE, Room, Seen, X

from triggers import trigger


@transom.udf
def double(x: int) -> int:
    return 2 * x


@trigger(1001)
def shared_memory_full(room: Room) -> Seen:
    # As much as nobody has: pages that nobody ever touches, again and again, so only the promise of the memory is asked for.
    return room.script("""
import mmap
MAP_NORESERVE = 0x4000
pages = pa.py_buffer(mmap.mmap(-1, 1 << 33, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE))
column = pa.Array.from_buffers(pa.int64(), 1 << 30, [None, pages])
batch = pa.record_batch([column] * 1000, names=[f"column_{number}" for number in range(1000)])
with transom.Pool(workers=1, memory_limit=1 << 50) as pool:
    tell(lambda: pool.share(batch))
""")


@trigger(1002)
def descriptor_limit(room: Room) -> Seen:
    return room.script("""
import resource
def double(x: int) -> int:
    return 2 * x
least = len(os.listdir("/proc/self/fd")) + 8
resource.setrlimit(resource.RLIMIT_NOFILE, (least, least))
with transom.Pool(workers=1) as pool:
    tell(lambda: pool.call(double, X))
""")


@trigger(1003)
def seals_missing(room: Room) -> Seen:
    # A kernel before 5.1 answers EINVAL to seals that it does not know. Here a filter of system calls does so in its stead.
    return room.script(
        CONFINE
        + """
def double(x: int) -> int:
    return 2 * x
refuse("fcntl", errno.EINVAL, second_argument=F_ADD_SEALS)
with transom.Pool(workers=1) as pool:
    tell(lambda: pool.call(double, X))
"""
    )


@trigger(1004)
def version_mismatch(room: Room) -> Seen:
    pool = room.pool(python=ROGUE, env={"ROGUE_GREETING": "newer version"})
    return room.seen(lambda: pool.call("native:honest", X))


@trigger(1005)
def interpreter_missing(room: Room) -> Seen:
    return room.seen(lambda: room.pool(python=room.folder / "venv/bin/python"))


@trigger(1006)
def pyarrow_missing(room: Room) -> Seen:
    pool = room.pool(python=room.interpreter('exec python3 -S -E "$@"'))
    return room.seen(lambda: pool.call(double, X))


@trigger(1007)
def transom_missing(room: Room) -> Seen:
    libraries = room.folder / "libraries"
    libraries.mkdir()
    for module in (pyarrow, __import__("numpy")):
        for part in module.__path__:
            (libraries / module.__name__).symlink_to(part)
            for beside in (libraries / module.__name__).resolve().parent.glob(f"{module.__name__}.libs"):
                (libraries / beside.name).symlink_to(beside)
    pool = room.pool(python=room.interpreter(f'PYTHONPATH={libraries} exec python3 -S "$@"'))
    return room.seen(lambda: pool.call(double, X))


@trigger(1008)
def start_failed(room: Room) -> Seen:
    pool = room.pool(python=room.interpreter("echo 'libpython.so: cannot open shared object file' >&2; exit 127"))
    return room.seen(lambda: pool.call(double, X))


@trigger(1009)
def system(room: Room) -> Seen:
    # What a container with too few processes allowed answers.
    return room.script(
        CONFINE
        + """
refuse("clone3", errno.EAGAIN)
tell(lambda: transom.Pool(workers=1))
"""
    )


@trigger(1010)
def working_directory_missing(room: Room) -> Seen:
    pool = room.pool(cwd=room.folder / "gone")
    return room.seen(lambda: pool.call(double, X))


@trigger(1101)
def function_not_found(room: Room) -> Seen:
    path = room.file("prices.py", "import transom\n\n@transom.udf\ndef discounted(price: float) -> float:\n    return price * 0.9\n")
    return room.seen(lambda: room.shared.call(f"{path}:discuonted", X))


@trigger(1102)
def function_import_failed(room: Room) -> Seen:
    path = room.file("prices.py", "import a_library_that_is_not_installed\n")
    return room.seen(lambda: room.shared.call(f"{path}:discounted", X))


@trigger(1103)
def function_not_callable(room: Room) -> Seen:
    path = room.file("prices.py", "discount = 0.1\n")
    return room.seen(lambda: room.shared.call(f"{path}:discount", X))


@trigger(1104)
def function_signature(room: Room) -> Seen:
    path = room.file("prices.py", "import transom\n\n@transom.udf\ndef discounted(price: object) -> float:\n    return price * 0.9\n")
    return room.seen(lambda: room.shared.call(f"{path}:discounted", X))


@trigger(9001)
def internal(room: Room) -> Seen:
    # A worker in Rust whose function panics. Workers in Python raise; one that has a defect of its own panics like this.
    pool = room.pool(python=NATIVE)
    return room.seen(lambda: pool.call("native:panic", X))
