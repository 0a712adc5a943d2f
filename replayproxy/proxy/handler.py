"""The mission statement: answer every request, from a recording if there is one, from the server if we may ask."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from replayproxy.core import headers
from replayproxy.core.coding import body_of
from replayproxy.core.dialects.facts import request_facts
from replayproxy.core.identity.difference import Nearest, most_compared
from replayproxy.core.identity.rules import Matcher
from replayproxy.core.policy import (
    PROBES,
    Decision,
    Forward,
    Mode,
    OnMiss,
    Probe,
    Record,
    Refuse,
    Replay,
    Simulate,
    decide,
    looks_for_recordings,
)
from replayproxy.core.preparing import carry_prepared, closest, is_heavy, sketch_of, transfer_presented
from replayproxy.core.redaction import Redactor
from replayproxy.core.sequence import Playhead, split_scope
from replayproxy.errors import CassetteError, UpstreamError
from replayproxy.model import Key, RecordingRef, Request, Response
from replayproxy.ports import Clock, Listener, Neighbour, RecordingStore, Source, Upload, Worker
from replayproxy.proxy import aside
from replayproxy.proxy.answer_watch import AnswerWatch
from replayproxy.proxy.answered import Answered, planned
from replayproxy.proxy.aside import InThread
from replayproxy.proxy.client_origin import ClientOrigin
from replayproxy.proxy.counters import Counters
from replayproxy.proxy.misses import Misses
from replayproxy.proxy.player import Player
from replayproxy.proxy.recorder import Recorder
from replayproxy.proxy.request_log import Call, RequestLog
from replayproxy.proxy.stand_in import StandIn
from replayproxy.proxy.tee import Tee
from replayproxy.views.access import AccessEntry, Outcome
from replayproxy.views.miss import FORGOTTEN, UNPLAYABLE, Miss

NEIGHBOURS = 16
"""Recordings that are compared in earnest with a request that has none: 0.05 ms each for a chat of sixty words."""


@dataclass(frozen=True, slots=True)
class ScopedRequest:
    """A request, the scope it came in, and its key where that is known."""

    request: Request
    scope: str = ""
    key: Key | None = None
    damage: CassetteError | None = None
    """Why the cassette could not be looked into."""


class ReplayProxy:
    """Answers requests. What a mode has no use for is None: `replay` that refuses has no upstream at all."""

    def __init__(
        self,
        mode: Mode,
        on_miss: OnMiss,
        *,
        clock: Clock,
        player: Player,
        counters: Counters,
        misses: Misses,
        matcher: Matcher,
        playhead: Playhead,
        store: RecordingStore | None = None,
        upstream: Source | None = None,
        recorder: Recorder | None = None,
        simulator: Source | None = None,
        is_recorded: Callable[[Request], bool] = lambda _: True,
        journal: RequestLog | None = None,
        tls: bool = False,
        stand_in: StandIn | None = None,
        worker: Worker | None = None,
        rechunk: Callable[[Response, RecordingRef], Response] | None = None,
        access: Callable[[AccessEntry], None] | None = None,
    ) -> None:
        """`tls`: clients reach the proxy by https. `rechunk` cuts recorded answers into other chunks.

        `access` is called with each request that is not recorded, when its answer has ended; of those that are recorded
        the writer tells, for it knows their ids.
        """
        self._rechunk = rechunk
        self.mode = mode
        self.on_miss = on_miss
        self.clock = clock
        self.player = player
        self.counters = counters
        self.misses = misses
        self.matcher = matcher
        self.playhead = playhead
        self._store = store
        self._upstream = upstream
        self._recorder = recorder
        self._simulator = simulator
        self._is_recorded = is_recorded
        self._journal = journal
        self._tls = tls
        self._worker: Worker = worker or InThread()
        self._access = access
        self.stand_in = stand_in or StandIn(store)

    async def answer(
        self, request: Request, client: Listener, upload: Upload | None = None, received_at: int | None = None
    ) -> None:
        """Answer one request, complete at `received_at` or now. Raises `UpstreamError` if there is no answer."""
        started = self.clock.now() if received_at is None else received_at
        scoped, decision = await self.decide(request)
        watch = None
        if self._access is not None and not isinstance(decision, Record):
            client = watch = AnswerWatch(client, self.clock, started)
        client = ClientOrigin(client, request, scoped.request.target, tls=self._tls)
        answered = planned(decision)  # where the client leaves
        self.counters.in_flight += 1
        try:
            answered = await self._carry_out(decision, scoped, client, upload, started)
        except UpstreamError as error:
            answered = Answered(Outcome.FAILED, status=error.status, cause=type(error).__name__)
            raise
        finally:
            self.counters.in_flight -= 1
            if watch is not None and self._access is not None:
                self._access(self._entry(scoped, watch, answered))

    async def _carry_out(
        self, decision: Decision, scoped: ScopedRequest, client: Listener, upload: Upload | None, started: int
    ) -> Answered:
        match decision:
            case Replay(place):
                return await self._replay(scoped, place, client, started)
            case Record():
                self._count(scoped, "record")
                if await self.recorder.admit():
                    started = self.clock.now()  # our waiting is not the server's time
                with self.recorder.record(scoped.request, scope=scoped.scope, key=scoped.key) as exchange:
                    recorded_upload = exchange.recording_upload(upload) if upload is not None else None
                    await self.upstream.play(
                        scoped.request, Tee(client, exchange, self.counters), recorded_upload, started
                    )
                return Answered(Outcome.RECORDED)
            case Forward():
                self._count(scoped, "forward")
                await self.upstream.play(scoped.request, client, upload, started)
                return Answered(Outcome.FORWARDED)
            case Simulate() if scoped.request.path in PROBES:
                self.counters.requests["probe"] += 1
                await self.simulator.play(scoped.request, client, upload, started)
                return Answered(Outcome.ANSWERED)
            case Simulate():
                self._count(scoped, "simulate")
                await self.simulator.play(scoped.request, client, upload, started)
                return Answered(Outcome.SIMULATED)
            case Probe():
                self.counters.requests["probe"] += 1
                await self.player.play(await self.stand_in.answer(scoped.request), client, started)
                return Answered(Outcome.ANSWERED)
            case Refuse():
                return await self._refuse(scoped, await self._miss(scoped), client, started)

    def _entry(self, scoped: ScopedRequest, watch: AnswerWatch, answered: Answered) -> AccessEntry:
        shown, _ = self._shown(scoped)
        # What a server that is not recorded says may hold a secret, and nobody has looked for it.
        is_looked_into = answered.outcome in (Outcome.REPLAYED, Outcome.SIMULATED)
        return AccessEntry(
            at=self.clock.today() - watch.total,
            method=shown.method,
            path=shown.path,
            outcome=answered.outcome,
            status=watch.status or answered.status,
            total_s=watch.total / 1e9,
            model=request_facts(shown)[0],
            tokens=watch.tokens if is_looked_into else None,
            ttft_s=None if watch.ttft is None or not is_looked_into else watch.ttft / 1e9,
            first_words=watch.words if is_looked_into else "",
            id=answered.id,
            ending=watch.ending.name.lower(),
            cause=answered.cause,
            differs=answered.differs,
        )

    async def _replay(self, scoped: ScopedRequest, place: RecordingRef, client: Listener, started: int) -> Answered:
        """Play a recording. It counts as played when it is there and is what was written: else the run has failed."""
        try:
            response = await self.store.read(place)
            short_id = self.store.short_id(place) if self._access is not None else None
        except CassetteError as error:
            return await self._refuse(scoped, self._damaged(scoped, error), client, started)
        if self._rechunk is not None:
            response = self._rechunk(response, place)
        self.counters.played[place] += 1
        self._count(scoped, "replay", place=place)
        await self.player.play(self.stand_in.let_read(response, scoped.request), client, started)
        return Answered(Outcome.REPLAYED, short_id)

    async def _refuse(self, scoped: ScopedRequest, miss: Miss, client: Listener, started: int) -> Answered:
        self.counters.misses[miss.code] += 1
        explained = self.misses.explain(miss)
        outcome = "damaged" if miss.code == UNPLAYABLE else "refuse"
        number = headers.get(explained.headers, "x-replayproxy-miss")
        self._count(scoped, outcome, miss=number)
        await self.player.play(await self.stand_in.readable(explained, scoped.request), client, started)
        kind = Outcome.DAMAGED if miss.code == UNPLAYABLE else Outcome.MISS
        return Answered(kind, number, cause=miss.code, differs=miss.param)

    async def decide(self, request: Request) -> tuple[ScopedRequest, Decision]:
        """What to do with a request, by the table. Raises `ClientError` for a scope that is too long."""
        if not looks_for_recordings(self.mode):
            return ScopedRequest(request), self._by_table(request, None)
        scope, request = split_scope(request)
        if request.path in PROBES:
            return ScopedRequest(request, scope), self._by_table(request, None)
        await aside.prepared(self.matcher, self._worker, request)
        key = self.matcher.key(request)
        scoped = ScopedRequest(request, scope, key)
        if self.playhead.has_forgotten(scope):  # to begin again would be somebody else's answer
            return scoped, Refuse()
        try:
            place = await self._next(scoped.key or "", scope, request)
            stands_in = place is None and await self.stand_in.can_answer(scoped.key or "", request)
        except CassetteError as error:
            return replace(scoped, damage=error), Refuse()
        decision = self._by_table(request, place, stands_in)
        if isinstance(decision, Forward):
            self.playhead.undo(scope, scoped.key or "")  # nothing will be there the next time either
        return scoped, decision

    async def answers_unsent(self, request: Request) -> bool:
        """Whether a recording answers this request before its client has sent the body that it announces.

        That is so where the server did the same (`matching.is_unsent`). When all such recordings have been played, the
        body may tell another one; where the endpoint has no other, they are played again as any other list.
        """
        if not looks_for_recordings(self.mode):
            return False
        scope, request = split_scope(request)
        key = self.matcher.key(request)  # without a body
        try:
            count = self.store.count(key)
            if self.playhead.request_count(scope, key) < count:
                return True
            return (
                bool(count)
                and self.mode is Mode.REPLAY
                and self.store.count_of_endpoint(request.method, request.path)[1] == 1
            )
        except CassetteError:  # the answer will report it
            return False

    def _by_table(self, request: Request, place: RecordingRef | None, stands_in: bool = False) -> Decision:
        probe = request.path in PROBES
        # Asked only about what might be recorded: the answer counts for `--sample`.
        is_recorded = not probe and place is None and self._is_recorded(request)
        return decide(
            self.mode, probe=probe, is_recorded=is_recorded, place=place, on_miss=self.on_miss, stands_in=stands_in
        )

    async def _next(self, key: Key, scope: str, request: Request) -> RecordingRef | None:
        if self._recorder is not None:
            await self._recorder.settled(key)
        occurrence = self.playhead.next(scope, key, self.store.count(key))
        transfer = transfer_presented(request)
        if transfer is not None:
            # A replayed prefill has handed out a recorded ticket: answer with what was decoded from that one.
            found = self.store.with_transfer(key, transfer)
            occurrence = occurrence if found is None else found
        return None if occurrence is None else RecordingRef(key, occurrence)

    def _count(
        self, scoped: ScopedRequest, outcome: str, *, place: RecordingRef | None = None, miss: str | None = None
    ) -> None:
        self.counters.requests[outcome] += 1
        if self._journal is not None:
            self._journal.add(Call(scoped.request, scoped.scope, outcome, place, miss))

    async def _miss(self, scoped: ScopedRequest) -> Miss:
        """Why no recording answers."""
        try:
            if scoped.damage is not None:
                raise scoped.damage
            return await self._found_missing(scoped)
        except CassetteError as error:
            return self._damaged(scoped, error)

    async def _found_missing(self, scoped: ScopedRequest) -> Miss:
        assert scoped.key is not None
        long = self.matcher.takes_long(scoped.request) and self.matcher.redactor is None  # else it is known by now
        request, scope = await asyncio.to_thread(self._shown, scoped) if long else self._shown(scoped)
        if self.playhead.has_forgotten(scoped.scope):
            return Miss(FORGOTTEN, request, scoped.key, scope=scope)
        recorded = self.store.count(scoped.key)
        broken = self.store.count_broken(scoped.key)
        times = self.playhead.request_count(scoped.scope, scoped.key)
        if recorded or broken:
            code = "exhausted" if recorded else "incomplete_only"
            found = Miss(code, request, scoped.key, recorded=recorded or broken)
        elif cached := self.misses.cached("no_match", scoped.key) or self.misses.cached("nothing_close", scoped.key):
            found = cached
        else:
            found = await self._stranger(request, scoped.key)
        return replace(found, scope=scope, request_count=times)

    def _damaged(self, scoped: ScopedRequest, error: CassetteError) -> Miss:
        request, scope = self._shown(scoped)
        return Miss(UNPLAYABLE, request, scoped.key or "", scope=scope, damage=str(error))

    async def _stranger(self, request: Request, key: Key) -> Miss:
        """A request that was never recorded, with the recording that it resembles most.

        In a thread: it takes milliseconds, and other streams have their times; what takes seconds, in a process.
        """
        return await self.store.aside(self._compared, request, key) or await self._compared_in_worker(request, key)

    def _compared(self, request: Request, key: Key) -> Miss | None:
        """None where a body is too long to be compared in this process."""
        neighbours = self._neighbours(request)
        if any(is_heavy(body_of(one)) for one in (request, *(neighbour.request for neighbour in neighbours))):
            return None
        return self._unknown(request, key, closest(self.matcher, request, neighbours)[0])

    async def _compared_in_worker(self, request: Request, key: Key) -> Miss:
        neighbours = await self.store.aside(self._neighbours, request)
        found, number = await self._worker.run(closest, self.matcher, request, neighbours)
        if found is not None:
            found = replace(found, neighbour=neighbours[number])
        return await self.store.aside(self._unknown, request, key, found)

    def _neighbours(self, request: Request) -> list[Neighbour]:
        near = self.store.near(request.method, request.path, sketch_of(self.matcher, request), NEIGHBOURS)
        return list(near[: most_compared(request)])

    def _unknown(self, request: Request, key: Key, found: Nearest | None) -> Miss:
        every, here = self.store.count_of_endpoint(request.method, request.path)
        cut = self.store.count_cut(request.method, request.path)
        code = "no_match" if found else "nothing_close"
        return Miss(code, request, key, nearest=found, every=every, here=here, cut=cut)

    def _shown(self, scoped: ScopedRequest) -> tuple[Request, str]:
        """A request and its scope as people may see them, also beside a cassette that is older than redaction."""
        redactor = self.matcher.redactor or Redactor(b"")
        scope = redactor.text(scoped.scope, redactor.credentials(scoped.request)) if scoped.scope else ""
        shown = redactor.request(scoped.request)
        carry_prepared(scoped.request, shown)
        return shown, scope

    # What this mode has

    @property
    def store(self) -> RecordingStore:
        """The recordings."""
        assert self._store is not None, "no mode that decides Replay or Refuse is without a store"
        return self._store

    @property
    def upstream(self) -> Source:
        """The live server."""
        assert self._upstream is not None, "no mode that decides Record or Forward is without an upstream"
        return self._upstream

    @property
    def recorder(self) -> Recorder:
        """Where answers are kept."""
        assert self._recorder is not None, "no mode that decides Record is without a recorder"
        return self._recorder

    @property
    def simulator(self) -> Source:
        """What invents answers."""
        assert self._simulator is not None, "no mode that decides Simulate is without a simulator"
        return self._simulator
