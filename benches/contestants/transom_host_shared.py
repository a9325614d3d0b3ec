"""The same as `transom_host`, with arguments that lie in shared memory before anything is timed."""

from __future__ import annotations

import pyarrow as pa
import transom

from contestants.base import serve
from contestants.peer import WINDOW
from contestants.transom_host import TransomHost


class TransomShared(TransomHost):
    """A pool of one worker, whose calls copy nothing."""

    def placed(self, batches: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
        return [self._pool.share(batch) for batch in batches]


if __name__ == "__main__":
    serve(TransomShared(transom.Pool(workers=1, window=WINDOW)))
