"""Arrow IPC over a Unix socket."""

from contestants.base import serve
from contestants.peer import Peer

if __name__ == "__main__":
    serve(Peer("ipc", "socket"))
