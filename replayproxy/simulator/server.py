"""What a server says of itself: `/health`, `/ready`, `/ping`, `/load`, `/version`, `/sleep`, `/wake_up`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from replayproxy.simulator.routes import ApiError, Call, Routes, json_response, whole_response

if TYPE_CHECKING:
    from replayproxy.model import Response
    from replayproxy.simulator.context import Context
    from replayproxy.simulator.engine import Engine

VERSION = "0.32.0"
"""The vLLM whose answers these are."""


class SleepState:
    """Whether the server sleeps, and who wants to know. A sleeping server still answers, as llm-d-inference-sim."""

    def __init__(self) -> None:
        self.level = 0
        """0: awake. 1: weights are elsewhere. 2: weights are gone."""
        self.followers: list[Callable[[int], None]] = []
        """Called with each new level: a KV cache is empty after it."""

    def set(self, level: int) -> None:
        """Sleep at this level, or wake up with 0."""
        self.level = level
        for follower in self.followers:
            follower(level)


def register(routes: Routes, context: Context, engine: Engine) -> None:
    """Add the endpoints."""
    sleeping = context.sleep_state

    def empty(_: Call) -> Response:
        return whole_response(b"")

    def load(_: Call) -> Response:
        return json_response({"server_load": len(engine.running) + len(engine.waiting)})

    def version(_: Call) -> Response:
        return json_response({"version": VERSION})

    def sleep(call: Call) -> Response:
        level = (call.query("level") or ["1"])[0]
        if level not in ("1", "2"):
            raise ApiError(400, f"level={level} is not a sleep level: give 1 or 2", param="level")
        sleeping.set(int(level))
        return json_response({"status": "sleeping", "level": sleeping.level})

    def wake_up(call: Call) -> Response:
        tags = call.query("tags") or None
        sleeping.set(0)
        return json_response({"status": "awake", "tags": tags})

    def is_sleeping(_: Call) -> Response:
        return json_response({"is_sleeping": sleeping.level > 0})

    for path in ("/health", "/ready", "/health/ready"):
        routes.add("GET", path, empty)
    for method in ("GET", "POST"):
        routes.add(method, "/ping", empty)
    routes.add("GET", "/load", load)
    routes.add("GET", "/version", version)
    routes.add("POST", "/sleep", sleep)
    routes.add("POST", "/wake_up", wake_up)
    routes.add("GET", "/is_sleeping", is_sleeping)
