"""The client's socket as a listener.

Writes the answer's bytes itself, in the call that brings them: head, frames, last-chunk. The HTTP server around it
parses requests and keeps connections; of the answer it is only told how it ended.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from functools import lru_cache
from http import HTTPStatus

from aiohttp import web

from replayproxy.core import headers
from replayproxy.core.openai import error_body
from replayproxy.errors import ClientError, ReplayProxyError
from replayproxy.model import Chunk, End, Ending, Head, Headers, Leg, Response

BUFFERED = 256 * 1024
"""Bytes that may wait for a slow client before the upstream is paused: more than a chat of a thousand tokens."""

WRITE_PATIENCE = 60.0
"""Seconds a client may take nothing at all before it counts as gone."""

_REASONS = {status.value: status.phrase for status in HTTPStatus}


class Client:
    """A `Listener`: one request's client."""

    def __init__(self, request: web.BaseRequest, transport: asyncio.Transport) -> None:
        self._request = request
        self._transport = transport
        self._held: list[bytes] = []
        self._framing = "none"
        self.begun = False
        self.whole = False
        self.keeps = request.keep_alive
        """Whether the connection may carry another request after this answer."""

    @property
    def congested(self) -> bool:
        """The client takes less than it is sent."""
        return self._transport.get_write_buffer_size() > BUFFERED

    async def ready(self) -> None:
        """Wait until the client has taken most of it; a client that takes nothing for a minute is gone."""
        protocol = self._request.protocol
        try:
            async with asyncio.timeout(WRITE_PATIENCE):
                while self.congested:
                    await protocol._drain_helper()  # what aiohttp's own writer awaits; it has no public name
                    if self.congested:
                        await asyncio.sleep(0.01)
        except TimeoutError:
            self._transport.abort()

    async def head(self, head: Head) -> None:
        """Status line and field lines, sent with the first chunk if that is there already."""
        request = self._request
        if request.method == "HEAD" or head.status in (204, 304):
            self._framing = "none"
        elif headers.get(head.headers, "content-length") is not None:
            self._framing = "length"
        else:
            self._framing = "chunked" if request.version >= (1, 1) else "close"
        self.begun = True
        self._hold(_spelled(head.status, head.headers, self._framing, keep=self.keeps))

    def chunk(self, chunk: Chunk) -> None:
        """One write, in this turn."""
        data = chunk.data
        if self._framing == "chunked":
            if not data:
                return
            data = b"%x\r\n%b\r\n" % (len(data), data)
        elif self._framing == "none":
            return
        if self._held:
            self._held.append(data)
            self._flush()
        elif not self._transport.is_closing():
            self._transport.write(data)

    def burst(self, response: Response) -> None:
        """All chunks in one write, their boundaries kept."""
        if self._framing == "chunked":
            self._hold(response.framed)
        elif self._framing != "none":
            self._hold(response.body)

    def leg(self, leg: Leg) -> None:
        """A client sees one answer, however many servers it took."""

    async def end(self, end: End) -> None:
        """The last-chunk after a whole answer; after a broken one the connection ends without."""
        if end.ending is not Ending.COMPLETE:
            await self.break_off()
            return
        if self._framing == "chunked":
            self._held.append(b"0\r\n\r\n")
        self._flush()
        self.whole = True
        while self.congested and not self._transport.is_closing():
            await self.ready()

    async def break_off(self) -> None:
        """An unclean end: the bytes so far, and nothing that looks like an end."""
        self._flush()
        if self._framing == "close":
            # Without framing only a reset tells that something is missing; it must not overtake the bytes.
            await self.ready()
            if (raw := self._transport.get_extra_info("socket")) is not None:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()
        else:
            self._transport.close()

    async def refuse(self, error: ReplayProxyError) -> None:
        """An error of our own making, if nothing was sent yet; else an unclean end."""
        if self.begun:
            await self.break_off()
            return
        if isinstance(error, ClientError):
            self.keeps = False  # what else this client sends on this connection is not to be trusted
        body = error_body(str(error), type="proxy_error", code=error.code)
        fields = (
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("X-Replayproxy-Error", error.code),
        )
        await self.head(Head(0, error.status, fields))
        if self._framing != "none":
            self._hold(body)
        await self.end(End(0, Ending.COMPLETE))

    def _hold(self, data: bytes) -> None:
        """Send with what comes in this turn, or at its end."""
        if not self._held:
            asyncio.get_running_loop().call_soon(self._flush)
        self._held.append(data)

    def _flush(self) -> None:
        if self._held and not self._transport.is_closing():
            self._transport.write(b"".join(self._held))
        self._held.clear()


class Played(web.StreamResponse):
    """What the HTTP server gets instead of a response: everything has been written already."""

    def __init__(self, *, keeps: bool) -> None:
        super().__init__(status=200)
        self._keeps = keeps

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection may carry another request."""
        return self._keeps

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing to prepare."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing to write."""


_KEPT, _CLOSED = Played(keeps=True), Played(keeps=False)


def played(client: Client) -> Played:
    """One of the two there are: to make one for each answer would cost a twentieth of a replay."""
    return _KEPT if client.keeps and client.whole else _CLOSED


@lru_cache(maxsize=256)
def _spelled(status: int, fields: Headers, framing: str, *, keep: bool) -> bytes:
    """The head on the wire (RFC 9112 §4)."""
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, '')}"]
    lines += [f"{name}: {value}" for name, value in fields]
    if framing == "chunked":
        lines.append("Transfer-Encoding: chunked")
    if framing == "close" or not keep:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
