"""The application of the admin port. Knows the proxy only through the functions of `Shown`.

Only a POST changes something, and a POST from a web page of another origin is refused, because a browser on this
machine may have any page open. Nothing here changes a recording.

DNS rebinding: a page can make its own host name resolve to this port, and then it has the same origin; but the browser
still sends that name as `Host`. So requests that show or change traffic are answered only if `Host` is an IP address or
an allowed name. An address cannot be rebound. Probes and metrics show no traffic, and are answered under any name: a
kubelet, Prometheus or a load balancer uses its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from quart import Quart, Response, request
from werkzeug.exceptions import HTTPException

from replayproxy.admin.hosts import is_foreign, is_welcome
from replayproxy.errors import ReplayProxyError, where_raised

log = logging.getLogger("replayproxy.admin")


@dataclass(frozen=True, slots=True)
class Replayed:
    """The result of a run as JSON; `report` in parts, because it is as long as the cassette.

    `reset` takes a scope, or None for all, and whether to forget what was counted.
    """

    report: Callable[[], Awaitable[list[bytes]]]
    misses: Callable[[], Awaitable[list[dict[str, Any]]]]
    miss: Callable[[str], dict[str, Any] | None]
    reset: Callable[[str | None, bool], None]


Rotate = Callable[[], Awaitable[tuple[str, str]]]
"""Continues the recording in a new cassette; returns the sealed one and the new one. Raises `ReplayProxyError`."""


@dataclass(frozen=True, slots=True)
class Changeable:
    """A simulated server, as JSON: what can be changed of it, and its change, which raises `ReplayProxyError`."""

    document: Callable[[], dict[str, Any]]
    change: Callable[[Any], dict[str, Any]]


Answer = tuple[dict[str, Any], int]


@dataclass(frozen=True, slots=True)
class Shown:
    """What the admin port shows. `ready` returns the reasons why the proxy is not ready; empty means ready."""

    ready: Callable[[], list[str]]
    degraded: Callable[[], str | None]
    registry: CollectorRegistry
    replay: Replayed | None = None
    """Only if recordings are played."""
    rotate: Rotate | None = None
    """Only in the mode `record`."""
    simulation: Changeable | None = None
    """Only in the mode `simulate`."""
    keep: Callable[[str], tuple[str, float]] | None = None
    """Only with a window: makes a cassette of it; returns its name and the seconds until it is there."""


PROBES = frozenset({"/health", "/ready", "/metrics"})
"""Answered under any name."""


def application(shown: Shown, hosts: frozenset[str]) -> Quart:
    """Return the application. `hosts` are the names, in lower case, that `Host` may have."""
    app = Quart(__name__, static_folder=None)

    @app.before_request
    async def refuse_foreign_hosts() -> Answer | None:
        if request.method in ("GET", "HEAD") and request.path in PROBES:
            return None
        if not is_welcome(request.host or "", hosts):
            return {
                "error": "the admin port may not be called by the name in the Host field: use its address, or start the"
                " proxy with --admin-allowed-host NAME"
            }, 403
        if request.method == "POST" and is_foreign(request.headers.get("Origin"), request.host or ""):
            return {"error": "a page of another origin may change nothing here: ask without an Origin"}, 403
        return None

    @app.errorhandler(HTTPException)
    async def refuse(error: HTTPException) -> Answer:
        return {"error": f"{error.code} {error.name}"}, error.code or 500

    @app.errorhandler(Exception)  # Quart's own handler logs the path and the message
    async def fail(error: Exception) -> Answer:
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
        if trouble is not None:  # traffic is still answered: ready, but an operator should look
            return {"status": "degraded", "reasons": [trouble]}, 200
        return {"status": "ready", "reasons": []}, 200

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(shown.registry), content_type=CONTENT_TYPE_LATEST)

    @app.get("/")
    async def start() -> Response:
        return Response("", 303, headers={"Location": "/inspector/"})

    if shown.replay is not None:
        _show_replay(app, shown.replay)
    if shown.rotate is not None:
        _offer_rotation(app, shown.rotate)
    if shown.simulation is not None:
        _offer_simulation(app, shown.simulation)
    if shown.keep is not None:
        _offer_keeping(app, shown.keep)
    return app


def _offer_simulation(app: Quart, simulation: Changeable) -> None:
    @app.get("/simulation")
    async def simulated() -> Answer:
        return simulation.document(), 200

    @app.post("/simulation")
    async def change() -> Answer:
        try:
            return simulation.change(await request.get_json(force=True, silent=True)), 200
        except ReplayProxyError as error:
            return {"error": str(error)}, 400


def _offer_rotation(app: Quart, turn: Rotate) -> None:
    @app.post("/rotate")
    async def rotate() -> Answer:
        try:
            old, new = await turn()
        except ReplayProxyError as error:
            return {"error": str(error)}, 409
        return {"sealed": old, "recording": new}, 200


def _offer_keeping(app: Quart, keep_window: Callable[[str], tuple[str, float]]) -> None:
    @app.post("/keep")
    async def keep() -> Answer:
        path, seconds = keep_window(request.args.get("reason", "ctl keep")[:200])
        return {"cassette": path, "complete_in_s": seconds}, 202


def _show_replay(app: Quart, replay: Replayed) -> None:
    """Add the pages of a replay: its report, its misses, and its reset."""

    @app.get("/report")
    async def report() -> Response:
        async def sent() -> AsyncIterator[bytes]:
            for part in parts:
                yield part
                await asyncio.sleep(0)

        parts = await replay.report()
        return Response(sent(), content_type="application/json")

    @app.get("/misses")
    async def misses() -> Answer:
        return {"misses": await replay.misses()}, 200

    @app.get("/misses/<name>")
    async def miss(name: str) -> Answer:
        if (found := replay.miss(name)) is not None:
            return found, 200
        return {"error": "there is no such miss: /misses has those that are remembered"}, 404

    @app.post("/reset")
    async def reset() -> Answer:
        scope, counts = request.args.get("scope"), request.args.get("report") == "1"
        replay.reset(scope, counts)
        return {"reset": "all scopes" if scope is None else "scope", "scope": scope, "report": counts}, 200
