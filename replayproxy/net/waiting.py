"""Ask a server until it answers. Knows which answers mean that it serves: ours, vLLM's, any OpenAI-compatible one's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from replayproxy.errors import UpstreamError, UpstreamGarbled, UpstreamTimeout, UpstreamUnreachable
from replayproxy.model import Chunk, End, Ending, Head, Request, Response
from replayproxy.net.upstream import CONNECT_PATIENCE, Address
from replayproxy.ports import Clock

PAUSE = 200_000_000
"""Nanoseconds between two attempts."""

SHORT_LOOK = 1.0
"""Seconds: an attempt that the deadline ends sooner has seen less than the one before it."""

PATIENCE = 5.0
"""Seconds for one answer: a server that is still loading its model may take a connection and say nothing."""


async def ask(url: str, request: Request, clock: Clock, *, patience: float = PATIENCE) -> Response:
    """One request, its answer whole, as this process's own: no proxy, no redirect, no cookie. Raises `UpstreamError`.

    `patience` is in seconds, for each read. Raises `SettingsError` where `url` is not a server's.
    """
    import aiohttp  # takes 0.2 s, and only commands that ask need it
    from yarl import URL

    address = Address.of(url)
    target = f"{'https' if address.tls else 'http'}://{address.authority}{address.prefix}{request.target}"
    started = clock.now()
    try:
        async with (
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_PATIENCE, sock_read=patience),
                cookie_jar=aiohttp.DummyCookieJar(),
            ) as session,
            session.request(
                request.method,
                URL(target, encoded=True),
                headers=request.headers,
                data=request.body or None,
                allow_redirects=False,
            ) as got,
        ):
            head = Head(clock.now() - started, got.status, tuple(got.headers.items()))
            chunks, ending = [], Ending.COMPLETE
            try:
                chunks = [Chunk(clock.now() - started, await got.read())]
            except aiohttp.ClientPayloadError:
                ending = Ending.UPSTREAM_CUT
            return Response.of(head, chunks, End(clock.now() - started, ending))
    except aiohttp.ServerTimeoutError as error:
        raise UpstreamTimeout(f"{url} was silent for {patience:g} s: look at its log") from error
    except aiohttp.ClientConnectorError as error:
        why = os.strerror(error.errno) if error.errno else str(error.os_error)
        raise UpstreamUnreachable(f"nobody answers at {url} ({why}): start it, or give another URL") from error
    except aiohttp.ClientError as error:
        raise UpstreamGarbled(
            f"{url} closed the connection, or sent what is not HTTP: is it an HTTP server?"
        ) from error


async def answering(url: str, clock: Clock, deadline: int) -> str | None:
    """Wait until a server serves at `url`. None when it does; at the deadline, what was seen last."""
    seen: str | None = None
    while True:
        patience = max(0.05, (deadline - clock.now()) / 1e9)
        try:
            async with asyncio.timeout(patience):
                seen = await _look(url, clock)
        except UpstreamError as error:
            seen = str(error).partition(": ")[0]
        except TimeoutError:
            # The last look is often short, and on a busy machine too short to see that nobody listens.
            if seen is None or patience > SHORT_LOOK:
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
