"""One live server as a source. Sends what the client sent, once: no retries, no redirects, no cookies."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

from replayproxy.core import headers
from replayproxy.errors import SettingsError, UpstreamTimeout, UpstreamUnreachable
from replayproxy.model import Headers, Request
from replayproxy.net.wire import Wire
from replayproxy.ports import Clock, Listener, Upload

P = TypeVar("P", bound=asyncio.Protocol)

KEEP_ALIVE = 2_000_000_000
"""Nanoseconds an idle connection is kept: vLLM closes after 5 s, and a request sent into that moment is lost."""

CONNECT_PATIENCE = 5.0
CONTINUE_PATIENCE = 1.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is. `prefix` stands before every target."""

    host: str
    port: int
    tls: bool
    prefix: str

    @classmethod
    def of(cls, url: str) -> Address:
        """Read a URL. Raises `SettingsError`."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise SettingsError(f"{url} is not a URL: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(f"{url} is not the URL of an HTTP server: write http://HOST:PORT")
        if parts.username or parts.query or parts.fragment:
            raise SettingsError(
                "the upstream URL may have a host, a port and a path, nothing else: write http://HOST:PORT"
            )
        prefix = parts.path.rstrip("/")
        if prefix.endswith("/v1"):
            raise SettingsError(
                f"{url} ends in /v1, and clients send /v1 themselves: write {url.rstrip('/').removesuffix('/v1')}"
            )
        return cls(parts.hostname, port or (443 if parts.scheme == "https" else 80), parts.scheme == "https", prefix)

    @property
    def authority(self) -> str:
        """For the Host field."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


class HttpUpstream:
    """A `Source`.

    `first_byte` and `stall` are seconds of silence before the head and within the body; then 504, or an unclean end.
    """

    def __init__(self, url: str, clock: Clock, *, first_byte: float = 600, stall: float = 300) -> None:
        self.url = url
        self.address = Address.of(url)
        self._clock = clock
        self._first_byte = first_byte
        self._stall = stall
        self._tls = ssl.create_default_context() if self.address.tls else None
        self._idle: list[Wire] = []

    async def play(
        self, request: Request, listener: Listener, upload: Upload | None = None, came: int | None = None
    ) -> None:
        """Play the server's answer as it comes."""
        started = self._clock.now() if came is None else came  # the client waits for our connection too
        wire = await self._connection()
        watch = _Watch(wire, self._clock, self.url, self._first_byte, self._stall)
        sending: asyncio.Task[None] | None = None
        try:
            wire.ask(request, started)
            watch.start()
            fields = headers.end_to_end(request.headers)
            wire.write(spelled(request, self.address, fields, uploading=upload is not None))
            if upload is not None:
                sending = asyncio.create_task(self._send(wire, request, upload))
            await listener.head(await wire.head())
            await listener.end(await wire.play(listener))
        except BaseException:
            wire.close()
            raise
        finally:
            watch.stop()
            if sending is not None and not sending.done():
                sending.cancel()
                wire.close()
        if wire.reusable:
            wire.idle_since = self._clock.now()
            self._idle.append(wire)
        else:
            wire.close()

    async def prepare(self) -> None:
        """Have a connection, so that the next `play` sends at once. Raises `UpstreamError`: nothing has been asked."""
        wire = await self._connection()
        wire.idle_since = self._clock.now()
        self._idle.append(wire)

    async def reach(self) -> None:
        """Try whether somebody listens. Raises `UpstreamError`."""
        (await self._connect(lambda: Wire(self._clock.now, self.url))).close()

    async def upgrade(self, request: Request, far: P) -> bytes:
        """Connect `far`, who will hear all that comes back, raw. Gives the request as it is to be sent."""
        await self._connect(lambda: far)
        wanted = headers.get(request.headers, "upgrade") or "websocket"
        fields = (*headers.end_to_end(request.headers), ("Connection", "Upgrade"), ("Upgrade", wanted))
        return spelled(request, self.address, fields, uploading=False)

    def close(self) -> None:
        """Close what is idle."""
        for wire in self._idle:
            wire.close()
        self._idle.clear()

    # Connections

    async def _connection(self) -> Wire:
        """The idle connection that was used last, or a new one."""
        oldest = self._clock.now() - KEEP_ALIVE
        while self._idle:
            wire = self._idle.pop()
            if wire.reusable and wire.idle_since > oldest and wire.still_open:
                return wire
            wire.close()
        return await self._connect(lambda: Wire(self._clock.now, self.url))

    async def _connect(self, protocol: Callable[[], P]) -> P:
        address = self.address
        try:
            async with asyncio.timeout(CONNECT_PATIENCE):
                _, made = await asyncio.get_running_loop().create_connection(
                    protocol, address.host, address.port, ssl=self._tls
                )
        except TimeoutError as error:
            raise UpstreamTimeout(
                f"{self.url} did not accept a connection within {CONNECT_PATIENCE:g} s: is it up, is the address right?"
            ) from error
        except ssl.SSLError as error:
            raise UpstreamUnreachable(
                f"{self.url} has no TLS that can be trusted ({error.reason}): fix its certificate, or set SSL_CERT_FILE"
            ) from error
        except OSError as error:
            raise UpstreamUnreachable(
                f"nobody answers at {self.url} ({error.strerror or error}): start it, or give another --upstream"
            ) from error
        return made

    # The request on the wire

    async def _send(self, wire: Wire, request: Request, upload: Upload) -> None:
        """Pass an upload on as it comes, no faster than the server takes it."""
        if headers.get(request.headers, "expect") is not None:
            await wire.go_ahead(CONTINUE_PATIENCE)
            if wire.answered:
                return  # a final status instead of 100: the client keeps its body
        chunked = headers.get(request.headers, "content-length") is None
        async for piece in upload:
            wire.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            await wire.writable()
        if chunked:
            wire.write(b"0\r\n\r\n")
        wire.start_clock_at(self._clock.now())


def spelled(request: Request, address: Address, fields: Headers, *, uploading: bool) -> bytes:
    """A request as it goes over the wire (RFC 9112 §3), with its body unless that is uploaded.

    Host is the server's; the length is told anew.
    """
    lines = [f"{request.method} {address.prefix}{request.target} HTTP/1.1", f"Host: {address.authority}"]
    lines += [f"{name}: {value}" for name, value in headers.without(fields, "host", "content-length")]
    length = headers.get(fields, "content-length")
    if uploading:
        lines.append("Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}")
    elif request.body or length is not None:
        lines.append(f"Content-Length: {len(request.body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + request.body


class _Watch:
    """Ends a connection that has been silent for too long. One timer a stream, armed anew only when it rings."""

    def __init__(self, wire: Wire, clock: Clock, url: str, first_byte: float, stall: float) -> None:
        self._wire = wire
        self._clock = clock
        self._url = url
        self._first_byte = first_byte
        self._stall = stall
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Look again when patience would end if nothing came."""
        patience = self._stall if self._wire.answered else self._first_byte
        silent = (self._clock.now() - self._wire.silent_since) / 1e9
        if silent >= patience:
            where = "within its answer" if self._wire.answered else "before its answer"
            self._wire.time_out(
                f"{self._url} was silent for {patience:g} s {where}: look at its log, or raise --upstream-timeout"
            )
            return
        self._timer = asyncio.get_running_loop().call_later(min(patience - silent, self._stall), self.start)

    def stop(self) -> None:
        """The answer is over."""
        if self._timer is not None:
            self._timer.cancel()
