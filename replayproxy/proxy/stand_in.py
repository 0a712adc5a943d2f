"""Answer for the recorded server where no recording does: probes, models, CORS preflights.

Reads facts about the server from the cassettes, and the origins whose pages may read the recordings. The answers are
written by `server_answers`; when they are given is decided by `core.policy`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import reduce
from operator import or_

from replayproxy.core.cors import NO_ORIGINS, AllowedOrigins, is_preflight, origin_of, requested_method
from replayproxy.core.policy import PROBES
from replayproxy.core.server_facts import ServerFacts, describes_models
from replayproxy.errors import CassetteError
from replayproxy.model import Headers, Key, Request, Response
from replayproxy.ports import RecordingStore
from replayproxy.proxy.server_answers import METRICS, metrics_answer, preflight_answer, server_answer

LOOKED_AT = 64
"""Recordings that are read once for the origins that they allow: 0.2 ms each."""


class StandIn:
    """Answers for the server of these recordings. Without a store nothing is known about the server."""

    def __init__(
        self,
        store: RecordingStore | None = None,
        origins: AllowedOrigins = NO_ORIGINS,
        metrics: Callable[[], Awaitable[bytes | None]] | None = None,
    ) -> None:
        """`metrics` gives the page of metrics of the server; None where nothing is known of it."""
        self._store = store
        self._origins = origins
        self._has_looked = store is None
        self._metrics = metrics

    async def can_answer(self, key: Key, request: Request) -> bool:
        """Return whether the answer of the server follows from the recordings. Raises `CassetteError`."""
        store = self._store
        preflight = is_preflight(request)
        if store is None or not (preflight or describes_models(request)):
            return False
        if store.count(key) or store.count_broken(key):
            return False
        if not preflight or request.path in PROBES or describes_models(replace(request, method="GET")):
            return True
        _, here = await store.aside(store.count_of_endpoint, requested_method(request), request.path)
        return here > 0

    async def answer(self, request: Request) -> Response:
        """Return the answer to a probe, or to a request that `can_answer` accepts. Raises `CassetteError`."""
        if is_preflight(request):
            await self._look()
            return preflight_answer(request, self._origins)
        if request.path == METRICS and request.method in ("GET", "HEAD") and self._metrics is not None:
            page = await self._metrics()
            if page is not None:
                return await self.readable(metrics_answer(request, page), request)
        facts = ServerFacts()
        if self._store is not None:
            metas, models = await self._store.aside(self._store.about_servers)
            facts = reduce(or_, map(ServerFacts.of_meta, metas), facts).with_models(models)
        return await self.readable(server_answer(request, facts), request)

    async def readable(self, response: Response, request: Request) -> Response:
        """Return an answer of the proxy with the CORS fields by which the requesting page may read it."""
        fields = await self.page_fields(request)
        return replace(response, headers=response.headers + fields) if fields else response

    def let_read(self, response: Response, request: Request) -> Response:
        """Return a recorded answer, with the CORS fields of `--cors` if it has none of its own."""
        lines = self._origins.added_to(response.headers, origin_of(request))
        return response if lines is response.headers else replace(response, headers=lines)

    async def page_fields(self, request: Request) -> Headers:
        """Return the CORS fields by which the requesting page may read an answer of the proxy."""
        origin = origin_of(request)
        if origin is None:
            return ()
        await self._look()
        return self._origins.fields(origin)

    async def _look(self) -> None:
        """Read once which origins the recordings allow. At a damaged recording this ends; playing it says so."""
        if self._has_looked or self._store is None:
            return
        self._has_looked = True
        answers: list[Headers] = []
        try:
            for place in await self._store.aside(self._store.some, LOOKED_AT):
                answers.append((await self._store.read(place)).headers)  # noqa: PERF401  those before a damaged one count
        except CassetteError:
            pass
        self._origins = self._origins.having(answers)
