"""The rest of a short answer whose client has left after its head.

Some clients look at the status and hang up (vllm-router does so with each error). Half of a 403 on a cassette would
be of no use, so an answer that the server ends soon after its head is read to its end. A stream is not, nor what is
long: a server that still generates must notice at once that nobody listens.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from replayproxy.core.answers import content_length
from replayproxy.core.headers import is_event_stream
from replayproxy.model import Chunk, End, Head, Leg, Response
from replayproxy.net.upstream_connection import UpstreamConnection
from replayproxy.ports import Listener

SOON = 0.25
"""Seconds after the head within which the answer must end. As long as a server may go on unnoticed elsewhere."""

SHORT = 1024 * 1024
"""Bytes of the answer on the wire, from its beginning: room for a body of 1 MB."""


class _TooLong(Exception):
    """More has come than is worth reading."""


@dataclass(slots=True)
class _Rest:
    """A `Listener` between the connection and the one that keeps the answer: passes on, and counts."""

    listener: Listener
    left: int

    wants_whole = True

    @property
    def congested(self) -> bool:
        """Only to stop: the client takes nothing any more, and what is recorded is bounded by `left`."""
        return self.left < 0

    async def ready(self) -> None:
        """Called where `left` is used up."""
        raise _TooLong

    async def head(self, head: Head) -> None:
        """It has come before."""

    def chunk(self, chunk: Chunk) -> None:
        """Pass it on."""
        self.left -= len(chunk.data)
        self.listener.chunk(chunk)

    def burst(self, response: Response) -> None:
        """Pass them on."""
        self.left -= len(response.body)
        self.listener.burst(response)

    def leg(self, leg: Leg) -> None:
        """A server has no legs."""

    async def end(self, end: End) -> None:
        """The source calls this."""


async def rest_of(wire: UpstreamConnection, head: Head, listener: Listener, patience: float) -> End | None:
    """Play the rest of a short answer to the listener, within so many seconds; None where it is not short.

    Then the connection is to be closed. The end has not been told yet.
    """
    if not listener.wants_whole or patience <= 0 or is_event_stream(head.headers):
        return None
    if (content_length(head.headers) or 0) > SHORT:
        return None
    try:
        async with asyncio.timeout(patience):
            return await wire.play_body(_Rest(listener, SHORT - wire.answered_bytes))
    except (TimeoutError, _TooLong):
        return None
