"""Two servers as one source: prefill fills the KV cache, decode takes it over and answers.

    client's request ──▶ prefill ── ticket ──▶ decode ──▶ the client hears decode's answer, on its own clock

What the requests carry is the protocol's business (`core/pd`). Here they are sent, one after the other or at once; what
each server said becomes a leg; and whichever leg fails first is what the client hears of.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any

from replayproxy.core import headers
from replayproxy.core.pd import PrefillFailed, Protocol, SplitRequest
from replayproxy.core.pd.endpoints import GENERATING
from replayproxy.core.pd.protocol import REQUEST_ID, Ticket, admit, with_request_id
from replayproxy.errors import UpstreamError, UpstreamTimeout, UpstreamUnreachable
from replayproxy.model import Ending, Request, Response
from replayproxy.net.bootstrap import Bootstrap
from replayproxy.net.leg_maker import LegMaker
from replayproxy.net.leg_sender import LegSender
from replayproxy.net.pair_call import NoPrefill, PairCall, PairTurn, ServerRefused
from replayproxy.net.pair_servers import PooledServer, ServerPool
from replayproxy.net.relay import Relay
from replayproxy.net.response_collector import ResponseCollector
from replayproxy.ports import Clock, Listener, Upload, Worker

AFTERWARDS = 1.0
"""Seconds in which a prefill that was asked at the same time may still say its last words after decode has ended."""

GIVING_BACK = 10.0
"""Seconds for a hand-over that no client waits for any more. A lease is 30."""

log = logging.getLogger("replayproxy.pair")


class PairUpstream:
    """A `Source`. `decode_alone`: a prefill that fails is no failure, decode then prefills by itself."""

    def __init__(
        self,
        prefill: ServerPool,
        decode: ServerPool,
        protocol: Protocol,
        clock: Clock,
        *,
        draw: random.Random,
        worker: Worker,
        decode_alone: bool = False,
    ) -> None:
        """`worker` parses and encodes heavy bodies."""
        self._prefill = prefill
        self._decode = decode
        self._protocol = protocol
        self._maker = LegMaker(protocol, worker)
        self._sender = LegSender(clock)
        self._clock = clock
        self._draw = draw
        self._decode_alone = decode_alone
        self._alone = 0
        self._unsplit = 0
        split = prefill.servers if protocol.needs_bootstrap else ()
        self._bootstraps = {server: Bootstrap(server.pair_server.bootstrap, clock) for server in split}
        self._probing: asyncio.Task[None] | None = None
        self._errands: set[asyncio.Task[None]] = set()

    async def play(
        self, request: Request, listener: Listener, upload: Upload | None = None, received_at: int | None = None
    ) -> None:
        """Play decode's answer, or the failure of whichever leg failed."""
        if upload is not None:
            request = replace(request, body=b"".join([piece async for piece in upload]))
        started = received_at if received_at is not None and upload is None else self._clock.now()
        admit(request)
        self._probe_now_and_then()
        outline, place = await self._maker.outline(request)
        if not outline.is_split:
            if outline.unsplit:
                self._note_unsplit()
            await self._play_whole(request, listener)
            return
        request_id = headers.get(request.headers, REQUEST_ID) or self._mint()
        call = PairCall(request, outline.body, place, listener, started, request_id, [])
        try:
            await self._play_split(call)
        finally:
            call.tell_legs()

    async def reach(self) -> None:
        """Try whether both kinds of server are there. Raises `UpstreamError`."""
        await self._prefill.reach()
        await self._decode.reach()

    @property
    def counts(self) -> Counter[str]:
        """What metrics show, of all servers together; `unsplit`: requests that look like generation and were not."""
        counts = Counter(idle=0, repeated=0, urls_in_bodies=0, unsplit=self._unsplit)
        for server in (*self._prefill.servers, *self._decode.servers):
            counts.update(server.source.counts)
        return counts

    def close(self) -> None:
        """Close what is idle."""
        for task in (self._probing, *self._errands):
            if task is not None:
                task.cancel()
        for bootstrap in self._bootstraps.values():
            bootstrap.close()
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

    def _note_unsplit(self) -> None:
        """Warn, once: a pair is not there to let its decode server prefill."""
        self._unsplit += 1
        if self._unsplit == 1:
            log.warning(
                "a request that looks like generation went to a decode server alone, without a prefill: its endpoint is"
                " not one of those that are split (%s), or --pd %s takes one prompt per request, or its body holds"
                " millions of values (counted in metrics from here on)",
                ", ".join(GENERATING),
                self._protocol.name,
            )

    def _mint(self) -> str:
        return f"{self._draw.getrandbits(128):032x}"

    # What needs no prefill

    async def _play_whole(self, request: Request, listener: Listener) -> None:
        """A list of models, a tokenisation, a malformed request: any decode server can answer."""
        while True:
            with ExitStack() as decoding:
                server = await self._sender.reachable(self._decode, decoding)
                try:
                    await server.source.play(request, listener)
                    return
                except UpstreamUnreachable as error:
                    self._decode.leave_out(server, error)

    # What has two legs

    async def _play_split(self, call: PairCall) -> None:
        """With the least busy of each. A server that refuses the connection has not been asked: another one is."""
        refused: set[PooledServer] = set()
        while True:
            try:
                with ExitStack() as prefilling, ExitStack() as decoding:
                    turn = await self._turn(call, refused, prefilling, decoding)
                    await (self._both_at_once(turn) if self._protocol.concurrent else self._one_after_the_other(turn))
                return
            except ServerRefused as refusal:
                refusal.servers.leave_out(refusal.server, refusal.error)
                self._forget_engine(refusal.server)
                refused.add(refusal.server)
                call.legs[:] = [leg for leg in call.legs if leg.response.status]  # the other one has hardly been asked
            except NoPrefill as without:
                await self._do_without(call, without)
                return

    async def _do_without(self, call: PairCall, prefill: NoPrefill) -> None:
        """Decode prefills by itself, or the client hears why there was no prefill."""
        if self._decode_alone:
            self._alone += 1
            if self._alone == 1:
                log.warning(
                    "there was no prefill for %s: decode does it alone, now and whenever that happens (the"
                    " cassette shows it)",
                    call.request.path,
                )
            with ExitStack() as decoding:
                server = await self._sender.reachable(self._decode, decoding)
                hearing = Relay(call.listener)
                request = with_request_id(call.request, call.request_id)
                async with call.finishing(hearing):
                    while True:
                        try:
                            await self._sender.send(self._decode, server, call, request, hearing)
                            break
                        except ServerRefused as refusal:
                            self._decode.leave_out(server, refusal.error)
                            decoding.close()
                            server = await self._sender.reachable(self._decode, decoding)
                await call.finish(hearing)
        elif isinstance(prefill.failure, Response):
            await call.play_failure(prefill.failure, self._clock.now())
        else:
            raise prefill.failure from prefill.failure.__cause__

    async def _turn(
        self, call: PairCall, refused: set[PooledServer], prefilling: ExitStack, decoding: ExitStack
    ) -> PairTurn:
        """Whose turn it is. Both are reached before one is asked: half a hand-over is for nothing."""
        decode = decoding.enter_context(self._decode.working(await self._decode.next(refused)))
        await self._sender.reach(self._decode, decode)
        try:
            free = await self._prefill.next(refused, patient=not self._decode_alone)
            prefill = prefilling.enter_context(self._prefill.working(free))
        except UpstreamError as error:
            raise NoPrefill(error) from error
        await self._sender.reach(self._prefill, prefill)
        pair_server = prefill.pair_server
        if prefill in self._bootstraps:
            try:
                rank, engine = await self._bootstraps[prefill].engine()
            except PrefillFailed as error:
                raise NoPrefill(error) from error
            except UpstreamError as error:
                raise ServerRefused(self._prefill, prefill, error) from error
            pair_server = replace(pair_server, engine=engine, rank=rank)
        split = SplitRequest(call.request, call.body, call.request_id, self._mint(), pair_server, decode.pair_server)
        return PairTurn(call, split, prefill, decode, prefilling, decoding)

    async def _one_after_the_other(self, turn: PairTurn) -> None:
        """Prefill, and then decode with its ticket."""
        ticket = await self._ask_prefill(turn)
        hearing = Relay(turn.call.listener)
        try:
            request = await self._maker.decode(turn.call.place, turn.split, ticket)
            async with turn.call.finishing(hearing):
                await self._ask_decode(turn, request, hearing)
        except asyncio.CancelledError:
            if not hearing.is_open and (ticket is not None or self._protocol.binds_decode):
                self._give_back(turn, ticket)
            raise
        await turn.call.finish(hearing)

    async def _both_at_once(self, turn: PairTurn) -> None:
        """Decode's answer begins when the prefill has not failed, or when decode has something to say."""
        hearing = Relay(turn.call.listener, held=True)
        request = await self._maker.decode(turn.call.place, turn.split, None)
        prefilling = asyncio.create_task(self._ask_prefill(turn))
        decoding = asyncio.create_task(self._ask_decode(turn, request, hearing))
        try:
            await asyncio.wait((prefilling, decoding, hearing.spoke), return_when=asyncio.FIRST_COMPLETED)
            if prefilling.done() and not hearing.spoke.done():
                prefilling.result()
            if not decoding.done():
                await hearing.let_go()
            await decoding
            await turn.call.finish(hearing)
            if hearing.collector.status < 400:
                await asyncio.wait((prefilling,), timeout=AFTERWARDS)
        except asyncio.CancelledError:
            prefilling.cancel()
            async with turn.call.finishing(hearing):
                await _ended(decoding)
                raise
        finally:
            await _ended(decoding)
            await _ended(prefilling)
            if not (_went_well(prefilling) and 0 < hearing.collector.status < 500):
                self._forget_engine(turn.prefill)

    async def _ask_prefill(self, turn: PairTurn) -> Ticket | None:
        """What the prefill hands over. Raises `ServerRefused`, `NoPrefill`."""
        collector = ResponseCollector()
        try:
            request = await self._maker.prefill(turn.call.place, turn.split)
            await self._sender.send(self._prefill, turn.prefill, turn.call, request, collector)
            answer = collector.response
            if answer.ending is Ending.TIMEOUT:
                raise UpstreamTimeout(f"the prefill server {turn.prefill.source.url} fell silent: look at its log")
            if answer.ending is not Ending.COMPLETE:
                raise PrefillFailed(f"the prefill server {turn.prefill.source.url} broke off: look at its log")
            if not 200 <= answer.status < 300:
                raise NoPrefill(answer)
            return await self._maker.ticket(answer)
        except UpstreamError as error:
            raise NoPrefill(error) from error
        finally:
            turn.prefilling.close()

    async def _ask_decode(self, turn: PairTurn, request: Request, hearing: Relay) -> None:
        """Hear decode's answer. Raises `ServerRefused` where the prefill has named the server, `UpstreamError`."""
        while True:
            try:
                await self._sender.send(self._decode, turn.decode, turn.call, request, hearing)
                return
            except ServerRefused as refusal:
                if self._protocol.binds_decode:
                    raise
                self._decode.leave_out(turn.decode, refusal.error)
                turn.decoding.close()
                turn.decode = await self._sender.reachable(self._decode, turn.decoding)

    # What is left over

    def _forget_engine(self, prefill: PooledServer) -> None:
        """It may be another one when it comes back."""
        if prefill in self._bootstraps:
            self._bootstraps[prefill].forget()

    def _give_back(self, turn: PairTurn, ticket: Ticket | None) -> None:
        """The client left between the legs: let a decode server take the cache over, so that the prefill's is free."""
        errand = asyncio.create_task(self._present(turn, ticket))
        self._errands.add(errand)
        errand.add_done_callback(self._errands.discard)

    async def _present(self, turn: PairTurn, ticket: Ticket | None) -> None:
        with suppress(UpstreamError, TimeoutError), self._decode.working(turn.decode):
            async with asyncio.timeout(GIVING_BACK):
                request = await self._maker.releasing(turn.call.place, turn.split, ticket)
                await turn.decode.source.play(request, ResponseCollector())


def _went_well(task: asyncio.Task[Any]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


async def _ended(task: asyncio.Task[Any]) -> None:
    """No client waits for it any more."""
    task.cancel()
    with suppress(asyncio.CancelledError, UpstreamError, ServerRefused, NoPrefill):
        await task
