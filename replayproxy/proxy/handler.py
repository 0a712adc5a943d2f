"""The mission statement: answer every request, from a recording if there is one, from the server if we may ask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from replayproxy.core import headers
from replayproxy.core.coding import body_of
from replayproxy.core.diff import nearest
from replayproxy.core.matching import Matcher
from replayproxy.core.openai import parsed, transfer_of
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
from replayproxy.core.redaction import Redactor
from replayproxy.core.sequence import Playhead, split_scope
from replayproxy.core.sketch import sketch
from replayproxy.model import Key, Place, Request, Response
from replayproxy.ports import Clock, Listener, Shelf, Source, Upload
from replayproxy.proxy.journal import Call, Journal
from replayproxy.proxy.misses import Miss, Misses, probed
from replayproxy.proxy.player import Player
from replayproxy.proxy.recorder import Both, Recorder
from replayproxy.proxy.tally import Tally

NEIGHBOURS = 16
"""Recordings that are compared in earnest with a request that has none: 0.05 ms each for a chat of sixty words."""

_PRESENTS_TICKET = b'"kv_transfer_params"'


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, the scope it came in, and its key where that is known."""

    request: Request
    scope: str = ""
    key: Key | None = None


class ReplayProxy:
    """Answers requests. What a mode has no use for is None: `replay` that refuses has no upstream at all."""

    def __init__(
        self,
        mode: Mode,
        on_miss: OnMiss,
        *,
        clock: Clock,
        player: Player,
        tally: Tally,
        misses: Misses,
        matcher: Matcher,
        playhead: Playhead,
        shelf: Shelf | None = None,
        upstream: Source | None = None,
        recorder: Recorder | None = None,
        invent: Callable[[Request], Response] | None = None,
        wanted: Callable[[Request], bool] = lambda _: True,
        journal: Journal | None = None,
    ) -> None:
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

    async def answer(
        self, request: Request, client: Listener, upload: Upload | None = None, came: int | None = None
    ) -> None:
        """Answer one request, which was complete at `came`, or now. Raises `UpstreamError` if there is no answer."""
        started = self.clock.now() if came is None else came
        asked, decision = await self.decide(request)
        self.tally.requests[type(decision).__name__.lower()] += 1
        self.tally.in_flight += 1
        try:
            match decision:
                case Replay(place):
                    self.tally.played[place] += 1
                    self._note(asked, decision, place=place)
                    await self.player.play(await self.shelf.read(place), client, started)
                case Record():
                    self._note(asked, decision)
                    if await self.recorder.admit():
                        started = self.clock.now()  # our waiting is not the server's time
                    with self.recorder.tape(asked.request, scope=asked.scope, key=asked.key) as tape:
                        heard = tape.hearing(upload) if upload is not None else None
                        await self.upstream.play(asked.request, Both(client, tape, self.tally), heard, started)
                case Forward():
                    self._note(asked, decision)
                    await self.upstream.play(asked.request, client, upload, started)
                case Simulate():
                    self._note(asked, decision)
                    await self.player.play(self.invent(asked.request), client, started)
                case Probe():
                    await self.player.play(probed(asked.request), client, started)
                case Refuse():
                    explained = self.misses.explain(await self._miss(asked))
                    self._note(asked, decision, miss=headers.get(explained.headers, "x-replayproxy-miss"))
                    await self.player.play(explained, client, started)
        finally:
            self.tally.in_flight -= 1

    async def decide(self, request: Request) -> tuple[Asked, Decision]:
        """What to do with a request, by the table."""
        if not looks_for_recordings(self.mode):
            return Asked(request), self._by_table(request, None)
        scope, request = split_scope(request)
        if request.path in PROBES:
            return Asked(request, scope), self._by_table(request, None)
        key = self.matcher.key(request)
        return Asked(request, scope, key), self._by_table(request, await self._next(key, scope, request))

    def _by_table(self, request: Request, place: Place | None) -> Decision:
        probe = request.path in PROBES
        # Asked only about what might be recorded: the answer counts for `--sample`.
        wanted = not probe and place is None and self._wanted(request)
        return decide(self.mode, probe=probe, wanted=wanted, place=place, on_miss=self.on_miss)

    async def _next(self, key: Key, scope: str, request: Request) -> Place | None:
        if self._recorder is not None:
            await self._recorder.archive.settled(key)
        occurrence = self.playhead.next(scope, key, self.shelf.count(key))
        body = body_of(request)
        if _PRESENTS_TICKET in body and (transfer := transfer_of(parsed(body), {})) is not None:
            # A replayed prefill has handed out a recorded ticket: answer with what was decoded from that one.
            found = self.shelf.with_transfer(key, transfer)
            occurrence = occurrence if found is None else found
        return None if occurrence is None else Place(key, occurrence)

    def _note(self, asked: Asked, decision: Decision, *, place: Place | None = None, miss: str | None = None) -> None:
        if self._journal is not None:
            outcome = type(decision).__name__.lower()
            self._journal.calls.append(Call(asked.request, asked.scope, outcome, place, miss))

    async def _miss(self, asked: Asked) -> Miss:
        assert asked.key is not None
        recorded = self.shelf.count(asked.key)
        broken = self.shelf.count_broken(asked.key)
        times = self.playhead.asked(asked.scope, asked.key)
        request, scope = self._shown(asked)
        if recorded or broken:
            code = "exhausted" if recorded else "incomplete_only"
            found = Miss(code, request, asked.key, recorded=recorded or broken)
        elif known := self.misses.known("no_match", asked.key) or self.misses.known("nothing_close", asked.key):
            found = known
        else:  # in a thread: it takes milliseconds, and other streams have their times
            found = await self.shelf.aside(self._stranger, request, asked.key)
        self.tally.misses[found.code] += 1
        return replace(found, scope=scope, asked=times)

    def _stranger(self, request: Request, key: Key) -> Miss:
        """A request that was never recorded, with the recording that it resembles most."""
        wanted = sketch(self.matcher.compared(request))
        found = nearest(self.matcher, request, self.shelf.near(request.method, request.path, wanted, NEIGHBOURS))
        every, here = self.shelf.asked(request.method, request.path)
        return Miss("no_match" if found else "nothing_close", request, key, nearest=found, every=every, here=here)

    def _shown(self, asked: Asked) -> tuple[Request, str]:
        """A request and its scope as people may see them, also beside a cassette that is older than redaction."""
        redactor = self.matcher.redactor or Redactor(b"")
        scope = redactor.text(asked.scope, redactor.credentials(asked.request)) if asked.scope else ""
        return redactor.request(asked.request), scope

    # What this mode has

    @property
    def shelf(self) -> Shelf:
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
