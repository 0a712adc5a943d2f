"""One connection to a live server, and the answer that comes over it.

The parser is llhttp (through httptools), fed in the read callback, and what it finds goes to the listener in the same
call: a chunk's time is the time of its socket read, and no task is woken for it. That is why this is not an HTTP
client library's stream: those hand out what they buffered, when their reader gets its turn.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import cast

import httptools

from replayproxy.core import headers as fields_of
from replayproxy.core.openai import is_event_stream
from replayproxy.core.stream_end import StreamEnd
from replayproxy.errors import UpstreamError, UpstreamGarbled, UpstreamTimeout
from replayproxy.model import Chunk, End, Ending, Head, Headers, Request
from replayproxy.ports import Listener

MAX_HEAD = 256 * 1024
"""Bytes of field lines that a server may send."""


class Wire(asyncio.Protocol):
    """A connection. `ask` sends a request; `head` and then `play` give the answer. One exchange at a time."""

    def __init__(self, now: Callable[[], int], name: str) -> None:
        self._now = now
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._asked = False
        self.idle_since = 0

    # Asking

    def ask(self, request: Request, started: int) -> None:
        """Get ready for the answer to this request; times count from `started`."""
        self._asked = True
        self._method, self._path = request.method, request.path
        self._started = started
        self._parser = httptools.HttpResponseParser(self)
        self._fields: list[tuple[str, str]] = []
        self._head_bytes = 0
        self._status: int | None = None
        self._interim = False
        self._framing = "none"
        self._listener: Listener | None = None
        self._early: list[Chunk] = []
        self._stream_end: StreamEnd | None = None
        self._end: End | None = None
        self._at = 0
        self._paused = False
        self._heard = self._now()
        self._head = self._loop.create_future()
        self._go_ahead = self._loop.create_future()
        self._turn = self._loop.create_future()

    def write(self, data: bytes) -> None:
        """Send bytes of the request."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    async def writable(self) -> None:
        """Wait until the server takes more of an upload."""
        await self._writable.wait()

    async def go_ahead(self, patience: float) -> None:
        """Wait for `100 Continue`, for any answer, or for no longer than `patience` seconds (RFC 9110 §10.1.1)."""
        await asyncio.wait((self._go_ahead, self._head), timeout=patience, return_when=asyncio.FIRST_COMPLETED)

    @property
    def answered(self) -> bool:
        """Whether the head of the answer is there, or will never be."""
        return self._head.done()

    def start_clock_at(self, now: int) -> None:
        """The request is complete only now: an upload has ended."""
        if not self.answered:
            self._started = now

    # Hearing

    async def head(self) -> Head:
        """The head of the answer. Raises `UpstreamError`."""
        return cast("Head", await self._head)

    async def play(self, listener: Listener) -> End:
        """Play the body to the listener as it comes; gives the end, which the listener has not heard yet."""
        self._listener = listener
        for chunk in self._early:
            listener.chunk(chunk)
        self._early.clear()
        if self._paused:
            self._resume()
        while self._end is None:
            if listener.congested:
                self._pause()
                await listener.ready()
                self._resume()
                continue
            self._turn = self._loop.create_future()
            await self._turn
        return self._end

    @property
    def reusable(self) -> bool:
        """Whether a request may be sent: it is the first, or the last answer was whole and left nothing behind."""
        if self._transport is None or self._transport.is_closing():
            return False
        return not self._asked or (
            self._end is not None
            and self._end.ending is Ending.COMPLETE
            and self._framing in ("length", "chunked", "none")
            and self._keep_alive
        )

    @property
    def still_open(self) -> bool:
        """Whether the server has not hung up, as far as the kernel knows; the loop hears of it only in its next turn.

        One poll(2), 2 us. A server that is killed under load would else get one request more on each idle connection.
        """
        if self._transport is None or self._transport.is_closing():
            return False
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not poll.poll(0)

    @property
    def silent_since(self) -> int:
        """When something came last; now, while we are the ones who do not listen."""
        return self._now() if self._paused else self._heard

    def time_out(self, message: str) -> None:
        """The server was silent for too long; a stream that has come to its end, and only stays open, is whole."""
        if self._stream_end is not None and self._stream_end.ended:
            self._keep_alive = False
            self._finish(Ending.COMPLETE)
        else:
            self._fail(UpstreamTimeout(message), Ending.TIMEOUT)
        self.close()

    def close(self) -> None:
        """End the connection at once: a server that still generates must notice."""
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        if not self._asked or self._end is not None:
            self.close()  # bytes that nobody asked for: never reuse this connection
            return
        self._heard = self._now()
        self._at = max(0, self._heard - self._started)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._garbled("switched protocols without being asked")
        except httptools.HttpParserError as error:
            self._garbled(str(error) or type(error).__name__)
        if self._listener is not None and self._listener.congested:
            self._wake()

    def eof_received(self) -> None:
        if self._asked:
            self._over(cut=False)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._writable.set()
        if self._asked:
            self._over(cut=exc is not None)

    # httptools callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._status is not None:
            return  # a trailer: may be dropped (RFC 9110 §6.5.1)
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD:
            raise ValueError("the head is too long")
        self._fields.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status == 101:
            raise ValueError("switched protocols without being asked")
        if status < 200:
            self._interim = True
            if status == 100 and not self._go_ahead.done():
                self._go_ahead.set_result(None)
            return
        fields: Headers = tuple(self._fields)
        self._status = status
        self._framing = _framing(self._method, status, fields)
        self._keep_alive = self._parser.should_keep_alive()
        if self._framing == "eof" and is_event_stream(fields):
            self._stream_end = StreamEnd(self._path, fields)
        if not self._head.done():
            self._head.set_result(Head(self._at, status, fields_of.end_to_end(fields)))
        if self._method == "HEAD":
            self._keep_alive = False  # llhttp cannot be told that no body follows
            self._finish(Ending.COMPLETE)

    def on_body(self, data: bytes) -> None:
        if self._end is not None:
            return
        chunk = Chunk(self._at, data)
        if self._stream_end is not None:
            self._stream_end.feed(data)
        if self._listener is not None:
            self._listener.chunk(chunk)
        else:
            self._early.append(chunk)
            if len(self._early) > 1024:
                self._pause()  # the client has not even taken the head

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
            self._fields.clear()
            return
        if self._end is not None:
            self._keep_alive = False  # a second message that nobody asked for
            return
        self._finish(Ending.COMPLETE)

    # How it ends

    def _over(self, *, cut: bool) -> None:
        """The connection has ended: by FIN, or cut by a reset."""
        if self._end is not None:
            return
        if self._status is None:
            self._fail(
                UpstreamGarbled(f"{self._name} closed the connection before it answered: look at its log"),
                Ending.UPSTREAM_CUT,
            )
            return
        whole = self._framing == "eof" and not cut
        if self._stream_end is not None:
            # Where closing is the end of the body, a server that dies looks like one that has finished (and its kernel
            # may reset a connection that is done): only the event that ends the stream tells.
            whole = self._stream_end.ended or (whole and not self._stream_end.must_end)
        self._keep_alive = False
        self._finish(Ending.COMPLETE if whole else Ending.UPSTREAM_CUT)

    def _garbled(self, what: str) -> None:
        self._fail(
            UpstreamGarbled(f"{self._name} sent what is not HTTP ({what}): is it an HTTP server?"), Ending.UPSTREAM_CUT
        )
        self.close()

    def _fail(self, failure: UpstreamError, ending: Ending) -> None:
        if not self._head.done():
            self._head.set_exception(failure)
            self._head.exception()  # somebody may have stopped waiting for it
        self._finish(ending)

    def _finish(self, ending: Ending) -> None:
        if self._end is None:
            self._end = End(max(self._at, self._now() - self._started if ending is not Ending.COMPLETE else 0), ending)
            self._wake()

    def _wake(self) -> None:
        if not self._turn.done():
            self._turn.set_result(None)

    def _pause(self) -> None:
        self._paused = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def _resume(self) -> None:
        self._paused = False
        self._heard = self._now()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()


def _framing(method: str, status: int, fields: Headers) -> str:
    """How the length of a body is told (RFC 9112 §6.3)."""
    if method == "HEAD" or status in (204, 304):
        return "none"
    if fields_of.get(fields, "transfer-encoding") is not None:
        return "chunked"
    return "eof" if fields_of.get(fields, "content-length") is None else "length"
