"""The admin application and how it is served. Knows the proxy only through what it is given to show.

What changes something is a POST, and none that a page of another origin sends: a browser on this machine may have any
page open. Nothing here touches a recording.

By DNS rebinding such a page makes its own name lead to this port, and then it is of the same origin; but the browser
still sends that name as `Host`. So what shows or changes traffic is answered under an address or a known name alone. An
address cannot be rebound: a browser sends it only to itself. Probes and metrics show no traffic; whoever calls them
(kubelet, Prometheus, a load balancer) uses whatever name it has.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from quart import Quart, Response, request
from werkzeug.exceptions import HTTPException

from replayproxy.errors import ReplayProxyError, where_raised

log = logging.getLogger("replayproxy.admin")


@dataclass(frozen=True, slots=True)
class Replayed:
    """A run, as JSON has it; `report` in parts, because it is as long as the cassette.

    `reset` takes a scope, or None for all, and whether to forget what was counted.
    """

    report: Callable[[], Awaitable[list[bytes]]]
    misses: Callable[[], Awaitable[list[dict[str, Any]]]]
    miss: Callable[[str], dict[str, Any] | None]
    reset: Callable[[str | None, bool], None]


Rotate = Callable[[], Awaitable[tuple[str, str]]]
"""Goes on recording onto a new cassette; gives the sealed one and the new one. Raises `ReplayProxyError`."""

Said = tuple[dict[str, Any], int]


@dataclass(frozen=True, slots=True)
class Shown:
    """What there is to show. `ready` gives the reasons why not; none means ready."""

    ready: Callable[[], list[str]]
    degraded: Callable[[], str | None]
    registry: CollectorRegistry
    replay: Replayed | None = None
    """Where recordings are played."""
    rotate: Rotate | None = None
    """Where is nothing but recording."""


PROBES = frozenset({"/health", "/ready", "/metrics"})
"""Answered under any name."""


def application(shown: Shown, hosts: frozenset[str]) -> Quart:
    """The admin port's pages. `hosts` are the names, lower case, by which it may be called."""
    app = Quart(__name__, static_folder=None)

    @app.before_request
    async def refuse_strangers() -> Said | None:
        if request.method in ("GET", "HEAD") and request.path in PROBES:
            return None
        name = called(request.host or "")
        if not (is_address(name) or name in hosts):
            return {
                "error": "the admin port may not be called by the name in the Host field: use its address, or start the"
                " proxy with --admin-allowed-host NAME"
            }, 403
        origin = request.headers.get("Origin")
        if request.method == "POST" and origin is not None and urlsplit(origin).netloc != request.host:
            return {"error": "a page of another origin may change nothing here: ask without an Origin"}, 403
        return None

    @app.errorhandler(HTTPException)
    async def refuse(error: HTTPException) -> Said:
        return {"error": f"{error.code} {error.name}"}, error.code or 500

    @app.errorhandler(Exception)  # quart's own handler logs the path and the words of the exception
    async def fail(error: Exception) -> Said:
        log.error("the admin port failed inside: please report this\n%s", where_raised(error))
        return {"error": "the proxy failed inside: its log says where; please report it"}, 500

    @app.get("/health")
    async def health() -> tuple[dict[str, str], int]:
        return {"status": "ok"}, 200

    @app.get("/ready")
    async def ready() -> tuple[dict[str, Any], int]:
        reasons, trouble = shown.ready(), shown.degraded()
        if reasons:
            return {"status": "not ready", "reasons": reasons}, 503
        if trouble is not None:  # traffic flows on: still ready, but somebody should look
            return {"status": "degraded", "reasons": [trouble]}, 200
        return {"status": "ready", "reasons": []}, 200

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(shown.registry), content_type=CONTENT_TYPE_LATEST)

    if shown.replay is not None:
        _show_replay(app, shown.replay)
    if shown.rotate is not None:
        _offer_rotation(app, shown.rotate)
    return app


def called(host: str) -> str:
    """The name in a `Host` field: without the port, in lower case, without the dot that ends a full name."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower().removesuffix(".")


def is_address(name: str) -> bool:
    """Whether it is an IP address as a browser writes it."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _offer_rotation(app: Quart, turn: Rotate) -> None:
    @app.post("/rotate")
    async def rotate() -> Said:
        try:
            old, new = await turn()
        except ReplayProxyError as error:
            return {"error": str(error)}, 409
        return {"sealed": old, "recording": new}, 200


def _show_replay(app: Quart, replay: Replayed) -> None:
    """What there is to know of a run, and the way back to its start."""

    @app.get("/report")
    async def report() -> Response:
        async def sent() -> AsyncIterator[bytes]:
            for part in parts:
                yield part
                await asyncio.sleep(0)

        parts = await replay.report()
        return Response(sent(), content_type="application/json")

    @app.get("/misses")
    async def misses() -> Said:
        return {"misses": await replay.misses()}, 200

    @app.get("/misses/<name>")
    async def miss(name: str) -> Said:
        if (found := replay.miss(name)) is not None:
            return found, 200
        return {"error": "there is no such miss: /misses has those that are remembered"}, 404

    @app.post("/reset")
    async def reset() -> Said:
        scope, counts = request.args.get("scope"), request.args.get("report") == "1"
        replay.reset(scope, counts)
        return {"reset": "all scopes" if scope is None else "scope", "scope": scope, "report": counts}, 200
