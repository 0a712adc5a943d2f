"""The data port: listens, keeps its clients' connections within their limits, hands each request to its handler.

Knows neither recordings nor servers. What is refused is counted by its error code, and warned about once.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

from replayproxy.core import headers
from replayproxy.core.cors import is_preflight
from replayproxy.errors import ClientError, ReplayProxyError, SettingsError, setting, where_raised
from replayproxy.model import Headers, Request
from replayproxy.net.acceptor import BACKLOG, Acceptor
from replayproxy.net.http_connection import HttpConnection
from replayproxy.net.incoming import UPLOAD_BUFFER, Incoming
from replayproxy.net.limits import Limits
from replayproxy.net.response_writer import ResponseWriter
from replayproxy.ports import Upload

log = logging.getLogger("replayproxy.server")

Answer = Callable[[Request, ResponseWriter, Upload | None, int], Awaitable[None]]
"""Answers a request: it, its client, a body that is still arriving, and when the last of the request came, in ns."""

Upgrade = Callable[[Request, ResponseWriter, Callable[[], tuple[asyncio.Transport, bytes]]], Awaitable[None]]
"""Answers a request for a WebSocket: it, its client, and what takes the connection from HTTP if it is granted."""

AnswersUnsent = Callable[[Request], Awaitable[bool]]
"""Whether the answer to a request is known whose client waits for 100 before it sends the body."""

PageFields = Callable[[Request], Awaitable[Headers]]
"""The field lines with which the page that sent a request may read an error."""

SMALL_PIECE = 4 * 1024
"""Bytes of a piece of a body that is copied behind the one before: a body that comes byte by byte would take forty
times its length in objects."""

LONG_BODY = 1024 * 1024
"""Bytes of a body that are joined in a thread: from here on, and only then, `bytes.join` lets others run meanwhile."""

PER_SECOND = 4
"""Looks at all connections within the shortest time-out, and at least one per second."""


class DataServer:
    """Serves the data port.

    `answer` answers. `needs_body` says that it needs whole requests (to look recordings up); else a body that is still
    arriving is passed on as an `Upload`. `upgrade` answers those that ask for a WebSocket.
    """

    def __init__(
        self,
        answer: Answer,
        upgrade: Upgrade,
        *,
        now: Callable[[], int],
        needs_body: bool,
        api_key: str | None = None,
        limits: Limits = Limits(),  # noqa: B008  a frozen value
        host: str = "127.0.0.1",
        answers_unsent: AnswersUnsent | None = None,
        page_fields: PageFields | None = None,
        refusals: Counter[str] | None = None,
    ) -> None:
        """`host` is a name of our own, besides the addresses listened on. `refusals` may be another server's."""
        self.limits = limits
        self.draining = False
        self.refusals: Counter[str] = Counter() if refusals is None else refusals
        """Requests that were refused, by error code."""
        self.closings: Counter[str] = Counter()
        """Connections that were closed because of a limit, by its name."""
        self._answer = answer
        self._upgrade = upgrade
        self._now = now
        self._needs_body = needs_body
        self._api_key = api_key
        self._host = host
        self._answers_unsent = answers_unsent
        self._page_fields = page_fields
        self._listening: list[asyncio.Server | Acceptor] = []
        self._connections: set[HttpConnection] = set()
        self._resting: dict[HttpConnection, None] = {}
        """Those with nothing to do; the one that has rested longest first."""
        self._timer: asyncio.TimerHandle | None = None
        self._answering = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._hurried = asyncio.Event()

    # Listening

    def listen(self, host: str, port: int, *, tls: ssl.SSLContext | None = None) -> tuple[str, int]:
        """Listen on a TCP port; 0 takes a free one. Gives the address. Raises `SettingsError`."""
        listening = free_socket(host, port, name="port")
        self.serve_on(listening, tls=tls)
        return cast("tuple[str, int]", listening.getsockname()[:2])

    def serve_on(self, listening: socket.socket, *, tls: ssl.SSLContext | None = None) -> None:
        """Serve on a socket that listens already; it is closed when we stop."""
        self._listening.append(
            Acceptor(listening, self._connection, tls=tls, patience=self.limits.header_timeout, failed=self._no_tls)
        )

    async def listen_unix(self, path: str) -> None:
        """Listen on a Unix domain socket. Raises `SettingsError`."""
        try:
            self._listening.append(
                await asyncio.get_running_loop().create_unix_server(self._connection, path, backlog=BACKLOG)
            )
        except OSError as error:
            raise SettingsError(
                f"cannot listen on {path} ({error.strerror}): choose another {setting('uds')}"
            ) from error

    async def drain(self, seconds: float) -> None:
        """Take no more connections, close the idle ones, let answers finish for so long or until `hurry`."""
        for listening in self._listening:
            listening.close()
        self.draining = True
        for connection in tuple(self._connections):
            connection.end()
        await asyncio.sleep(0)  # what has just been asked for is being answered
        waiting = [asyncio.create_task(event.wait()) for event in (self._idle, self._hurried)]
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()

    def hurry(self) -> None:
        """End draining now."""
        self._hurried.set()

    async def cut(self) -> None:
        """Cancel the answers that are left, and close all connections."""
        for connection in tuple(self._connections):
            connection.cut()
        await asyncio.sleep(0)
        await self._idle.wait()
        if self._timer is not None:
            self._timer.cancel()

    def _no_tls(self) -> None:
        self.refused(
            ClientError(
                "a connection to the HTTPS port began without TLS, or with one that is too old: write https://",
                code="no_tls",
            )
        )

    def _connection(self) -> HttpConnection:
        return HttpConnection(self, self._now)

    @property
    def connections(self) -> int:
        """Open client connections."""
        return len(self._connections)

    @property
    def resting(self) -> int:
        """Those of them that have nothing to do."""
        return len(self._resting)

    # What connections tell (net.http_connection.Host)

    def opened(self, connection: HttpConnection) -> ClientError | None:
        """Have one more; the one that has rested longest makes room for it."""
        most = self.limits.connections
        refusal = None
        if most and len(self._connections) >= most:
            if self._resting:
                longest = next(iter(self._resting))
                self.closed(longest)
                self.timed_out("max_connections")
                longest.end()
            else:
                refusal = ClientError(
                    f"all {most} connections are in use: close some, or raise --max-connections",
                    status=503,
                    code="too_many_connections",
                )
        self._connections.add(connection)
        if self._timer is None:
            self._look_later()
        return refusal

    def rested(self, connection: HttpConnection) -> None:
        """It may be closed if others need the room."""
        self._resting[connection] = None

    def worked(self, connection: HttpConnection) -> None:
        """It may not."""
        self._resting.pop(connection, None)

    def closed(self, connection: HttpConnection) -> None:
        """Forget it."""
        self._connections.discard(connection)
        self._resting.pop(connection, None)

    def refused(self, error: ReplayProxyError) -> None:
        """Count it. Only the first of a kind is worth a line in the log, which is the one that helps."""
        self.refusals[error.code] += 1
        if self.refusals[error.code] == 1:
            log.warning("a request was refused: %s (counted in metrics from here on)", error)

    def timed_out(self, what: str) -> None:
        """Count it."""
        self.closings[what] += 1

    def _look_later(self) -> None:
        seconds = min(1.0, self.limits.shortest / PER_SECOND)
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        """Close connections whose clients take too long. One timer for all of them: none is armed for a request."""
        self._timer = None
        now = self._now()
        for connection in tuple(self._connections):
            connection.look(now)
        if self._connections:
            self._look_later()

    # One request

    async def handle(self, connection: HttpConnection, incoming: Incoming, client: ResponseWriter) -> None:
        """Answer one request; report failures to the client."""
        self._answering += 1
        self._idle.clear()
        try:
            self._admit(connection, incoming)
            if incoming.head.websocket:
                # Not granted, what the client sent behind it is frames, or a request made to look as if it were ours.
                client.keeps = False
                await self._upgrade(incoming.head.request, client, connection.detach)
            else:
                await self._answer_whole_or_streaming(connection, incoming, client)
        except ReplayProxyError as error:
            if isinstance(error, ClientError):
                self.refused(error)
            await client.refuse(error, await self._fields_for(incoming.head.request))
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  logged, and told to the client
            log.error("a request failed inside the proxy: please report this\n%s", where_raised(error))
            await client.refuse(ReplayProxyError("the proxy failed inside: its log says where; please report it"))
        finally:
            self._answering -= 1
            if not self._answering:
                self._idle.set()

    async def _fields_for(self, request: Request) -> Headers:
        return () if self._page_fields is None else await self._page_fields(request)

    async def _answer_whole_or_streaming(
        self, connection: HttpConnection, incoming: Incoming, client: ResponseWriter
    ) -> None:
        request, upload = incoming.head.request, None
        if incoming.whole:
            if headers.get(request.headers, "expect") is not None:  # nothing is to come that could be asked for
                request = Request(request.method, request.target, headers.without(request.headers, "expect"))
            if incoming.waiting:
                request = _with_body(request, incoming.take())
        elif not self._needs_body:
            upload = incoming.upload()
        elif incoming.unanswered and self._answers_unsent is not None and await self._answers_unsent(request):
            pass  # the client gets the final answer in place of 100, as it did when it was recorded
        else:
            request = await self._with_whole_body(request, incoming)
        await self._answer(request, client, upload, connection.read_at)

    async def _with_whole_body(self, request: Request, incoming: Incoming) -> Request:
        """The request when its last byte is here. Its expectation has been met by then, and is dropped."""
        most = self.limits.body
        pieces: list[bytes | bytearray] = []
        size = 0
        async for piece in incoming.upload():
            size += len(piece)
            if size > most:
                raise ClientError(
                    f"the request is longer than {most} bytes, and no recording is (--max-body)",
                    status=413,
                    code="too_large",
                )
            if pieces and len(piece) < SMALL_PIECE and isinstance(last := pieces[-1], bytearray):
                last += piece
                if len(last) > UPLOAD_BUFFER:
                    pieces.append(bytearray())
            else:
                pieces.append(bytearray(piece) if len(piece) < SMALL_PIECE else piece)
        request = Request(request.method, request.target, headers.without(request.headers, "expect"))
        return _with_body(request, await asyncio.to_thread(_joined, pieces) if size > LONG_BODY else _joined(pieces))

    def _admit(self, connection: HttpConnection, incoming: Incoming) -> None:
        head = incoming.head
        if head.authority is not None and not self._is_own(head.authority, connection):
            raise ClientError(
                "the request is for another host, as one sends it to a forward proxy, which this is not: unset"
                " http_proxy (curl: leave -x away), and set the proxy's address as the base URL instead",
                status=421,
                code="forward_proxy",
            )
        # A browser sends no credentials with a preflight (Fetch 4.8), and vLLM asks for none.
        if self._api_key is not None and not is_preflight(head.request):
            given = headers.get(head.request.headers, "authorization") or ""
            if not hmac.compare_digest(given.encode("latin-1"), f"Bearer {self._api_key}".encode()):
                raise ClientError(
                    "the proxy wants the key of --api-key-file as a bearer token", status=401, code="invalid_api_key"
                )

    def _is_own(self, authority: str, connection: HttpConnection) -> bool:
        """Whether an absolute target names us: an address we listen on, or a name of this machine, with our port."""
        ours = connection.address
        if ours is None:
            return True
        host, port = ours
        name, _, given = (
            authority.rpartition(":") if authority[-1:] != "]" and ":" in authority else (authority, "", "80")
        )
        names = {"localhost", "127.0.0.1", "[::1]", host, f"[{host}]", self._host.lower(), socket.gethostname().lower()}
        return name.lower() in names and given == str(port)


def _joined(pieces: list[bytes | bytearray]) -> bytes:
    """The pieces as one, and the list without them: to free a hundred of 256 KiB takes as long as to copy them."""
    body = b"".join(pieces)
    pieces.clear()
    return body


def _with_body(request: Request, body: bytes) -> Request:
    return Request(request.method, request.target, request.headers, body)


def tls_context(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """What to serve HTTPS with; None without a certificate. Raises `SettingsError`."""
    if certificate is None or key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"{setting('ssl_certfile', certificate)} and {setting('ssl_keyfile', key)} cannot be used: {error}"
        ) from error
    return context


def free_socket(host: str, port: int, *, name: str = "admin_port") -> socket.socket:
    """A listening TCP socket; port 0 takes a free one. Raises `SettingsError`, which names the setting to change."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(BACKLOG)  # who connects before it is served waits, and is not refused
    except OSError as error:
        bound.close()
        off = ", or off" if name == "admin_port" else ""
        raise SettingsError(
            f"cannot listen on {host}:{port} ({error.strerror}): choose another {setting(name)}, or 0 for a"
            f" free one{off}"
        ) from error
    return bound
