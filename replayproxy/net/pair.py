"""Two servers as one source: prefill fills the KV cache, decode takes it over and answers.

    client's request ──▶ prefill ── ticket ──▶ decode ──▶ the client hears decode's answer, on its own clock

What the requests carry is the protocol's business (`core/pd`). Here they are sent, one after the other or at once; what
each server said becomes a leg; and whichever leg fails first is what the client hears of.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass, replace

import orjson

from replayproxy.core import headers
from replayproxy.core.pd import Asked, PrefillFailed, Protocol, splits
from replayproxy.core.pd.legs import REQUEST_ID
from replayproxy.errors import UpstreamError, UpstreamTimeout, UpstreamUnreachable
from replayproxy.model import Chunk, End, Ending, Head, Leg, Request, Response
from replayproxy.net.ear import Ear
from replayproxy.net.servers import Server, Servers
from replayproxy.net.upstream import HttpUpstream
from replayproxy.ports import Clock, Listener, Upload

AFTERWARDS = 1.0
"""Seconds in which a prefill that was asked at the same time may still say its last words after decode has ended."""


@dataclass(frozen=True, slots=True)
class _Turn:
    """One request under way: what was asked, who listens, and when the client's request was complete."""

    asked: Asked
    prefill: Server
    decode: Server
    listener: Listener
    started: int


class PairUpstream:
    """A `Source`. `decode_alone`: a prefill that fails is no failure, decode then prefills by itself."""

    def __init__(
        self,
        prefill: Servers,
        decode: Servers,
        protocol: Protocol,
        clock: Clock,
        *,
        draw: random.Random,
        decode_alone: bool = False,
    ) -> None:
        self._prefill = prefill
        self._decode = decode
        self._protocol = protocol
        self._clock = clock
        self._draw = draw
        self._decode_alone = decode_alone
        self._probing: asyncio.Task[None] | None = None

    async def play(self, request: Request, listener: Listener, upload: Upload | None = None) -> None:
        """Play decode's answer, or the failure of whichever leg failed."""
        started = self._clock.now()
        if upload is not None:
            request = replace(request, body=b"".join([piece async for piece in upload]))
        self._probe_now_and_then()
        if splits(request):
            await self._play_split(request, listener, started)
        else:
            await self._play_alone(request, listener)

    async def reach(self) -> None:
        """Try whether both kinds of server are there. Raises `UpstreamError`."""
        await self._prefill.next()
        await self._decode.next()
        for server in (*self._prefill.servers, *self._decode.servers):
            await server.source.reach()

    def close(self) -> None:
        """Close what is idle."""
        if self._probing is not None:
            self._probing.cancel()
        self._prefill.close()
        self._decode.close()

    def _probe_now_and_then(self) -> None:
        """While there is traffic, servers that are out are asked beside it, not by it."""
        idle = self._probing is None or self._probing.done()
        if idle and (self._prefill.some_are_out or self._decode.some_are_out):
            self._probing = asyncio.create_task(self._probe())

    async def _probe(self) -> None:
        await self._prefill.probe()
        await self._decode.probe()

    # What needs no prefill

    async def _play_alone(self, request: Request, listener: Listener) -> None:
        """A list of models, a tokenisation, a malformed request: any decode server can answer."""
        tried: set[Server] = set()
        while True:
            server = await self._decode.next(tried)
            try:
                with self._decode.working(server):
                    await server.source.play(request, listener)
                return
            except UpstreamUnreachable:
                self._decode.leave_out(server)
                tried.add(server)

    # What has two legs

    async def _play_split(self, request: Request, listener: Listener, started: int) -> None:
        """With the least busy of each. A server that refuses the connection has not been asked: another one is."""
        refused: set[Server] = set()
        while True:
            prefill, decode = await self._prefill.next(refused), await self._decode.next(refused)
            mint = f"{self._draw.getrandbits(128):032x}"
            request_id = headers.get(request.headers, REQUEST_ID) or mint
            try:
                with self._prefill.working(prefill), self._decode.working(decode):
                    if self._protocol.needs_bootstrap and not prefill.party.engine:
                        await self._ask_bootstrap(prefill)
                    asked = Asked(request, request_id, mint, prefill.party, decode.party)
                    turn = _Turn(asked, prefill, decode, listener, started)
                    await (self._both_at_once(turn) if self._protocol.concurrent else self._one_after_the_other(turn))
                    return
            except _Refused as refusal:
                for servers in (self._prefill, self._decode):
                    if refusal.server in servers.servers:
                        servers.leave_out(refusal.server)
                refusal.server.party = replace(refusal.server.party, engine="")
                refused.add(refusal.server)

    async def _one_after_the_other(self, turn: _Turn) -> None:
        asked = turn.asked
        ticket = None
        try:
            answer = await self._ask_prefill(turn)
            if answer.status >= 400 and not self._decode_alone:
                await _play_failure(answer, turn.listener, self._clock.now() - turn.started)
                return
            if answer.status < 400:
                ticket = self._protocol.ticket_from(answer)
        except UpstreamError:
            if not self._decode_alone:
                raise
        request = self._protocol.decode_request(asked, ticket)
        await self._ask_decode(turn, request)

    async def _both_at_once(self, turn: _Turn) -> None:
        prefilling = asyncio.create_task(self._ask_prefill(turn))
        hearing = _Hearing(turn.listener, self._clock.now() - turn.started)
        request = self._protocol.decode_request(turn.asked, None)
        decoding = asyncio.create_task(self._ask_decode(turn, request, hearing))
        try:
            await asyncio.wait((prefilling, decoding), return_when=asyncio.FIRST_COMPLETED)
            if prefilling.done() and not hearing.ear.begun and (failure := _failure(prefilling)) is not None:
                await _cancelled(decoding)
                if self._decode_alone:
                    await self._ask_decode(turn, turn.asked.request)
                elif isinstance(failure, Response):
                    await _play_failure(failure, turn.listener, self._clock.now() - turn.started)
                else:
                    raise failure
                return
            await decoding
            await asyncio.wait((prefilling,), timeout=AFTERWARDS)
        finally:
            await _cancelled(prefilling)
            await _cancelled(decoding)

    async def _ask_prefill(self, turn: _Turn) -> Response:
        """The prefill's whole answer, as a leg. Raises `_Refused`, `UpstreamError`."""
        request = self._protocol.prefill_request(turn.asked)
        ear = Ear()
        await self._leg("prefill", turn, turn.prefill, request, ear)
        answer = ear.heard
        if answer.ending is not Ending.COMPLETE:
            raise PrefillFailed(f"the prefill server {turn.prefill.source.url} broke off: look at its log")
        return answer

    async def _ask_decode(self, turn: _Turn, request: Request, hearing: _Hearing | None = None) -> None:
        """Play decode's answer. A server that refuses is replaced, where the prefill did not name it."""
        hearing = hearing or _Hearing(turn.listener, self._clock.now() - turn.started)
        refused: set[Server] = set()
        server = turn.decode
        while True:
            try:
                await self._leg("decode", turn, server, request, hearing)
                await hearing.finish()
                return
            except _Refused:
                if self._protocol.binds_decode:
                    raise
                self._decode.leave_out(server)
                refused.add(server)
                server = await self._decode.next(refused)

    async def _leg(self, role: str, turn: _Turn, server: Server, request: Request, heard: Ear | _Hearing) -> None:
        """Ask one server, and tell the listener of it as a leg, however it ends."""
        ear = heard.ear if isinstance(heard, _Hearing) else heard
        started = self._clock.now()
        ending = Ending.COMPLETE
        try:
            await server.source.play(request, heard)
        except UpstreamUnreachable as error:
            raise _Refused(server, error) from error
        except UpstreamError as error:
            ending = Ending.TIMEOUT if isinstance(error, UpstreamTimeout) else Ending.UPSTREAM_CUT
            raise type(error)(f"the {role} server failed: {error}") from error
        except asyncio.CancelledError:
            ending = Ending.CLIENT_GONE
            raise
        finally:
            said = ear.broken(End(self._clock.now() - started, ending))
            if said.status or ending is not Ending.COMPLETE:
                turn.listener.leg(Leg(role, server.source.url, request, said, started - turn.started))

    async def _ask_bootstrap(self, server: Server) -> None:
        """Which engine is behind a prefill server (Mooncake's bootstrap server, `GET /query`). Asked once."""
        ear = Ear()
        source = HttpUpstream(server.party.bootstrap, self._clock, first_byte=5, stall=5)
        try:
            await source.play(Request("GET", "/query"), ear)
            ranks = orjson.loads(ear.heard.body)
            engine = ranks[min(ranks, key=int)]["engine_id"]
        except (UpstreamError, ValueError, KeyError, TypeError) as error:
            raise PrefillFailed(
                f"the bootstrap server {server.party.bootstrap} does not say which engine it has ({error}): start the"
                " prefill server with its Mooncake connector, or correct --bootstrap-port"
            ) from error
        finally:
            source.close()
        server.party = replace(server.party, engine=str(engine))


class _Refused(Exception):
    """A server refused the connection: it has not been asked."""

    def __init__(self, server: Server, error: UpstreamUnreachable) -> None:
        super().__init__(str(error))
        self.server = server


class _Hearing:
    """A `Listener` on decode's leg: keeps it, and tells the client's listener with times on the client's clock.

    The end is told by `finish`, after the leg: then everything about the exchange is known.
    """

    def __init__(self, listener: Listener, offset: int) -> None:
        self._listener = listener
        self._offset = offset
        self._end: End | None = None
        self.ear = Ear()

    @property
    def congested(self) -> bool:
        return self._listener.congested

    async def ready(self) -> None:
        await self._listener.ready()

    async def head(self, head: Head) -> None:
        await self.ear.head(head)
        await self._listener.head(head._replace(at=head.at + self._offset))

    def chunk(self, chunk: Chunk) -> None:
        self.ear.chunk(chunk)
        self._listener.chunk(chunk._replace(at=chunk.at + self._offset))

    def burst(self, response: Response) -> None:
        self.ear.burst(response)
        self._listener.burst(response)

    def leg(self, leg: Leg) -> None:
        self._listener.leg(leg)

    async def end(self, end: End) -> None:
        await self.ear.end(end)
        self._end = end

    async def finish(self) -> None:
        if self._end is not None:
            await self._listener.end(self._end._replace(at=self._end.at + self._offset))


async def _play_failure(answer: Response, listener: Listener, offset: int) -> None:
    """The client hears what the prefill server said: its status, its fields, its body."""
    await listener.head(Head(offset, answer.status, headers.end_to_end(answer.headers)))
    for chunk in answer.chunks():
        listener.chunk(chunk._replace(at=offset))
    await listener.end(End(offset, answer.ending))


def _failure(prefilling: asyncio.Task[Response]) -> Response | BaseException | None:
    """Why a prefill that is over failed; None if it did not."""
    error = prefilling.exception()
    if error is not None:
        return error
    answer = prefilling.result()
    return answer if answer.status >= 400 else None


async def _cancelled(task: asyncio.Task[object]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, UpstreamError, _Refused):
        await task
