"""Content codings undone, for views and statistics.

The data path never does this: what is replayed is what was received. Coded bodies may come
from strangers, so undoing stops at a limit.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from replayproxy.core import headers
from replayproxy.model import Response

LIMIT = 64 * 1024 * 1024
"""Bytes of a decoded body; a megabyte of gzip can be a gigabyte of zeros."""

_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 47}
"""zlib's word for what to expect; 47 also takes the zlib header that RFC 9110 §8.4.1.2 asks for, or gzip's."""


def decoded_chunks(response: Response) -> Iterator[bytes]:
    """Each chunk as it reads when it arrives; as received where the coding is not known or does not hold."""
    coding = (headers.get(response.headers, "content-encoding") or "identity").strip().lower()
    if coding not in _WINDOWS:
        yield from (chunk.data for chunk in response.chunks())
        return
    unpacker, left = zlib.decompressobj(_WINDOWS[coding]), LIMIT
    for chunk in response.chunks():
        try:
            data = unpacker.decompress(chunk.data, left) if left else b""
        except zlib.error:
            yield chunk.data
            continue
        left -= len(data)
        yield data


def decoded(response: Response) -> bytes:
    """The whole body so; the body itself where it has no coding."""
    if headers.get(response.headers, "content-encoding") is None:
        return response.body
    return b"".join(decoded_chunks(response))
