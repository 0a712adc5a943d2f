"""Find out why no recording answers a request: the nearest recording, and where the two differ.

    request ──▶ sketch ──▶ the recordings of this endpoint that look alike ──▶ compare each ──▶ Miss

Takes milliseconds, therefore in a thread; a body that would hold the interpreter's lock is compared in another process.
Answers no client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from replayproxy.core.coding import body_of
from replayproxy.core.identity.difference import Nearest, most_compared
from replayproxy.core.identity.rules import Matcher
from replayproxy.core.preparing import carry_prepared, closest, is_heavy, sketch_of
from replayproxy.core.redaction import Redactor
from replayproxy.errors import CassetteError
from replayproxy.model import Key, Request
from replayproxy.ports import Neighbour, RecordingStore, Worker
from replayproxy.proxy.run_state import RunState
from replayproxy.views.miss import FORGOTTEN, UNPLAYABLE, Miss

NEIGHBOURS = 16
"""Recordings that are compared in full with a request that has none: 0.05 ms each for a chat of sixty words."""


@dataclass(frozen=True, slots=True)
class ScopedRequest:
    """A request without its scope, the scope, and the key if it was computed."""

    request: Request
    scope: str = ""
    key: Key | None = None
    damage: CassetteError | None = None
    """Why the cassette could not be searched."""
    ids: Mapping[str, str] = field(default_factory=dict)
    """With `--carry`, recorded ids by the fresh ones in the request; the key is that of the request with these."""
    not_carried: str = ""
    """With `--carry`, why the request does not stand for a recording."""


class MissSearch:
    """Explains misses from the recordings of one store. `store` is None for a mode that has no recordings."""

    def __init__(self, store: RecordingStore | None, matcher: Matcher, state: RunState, worker: Worker) -> None:
        self._store = store
        self._matcher = matcher
        self._state = state
        self._worker = worker

    async def explain(self, scoped: ScopedRequest) -> Miss:
        """Return why no recording answers this request."""
        if scoped.damage is not None:
            return self.damaged(scoped, scoped.damage)
        try:
            return await self._search(scoped)
        except CassetteError as error:
            return self.damaged(scoped, error)

    def damaged(self, scoped: ScopedRequest, error: CassetteError) -> Miss:
        """Return the miss of a request whose recording cannot be read."""
        request, scope = self.shown(scoped)
        return Miss(UNPLAYABLE, request, scoped.key or "", scope=scope, damage=str(error))

    def uncertain(self, scoped: ScopedRequest, reason: str) -> Miss:
        """Return the miss of a request whose recorded answer cannot have the fresh ids of `--carry`."""
        request, scope = self.shown(scoped)
        return Miss("uncertain_id", request, scoped.key or "", scope=scope, not_carried=reason)

    def shown(self, scoped: ScopedRequest) -> tuple[Request, str]:
        """Return the request and its scope without secrets, also for a cassette from before redaction."""
        redactor = self._matcher.redactor or Redactor(b"")
        scope = redactor.text(scoped.scope, redactor.credentials(scoped.request)) if scoped.scope else ""
        shown = redactor.request(scoped.request)
        carry_prepared(scoped.request, shown)
        return shown, scope

    async def _search(self, scoped: ScopedRequest) -> Miss:
        assert scoped.key is not None
        # With a redactor the key was computed from the masked request, which is kept with the request.
        masks_long = self._matcher.redactor is None and self._matcher.takes_long(scoped.request)
        request, scope = await asyncio.to_thread(self.shown, scoped) if masks_long else self.shown(scoped)
        if self._state.has_forgotten(scoped.scope):
            return Miss(FORGOTTEN, request, scoped.key, scope=scope)
        recorded = self.store.count(scoped.key)
        broken = self.store.count_broken(scoped.key)
        if recorded or broken:
            code = "exhausted" if recorded else "incomplete_only"
            miss = Miss(code, request, scoped.key, recorded=recorded or broken)
        else:
            miss = self._state.cached_miss(scoped.key) or await self._never_recorded(request, scoped.key)
        return replace(
            miss,
            scope=scope,
            request_count=self._state.request_count(scoped.scope, scoped.key),
            not_carried=scoped.not_carried,
        )

    async def _never_recorded(self, request: Request, key: Key) -> Miss:
        """Compare a request that was never recorded with those that it resembles most."""
        found = await self.store.aside(self._compared, request, key)
        return found or await self._compared_in_worker(request, key)

    def _compared(self, request: Request, key: Key) -> Miss | None:
        """Return None if a body is too long to be compared in this process."""
        neighbours = self._neighbours(request)
        if any(is_heavy(body_of(one)) for one in (request, *(neighbour.request for neighbour in neighbours))):
            return None
        return self._miss(request, key, closest(self._matcher, request, neighbours)[0])

    async def _compared_in_worker(self, request: Request, key: Key) -> Miss:
        neighbours = await self.store.aside(self._neighbours, request)
        found, number = await self._worker.run(closest, self._matcher, request, neighbours)
        if found is not None:
            found = replace(found, neighbour=neighbours[number])
        return await self.store.aside(self._miss, request, key, found)

    def _neighbours(self, request: Request) -> list[Neighbour]:
        near = self.store.near(request.method, request.path, sketch_of(self._matcher, request), NEIGHBOURS)
        return list(near[: most_compared(request)])

    def _miss(self, request: Request, key: Key, found: Nearest | None) -> Miss:
        every, here = self.store.count_of_endpoint(request.method, request.path)
        cut = self.store.count_cut(request.method, request.path)
        code = "no_match" if found else "nothing_close"
        return Miss(code, request, key, nearest=found, every=every, here=here, cut=cut)

    @property
    def store(self) -> RecordingStore:
        """The recordings."""
        assert self._store is not None, "no mode that decides Refuse is without a store"
        return self._store
