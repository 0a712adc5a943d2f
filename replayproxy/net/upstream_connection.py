"""One connection to a live server, and the answer that comes over it.

The parser (`answer_parser`) is fed in the read callback, and what it finds goes to the listener in the same call: a
chunk's time is the time of its socket read, and no task is woken for it. That is why this is not an HTTP client
library's stream: those hand out what they buffered, when their reader gets its turn.

Whether another request may be sent is decided by the one `State` of the connection:

    IDLE ─ask─▶ SENDING ─sent─▶ WAITING ─head─▶ ANSWERING ─whole, kept alive─▶ IDLE
                   └────head──▶ EARLY ──sent───────▲
                                  └─whole─▶ CLOSED         and from each state to CLOSED, whatever goes wrong
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from typing import cast

from replayproxy.core.dialects.stream_end import StreamEnd
from replayproxy.core.headers import is_event_stream
from replayproxy.core.origins import UrlSearch
from replayproxy.errors import ReplayProxyError, UpstreamGarbled, UpstreamTimeout
from replayproxy.model import Chunk, End, Ending, Head, Headers, Request
from replayproxy.net.answer_parser import AnswerParser, MalformedAnswer
from replayproxy.net.answer_rules import is_whole, left_in_kernel
from replayproxy.net.frames import frames, whole_frame
from replayproxy.net.upstream_transport import UpstreamTransport
from replayproxy.ports import Listener

MOST_EARLY = 1024
"""Chunks that may wait here while the client has not even taken the head."""

EARLY_BYTES = 256 * 1024
"""Their bytes."""

LOOK_BYTES = 16 * 1024
"""Bytes that are handed on between two looks whether the client takes less than it is sent."""


UNREQUESTED_SWITCH = "it switched protocols without being asked"

_CHUNK = tuple.__new__
"""Makes a `Chunk` without the function that `NamedTuple` puts before it: one call less for each event."""


class State(Enum):
    """How far a connection is with its one exchange. RFC 9112 section 9.3: a connection whose request was not sent
    whole, or whose answer was not read whole, is closed; so only from ANSWERING does a way lead back to IDLE."""

    IDLE = auto()
    """No exchange is under way, and nothing of the last one is left: a request may be sent."""
    SENDING = auto()
    """The request is not sent whole; there is no head yet."""
    WAITING = auto()
    """The request is sent whole; there is no head yet."""
    EARLY = auto()
    """The answer has begun, and the request is not sent whole."""
    ANSWERING = auto()
    """The answer has begun, and the request is sent whole."""
    CLOSED = auto()
    """It takes no request any more."""


class UpstreamConnection(UpstreamTransport):
    """A connection. `ask` sends a request; `head` and then `play` give the answer. One exchange at a time."""

    def __init__(self, now: Callable[[], int], name: str) -> None:
        super().__init__(now)
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._has_request = False
        self._answered_bytes = 0
        self._left_by_server = False
        self._between_chunks = False
        """The next byte begins an HTTP chunk of an answer that a listener gets."""
        self._end: End | None = None
        self.state = State.IDLE
        self.idle_since = 0

    def __repr__(self) -> str:
        return f"<Wire to {self._name}: {self.state.name}>"

    # Asking

    def ask(self, request: Request, started: int, urls: UrlSearch | None = None) -> None:
        """Get ready for the answer to this request; times count from `started`. Only IDLE connections take one.

        `urls` gets the body too.
        """
        assert self.state in (State.IDLE, State.CLOSED), self
        if self.state is State.IDLE:
            self.state = State.SENDING
        self._has_request = True
        self._path = request.path
        self._started = started
        self._parser = AnswerParser(self, request.method)
        self._answered_bytes = 0
        self._listener: Listener | None = None
        self._early: list[Chunk] = []
        self._early_bytes = 0
        self._urls = urls
        self._between_chunks = False
        self._unlooked = 0
        """Bytes handed on past the parser since the last look."""
        self._unsearched: list[bytes] = []
        """Those bytes, without their framing."""
        self._stream_end: StreamEnd | None = None
        self._end = None
        self._at = 0
        self._paused = False
        self._last_received_at = self._now()
        self._head = self._loop.create_future()
        self._go_ahead = self._loop.create_future()
        self._turn = self._loop.create_future()
        if self.state is State.CLOSED:  # the server hung up since somebody chose this connection
            self._over(cut=True)

    def sent(self) -> None:
        """All bytes of the request have been written."""
        if self.state is State.SENDING:
            self.state = State.WAITING
        elif self.state is State.EARLY:
            self.state = State.ANSWERING

    def abandon(self, error: ReplayProxyError) -> None:
        """The client's request cannot be sent to its end, because of `error`, which `head` raises if it still can."""
        self._fail(error, Ending.CLIENT_LEFT)
        self.close()

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

    async def play_body(self, listener: Listener) -> End:
        """Pass the body to the listener as it arrives. Returns the end, which the listener has not been given yet."""
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
            if self._paused:
                self._resume()
                continue
            self._turn = self._loop.create_future()
            await self._turn
        return self._end

    @property
    def answered_bytes(self) -> int:
        """Bytes of this answer that have come, its head and framing included."""
        return self._answered_bytes + self._unlooked

    @property
    def died_unanswered(self) -> bool:
        """Whether the server ended the connection before it sent a single byte of this answer."""
        return self._left_by_server and not self._answered_bytes

    @property
    def still_open(self) -> bool:
        """Whether it is IDLE, and the server has not hung up, as far as the kernel knows."""
        return self.state is State.IDLE and self.is_connected

    @property
    def silent_since(self) -> int:
        """Since when the server has been silent: now, as long as it is not its turn.

        It is ours while we do not read, and the client's while its upload pauses and the server has taken what came.
        """
        waits_for_client = self.state is State.SENDING and not self._unsent_bytes
        return self._now() if self._paused or waits_for_client else self._last_received_at

    def time_out(self, message: str) -> None:
        """The server was silent for too long; a stream that has come to its end, and only stays open, is whole."""
        if self._stream_end is not None and self._stream_end.ended:
            self._finish(Ending.COMPLETE)
        else:
            self._fail(UpstreamTimeout(message), Ending.TIMEOUT)
        self.close()

    def close(self) -> None:
        """End the connection at once: a server that still generates must notice."""
        self.state = State.CLOSED
        self._between_chunks = False
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        """Hand out the whole frames that a read begins with; the parser gets the rest.

        To look whether a read is one frame costs a quarter of parsing it. The parser does not see them, and is then, as
        before, between two chunks.
        """
        if not self._between_chunks:
            self._parse(data)
            return
        if body := whole_frame(data):
            now = self._last_received_at = self._now()
            self._at = at = now - self._started
            self._hand_on(_CHUNK(Chunk, (at, body, False, data)))
            self._unsearched.append(body)
            self._unlooked += (read := len(data))
        else:
            read = 0
            for body, frame in frames(data):
                at = self._at if read else self._read_now()
                self._hand_on(_CHUNK(Chunk, (at, body, False, frame)))
                self._unsearched.append(body)
                read += len(frame)
            self._unlooked += read
        if self._unlooked > LOOK_BYTES:
            self._look()
        if read < len(data):
            self._parse(data[read:] if read else data)

    def _read_now(self) -> int:
        """The socket was read: give its time, in ns since the request was complete."""
        now = self._last_received_at = self._now()
        self._at = at = max(0, now - self._started)
        return at

    def _look(self) -> None:
        """Search what was handed on since the last time for URLs, and look whether the client takes it."""
        self._answered_bytes += self._unlooked
        self._unlooked = 0
        if self._urls is not None:
            self._urls.feed(b"".join(self._unsearched))
        self._unsearched.clear()
        self._heed_congestion()

    def _heed_congestion(self) -> None:
        """Stop reading where the client takes less than it is sent."""
        if self._end is None and self._listener is not None and self._listener.congested:
            # Here and not in the task that plays: one readiness of the socket brings up to 8 MB before a task runs.
            self._pause()
            self._wake()

    def _parse(self, data: bytes) -> None:
        if self.state in (State.IDLE, State.CLOSED):
            self.close()  # bytes without a request: never reuse this connection
            return
        self._read_now()
        self._answered_bytes += len(data)
        parser = self._parser
        try:
            parser.feed(data)
        except MalformedAnswer as fault:
            self._garbled(str(fault))
        self._between_chunks = False
        if self._end is None and self._listener is not None and parser.chunk_ended and data.endswith(b"\r\n"):
            self._hand_on = self._listener.chunk
            self._between_chunks = True
        self._heed_congestion()

    def eof_received(self) -> None:
        self._left_by_server = self._end is None
        if self._has_request:
            self._over(cut=False)
        self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._left_by_server = self._end is None
            if self._end is None and self._transport is not None:
                for data in left_in_kernel(self._transport):
                    self.data_received(data)
        closed_by_us = self.state is State.CLOSED
        self._transport = None
        self.state = State.CLOSED
        self._writable.set()
        if self._has_request:
            self._over(cut=exc is not None or closed_by_us)

    # What the parser finds

    def interim_received(self, status: int) -> None:
        if status == 100 and not self._go_ahead.done():
            self._go_ahead.set_result(None)

    def head_received(self, status: int, fields: Headers) -> None:
        if self._parser.framing == "eof" and is_event_stream(fields):
            self._stream_end = StreamEnd(self._path, fields)
        self.state = State.EARLY if self.state is State.SENDING else State.ANSWERING
        if not self._head.done():
            self._head.set_result(Head(self._at, status, fields))

    def part_received(self, data: bytes, *, continued: bool) -> None:
        if self._end is not None:
            return
        if self._stream_end is not None:
            self._stream_end.feed(data)
        self._give(Chunk(self._at, data, continued))

    def whole_received(self) -> None:
        if self._end is None:
            self._finish(Ending.COMPLETE)

    def surplus_received(self) -> None:
        self.close()

    def switch_received(self, version: str, fields: Headers) -> str:
        return UNREQUESTED_SWITCH

    def behind_switch_received(self, data: bytes) -> None:
        raise MalformedAnswer(UNREQUESTED_SWITCH)

    def _give(self, chunk: Chunk) -> None:
        if self._unsearched:
            self._look()
        if self._urls is not None:
            self._urls.feed(chunk.data)
        if self._listener is not None:
            self._listener.chunk(chunk)
            return
        self._early.append(chunk)
        self._early_bytes += len(chunk.data)
        if len(self._early) > MOST_EARLY or self._early_bytes > EARLY_BYTES:
            self._pause()  # the client has not even taken the head

    # How it ends

    def _over(self, *, cut: bool) -> None:
        """The connection has ended: by FIN, or cut by a reset."""
        if self._end is not None:
            return
        parser = self._parser
        if not parser.has_head:
            silent = UpstreamGarbled(f"{self._name} closed the connection before it answered: look at its log")
            self._fail(silent, Ending.UPSTREAM_CUT)
            return
        whole = is_whole(parser.framing, self._stream_end, cut=cut)
        self._finish(Ending.COMPLETE if whole else Ending.UPSTREAM_CUT)

    def _garbled(self, what: str) -> None:
        self._fail(
            UpstreamGarbled(f"{self._name} sent what is not HTTP ({what}): is it an HTTP server?"), Ending.UPSTREAM_CUT
        )
        self.close()

    def _fail(self, failure: ReplayProxyError, ending: Ending) -> None:
        if not self._head.done():
            self._head.set_exception(failure)
            self._head.exception()  # somebody may have stopped waiting for it
        self._finish(ending)

    def _finish(self, ending: Ending) -> None:
        self._between_chunks = False
        if self._unsearched:
            self._look()
        if self._end is None:
            self._end = End(max(self._at, self._now() - self._started if ending is not Ending.COMPLETE else 0), ending)
            self._wake()
            self._leave_exchange(ending)

    def _leave_exchange(self, ending: Ending) -> None:
        """Decide, once, whether the connection may carry another request."""
        transport = self._transport
        if (
            self.state is State.ANSWERING
            and ending is Ending.COMPLETE
            and self._parser.framing != "eof"
            and self._parser.keep_alive
            and transport is not None
            and not transport.is_closing()
            and not transport.get_write_buffer_size()  # written, but not even in the kernel: the server answered early
        ):
            self.state = State.IDLE
            if self._paused:
                self._resume()  # an idle connection must hear that the server hangs up
        else:
            self.close()

    def _wake(self) -> None:
        if not self._turn.done():
            self._turn.set_result(None)
