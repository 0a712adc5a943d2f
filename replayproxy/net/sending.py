"""Send a request whose body is still arriving, and read that body to its end whatever the server does.

A server may answer before it has read the body (401, 413) and close. The client then gets its answer at once, and what
it still sends is read up to a bound: a recording needs the whole request for its key, and a client that is cut while it
sends may never see the answer (RFC 9112 section 9.6). Nothing of it reaches the server any more.
"""

from __future__ import annotations

import asyncio
import logging

from replayproxy.core import headers
from replayproxy.errors import ClientError, ReplayProxyError
from replayproxy.model import Request
from replayproxy.net.framing import Framing, framing_of_request
from replayproxy.net.upstream_connection import UpstreamConnection
from replayproxy.ports import Clock, Upload

log = logging.getLogger("replayproxy.upstream")

CONTINUE_PATIENCE = 1.0
"""Seconds a server is waited for that is asked for `100 Continue` (RFC 9110 section 10.1.1 names no number)."""

REST = 16 * 1024 * 1024
"""Bytes that are read of a client's body after the answer is over."""

REST_PATIENCE = 5.0
"""Seconds without a byte of that rest after which the client has stopped sending."""


class Sending:
    """One upload on its way to one connection. `start` it, then `read_rest` when the answer is over; always `stop` it.

    `begun`: a first piece was asked for, so the client may have sent it. `whole`: the body has ended.
    """

    def __init__(self, wire: UpstreamConnection, request: Request, upload: Upload, clock: Clock) -> None:
        self._wire = wire
        self._request = request
        self._upload = upload
        self._clock = clock
        self._size = 0
        self._left: int | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopped = False
        self.begun = False
        self.whole = False

    def __repr__(self) -> str:
        how = "whole" if self.whole else "begun" if self.begun else "not begun"
        return f"<Sending {self._size} bytes, {how}, to {self._wire!r}>"

    def start(self) -> None:
        """Begin to send."""
        self._task = asyncio.create_task(self._send())
        self._task.add_done_callback(self._ended)

    async def read_rest(self) -> None:
        """Read what the client still sends, up to `REST` bytes. It has its answer already; the server gets nothing."""
        if self._task is None or self._task.done() or not self.begun:
            return
        self._left = REST
        while not self._task.done():
            before = self._size
            await asyncio.wait((self._task,), timeout=REST_PATIENCE)
            if self._size == before:
                return

    async def stop(self) -> None:
        """End the sending where it is."""
        self._stopped = True
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait((self._task,))

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Whatever ends the body before its end also ends the connection: the server must not take it for whole."""
        if task.cancelled():
            if not self._stopped:
                self._wire.abandon(ClientError("the client left while it sent its request", code="client_left"))
            return
        error = task.exception()
        if isinstance(error, ReplayProxyError):
            self._wire.abandon(error)  # the client's body is malformed, or too slow
        elif error is not None:
            log.error("the body of a request could not be read: please report this", exc_info=error)
            self._wire.abandon(ReplayProxyError("the proxy failed inside: its log says how; please report it"))

    async def _send(self) -> None:
        """Pass the body on as it comes, no faster than the server takes it."""
        wire = self._wire
        if headers.get(self._request.headers, "expect") is not None:
            await wire.go_ahead(CONTINUE_PATIENCE)
            if wire.answered:
                return  # a final status instead of 100: the client keeps its body, and the request is never sent whole
        framing, length = framing_of_request(self._request, uploading=True)
        chunked = framing is Framing.CHUNKED
        self.begun = True
        async for piece in self._upload:
            if not piece:
                continue  # as a chunk it would be the last one
            self._size += len(piece)
            wire.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            await wire.writable()
            if self._left is not None:
                self._left -= len(piece)
                if self._left < 0:
                    return
        if not chunked and self._size != length:
            raise ClientError(f"the request ended after {self._size} of {length} bytes", code="incomplete_body")
        self.whole = True
        if chunked:
            wire.write(b"0\r\n\r\n")
        wire.sent()
        wire.start_clock_at(self._clock.now())
