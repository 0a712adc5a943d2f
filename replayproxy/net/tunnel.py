"""Two raw connections as one, for what we do not record: WebSocket and other upgrades (RFC 9110 §7.8)."""

from __future__ import annotations

import asyncio
from typing import cast

from replayproxy.model import Request
from replayproxy.net.upstream import HttpUpstream


class Far(asyncio.Protocol):
    """The server's end: passes everything to the client."""

    def __init__(self, client: asyncio.Transport) -> None:
        self.client = client
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.client.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.client.close()

    def pause_writing(self) -> None:
        self.client.pause_reading()

    def resume_writing(self) -> None:
        if not self.client.is_closing():
            self.client.resume_reading()


class Near(asyncio.Protocol):
    """The client's end, in place of the HTTP server's protocol, which still hears that the connection is lost."""

    def __init__(self, server: asyncio.BaseProtocol, far: Far) -> None:
        self._server = server
        self._far = far
        self.lost = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        if self._far.transport is not None:
            self._far.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._far.transport is not None:
            self._far.transport.abort()
        if not self.lost.done():
            self.lost.set_result(None)
        self._server.connection_lost(exc)

    def pause_writing(self) -> None:
        if self._far.transport is not None:
            self._far.transport.pause_reading()

    def resume_writing(self) -> None:
        if self._far.transport is not None and not self._far.transport.is_closing():
            self._far.transport.resume_reading()


async def tunnel(request: Request, client: asyncio.Transport, upstream: HttpUpstream, rest: bytes) -> None:
    """Let client and server speak to each other until one of them hangs up. Raises `UpstreamError` before that.

    `rest` is what the client had sent behind its request.
    """
    client.pause_reading()
    far = Far(client)
    head = await upstream.upgrade(request, far)
    near = Near(client.get_protocol(), far)
    client.set_protocol(near)
    near.data_received(head + rest)
    client.resume_reading()
    await near.lost
