"""Content codings undone, for views and statistics, and to look for secrets.

What a client gets never comes from here: it is what was received. Coded bodies may come from strangers, so undoing
stops at a limit.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from replayproxy.core import headers
from replayproxy.model import Headers, Response

LIMIT = 64 * 1024 * 1024
"""Bytes of a decoded body; a megabyte of gzip can be a gigabyte of zeros."""

_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 47}
"""zlib's word for what to expect; 47 also takes the zlib header that RFC 9110 §8.4.1.2 asks for, or gzip's."""


def is_coded(fields: Headers) -> bool:
    """Whether a body with these fields is other than it reads."""
    return (headers.get(fields, "content-encoding") or "identity").strip().lower() != "identity"


def is_readable(fields: Headers) -> bool:
    """Whether we know how to undo the coding, if there is one."""
    return (headers.get(fields, "content-encoding") or "identity").strip().lower() in {"identity", *_WINDOWS}


def decoded_body(fields: Headers, body: bytes) -> bytes:
    """A body in one piece as it reads; the body itself where the coding is not known or does not hold."""
    window = _WINDOWS.get((headers.get(fields, "content-encoding") or "").strip().lower())
    if window is None:
        return body
    try:
        return zlib.decompressobj(window).decompress(body, LIMIT)
    except zlib.error:
        return body


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
