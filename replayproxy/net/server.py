"""HTTP to Request. Listens, hands each request to the story, and lets the client hear what comes.

The parsing is aiohttp's, in C; without its C parser we refuse to start, because most of its request smuggling
advisories are in the pure Python one.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

from aiohttp import http_parser, web

from replayproxy.core import headers
from replayproxy.errors import ClientError, ReplayProxyError, SettingsError
from replayproxy.model import Request
from replayproxy.net.client import BUFFERED, Client, played
from replayproxy.net.door import BACKLOG, Door
from replayproxy.ports import Upload

log = logging.getLogger("replayproxy.server")

MAX_BODY = 128 * 1024 * 1024
"""Bytes of a request that must be known whole, because a recording is looked up by it."""

Answer = Callable[[Request, Client, Upload | None, int], Awaitable[None]]
"""The story: a request, who asks, a body that is still arriving, and when the last of the request came, in ns."""

Upgrade = Callable[[Request, asyncio.Transport, bytes], Awaitable[None]]


class _Connection(web.RequestHandler):
    """A client's connection, which knows when it was read last.

    Of 16 requests that come in one turn of the loop, the last one's handler starts 20 ms later where each recording has
    to be unpacked first: replayed times count from here, not from there.
    """

    __slots__ = ("_now", "read_at")

    def __init__(self, manager: web.Server, now: Callable[[], int], **options: Any) -> None:
        super().__init__(manager, **options)
        self._now = now
        self.read_at = 0

    def data_received(self, data: bytes) -> None:
        if data:  # aiohttp calls it with nothing, to go on with what it has
            self.read_at = self._now()
        super().data_received(data)


class _Connections(web.Server):
    """aiohttp's server, with these connections."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        now: Callable[[], int],
        **options: Any,
    ) -> None:
        super().__init__(handler, **options)
        self._now = now

    def __call__(self) -> _Connection:
        return _Connection(self, self._now, loop=self._loop, **self._kwargs)


class Server:
    """Serves the data port.

    `answer` is the story. `needs_body` says that it wants whole requests (to look recordings up); else a body that is
    still arriving is passed on as an `Upload`. `upgrade` takes over connections that ask for another protocol.
    """

    def __init__(
        self,
        answer: Answer,
        upgrade: Upgrade,
        *,
        now: Callable[[], int],
        needs_body: bool,
        api_key: str | None = None,
    ) -> None:
        if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
            raise SettingsError(
                "aiohttp is without its C parser here (AIOHTTP_NO_EXTENSIONS is set, or it was built so): unset it,"
                " or install aiohttp from a wheel"
            )
        self._answer = answer
        self._upgrade = upgrade
        self._needs_body = needs_body
        self._api_key = api_key
        self._listening: list[asyncio.Server | Door] = []
        self._answering = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._hurried = asyncio.Event()
        self._web = _Connections(
            self._handle,
            now,
            handler_cancellation=True,
            auto_decompress=False,
            access_log=None,
            max_line_size=65536,
            max_field_size=65536,
            keepalive_timeout=75,
        )

    # Listening

    def listen(self, host: str, port: int, *, tls: ssl.SSLContext | None = None) -> tuple[str, int]:
        """Listen on a TCP port; 0 takes a free one. Gives the address. Raises `SettingsError`."""
        listening = free_socket(host, port, flag="--port")
        self._listening.append(Door(listening, self._web, tls=tls))
        return cast("tuple[str, int]", listening.getsockname()[:2])

    async def listen_unix(self, path: str) -> None:
        """Listen on a Unix domain socket. Raises `SettingsError`."""
        try:
            self._listening.append(
                await asyncio.get_running_loop().create_unix_server(self._web, path, backlog=BACKLOG)
            )
        except OSError as error:
            raise SettingsError(f"cannot listen on {path} ({error.strerror}): choose another --uds") from error

    async def drain(self, seconds: float) -> None:
        """Take no more connections, close the idle ones, let answers finish for so long or until `hurry`."""
        for listening in self._listening:
            listening.close()
        self._web.pre_shutdown()
        waiting = [asyncio.create_task(event.wait()) for event in (self._idle, self._hurried)]
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()

    def hurry(self) -> None:
        """End draining now."""
        self._hurried.set()

    async def cut(self) -> None:
        """Cancel the answers that are left, and close all connections."""
        await self._web.shutdown(0.001)  # 0 would mean: for ever
        await self._idle.wait()

    @property
    def connections(self) -> int:
        """Open client connections."""
        return len(self._web.connections)

    # One request

    async def _handle(self, received: web.BaseRequest) -> web.StreamResponse:
        transport = received.transport
        if transport is None:
            raise asyncio.CancelledError
        transport.set_write_buffer_limits(high=BUFFERED)
        client = Client(received, transport)
        self._answering += 1
        self._idle.clear()
        try:
            request = _request(received)
            self._admit(request)
            if headers.get(request.headers, "upgrade") is not None and received._message.upgrade:
                rest = bytes(getattr(received.protocol, "_message_tail", b""))
                await self._upgrade(request, transport, rest)
            else:
                await self._answer_whole_or_streaming(request, received, transport, client)
        except ReplayProxyError as error:
            await client.refuse(error)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("a request failed inside the proxy: please report this")
            await client.refuse(ReplayProxyError("the proxy failed inside: its log says how; please report it"))
        finally:
            self._answering -= 1
            if not self._answering:
                self._idle.set()
        return played(client)

    async def _answer_whole_or_streaming(
        self, request: Request, received: web.BaseRequest, transport: asyncio.Transport, client: Client
    ) -> None:
        content, upload = received.content, None
        if not content.is_eof():
            upload = _upload(received, transport)
            if self._needs_body:
                request, upload = _with_body(request, await _all_of(upload)), None
        elif received.body_exists:
            request = _with_body(request, content.read_nowait(-1))
        await self._answer(request, client, upload, cast("_Connection", received.protocol).read_at)

    def _admit(self, request: Request) -> None:
        if request.method == "CONNECT":
            raise ClientError(
                "this is not a forward proxy: set it as the base URL instead", status=405, code="no_connect"
            )
        if self._api_key is not None and headers.get(request.headers, "authorization") != f"Bearer {self._api_key}":
            raise ClientError(
                "the proxy wants the key of --api-key-file as a bearer token", status=401, code="invalid_api_key"
            )


def _request(received: web.BaseRequest) -> Request:
    """Words for what was received. An absolute-form target counts by its path alone (RFC 9112 §3.2.2)."""
    target = received._message.path
    if not target.startswith("/"):
        scheme, mark, rest = target.partition("://")
        if mark and scheme.lower() in ("http", "https"):
            _, slash, path = rest.partition("/")
            target = slash + path or "/"
        elif target != "*" and received.method != "CONNECT":
            raise ClientError(f"the request target {target[:80]!r} is not a path: send /v1/…", code="bad_target")
    fields = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in received._message.raw_headers)
    return Request(received.method, target, fields)


def _with_body(request: Request, body: bytes) -> Request:
    return Request(request.method, request.target, request.headers, body)


async def _upload(received: web.BaseRequest, transport: asyncio.Transport) -> AsyncIterator[bytes]:
    """The rest of the body as it comes. Asks for it first, where the client waits to be asked."""
    if received.headers.get("Expect", "").lower() == "100-continue" and received.version >= (1, 1):
        transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    while piece := await received.content.readany():
        yield piece


async def _all_of(upload: AsyncIterator[bytes]) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for piece in upload:
        size += len(piece)
        if size > MAX_BODY:
            raise ClientError(
                f"the request is longer than {MAX_BODY} bytes, which no recording has", status=413, code="too_large"
            )
        pieces.append(piece)
    return b"".join(pieces)


def tls_context(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """What to serve HTTPS with; None without a certificate. Raises `SettingsError`."""
    if certificate is None or key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"--ssl-certfile {certificate} and --ssl-keyfile {key} cannot be used: {error}") from error
    return context


def free_socket(host: str, port: int, *, flag: str = "--admin-port") -> socket.socket:
    """A listening TCP socket; port 0 takes a free one. Raises `SettingsError`, which names the flag to change."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(BACKLOG)  # who connects before it is served waits, and is not refused
    except OSError as error:
        bound.close()
        off = ", or off" if flag == "--admin-port" else ""
        raise SettingsError(
            f"cannot listen on {host}:{port} ({error.strerror}): choose another {flag}, or 0 for a free one{off}"
        ) from error
    return bound
