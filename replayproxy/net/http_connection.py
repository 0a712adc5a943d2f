"""One client's connection: bytes in, requests out, one after the other.

Reads heads and bodies, pipelined or not, and hands each request to the server as a task; keeps the connection for the
next one, or closes it so that the client still gets what it was sent. Every wait has an end, every buffer a bound.
Knows neither what a request asks for nor who answers it.

    IDLE ──first byte──▶ HEAD ──empty line──▶ ANSWERING ──answer and body are over──▶ IDLE
                          │                        │
                          └── malformed, too late ─┴──▶ CLOSING ──client has hung up, or time is over──▶ CLOSED
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from enum import Enum
from typing import Any, Protocol, cast

from replayproxy.errors import ClientError, ReplayProxyError
from replayproxy.net.framing import answer_head, check_beginning, read_request_head
from replayproxy.net.incoming import UPLOAD_BUFFER, Incoming
from replayproxy.net.limits import Limits
from replayproxy.net.response_writer import BUFFERED, ResponseWriter, error_answer

PIPELINED = 64 * 1024
"""Bytes of further requests that wait for the answer to the one before them; then the socket is not read."""

SLOWEST = 100
"""Bytes per second of a body that is waited for, over ten times `Limits.body_timeout`: a client that sends a byte now
and then would keep its connection for ever. (IIS and Kestrel want 240, after seconds.)"""

PATIENCE = 10
"""Times `Limits.body_timeout` of waiting for a body before its rate counts."""

LINGER = 10.0
"""Seconds for which what a client still sends is read and thrown away before its connection is closed. A connection
that is closed with unread bytes is reset, and the reset destroys the answer that says why (RFC 9112 9.6)."""


class Host(Protocol):
    """Whom the connections belong to."""

    limits: Limits
    draining: bool

    def opened(self, connection: HttpConnection) -> ClientError | None:
        """A new connection; an error where there are too many."""
        ...

    def rested(self, connection: HttpConnection) -> None:
        """The connection has nothing to do."""
        ...

    def worked(self, connection: HttpConnection) -> None:
        """The first byte of a request is here."""
        ...

    def closed(self, connection: HttpConnection) -> None:
        """The connection is gone."""
        ...

    def refused(self, error: ReplayProxyError) -> None:
        """A request was refused. Counts it, and warns once."""
        ...

    def timed_out(self, what: str) -> None:
        """A connection was closed because of a limit. Counts it."""
        ...

    def handle(
        self, connection: HttpConnection, incoming: Incoming, client: ResponseWriter
    ) -> Coroutine[Any, Any, None]:
        """Answer a request. Raises nothing but `CancelledError`."""
        ...


class ConnectionState(Enum):
    """What a connection is doing."""

    IDLE = "idle"
    HEAD = "reading a head"
    ANSWERING = "answering"
    CLOSING = "closing"
    CLOSED = "closed"


class HttpConnection(asyncio.Protocol):
    """A connection, from its acceptance to its end."""

    def __init__(self, host: Host, now: Callable[[], int]) -> None:
        self._host = host
        self._now = now
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._state = ConnectionState.IDLE
        self._since = 0
        """When the state began."""
        self._received = bytearray()
        self._checked = 0
        """Bytes of it that may be the beginning of a head, as far as one can tell."""
        self._paused = False
        self._incoming: Incoming | None = None
        self._client: ResponseWriter | None = None
        self._task: asyncio.Task[None] | None = None
        self._failure: ClientError | None = None
        self._looked = self._waited = 0
        """When the connection was looked at last, and for how many ns its body has been waited for."""
        self.read_at = 0
        """When the socket was read last. Of 16 requests that come in one turn of the loop, the last one's handler
        starts 20 ms later where each recording has to be unpacked first: replayed times count from here."""

    def __repr__(self) -> str:
        return f"<HttpConnection {self._state.value}>"

    @property
    def address(self) -> tuple[str, int] | None:
        """Our own end's host and port; None on a Unix domain socket."""
        name = None if self._transport is None else self._transport.get_extra_info("sockname")
        return (name[0], name[1]) if isinstance(name, tuple) else None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=BUFFERED)
        self.read_at = self._since = self._now()
        if (error := self._host.opened(self)) is not None:
            self.refuse(error)
        else:
            self._host.rested(self)

    def data_received(self, data: bytes) -> None:
        self.read_at = self._now()
        if self._state is ConnectionState.ANSWERING:
            self._more_of_body(data)
        elif self._state in (ConnectionState.IDLE, ConnectionState.HEAD):
            self._received += data
            self._read_head()

    def eof_received(self) -> None:
        """A client that ends its side has left: half-closed connections are not told apart from closed ones."""

    def pause_writing(self) -> None:
        """The client takes less than it is sent: the `ResponseWriter` asks the transport itself."""

    def resume_writing(self) -> None:
        if self._client is not None:
            self._client.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._client is not None and self._client.timed_out:
            self._host.timed_out("send_timeout")
        self._state = ConnectionState.CLOSED
        self._transport = None
        self._received.clear()
        self._host.closed(self)
        if self._task is not None:
            self._task.cancel()

    # Reading

    def _read_head(self) -> None:
        """Begin the next request if its head is here."""
        received = self._received
        while received.startswith(b"\r\n"):  # RFC 9112 2.2: some clients send an empty line behind a body
            del received[:2]
        if not received:
            return
        if self._state is ConnectionState.IDLE:
            self._enter(ConnectionState.HEAD)
            self._host.worked(self)
        try:
            end = received.find(b"\r\n\r\n", max(0, self._checked - 3))
            if end < 0:
                if received != b"\r":
                    check_beginning(received, self._checked)
                self._checked = len(received)
                return
            head = read_request_head(bytes(received[: end + 4]))
            del received[: end + 4]
            self._checked = 0
            incoming = Incoming(head, self.watch_reading, self._go_on)
            if received and not incoming.whole:
                rest = incoming.feed(bytes(received))
                self._received = bytearray(rest)
        except ClientError as error:
            self.refuse(error)
            return
        self._begin(incoming)

    def _begin(self, incoming: Incoming) -> None:
        assert self._transport is not None
        self._enter(ConnectionState.ANSWERING)
        head, host = incoming.head, self._host
        self._incoming = incoming
        self._client = ResponseWriter(
            self._transport,
            method=head.request.method,
            minor=head.minor,
            # A client that was not told to send its body may send another request in its place (RFC 9110 10.1.1).
            keep=lambda: head.keep_alive and not host.draining and not incoming.unanswered,
            send_timeout=host.limits.send_timeout,
        )
        self._looked, self._waited = self._since, 0
        self._task = self._loop.create_task(self._answer(incoming, self._client))
        self.watch_reading()
        if incoming.has_more:
            self._loop.call_soon(self._read_on, incoming)

    def _more_of_body(self, data: bytes) -> None:
        if self._failure is not None:  # what is behind a mistake must not be taken for the end of the body
            return
        incoming = self._incoming
        if incoming is not None and not incoming.whole:
            try:
                data = incoming.feed(data)
            except ClientError as error:
                self._fail(error)
                return
            if self._task is None and incoming.reader is not None and incoming.reader.done:
                self._received += data
                self._next()
                return
        self._received += data
        self.watch_reading()
        if incoming is not None and incoming.has_more:
            self._loop.call_soon(self._read_on, incoming)

    def _read_on(self, incoming: Incoming) -> None:
        """Read more of what is here of a body, after others had their turn."""
        if self._state is ConnectionState.ANSWERING and self._incoming is incoming and incoming.has_more:
            self._more_of_body(b"")

    def watch_reading(self) -> None:
        """Read the socket, or do not, by what waits here."""
        incoming = self._incoming
        full = len(self._received) > PIPELINED or (
            incoming is not None and (incoming.has_more or len(incoming.waiting) > UPLOAD_BUFFER)
        )
        if self._transport is None or full == self._paused:
            return
        self._paused = full
        if full:
            self._transport.pause_reading()
        else:
            self.read_at = self._now()
            self._transport.resume_reading()

    def _go_on(self) -> None:
        """Tell the client to send its body."""
        if self._transport is not None and self._client is not None and not self._client.begun:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def detach(self) -> tuple[asyncio.Transport, bytes]:
        """Another protocol takes the connection over. Gives what came behind the request, which is read on here while
        the request is being answered, up to `PIPELINED` bytes."""
        assert self._transport is not None
        rest = bytes(self._received)
        self._received.clear()
        return self._transport, rest

    # Answering

    async def _answer(self, incoming: Incoming, client: ResponseWriter) -> None:
        try:
            await self._host.handle(self, incoming, client)
        except asyncio.CancelledError:
            if self._failure is None:
                raise
            await client.refuse(self._failure)
        finally:
            self._task = None
        self._answered(incoming, client)

    def _answered(self, incoming: Incoming, client: ResponseWriter) -> None:
        if self._transport is None or self._transport.is_closing() or self._state is not ConnectionState.ANSWERING:
            return
        incoming.discard()
        if not (client.whole and client.keeps):
            self._close(unread=not incoming.whole or bool(self._received))
        elif incoming.whole:
            self._next()
        else:  # the rest of the body comes first; `look` sees to it that it does not take for ever
            self._since = self.read_at = self._now()
            self.watch_reading()

    def _next(self) -> None:
        """Read the next request, which may be here already."""
        self._incoming = self._client = None
        if self._host.draining:
            self._close(unread=bool(self._received))
            return
        self._enter(ConnectionState.IDLE)
        self._host.rested(self)
        self.watch_reading()
        if self._received:
            self._read_head()

    def _fail(self, error: ClientError) -> None:
        """The body cannot be read to its end: stop its handler, so that the upstream gets no complete request."""
        if self._task is None:
            self.refuse(error)
        elif self._failure is None:
            self._failure = error
            self._host.refused(error)
            # In its turn: a task that is cancelled before its first step never takes one, and the client would wait.
            self._loop.call_soon(self._task.cancel)

    def refuse(self, error: ReplayProxyError) -> None:
        """Answer what is not a request with an error, and close."""
        self._host.refused(error)
        if self._transport is None or self._transport.is_closing():
            return
        if self._state in (ConnectionState.IDLE, ConnectionState.HEAD):
            fields, body = error_answer(error)
            self._transport.write(answer_head("GET", error.status, fields, keep=False) + body)
        self._close(unread=True)

    # Ending

    def _close(self, *, unread: bool) -> None:
        """Close; where the client still sends, only after it has read the answer."""
        assert self._transport is not None
        self._enter(ConnectionState.CLOSING)
        self._received.clear()
        if not unread or not self._transport.can_write_eof():
            self._transport.close()
            return
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        self._transport.write_eof()

    def end(self) -> None:
        """Close when idle; what is being answered is answered first."""
        if self._state is ConnectionState.IDLE and self._transport is not None:
            self._close(unread=False)

    def cut(self) -> None:
        """Stop answering, and close."""
        if self._task is not None:
            self._task.cancel()
        if self._client is not None and self._state is ConnectionState.ANSWERING:
            self._client.cut()
        elif self._transport is not None:
            self._transport.close()

    def look(self, now: int) -> None:
        """Close the connection if its client has taken too long. Called from time to time."""
        limits, since = self._host.limits, (now - self._since) / 1e9
        if self._state is ConnectionState.IDLE and since > limits.idle_timeout:
            self._host.timed_out("idle_timeout")
            self._close(unread=False)
        elif self._state is ConnectionState.HEAD and since > limits.header_timeout:
            self.refuse(
                ClientError(
                    f"the head of the request was not here after {limits.header_timeout:g} s",
                    status=408,
                    code="header_timeout",
                )
            )
        elif self._state is ConnectionState.CLOSING and since > LINGER and self._transport is not None:
            self._transport.abort()
        elif self._state is ConnectionState.ANSWERING:
            self._look_at_body(now)

    def _look_at_body(self, now: int) -> None:
        incoming = self._incoming
        looked, self._looked = self._looked, now
        if incoming is None or incoming.whole or incoming.unanswered or self._paused:
            return
        self._waited += now - looked
        waited = self._waited / 1e9
        answered = self._client is not None and self._client.begun
        if self._task is None and (now - self._since) / 1e9 > LINGER:  # answered long ago
            self._close(unread=True)
        elif (now - self.read_at) / 1e9 > (timeout := self._host.limits.body_timeout):
            self._fail(
                ClientError(f"no byte of the request's body came for {timeout:g} s", status=408, code="body_timeout")
            )
        elif not answered and waited > PATIENCE * timeout and incoming.size < SLOWEST * waited:
            self._fail(
                ClientError(
                    f"{waited:.0f} s brought {incoming.size} bytes of the request's body: send it faster, or raise"
                    " --body-timeout",
                    status=408,
                    code="body_timeout",
                )
            )

    def _enter(self, state: ConnectionState) -> None:
        self._state = state
        self._since = self.read_at if state in (ConnectionState.HEAD, ConnectionState.ANSWERING) else self._now()
