"""The client's socket as a listener.

Writes the answer's bytes itself, in the call that brings them: head, frames, last-chunk. What a slow client has not
taken waits where it came from: at most `BUFFERED` bytes and one piece are handed to the socket ahead of it, and a long
recording is framed piece by piece as there is room.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from replayproxy.core import headers
from replayproxy.core.dialects.facts import error_body
from replayproxy.errors import ClientError, ReplayProxyError
from replayproxy.model import Chunk, End, Ending, Head, Headers, Leg, Response
from replayproxy.net.framing import Framing, answer_head, framing_of_answer

BUFFERED = 256 * 1024
"""Bytes that may wait for a slow client before the upstream is paused: more than a chat of a thousand tokens."""

PIECE = 64 * 1024
"""Bytes of a long recording that are framed and written at once."""

AT_ONCE = 2 * BUFFERED
"""Bytes of one chunk, which is what one read of a server's socket gave, that are written in the same turn."""

LOOK = 1.0
"""Seconds between two looks whether a client takes anything."""


class ResponseWriter:
    """A `Listener`: one request's client. `method` and `minor` (of HTTP/1.x) are the request's.

    `keep` says, when the head is sent, whether the connection may carry another request.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        *,
        method: str = "GET",
        minor: int = 1,
        keep: Callable[[], bool] = lambda: False,
        send_timeout: float = 60.0,
    ) -> None:
        self._transport = transport
        self._method = method
        self._minor = minor
        self._send_timeout = send_timeout
        self._held: list[bytes] = []
        self._waiting: deque[bytes | Iterator[bytes]] = deque()
        self._goes_on: asyncio.Handle | None = None
        """Writes the next piece of what waits, in the next turn of the loop."""
        self._written = 0
        self._room: asyncio.Future[None] | None = None
        self._framing = Framing.NONE
        self._is_chunked = False
        self._left = 0
        """With a Content-Length: bytes of the body that are missing."""
        self.begun = False
        self.whole = False
        self._status = 0
        self.timed_out = False
        self._keep = keep
        self.keeps = True
        """Whether the connection may carry another request after this answer; the head says so."""

    # Back pressure

    wants_whole = False

    @property
    def succeeded(self) -> bool:
        """Whether an answer was sent to its end that reports no error (status below 400)."""
        return self.whole and self._status < 400

    @property
    def congested(self) -> bool:
        """The client takes less than it is sent."""
        return bool(self._waiting) or self._transport.get_write_buffer_size() > BUFFERED

    async def ready(self) -> None:
        """Wait until the client has taken most of it; one that takes nothing at all for `send_timeout` is cut off."""
        silent, before = 0.0, -1
        while self.congested and not self._transport.is_closing():
            taken = self._written - self._transport.get_write_buffer_size()
            silent, before = (0.0 if taken != before else silent), taken
            if silent >= self._send_timeout:
                self.timed_out = True
                self._transport.abort()
                return
            self._room = asyncio.get_running_loop().create_future()
            look = min(LOOK, self._send_timeout)
            await asyncio.wait((self._room,), timeout=look)
            silent += 0.0 if self._room.done() else look

    def resume(self) -> None:
        """The socket takes more."""
        self._pump()
        if self._room is not None and not self._room.done() and not self._waiting:
            self._room.set_result(None)

    def _pump(self, at_once: int = PIECE) -> None:
        """Write what waits, as far as there is room: about so many bytes now, and more in the next turn of the loop.

        A kernel may take megabytes for a client that reads nothing. To copy 2.5 MB takes 4 ms, and where 200 such
        clients ask in the same turn everybody else would wait for 800 ms.
        """
        waiting, transport = self._waiting, self._transport
        until = self._written + at_once
        while waiting and transport.get_write_buffer_size() <= BUFFERED and not transport.is_closing():
            if self._written >= until:
                if self._goes_on is None:
                    self._goes_on = asyncio.get_running_loop().call_soon(self._go_on)
                return
            first = waiting[0]
            if isinstance(first, bytes):
                waiting.popleft()
                self._write(first)
            elif (piece := next(first, None)) is not None:
                self._write(piece)
            else:
                waiting.popleft()

    def _go_on(self) -> None:
        self._goes_on = None
        self.resume()

    # Hearing

    async def head(self, head: Head) -> None:
        """Status line and field lines, sent with the first chunk if that is there already. Raises `BadAnswer`."""
        fields = head.headers
        framing = framing_of_answer(self._method, head.status, fields, self._minor)
        # Where nothing else tells the client that the answer is over, the end of the connection does.
        self.keeps = self.keeps and framing is not Framing.CLOSE and self._keep()
        self._hold(answer_head(self._method, head.status, fields, keep=self.keeps, minor=self._minor))
        self._framing, self._status = framing, head.status
        self._is_chunked = framing is Framing.CHUNKED
        self._left = int(headers.get(fields, "content-length") or 0) if framing is Framing.LENGTH else 0
        self.begun = True

    def chunk(self, chunk: Chunk) -> None:
        """One write, in this turn."""
        _, data, _, frame = chunk
        if len(data) > PIECE:
            self._long(data, (len(data),), AT_ONCE)
            return
        if self._is_chunked:
            if not data:
                return
            data = frame or b"%x\r\n%b\r\n" % (len(data), data)
        elif self._framing is Framing.NONE:
            return
        elif self._framing is Framing.LENGTH:
            data = self._within_length(data)
        if self._waiting:
            self._waiting.append(data)
        elif self._held:
            self._held.append(data)
            self._flush()
        elif not self._transport.is_closing():  # as _write does, without another call for each event
            self._written += len(data)
            self._transport.write(data)

    def burst(self, response: Response) -> None:
        """All chunks in one write, their boundaries kept; of many bytes, as many as there is room for."""
        if len(response.body) > PIECE or self._waiting:
            self._long(response.body, response.http_chunks, PIECE)
        elif self._framing is Framing.CHUNKED:
            self._hold(response.framed)
        elif self._framing is Framing.LENGTH:
            self._hold(self._within_length(response.body))
        elif self._framing is Framing.CLOSE:
            self._hold(response.body)

    def _long(self, body: bytes, cuts: Sequence[int], at_once: int) -> None:
        self._flush()
        if self._framing is Framing.CHUNKED:
            self._waiting.append(framed(body, cuts))
        elif self._framing is Framing.LENGTH:
            self._waiting.append(sliced(self._within_length(body)))
        elif self._framing is Framing.CLOSE:
            self._waiting.append(sliced(body))
        self._pump(at_once)

    def _within_length(self, data: bytes) -> bytes:
        """No byte behind the announced length: a client would take it for the next answer."""
        self._left -= len(data)
        return data if self._left >= 0 else data[: self._left]

    def leg(self, leg: Leg) -> None:
        """A client sees one answer, however many servers it took."""

    async def end(self, end: End) -> None:
        """The last-chunk after a whole answer; after a broken one the connection ends without."""
        if end.ending is not Ending.COMPLETE or self._left:
            await self.break_off()
            return
        if self._framing is Framing.CHUNKED:
            if self._waiting:
                self._waiting.append(b"0\r\n\r\n")
            else:
                self._held.append(b"0\r\n\r\n")
        self._flush()
        self.whole = True
        while self.congested and not self._transport.is_closing():
            await self.ready()

    async def break_off(self) -> None:
        """An unclean end: the bytes so far, and nothing that looks like an end."""
        self._flush()
        self.keeps = False
        while self.congested and not self._transport.is_closing():
            await self.ready()
        self.cut()

    def cut(self) -> None:
        """Close the connection now, in such a way that what is missing of the answer is seen to be missing."""
        self._flush()
        if self._framing is Framing.CLOSE and self.begun and not self.whole:
            self._reset_now()  # without framing only a reset tells that something is missing
        else:
            self._transport.close()

    async def reset(self) -> None:
        """Send what was given so far, then end the connection by a TCP reset (RST)."""
        self._flush()
        self.keeps = False
        while self.congested and not self._transport.is_closing():
            await self.ready()
        # A reset discards what the kernel has not been given yet: all of it goes first. `resume` tells when it is gone.
        self._transport.set_write_buffer_limits(high=0)
        while self._transport.get_write_buffer_size() and not self._transport.is_closing():
            self._room = asyncio.get_running_loop().create_future()
            await asyncio.wait((self._room,), timeout=self._send_timeout)
            if not self._room.done():
                break
        self._reset_now()

    def _reset_now(self) -> None:
        if (raw := self._transport.get_extra_info("socket")) is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    async def refuse(self, error: ReplayProxyError, more: Headers = ()) -> None:
        """An error of our own making, with `more` fields, if nothing was sent yet; else an unclean end."""
        if self.begun:
            await self.break_off()
            return
        if isinstance(error, ClientError):
            self.keeps = False  # what else this client sends on this connection is not to be trusted
        fields, body = error_answer(error)
        await self.head(Head(0, error.status, fields + more))
        self.chunk(Chunk(0, body))
        if self._framing is Framing.NONE:
            self._left = 0
        await self.end(End(0, Ending.COMPLETE))

    # Writing

    def _hold(self, data: bytes) -> None:
        """Send with what comes in this turn, or at its end."""
        if not self._held:
            asyncio.get_running_loop().call_soon(self._flush)
        self._held.append(data)

    def _flush(self) -> None:
        if self._held:
            self._write(b"".join(self._held))
            self._held.clear()

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._written += len(data)
            self._transport.write(data)


def error_answer(error: ReplayProxyError) -> tuple[Headers, bytes]:
    """Field lines and body of an error of our own making, in OpenAI's envelope."""
    body = error_body(str(error), type="proxy_error", code=error.code)
    return (
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("X-Replayproxy-Error", error.code),
    ), body


def sliced(body: bytes) -> Iterator[bytes]:
    """A long body in pieces."""
    for start in range(0, len(body), PIECE):
        yield body[start : start + PIECE]


def framed(body: bytes, cuts: Sequence[int]) -> Iterator[bytes]:
    """A long body in chunked coding (RFC 9112 7.1), without the last-chunk, in pieces; its chunks end at the cuts."""
    piece: list[bytes] = []
    size = start = 0
    for cut in cuts:
        if not cut:
            continue
        piece.append(b"%x\r\n" % cut)
        for at in range(start, start + cut, PIECE):
            part = body[at : min(at + PIECE, start + cut)]
            piece.append(part)
            size += len(part)
            if size >= PIECE:
                yield b"".join(piece)
                piece, size = [], 0
        piece.append(b"\r\n")
        start += cut
    yield b"".join(piece)
