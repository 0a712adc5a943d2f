"""A listener before the client's, in whose answer a fault happens. Any source plays to it as to the client itself.

    source ──head, chunk, burst, end──▶ FaultyClient ──what `core.faults.delivery` says──▶ client
                                             └── `over`: the fault has ended the answer; `break_off` does so

During a pause, and behind it, what the source plays waits in a queue with the time at which it is due: its own time,
later by the pause. So a stream keeps its pace, and the source is not late.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import replace

from replayproxy.core import headers
from replayproxy.core.faults.delivery import Action, Delivery
from replayproxy.core.faults.grammar import FaultKind
from replayproxy.model import Chunk, End, Ending, Head, Headers, Leg, Response, Timeline
from replayproxy.ports import ClientListener, Clock

QUEUED = 1024 * 1024
"""Bytes that wait during a pause before the source has to wait too."""

KEPT = 64 * 1024
"""Bytes of a broken answer that are kept, to recognise them in a later request."""

_OUR_OWN = ("x-replayproxy-miss", "x-replayproxy-error")
"""Fields of answers that explain a failed request: a fault would hide the explanation."""


class FaultyClient:
    """One answer with one fault."""

    def __init__(self, client: ClientListener, delivery: Delivery, clock: Clock) -> None:
        self._client = client
        self._delivery = delivery
        self._clock = clock
        self._is_exempt = False
        self._queue: deque[tuple[int, Response | End]] | None = None
        """What waits behind a pause; None before it."""
        self.queued_bytes = 0
        self._more = asyncio.Event()
        self._room = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._delay = 0
        self._ending: Action | None = None
        self.over = asyncio.Event()
        """Set when the fault ends the answer."""
        self.paused_at: int | None = None
        """When the pause began."""
        self.headers: Headers = ()
        self.status = 0
        self.received = bytearray()
        """The beginning of the body that the client has got."""

    @property
    def has_fired(self) -> bool:
        """Whether the fault has happened."""
        return self._delivery.has_fired

    @property
    def wants_whole(self) -> bool:
        """As the client."""
        return self._client.wants_whole

    @property
    def congested(self) -> bool:
        """The client takes less than it is sent, or too much waits behind a pause."""
        if self.over.is_set():
            return False
        return self.queued_bytes > QUEUED if self._queue is not None else self._client.congested

    async def ready(self) -> None:
        """Wait until no longer congested."""
        while self._queue is not None and self.queued_bytes > QUEUED:
            self._room.clear()
            await self._room.wait()
        if self._queue is None and not self.over.is_set():
            await self._client.ready()

    async def head(self, head: Head) -> None:
        """Pass the head on, with the framing that the fault needs."""
        self._is_exempt = any(headers.get(head.headers, name) is not None for name in _OUR_OWN)
        self.headers, self.status = head.headers, head.status
        fields = head.headers if self._is_exempt else self._delivery.head(head.headers)
        await self._client.head(head._replace(headers=fields))

    def chunk(self, chunk: Chunk) -> None:
        """Pass a chunk on, unless the fault is due."""
        if self._is_exempt:
            self._client.chunk(chunk)
            return
        data = self._step(chunk.data)
        if not self.over.is_set():
            self._send(_of_one(chunk._replace(data=data)))

    def burst(self, response: Response) -> None:
        """Pass on what comes before the fault in one piece, and what comes after it too."""
        if self._is_exempt:
            self._client.burst(response)
            return
        cuts = response.cuts
        first = min(len(cuts), max(0, self._delivery.before))
        if first and not self.over.is_set():
            self._delivery.skip(first)
            self._send(_part(response, 0, first))
        if first == len(cuts) or self.over.is_set():
            return
        start = sum(cuts[:first])
        data = self._step(response.body[start : start + cuts[first]])
        if self.over.is_set():
            return
        self._send(_of_one(Chunk(response.timeline.chunks[first], data)))
        if first + 1 < len(cuts):
            self._delivery.skip(len(cuts) - first - 1)
            self._send(_part(response, first + 1, len(cuts)))

    def _step(self, data: bytes) -> bytes:
        if self.over.is_set():
            return b""
        action, data = self._delivery.step(data)
        self._do(action)
        return data

    def _do(self, action: Action) -> None:
        match action:
            case Action.SEND:
                return
            case Action.PAUSE:
                self._delay = self._delivery.fault.pause
                self.paused_at = self._clock.now()
                self._queue = deque()
                self._pump = asyncio.get_running_loop().create_task(self._play_queue(self._queue))
            case _:
                self._ending = action
                self.over.set()

    def _send(self, part: Response) -> None:
        if self._queue is not None:
            self._queue.append((self._clock.now() + self._delay, part))
            self.queued_bytes += len(part.body)
            self._more.set()
            return
        self._note(part)
        _pass_on(self._client, part)

    def _note(self, part: Response) -> None:
        if len(self.received) < KEPT:
            self.received += part.body[: KEPT - len(self.received)]

    async def _play_queue(self, queue: deque[tuple[int, Response | End]]) -> None:
        """Give the client what waits, each at its time, until the end has been given."""
        while True:
            while not queue:
                self._more.clear()
                await self._more.wait()
            due, part = queue.popleft()
            await self._clock.sleep_until(due)
            if isinstance(part, End):
                await self._client.end(part)
                return
            _pass_on(self._client, part)
            self.queued_bytes -= len(part.body)
            self._room.set()
            if self._client.congested:
                await self._client.ready()

    def leg(self, leg: Leg) -> None:
        """A client sees one answer, however many servers it took."""

    async def end(self, end: End) -> None:
        """Pass the end on, unless the fault has ended the answer; behind a pause, wait until it was given."""
        if self.over.is_set():
            return
        if not self._is_exempt and end.ending is Ending.COMPLETE:
            self._do(self._delivery.at_end())
            if self.over.is_set():
                return
        if self._queue is None or self._pump is None:
            await self._client.end(end)
            return
        self._queue.append((self._clock.now() + self._delay, end))
        self._more.set()
        await self._pump

    async def break_off(self) -> None:
        """End the answer as the fault says; only after `over`."""
        match self._ending:
            case Action.RESET:
                await self._client.reset()
            case Action.END_CLEANLY:
                await self._client.end(End(0, Ending.COMPLETE))
            case _:
                await self._client.end(End(0, Ending.UPSTREAM_CUT))

    async def close(self) -> None:
        """Stop what waits: the client has left."""
        if self._pump is not None and not self._pump.done():
            self._pump.cancel()
            with suppress(asyncio.CancelledError):
                await self._pump

    @property
    def is_paused(self) -> bool:
        """Whether the pause has begun and is not over."""
        if self.paused_at is None or self._delivery.fault.kind is not FaultKind.STALL:
            return False
        return self._clock.now() < self.paused_at + self._delay


def _pass_on(client: ClientListener, part: Response) -> None:
    """One chunk as a chunk, several of them at once."""
    if len(part.cuts) == 1:
        client.chunk(Chunk(part.timeline.chunks[0], part.body))
    else:
        client.burst(part)


def _of_one(chunk: Chunk) -> Response:
    return Response(200, (), chunk.data, (len(chunk.data),), Timeline(0, (chunk.at,), 0))


def _part(response: Response, first: int, last: int) -> Response:
    """Some chunks of a response."""
    cuts = response.cuts
    start = sum(cuts[:first])
    return replace(
        response,
        body=response.body[start : start + sum(cuts[first:last])],
        cuts=cuts[first:last],
        continued=tuple(index - first for index in response.continued if first <= index < last),
        timeline=Timeline(0, response.timeline.chunks[first:last], 0),
    )
