"""Compress what stands in a bundle, by whichever makes it smallest, and read it again within a limit.

Brotli knows English words from the beginning, and models what stands beside one another: it makes the requests and
answers of 600 chats a tenth smaller than zstd does. To read half a megabyte takes it some ms.
"""

from __future__ import annotations

from replayproxy.cassette.budget import BYTES
from replayproxy.cassette.coding import codec
from replayproxy.cassette.coding.codec import Codec
from replayproxy.errors import Damaged

ZSTD, BROTLI = 0, 1
"""Stored as these numbers."""


def squeezed(plain: bytes, *, thorough: bool) -> tuple[int, bytes]:
    """By what it is compressed, and the result. `thorough`: try both, a second for a megabyte."""
    by_zstd = codec.squeezed(plain)
    if not thorough:
        return ZSTD, by_zstd
    import brotli  # few need it: `ls` is to start fast

    by_brotli = brotli.compress(plain, quality=11)
    return min((ZSTD, by_zstd), (BROTLI, by_brotli), key=lambda made: len(made[1]))


def expanded(unpacker: Codec, coder: int, stored: bytes, limit: int) -> bytes:
    """The content again, at most so many bytes. Raises `Damaged`."""
    if coder == ZSTD:
        return unpacker.expand_bundled(stored, limit)
    if coder != BROTLI:
        raise Damaged("a stored bundle is compressed by what does not exist")
    import brotli

    stream = brotli.Decompressor()
    parts, size = [], 0
    try:
        part = stream.process(stored, output_buffer_limit=limit + 1)
        while part:
            parts.append(part)
            size += len(part)
            if size > limit:
                raise Damaged("a stored bundle is longer than any is")
            part = b"" if stream.is_finished() else stream.process(b"", output_buffer_limit=limit + 1 - size)
    except brotli.error as error:
        raise Damaged(f"a stored bundle cannot be read: {error}") from error
    if not stream.is_finished():
        raise Damaged("a stored bundle ends too early")
    count(unpacker, stored, size)
    return b"".join(parts)


def count(unpacker: Codec, stored: bytes, size: int) -> None:
    """Take from the budget what this takes in memory, and the time for it. Raises `Damaged`."""
    if unpacker.budget is not None:
        unpacker.budget.spend(unpacker.row, stored, size)
        unpacker.budget.work(unpacker.row, stored, size // BYTES, "bundle")
