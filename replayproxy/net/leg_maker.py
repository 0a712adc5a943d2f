"""Makes the requests of a pair's legs without holding up the event loop. Knows no server and no socket.

    a short body ──▶ event loop      a long one ──▶ thread      a heavy one ──▶ another process

What is short, long and heavy says `core/effort`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import TypeVar

from replayproxy.core import effort
from replayproxy.core.coding import body_of, is_coded
from replayproxy.core.pd import Protocol, SplitRequest
from replayproxy.core.pd.legs import (
    Outline,
    decode_leg,
    outline_alone,
    outline_of,
    prefill_leg,
    releasing_leg,
    ticket_in,
)
from replayproxy.core.pd.protocol import Ticket
from replayproxy.model import Request, Response
from replayproxy.ports import Worker

T = TypeVar("T")


class Place(Enum):
    """Where a body is parsed and encoded."""

    LOOP = "event loop"
    THREAD = "thread"
    PROCESS = "another process"


class LegMaker:
    """Takes requests apart for one protocol. Each step is in the place that the client's body needs."""

    def __init__(self, protocol: Protocol, worker: Worker) -> None:
        self._protocol = protocol
        self._worker = worker

    async def outline(self, request: Request) -> tuple[Outline, Place]:
        """Return where a request goes, and the place for the steps that follow."""
        place = place_for(request.body)
        if is_coded(request.headers):  # 64 bytes may be 60 kB of JSON
            place = place_for(await asyncio.to_thread(body_of, request))
            place = Place.THREAD if place is Place.LOOP else place
        outline = outline_alone if place is Place.PROCESS else outline_of
        return await self._run(place, outline, self._protocol, request), place

    async def prefill(self, place: Place, split: SplitRequest) -> Request:
        """Return the request for the prefill server. Raises `ClientError`."""
        return await self._run(place, prefill_leg, self._protocol, split)

    async def decode(self, place: Place, split: SplitRequest, ticket: Ticket | None) -> Request:
        """Return the request for the decode server. Raises `ClientError`."""
        if place is Place.PROCESS and self._protocol.keeps_decode_body:  # nothing is parsed then
            return self._protocol.decode_request(split, ticket)
        return await self._run(place, decode_leg, self._protocol, split, ticket)

    async def releasing(self, place: Place, split: SplitRequest, ticket: Ticket | None) -> Request:
        """Return a request for one token, with which a decode server takes over a cache that no client waits for."""
        return await self._run(place, releasing_leg, self._protocol, split, ticket)

    async def ticket(self, answer: Response) -> Ticket | None:
        """Return the ticket in the answer of a prefill. Raises `PrefillFailed`."""
        return await self._run(place_for(answer.body), ticket_in, self._protocol, answer)

    async def _run(self, place: Place, step: Callable[..., T], *arguments: object) -> T:
        if place is Place.LOOP:
            return step(*arguments)
        if place is Place.THREAD:
            return await asyncio.to_thread(step, *arguments)
        return await self._worker.run(step, *arguments)


def place_for(body: bytes) -> Place:
    """Return where a body is parsed."""
    if not effort.is_long(body):
        return Place.LOOP
    return Place.PROCESS if effort.is_heavy(body) else Place.THREAD
