"""Ask a server until it answers. Knows which answers mean that it serves: ours, vLLM's, any OpenAI-compatible one's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from replayproxy.errors import UpstreamError
from replayproxy.model import Request, Response
from replayproxy.net.ear import Ear
from replayproxy.net.upstream import HttpUpstream
from replayproxy.ports import Clock

PAUSE = 200_000_000
"""Nanoseconds between two attempts."""

PATIENCE = 5.0
"""Seconds for one answer: a server that is still loading its model may take a connection and say nothing."""


async def ask(url: str, request: Request, clock: Clock, *, patience: float = PATIENCE) -> Response:
    """One request, its answer whole. Raises `UpstreamError`."""
    upstream = HttpUpstream(url, clock, first_byte=patience, stall=patience)
    ear = Ear()
    try:
        await upstream.play(request, ear)
    finally:
        upstream.close()
    return ear.heard


async def answering(url: str, clock: Clock, deadline: int) -> str | None:
    """Wait until a server serves at `url`. None when it does; at the deadline, what was seen last."""
    while True:
        try:
            async with asyncio.timeout(max(0.05, (deadline - clock.now()) / 1e9)):
                seen = await _look(url, clock)
        except UpstreamError as error:
            seen = str(error).partition(": ")[0]
        except TimeoutError:
            seen = "a connection, and no answer"
        if seen is None or clock.now() >= deadline:
            return seen
        await clock.sleep_until(min(deadline, clock.now() + PAUSE))


async def _look(url: str, clock: Clock) -> str | None:
    """None where it serves; else what was seen."""
    seen: Sequence[str] = ()
    for path in ("/health", "/v1/models"):
        status = (await ask(url, Request("GET", path, (("Accept", "*/*"),)), clock)).status
        if 200 <= status < 300 or status in (401, 403):  # who asks for a key is there
            return None
        seen = (*seen, f"{status} for {path}")
        if status != 404:
            break
    return " and ".join(seen)
