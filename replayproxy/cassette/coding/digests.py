"""The digest of an exchange, and of a leg: over everything that a replay can emit.

It is checked before anything that was read is used, for SQLite and zstd frames here carry no checksum.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgpack

from replayproxy.cassette.coding.times import ticks_of
from replayproxy.model import Key, Leg, Request, Response


def digest(key: Key, request: Request, response: Response, ticks: Sequence[int] | None = None) -> bytes:
    """64 bits of BLAKE2b over the key, the request and everything replay can emit, with times in ticks.

    It is there to notice damage, not forgery: who can write the file can write the digest. `ticks` are the response's,
    where they are known already.
    """
    head, *chunks, end = ticks_of(response.timeline) if ticks is None else ticks
    request_parts = [key, request.method, request.target, request.headers, request.body]
    response_parts = [
        response.status,
        response.headers,
        response.cuts,
        head,
        chunks,
        end,
        int(response.ending),
        response.body,
    ]
    if response.continued:  # format 1 knew of none
        response_parts.append(response.continued)
    return hashlib.blake2b(msgpack.packb([request_parts, response_parts]), digest_size=8).digest()


def digest_of_leg(key: Key, leg: Leg) -> bytes:
    """The same of a leg, with the key of its exchange; whom we asked, and when, belongs to it."""
    return digest(f"{key} {leg.role} {leg.upstream} {leg.started // 1000}", leg.request, leg.response)
