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


def _head_of(length: int) -> bytes | tuple[()]:
    """What a frame of so many bytes begins with. An empty tuple where there is none: nothing starts with that."""
    for digits in range(1, MOST_DIGITS + 1):
        head = b"%x\r\n" % max(0, length - digits - 4)
        if len(head) == digits + 2 and head[0] != ord("0"):
            return head
    return ()


FRAME_HEADS = tuple(map(_head_of, range(2048)))
"""What a frame of so many bytes begins with. To compare costs a third of searching the size and reading it."""


def whole_frame(data: bytes) -> bytes:
    """The chunk in it, if this is exactly one frame of less than 2 KiB; nothing otherwise."""
    if len(data) < len(FRAME_HEADS) and data.startswith(head := FRAME_HEADS[len(data)]) and data[-2:] == b"\r\n":
        return data[len(head) : -2]
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
