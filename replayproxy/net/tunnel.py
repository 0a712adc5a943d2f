"""Client and server as one raw connection, for what is not recorded: WebSocket (RFC 9110 7.8).

The server is asked first. While it has not switched, what the client sends early waits in its `HttpConnection`, which
stops reading at a bound. A server that does not switch gives an ordinary answer; the early bytes are then dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from replayproxy.model import Request
from replayproxy.net.framing import switching_head
from replayproxy.net.upstream import HttpUpstream
from replayproxy.ports import Listener

Detach = Callable[[], tuple[asyncio.Transport, bytes]]
"""Takes a client's connection from HTTP: its transport, and what the client has sent behind its request."""

FLUSH = 10.0
"""Seconds for which the server may take what its client sent before it left."""


class End(asyncio.Protocol):
    """One end of a tunnel: passes what it receives to the other end, as fast as that takes it."""

    def __init__(self, lost: Callable[[Exception | None], None]) -> None:
        self.other: asyncio.Transport | None = None
        self._lost = lost

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            self.other.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost(exc)

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and not self.other.is_closing():
            self.other.resume_reading()


async def tunnel(upstream: HttpUpstream, request: Request, listener: Listener, detach: Detach) -> None:
    """Let client and server exchange bytes until one of them hangs up; or play the answer of a server that refuses.

    Raises `UpstreamError` where there is neither a switch nor an answer.
    """
    wire = await upstream.upgrade(request, listener)
    if wire is None:
        return
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    client, early = detach()
    http = client.get_protocol()

    def client_left(exc: Exception | None) -> None:
        if server is not None:
            server.close()  # after what the client sent last, a Close frame for example
            loop.call_later(FLUSH, server.abort)
        if not over.done():
            over.set_result(None)
        http.connection_lost(exc)

    near, far = End(client_left), End(lambda _: client.close())
    head = await wire.head()
    server, behind = wire.take_over(far)
    near.other, far.other = server, client
    client.set_protocol(near)
    client.write(switching_head(head.headers) + behind)
    if server is None:
        client.close()
    else:
        server.write(early)
        server.resume_reading()
    client.resume_reading()
    await over
