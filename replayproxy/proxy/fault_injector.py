"""Stands between the data port and whatever answers, and gives some requests a fault.

    request ─▶ limits (--rpm, --tpm) ─▶ choice ─┬─ no fault ──────────▶ answered
                                               ├─ status, reset@0 ───▶ answered here; the source is not asked
                                               └─ any other fault ───▶ answered through a `FaultyClient`

A proxy without faults and limits is without this. An answer that a fault has broken gives its recording back, so that
the repetition of the request gets it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from replayproxy.core import headers
from replayproxy.core.coding import body_of
from replayproxy.core.dialects.facts import parsed
from replayproxy.core.faults.choice import FaultChooser, FaultSubject
from replayproxy.core.faults.delivery import Delivery
from replayproxy.core.faults.failure_answers import failure_answer, status_answer
from replayproxy.core.faults.grammar import BadFault, Fault, FaultKind, parse_fault
from replayproxy.core.faults.rate_limits import RateLimits, estimated_tokens
from replayproxy.core.identity.rules import Matcher
from replayproxy.core.policy import PROBES
from replayproxy.core.redaction import Redactor
from replayproxy.core.sequence import split_scope
from replayproxy.errors import ClientError
from replayproxy.model import End, Ending, Head, Key, Request, Response
from replayproxy.ports import ClientListener, Clock, Listener, Upload, Worker
from replayproxy.proxy import aside
from replayproxy.proxy.fault_log import Case, Chain, FaultLog
from replayproxy.proxy.faulty_client import FaultyClient
from replayproxy.proxy.limited_client import LimitedClient
from replayproxy.proxy.run_state import RunState

log = logging.getLogger("replayproxy")

LEAVING = 50_000_000
"""Ns in which a client that has left during a pause is noticed: it may ask again on a new connection before the loop
has seen the end of the old one."""

FAULT_HEADER = "x-replayproxy-fail"

Answer = Callable[[Request, Listener, Upload | None, int | None], Awaitable[None]]

Play = Callable[[Listener, int | None], Awaitable[None]]
"""Plays the answer to one request; its times count from the second argument."""


@dataclass(frozen=True, slots=True)
class FaultSettings:
    """What an injector is to do. `model` is the one of the answers of named failures; None: that of each request."""

    chooser: FaultChooser
    by_header: bool = False
    limits: RateLimits = RateLimits()  # noqa: RUF009  without limits it has no state
    model: str | None = None
    seed: int = 0
    has_scopes: bool = True


class FaultInjector:
    """Answers requests, some of them with a fault."""

    def __init__(
        self,
        settings: FaultSettings,
        answer: Answer,
        *,
        clock: Clock,
        matcher: Matcher,
        worker: Worker,
        state: RunState,
        readable: Callable[[Response, Request], Awaitable[Response]] | None = None,
    ) -> None:
        """`readable` adds the field lines with which a web page may read an answer of ours."""
        self._settings = settings
        self._answer = answer
        self._clock = clock
        self._matcher = matcher
        self._worker = worker
        self._state = state
        self._readable = readable
        self._has_warned = False
        self.stopping = False
        """Answers that end now are cut off by us, and not left by their clients."""
        self.log = FaultLog()
        self._pausing: dict[tuple[str, Key], list[asyncio.Future[None]]] = {}
        """Done when an answer is over that pauses, by scope and key."""

    def reset(self, scope: str | None = None, *, counts: bool = False) -> None:
        """Count from 0 again, in this scope or in all; `counts`: forget what was seen of clients too."""
        self._settings.chooser.reset(scope)
        self.log.forget(scope)
        if counts:
            self.log.clear()

    @property
    def chooser(self) -> FaultChooser:
        """Chooses the fault of each request."""
        return self._settings.chooser

    @property
    def bytes(self) -> int:
        """About how much memory is kept of past requests."""
        return self._settings.chooser.bytes + self.log.bytes

    async def answer(
        self, request: Request, client: ClientListener, upload: Upload | None = None, received_at: int | None = None
    ) -> None:
        """Answer one request. Raises `ClientError` for a fault in a header that is none."""
        by_header, request = self._by_header(request)
        scope, inner = split_scope(request) if self._settings.has_scopes else ("", request)
        await aside.prepared(self._matcher, self._worker, inner)
        key = self._matcher.key(inner)
        now = self._clock.now() if received_at is None else received_at
        if await self._has_left((scope, key)):
            now = self._clock.now() + 1  # after its end, though both were seen in one moment
        chain = self.log.arrived(key, scope, inner, now)
        body = parsed(body_of(inner))
        model = body.get("model") if isinstance(body.get("model"), str) else None
        fault, replacement = self._limited(inner, body, model or "", now)
        if fault is None:
            if self._settings.limits.is_on and inner.path not in PROBES:
                client = LimitedClient(client, self._settings.limits.fields(now))
            fault = self._settings.chooser.choose(FaultSubject(inner.method, inner.path, model, key, scope), by_header)

        def play(listener: Listener, since: int | None) -> Awaitable[None]:
            return self._answer(request, listener, upload, since)

        if fault is None:
            try:
                await play(client, received_at)
            finally:
                if chain is not None:
                    self.log.over(chain, self._clock.now(), whole=client.succeeded)
            return
        chain = chain or Chain(key, scope)
        case = self._inject(fault, chain, inner, scope)
        self._state.counters.faults[fault.kind.value] += 1
        if fault.kind is FaultKind.STATUS or (fault.kind is FaultKind.RESET and fault.at == 0):
            self._state.count("fault", inner, scope)
            await self._in_place(replacement or self._status_answer(fault, model), inner, client)
            self.log.over(chain, self._clock.now(), whole=False, case=case)
        elif fault.kind is FaultKind.SLOW_START:
            with self._pause((scope, key)):
                await self._slowly(play, client, now, case)
        elif fault.kind is FaultKind.STALL:
            with self._pause((scope, key)):
                await self._broken(play, client, received_at, case)
        else:
            await self._broken(play, client, received_at, case)

    async def _has_left(self, place: tuple[str, Key]) -> bool:
        """Whether the client of an equal request leaves now, during the pause of its answer."""
        pausing = self._pausing.get(place)
        if not pausing:
            return False
        left = pausing[0]
        until = asyncio.ensure_future(self._clock.sleep_until(self._clock.now() + LEAVING))
        await asyncio.wait((left, until), return_when=asyncio.FIRST_COMPLETED)
        until.cancel()
        return left.done()

    @contextmanager
    def _pause(self, place: tuple[str, Key]) -> Iterator[None]:
        """An answer with a pause is being sent."""
        over = asyncio.get_running_loop().create_future()
        self._pausing.setdefault(place, []).append(over)
        try:
            yield
        finally:
            over.set_result(None)
            self._pausing[place].remove(over)
            if not self._pausing[place]:
                del self._pausing[place]

    def _by_header(self, request: Request) -> tuple[Fault | None, Request]:
        """The fault that a request asks for, and the request without that field."""
        text = headers.get(request.headers, FAULT_HEADER)
        if text is None:
            return None, request
        if not self._settings.by_header:
            if not self._has_warned:
                self._has_warned = True
                log.warning("a request has X-Replayproxy-Fail, which counts only with --fail-header: it got no fault")
            return None, request
        try:
            fault = parse_fault(text)
        except BadFault as error:
            raise ClientError(f"X-Replayproxy-Fail: {error}", code="bad_fault") from None
        if fault.first is not None or fault.every != 1 or fault.path is not None or fault.model is not None:
            raise ClientError(
                f"X-Replayproxy-Fail: {text!r} is for this one request: leave first, every, path and model away",
                code="bad_fault",
            )
        fields = headers.without(request.headers, FAULT_HEADER)
        return fault, Request(request.method, request.target, fields, request.body)

    def _limited(
        self, request: Request, body: dict[str, object], model: str, now: int
    ) -> tuple[Fault | None, Response | None]:
        limits = self._settings.limits
        if not limits.is_on or request.path in PROBES or request.method == "OPTIONS":
            return None, None
        most = body.get("max_completion_tokens") or body.get("max_tokens") or body.get("max_output_tokens")
        refusal = limits.admit(now, estimated_tokens(request.body, most), self._settings.model or model)
        if refusal is None:
            return None, None
        return Fault(FaultKind.STATUS, refusal.limit, status=429, retry_after=refusal.wait), refusal.response

    def _status_answer(self, fault: Fault, model: str | None) -> Response | None:
        if fault.kind is not FaultKind.STATUS:
            return None
        if fault.failure:
            return failure_answer(fault.failure, self._settings.model or model or "")
        return status_answer(fault.status, fault.retry_after)

    async def _in_place(self, response: Response | None, request: Request, client: ClientListener) -> None:
        """Send an answer of ours; without one, reset the connection."""
        if response is None:
            await client.reset()
            return
        if self._readable is not None:
            response = await self._readable(response, request)
        await client.head(Head(0, response.status, response.headers))
        client.burst(response)
        await client.end(End(0, Ending.COMPLETE))

    def _inject(self, fault: Fault, chain: Chain, request: Request, scope: str) -> Case:
        redactor = self._matcher.redactor or Redactor(b"")
        credentials = redactor.credentials(request)
        shown = {"path": redactor.text(request.path, credentials), "scope": redactor.text(scope, credentials)}
        return self.log.inject(fault, chain, method=request.method, **shown)

    # Answers of the source

    async def _slowly(self, play: Play, client: ClientListener, now: int, case: Case) -> None:
        """Let time pass before the source is asked. A client that leaves meanwhile has used no recording."""
        has_waited = False
        try:
            await self._clock.sleep_until(now + case.fault.pause)
            has_waited = True
            await play(client, now + case.fault.pause)
        finally:
            if not has_waited:
                case.left_after = self._clock.now() - now
            if has_waited or not self.stopping:
                self.log.over(case.chain, self._clock.now(), whole=client.succeeded, case=case)

    async def _broken(self, play: Play, client: ClientListener, received_at: int | None, case: Case) -> None:
        chain = case.chain
        draw = f"{self._settings.seed}\0{chain.key}\0{case.fault.text}"
        faulty = FaultyClient(client, Delivery(case.fault, draw), self._clock)
        playing = asyncio.ensure_future(play(faulty, received_at))
        over = asyncio.ensure_future(faulty.over.wait())
        try:
            await asyncio.wait((playing, over), return_when=asyncio.FIRST_COMPLETED)
            if faulty.over.is_set():
                await _cancelled(playing)
                await faulty.break_off()
            else:
                await playing
        finally:
            over.cancel()
            now = self._clock.now()
            case.has_fired = faulty.has_fired
            if faulty.is_paused and faulty.paused_at is not None:
                case.left_after = now - faulty.paused_at
            is_garbled = faulty.has_fired and case.fault.kind is FaultKind.GARBAGE
            unfinished = self.stopping and not client.whole and not faulty.over.is_set()
            whole = client.whole and not faulty.over.is_set() and not is_garbled
            if not unfinished:
                self.log.over(chain, now, whole=whole and client.succeeded, case=case)
            if faulty.has_fired and not whole:
                self.log.watch(case, faulty.headers, bytes(faulty.received))
                self._state.undo_position(chain.scope, chain.key)
            await faulty.close()
            await _cancelled(playing)


async def _cancelled(playing: asyncio.Future[None]) -> None:
    """End what a source plays, as when its client leaves."""
    if not playing.done():
        playing.cancel()
        with suppress(asyncio.CancelledError):
            await playing
