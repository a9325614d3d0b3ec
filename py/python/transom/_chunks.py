"""Chunked arrays as one array."""

from __future__ import annotations

from typing import Any

import pyarrow as pa


class TooLarge(Exception):
    """One array cannot hold all chunks: 32-bit offsets end at two gigabytes."""


def one_chunk(value: Any) -> pa.Array:
    """An array or chunked array as one array, without a copy where it is one already. Raises TooLarge."""
    if isinstance(value, pa.Array):
        return value
    if value.num_chunks == 1:
        return value.chunk(0)
    joined = value.combine_chunks()
    if not isinstance(joined, pa.ChunkedArray):
        return joined
    if joined.num_chunks > 1:
        raise TooLarge
    return joined.chunk(0) if joined.num_chunks else pa.array([], type=value.type)
