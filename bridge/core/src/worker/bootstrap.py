# Run by the host as `python -c`: it finds out what the interpreter lacks before anything else can fail less clearly.
import os
import sys


def give_up(status, error):
    sys.stderr.write(f"{type(error).__name__}: {error}\n")
    sys.stderr.flush()
    os._exit(status)


# `python -c` puts the working directory first on the path, where a file of the user's may bear the name of a library.
if sys.path and sys.path[0] == "":
    sys.path.append(sys.path.pop(0))
# The library that was loaded before all others is for this process, and not for the programs that its functions start.
library = os.environ.pop("TRANSOM_PRELOAD", None)
wanted = os.environ.get("ARROW_DEFAULT_MEMORY_POOL")
if library:
    others = os.environ.pop("LD_PRELOAD", "").removesuffix(library).rstrip(":")
    if others:
        os.environ["LD_PRELOAD"] = others
    if not wanted:
        os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"
# A worker has no threads but its own, so that others can be forked from it. Arrow's jemalloc would start one to give memory back, which it else does
# when memory is freed.
quiet = "JE_ARROW_MALLOC_CONF" not in os.environ
if quiet:
    os.environ["JE_ARROW_MALLOC_CONF"] = "background_thread:false"
try:
    import pyarrow
except ImportError as error:
    give_up(81, error)
if library and not wanted:
    pyarrow.default_memory_pool()  # which is settled with this
    del os.environ["ARROW_DEFAULT_MEMORY_POOL"]
try:
    from transom import _worker
except ImportError as error:
    give_up(82, error)
if quiet:
    del os.environ["JE_ARROW_MALLOC_CONF"]
_worker.main(int(sys.argv[1]))
