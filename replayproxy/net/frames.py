"""Frames: chunks in HTTP/1.1 chunked coding with nothing in them that we would not write ourselves (RFC 9112 7.1).

    size in hexadecimal digits ── CRLF ── the chunk ── CRLF

A server that streams sends one whole frame at a time. It need not be parsed, and goes to the client as it came: its
bytes are those that we would make of its chunk. Whatever else comes is the parser's.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

MOST_DIGITS = 6
"""Of the size of such a chunk. What is longer is parsed."""


@lru_cache(maxsize=4096)
def frame_size(digits: bytes) -> int:
    """The size that is written so, as we would write it; 0 for anything else, and for the last chunk.

    A cached answer takes a quarter of the time of reading and writing the number again.
    """
    try:
        size = int(digits, 16)
    except ValueError:
        return 0
    return size if size > 0 and digits == b"%x" % size else 0


def whole_frame(data: bytes) -> bytes:
    """The chunk in it, if this is exactly one frame; nothing otherwise."""
    mark = data.find(b"\r\n", 1, MOST_DIGITS + 2)
    size = frame_size(data[:mark])
    if size and len(data) == mark + size + 4 and data[-2:] == b"\r\n":
        return data[mark + 2 : -2]
    return b""


def frames(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each whole frame that the data begins with: its chunk, and the frame itself."""
    start = 0
    while (mark := data.find(b"\r\n", start + 1, start + MOST_DIGITS + 2)) > 0:
        size = frame_size(data[start:mark])
        stop = mark + 2 + size
        if not size or data[stop : stop + 2] != b"\r\n":
            return
        yield data[mark + 2 : stop], data[start : stop + 2]
        start = stop + 2
