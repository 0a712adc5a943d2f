"""Answer each request: from a recording if there is one, from the server if the mode allows it, or as a miss.

    request ──▶ scope, key ──▶ look up ──▶ decide (core.policy) ──▶ a source plays ──▶ client and other listeners

Does not know HTTP, files, or how a miss is explained.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

from replayproxy.core.dialects.facts import request_facts
from replayproxy.core.identity.fresh_ids import Uncertain
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
from replayproxy.core.preparing import transfer_presented
from replayproxy.core.sequence import split_scope
from replayproxy.errors import CassetteError, UpstreamError
from replayproxy.model import Key, RecordingRef, Request, Response
from replayproxy.ports import Clock, Listener, RecordingStore, Source, Upload, Worker
from replayproxy.proxy import aside
from replayproxy.proxy.answer_meter import AnswerMeter
from replayproxy.proxy.answer_watch import AnswerWatch
from replayproxy.proxy.answered import Answered, planned
from replayproxy.proxy.aside import InThread
from replayproxy.proxy.carry import Carry
from replayproxy.proxy.client_origin import ClientOrigin
from replayproxy.proxy.miss_search import MissSearch, ScopedRequest
from replayproxy.proxy.misses import miss_response
from replayproxy.proxy.player import Player
from replayproxy.proxy.recorder import Recorder
from replayproxy.proxy.run_state import RunState
from replayproxy.proxy.stand_in import StandIn
from replayproxy.proxy.tee import Tee
from replayproxy.views.access import AccessEntry, Outcome
from replayproxy.views.miss import UNPLAYABLE, Miss


class ReplayProxy:
    """Answers requests. Parts that a mode does not need are None: `replay` that refuses has no upstream."""

    def __init__(
        self,
        mode: Mode,
        on_miss: OnMiss,
        *,
        clock: Clock,
        player: Player,
        state: RunState,
        matcher: Matcher,
        store: RecordingStore | None = None,
        upstream: Source | None = None,
        recorder: Recorder | None = None,
        simulator: Source | None = None,
        is_recorded: Callable[[Request], bool] = lambda _: True,
        tls: bool = False,
        stand_in: StandIn | None = None,
        worker: Worker | None = None,
        rechunk: Callable[[Response, RecordingRef], Response] | None = None,
        access: Callable[[AccessEntry], None] | None = None,
        playing: Callable[[RecordingRef, Response], AbstractContextManager[None]] | None = None,
        carry: Carry | None = None,
    ) -> None:
        """`tls`: clients reach the proxy by https. `rechunk` cuts recorded answers into other chunks.

        `access` is called with each request that is not recorded, when its answer has ended; of those that are recorded
        the writer tells, for it knows their ids. Each recording is played within the context that `playing` gives.
        """
        self._rechunk = rechunk
        self._carry = carry
        self.mode = mode
        self.on_miss = on_miss
        self.clock = clock
        self.player = player
        self.state = state
        self.matcher = matcher
        self._store = store
        self._upstream = upstream
        self._recorder = recorder
        self._simulator = simulator
        self._is_recorded = is_recorded
        self._tls = tls
        self._worker: Worker = worker or InThread()
        self._misses = MissSearch(store, matcher, state, self._worker)
        self._access = access
        self.stand_in = stand_in or StandIn(store)
        self._playing = playing or (lambda *_: nullcontext())

    async def answer(
        self, request: Request, client: Listener, upload: Upload | None = None, received_at: int | None = None
    ) -> None:
        """Answer one request, complete at `received_at` or now. Raises `UpstreamError` if there is no answer."""
        started = self.clock.now() if received_at is None else received_at
        scoped, decision = await self.decide(request)
        answered = planned(decision)  # where the client leaves
        counters = self.state.counters
        is_live = isinstance(decision, Record | Forward)
        meter = AnswerMeter(self.clock, started, is_live=is_live, ended=counters.traffic.count)
        meter.path, meter.outcome, meter.request_bytes = scoped.request.path, answered.outcome, len(request.body)
        upload = meter.counted(upload) if upload is not None else None
        watch, failure = None, None
        if self._access is not None and not isinstance(decision, Record):
            watch = AnswerWatch(self.clock, started)
        origin = ClientOrigin(client, request, scoped.request.target, tls=self._tls)
        tee = Tee(origin, meter) if watch is None else Tee(origin, watch, meter)
        counters.in_flight += 1
        try:
            answered = await self._carry_out(decision, scoped, tee, upload, started)
        except UpstreamError as error:
            answered = Answered(Outcome.FAILED, status=error.status, cause=type(error).__name__)
            failure = error
            raise
        finally:
            counters.in_flight -= 1
            counters.traffic.settle(meter, answered.outcome, failure)
            if watch is not None and self._access is not None:
                self._access(self._entry(scoped, watch, answered))

    async def _carry_out(
        self, decision: Decision, scoped: ScopedRequest, client: Tee, upload: Upload | None, started: int
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
                    await self.upstream.play(scoped.request, client.joined_by(exchange), recorded_upload, started)
                return Answered(Outcome.RECORDED)
            case Forward():
                self._count(scoped, "forward")
                await self.upstream.play(scoped.request, client, upload, started)
                return Answered(Outcome.FORWARDED)
            case Simulate() if scoped.request.path in PROBES:
                self.state.count_only("probe")
                await self.simulator.play(scoped.request, client, upload, started)
                return Answered(Outcome.ANSWERED)
            case Simulate():
                self._count(scoped, "simulate")
                await self.simulator.play(scoped.request, client, upload, started)
                return Answered(Outcome.SIMULATED)
            case Probe():
                self.state.count_only("probe")
                await self.player.play_response(await self.stand_in.answer(scoped.request), client, started)
                return Answered(Outcome.ANSWERED)
            case Refuse():
                return await self._refuse(scoped, await self._misses.explain(scoped), client, started)

    def _entry(self, scoped: ScopedRequest, watch: AnswerWatch, answered: Answered) -> AccessEntry:
        shown, _ = self._misses.shown(scoped)
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
            return await self._refuse(scoped, self._misses.damaged(scoped, error), client, started)
        if self._carry is not None:
            try:
                response = await self._carry.answer(scoped.scope, scoped.request, response, scoped.ids, place)
            except Uncertain as reason:
                self.state.undo_position(scoped.scope, place.key)
                return await self._refuse(scoped, self._misses.uncertain(scoped, str(reason)), client, started)
        if self._rechunk is not None:
            response = self._rechunk(response, place)
        self.state.note_played(place)
        self._count(scoped, "replay", place=place)
        with self._playing(place, response):
            await self.player.play_response(self.stand_in.let_read(response, scoped.request), client, started)
        return Answered(Outcome.REPLAYED, short_id)

    async def _refuse(self, scoped: ScopedRequest, miss: Miss, client: Listener, started: int) -> Answered:
        name = self.state.note_miss(miss)
        is_damaged = miss.code == UNPLAYABLE
        self._count(scoped, "damaged" if is_damaged else "refuse", miss=name)
        response = await self.stand_in.readable(miss_response(miss, name), scoped.request)
        await self.player.play_response(response, client, started)
        return Answered(Outcome.DAMAGED if is_damaged else Outcome.MISS, name, cause=miss.code, differs=miss.param)

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
        if self.state.has_forgotten(scope):  # to begin again would be somebody else's answer
            return scoped, Refuse()
        try:
            if self._carry is not None:
                scoped = await self._carry.resolved(scoped)
            place = await self._next(scoped.key or "", scope, request)
            stands_in = place is None and await self.stand_in.can_answer(scoped.key or "", request)
        except CassetteError as error:
            return replace(scoped, damage=error), Refuse()
        decision = self._by_table(request, place, stands_in)
        if isinstance(decision, Forward):
            self.state.undo_position(scope, scoped.key or "")  # nothing will be there the next time either
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
            if self.state.request_count(scope, key) < count:
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
        occurrence = self.state.next_occurrence(scope, key, self.store.count(key))
        transfer = transfer_presented(request)
        if transfer is not None:
            # A replayed prefill has handed out a recorded ticket: answer with what was decoded from that one.
            found = self.store.with_transfer(key, transfer)
            occurrence = occurrence if found is None else found
        return None if occurrence is None else RecordingRef(key, occurrence)

    def _count(
        self, scoped: ScopedRequest, outcome: str, *, place: RecordingRef | None = None, miss: str | None = None
    ) -> None:
        self.state.count(outcome, scoped.request, scoped.scope, place, miss)

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
