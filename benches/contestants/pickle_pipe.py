"""A pickled batch over a pair of pipes."""

from contestants.base import serve
from contestants.peer import Peer

if __name__ == "__main__":
    serve(Peer("pickle", "pipe"))
