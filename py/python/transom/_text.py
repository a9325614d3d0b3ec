"""Texts for errors: as UTF-8, and not longer than an error may hold."""

from __future__ import annotations

#: The most bytes of a text in an error. The core's limit (`failure/cap.rs`), less some room for the type of an exception before its message.
TEXT_LIMIT = (8 << 10) - 512
#: The most bytes of a traceback.
TRACEBACK_LIMIT = 32 << 10


def clean(text: str) -> str:
    """Text that UTF-8 can carry: lone surrogates become escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def cap(text: str, limit: int = TEXT_LIMIT) -> str:
    """At most `limit` bytes of UTF-8, and how much is missing."""
    # A character is at least a byte: a cut by characters first spares the encoding of what is thrown away.
    extra = max(0, len(text) - limit)
    data = text[:limit].encode("utf-8", "backslashreplace")
    if not extra and len(data) <= limit:
        return data.decode("utf-8")
    kept = data[: limit - 64].decode("utf-8", "ignore")
    return f"{kept}… ({len(text) - len(kept)} characters more)"
