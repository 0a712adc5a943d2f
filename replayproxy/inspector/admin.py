"""The admin application and how it is served. Knows the proxy only through what it is given to show."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from quart import Quart, Response, request


@dataclass(frozen=True, slots=True)
class Shown:
    """What there is to show. `ready` gives the reasons why not; none means ready."""

    ready: Callable[[], list[str]]
    degraded: Callable[[], str | None]
    registry: CollectorRegistry


def application(shown: Shown, hosts: frozenset[str]) -> Quart:
    """The admin port's pages. `hosts` are the names it may be called by: another one is DNS rebinding."""
    app = Quart(__name__, static_folder=None)

    @app.before_request
    async def refuse_strangers() -> tuple[dict[str, str], int] | None:
        name = (request.host or "").rpartition(":")[0] or request.host
        if name not in hosts:
            return {"error": f"the admin port is not called {name!r}: use one of {', '.join(sorted(hosts))}"}, 403
        return None

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

    return app


async def serve_admin(app: Quart, socket: int, stopped: asyncio.Event) -> None:
    """Serve on a bound socket, given by its file descriptor, until `stopped`; then it is closed."""
    config = Config()
    config.bind = [f"fd://{socket}"]
    config.accesslog = None
    config.errorlog = None
    config.graceful_timeout = 0.2

    async def wait() -> None:
        await stopped.wait()

    await serve(app, config, shutdown_trigger=wait)
