"""The mission statement: answer every request, from a recording if there is one, from the server if we may ask."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from replayproxy.core import headers
from replayproxy.core.coding import body_of
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
from replayproxy.errors import CassetteError
from replayproxy.model import Key, RecordingRef, Request, Response
from replayproxy.ports import Clock, Listener, Neighbour, RecordingStore, Source, Upload, Worker
from replayproxy.proxy import aside
from replayproxy.proxy.aside import InThread
from replayproxy.proxy.client_origin import ClientOrigin
from replayproxy.proxy.counters import Counters
from replayproxy.proxy.misses import Misses
from replayproxy.proxy.player import Player
from replayproxy.proxy.recorder import Recorder
from replayproxy.proxy.request_log import Call, RequestLog
from replayproxy.proxy.stand_in import StandIn
from replayproxy.proxy.tee import Tee
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
        tally: Counters,
        misses: Misses,
        matcher: Matcher,
        playhead: Playhead,
        shelf: RecordingStore | None = None,
        upstream: Source | None = None,
        recorder: Recorder | None = None,
        invent: Callable[[Request], Response] | None = None,
        wanted: Callable[[Request], bool] = lambda _: True,
        journal: RequestLog | None = None,
        tls: bool = False,
        stand_in: StandIn | None = None,
        worker: Worker | None = None,
    ) -> None:
        """`tls`: clients reach the proxy by https."""
        self.mode = mode
        self.on_miss = on_miss
        self.clock = clock
        self.player = player
        self.tally = tally
        self.misses = misses
        self.matcher = matcher
        self.playhead = playhead
        self._shelf = shelf
        self._upstream = upstream
        self._recorder = recorder
        self._invent = invent
        self._wanted = wanted
        self._journal = journal
        self._tls = tls
        self._worker: Worker = worker or InThread()
        self.stand_in = stand_in or StandIn(shelf)

    async def answer(
        self, request: Request, client: Listener, upload: Upload | None = None, came: int | None = None
    ) -> None:
        """Answer one request, which was complete at `came`, or now. Raises `UpstreamError` if there is no answer."""
        started = self.clock.now() if came is None else came
        asked, decision = await self.decide(request)
        client = ClientOrigin(client, request, asked.request.target, tls=self._tls)
        self.tally.in_flight += 1
        try:
            match decision:
                case Replay(place):
                    await self._replay(asked, place, client, started)
                case Record():
                    self._count(asked, "record")
                    if await self.recorder.admit():
                        started = self.clock.now()  # our waiting is not the server's time
                    with self.recorder.tape(asked.request, scope=asked.scope, key=asked.key) as tape:
                        heard = tape.hearing(upload) if upload is not None else None
                        await self.upstream.play(asked.request, Tee(client, tape, self.tally), heard, started)
                case Forward():
                    self._count(asked, "forward")
                    await self.upstream.play(asked.request, client, upload, started)
                case Simulate():
                    self._count(asked, "simulate")
                    await self.player.play(self.invent(asked.request), client, started)
                case Probe():
                    self.tally.requests["probe"] += 1
                    await self.player.play(await self.stand_in.answer(asked.request), client, started)
                case Refuse():
                    await self._refuse(asked, await self._miss(asked), client, started)
        finally:
            self.tally.in_flight -= 1

    async def _replay(self, asked: ScopedRequest, place: RecordingRef, client: Listener, started: int) -> None:
        """Play a recording. It counts as played when it is there and is what was written: else the run has failed."""
        try:
            response = await self.shelf.read(place)
        except CassetteError as error:
            await self._refuse(asked, self._damaged(asked, error), client, started)
            return
        self.tally.played[place] += 1
        self._count(asked, "replay", place=place)
        await self.player.play(self.stand_in.let_read(response, asked.request), client, started)

    async def _refuse(self, asked: ScopedRequest, miss: Miss, client: Listener, started: int) -> None:
        self.tally.misses[miss.code] += 1
        explained = self.misses.explain(miss)
        outcome = "damaged" if miss.code == UNPLAYABLE else "refuse"
        self._count(asked, outcome, miss=headers.get(explained.headers, "x-replayproxy-miss"))
        await self.player.play(await self.stand_in.readable(explained, asked.request), client, started)

    async def decide(self, request: Request) -> tuple[ScopedRequest, Decision]:
        """What to do with a request, by the table. Raises `ClientError` for a scope that is too long."""
        if not looks_for_recordings(self.mode):
            return ScopedRequest(request), self._by_table(request, None)
        scope, request = split_scope(request)
        if request.path in PROBES:
            return ScopedRequest(request, scope), self._by_table(request, None)
        await aside.prepared(self.matcher, self._worker, request)
        key = self.matcher.key(request)
        asked = ScopedRequest(request, scope, key)
        if self.playhead.has_forgotten(scope):  # to begin again would be somebody else's answer
            return asked, Refuse()
        try:
            place = await self._next(asked.key or "", scope, request)
            stands_in = place is None and await self.stand_in.can_answer(asked.key or "", request)
        except CassetteError as error:
            return replace(asked, damage=error), Refuse()
        decision = self._by_table(request, place, stands_in)
        if isinstance(decision, Forward):
            self.playhead.undo(scope, asked.key or "")  # nothing will be there the next time either
        return asked, decision

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
            count = self.shelf.count(key)
            if self.playhead.asked(scope, key) < count:
                return True
            return bool(count) and self.mode is Mode.REPLAY and self.shelf.asked(request.method, request.path)[1] == 1
        except CassetteError:  # it will be told with the answer
            return False

    def _by_table(self, request: Request, place: RecordingRef | None, stands_in: bool = False) -> Decision:
        probe = request.path in PROBES
        # Asked only about what might be recorded: the answer counts for `--sample`.
        wanted = not probe and place is None and self._wanted(request)
        return decide(self.mode, probe=probe, wanted=wanted, place=place, on_miss=self.on_miss, stands_in=stands_in)

    async def _next(self, key: Key, scope: str, request: Request) -> RecordingRef | None:
        if self._recorder is not None:
            await self._recorder.settled(key)
        occurrence = self.playhead.next(scope, key, self.shelf.count(key))
        transfer = transfer_presented(request)
        if transfer is not None:
            # A replayed prefill has handed out a recorded ticket: answer with what was decoded from that one.
            found = self.shelf.with_transfer(key, transfer)
            occurrence = occurrence if found is None else found
        return None if occurrence is None else RecordingRef(key, occurrence)

    def _count(
        self, asked: ScopedRequest, outcome: str, *, place: RecordingRef | None = None, miss: str | None = None
    ) -> None:
        self.tally.requests[outcome] += 1
        if self._journal is not None:
            self._journal.add(Call(asked.request, asked.scope, outcome, place, miss))

    async def _miss(self, asked: ScopedRequest) -> Miss:
        """Why no recording answers."""
        try:
            if asked.damage is not None:
                raise asked.damage
            return await self._found_missing(asked)
        except CassetteError as error:
            return self._damaged(asked, error)

    async def _found_missing(self, asked: ScopedRequest) -> Miss:
        assert asked.key is not None
        long = self.matcher.takes_long(asked.request) and self.matcher.redactor is None  # else it is known by now
        request, scope = await asyncio.to_thread(self._shown, asked) if long else self._shown(asked)
        if self.playhead.has_forgotten(asked.scope):
            return Miss(FORGOTTEN, request, asked.key, scope=scope)
        recorded = self.shelf.count(asked.key)
        broken = self.shelf.count_broken(asked.key)
        times = self.playhead.asked(asked.scope, asked.key)
        if recorded or broken:
            code = "exhausted" if recorded else "incomplete_only"
            found = Miss(code, request, asked.key, recorded=recorded or broken)
        elif known := self.misses.known("no_match", asked.key) or self.misses.known("nothing_close", asked.key):
            found = known
        else:
            found = await self._stranger(request, asked.key)
        return replace(found, scope=scope, asked=times)

    def _damaged(self, asked: ScopedRequest, error: CassetteError) -> Miss:
        request, scope = self._shown(asked)
        return Miss(UNPLAYABLE, request, asked.key or "", scope=scope, damage=str(error))

    async def _stranger(self, request: Request, key: Key) -> Miss:
        """A request that was never recorded, with the recording that it resembles most.

        In a thread: it takes milliseconds, and other streams have their times; what takes seconds, in a process.
        """
        return await self.shelf.aside(self._compared, request, key) or await self._compared_in_worker(request, key)

    def _compared(self, request: Request, key: Key) -> Miss | None:
        """None where a body is too long to be compared in this process."""
        neighbours = self._neighbours(request)
        if any(is_heavy(body_of(one)) for one in (request, *(neighbour.request for neighbour in neighbours))):
            return None
        return self._unknown(request, key, closest(self.matcher, request, neighbours)[0])

    async def _compared_in_worker(self, request: Request, key: Key) -> Miss:
        neighbours = await self.shelf.aside(self._neighbours, request)
        found, number = await self._worker.run(closest, self.matcher, request, neighbours)
        if found is not None:
            found = replace(found, neighbour=neighbours[number])
        return await self.shelf.aside(self._unknown, request, key, found)

    def _neighbours(self, request: Request) -> list[Neighbour]:
        near = self.shelf.near(request.method, request.path, sketch_of(self.matcher, request), NEIGHBOURS)
        return list(near[: most_compared(request)])

    def _unknown(self, request: Request, key: Key, found: Nearest | None) -> Miss:
        every, here = self.shelf.asked(request.method, request.path)
        cut = self.shelf.count_cut(request.method, request.path)
        code = "no_match" if found else "nothing_close"
        return Miss(code, request, key, nearest=found, every=every, here=here, cut=cut)

    def _shown(self, asked: ScopedRequest) -> tuple[Request, str]:
        """A request and its scope as people may see them, also beside a cassette that is older than redaction."""
        redactor = self.matcher.redactor or Redactor(b"")
        scope = redactor.text(asked.scope, redactor.credentials(asked.request)) if asked.scope else ""
        shown = redactor.request(asked.request)
        carry_prepared(asked.request, shown)
        return shown, scope

    # What this mode has

    @property
    def shelf(self) -> RecordingStore:
        """The recordings."""
        assert self._shelf is not None, "no mode that decides Replay or Refuse is without a shelf"
        return self._shelf

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

    def invent(self, request: Request) -> Response:
        """An answer out of thin air."""
        assert self._invent is not None, "no mode that decides Simulate is without a simulator"
        return self._invent(request)
