"""What a pair knows of one request while it is answered, and the two ways in which a try ends without an answer.

Knows the client's listener, and no server.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from replayproxy.core import headers
from replayproxy.core.pd import SplitRequest
from replayproxy.errors import UpstreamError, UpstreamGarbled, UpstreamTimeout
from replayproxy.model import End, Ending, Head, Leg, Request, Response
from replayproxy.net.leg_maker import Place
from replayproxy.net.pair_servers import PooledServer, ServerPool
from replayproxy.net.relay import Relay
from replayproxy.ports import Listener

MOST_LEGS = 14
"""A cassette holds 15 of one exchange, and one may come late. More than three are there only where servers refuse
connections."""


@dataclass(frozen=True, slots=True)
class PairCall:
    """A request of a client: what it asks, who listens, when it was complete, and what became of its legs so far.

    `body` is its JSON, empty where another process parses it; `place` is where its legs are made.
    """

    request: Request
    body: dict[str, Any]
    place: Place
    listener: Listener
    started: int
    request_id: str
    legs: list[Leg]

    def tell_legs(self) -> None:
        """Tell the listener of the legs that are over."""
        for leg in self.legs[-MOST_LEGS:]:
            self.listener.leg(leg)
        self.legs.clear()

    async def finish(self, relay: Relay) -> None:
        """Tell the end, and before it the legs. Raises `UpstreamError` if decode broke off before its first chunk."""
        if (broken := relay.broken_off) is not None:
            kind = UpstreamTimeout if broken is Ending.TIMEOUT else UpstreamGarbled
            raise kind("the decode server broke off before it said anything: look at its log")
        self.tell_legs()
        await relay.finish()

    @asynccontextmanager
    async def finishing(self, relay: Relay) -> AsyncIterator[None]:
        """Where the client leaves, and a short answer was read to its end all the same, record that end."""
        try:
            yield
        except asyncio.CancelledError:
            if relay.is_over:
                await self.finish(relay)
            raise

    async def play_failure(self, answer: Response, now: int) -> None:
        """Give the client the answer of the prefill server: its status, its fields, its body."""
        at = now - self.started
        self.tell_legs()
        await self.listener.head(Head(at, answer.status, headers.end_to_end(answer.headers)))
        for chunk in answer.chunks():
            self.listener.chunk(chunk._replace(at=at))
        await self.listener.end(End(at, answer.ending))


@dataclass(slots=True)
class PairTurn:
    """One try to answer a call: with these two servers, which count it among their requests until they are released."""

    call: PairCall
    split: SplitRequest
    prefill: PooledServer
    decode: PooledServer
    prefilling: ExitStack
    decoding: ExitStack


class ServerRefused(Exception):
    """A server did not take the connection: it has not been asked."""

    def __init__(self, servers: ServerPool, server: PooledServer, error: UpstreamError) -> None:
        super().__init__(str(error))
        self.servers = servers
        self.server = server
        self.error = error


class NoPrefill(Exception):
    """The prefill failed: with an error, or with an answer that says so."""

    def __init__(self, failure: UpstreamError | Response) -> None:
        super().__init__()
        self.failure = failure
