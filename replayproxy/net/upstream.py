"""One live server as a source. Sends what the client sent, once: no redirects, no cookies, and one repetition only.

A safe request (RFC 9110 section 9.2.1) that was sent on a connection which had been idle, and which the server closed
without a byte of an answer, is sent once more on a new connection. Nothing else ever is.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar
from urllib.parse import urlsplit

from replayproxy.core import headers
from replayproxy.core.origins import Origin, UrlSearch, neutral
from replayproxy.core.upstream_fields import with_fields
from replayproxy.errors import SettingsError, UpstreamGarbled, UpstreamTimeout, UpstreamUnreachable, setting
from replayproxy.model import Headers, Request
from replayproxy.net import lingering
from replayproxy.net.framing import request_head
from replayproxy.net.pool import MOST_IDLE, Pool
from replayproxy.net.sending import Sending
from replayproxy.net.switching import SwitchingConnection
from replayproxy.net.upstream_connection import UpstreamConnection
from replayproxy.ports import Clock, Listener, Upload

P = TypeVar("P", bound=asyncio.Protocol)

log = logging.getLogger("replayproxy.upstream")

CONNECT_PATIENCE = 5.0

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""Methods that change nothing on the server (RFC 9110 section 9.2.1)."""


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
    def origin(self) -> Origin:
        """What URLs of this server begin with."""
        return Origin("https" if self.tls else "http", self.host.lower().rstrip("."), self.port, self.prefix)

    @property
    def authority(self) -> str:
        """For the Host field."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


class HttpUpstream:
    """A `Source`.

    `first_byte` and `stall` are seconds of silence before the head and within the body; then 504, or an unclean end.
    """

    def __init__(
        self, url: str, clock: Clock, *, first_byte: float = 600, stall: float = 300, fields: Headers = ()
    ) -> None:
        """`fields` are set on each request, in the place of what the client sent; they are not recorded."""
        self.url = url
        self.address = Address.of(url)
        self._clock = clock
        self._first_byte = first_byte
        self._stall = stall
        self._fields = fields
        self._tls = ssl.create_default_context() if self.address.tls else None
        self._pool = Pool(clock.now)
        self._opening = 0
        self.own: tuple[Origin, ...] = (self.address.origin,)
        """Origins whose URLs lead a client back to the proxy: this server's, and those of the others of its pair."""
        self.urls_in_bodies = 0
        """Answers that named this server in their body, where a URL is not changed."""
        self.repeated = 0
        """Requests that were sent once more."""

    @property
    def idle(self) -> int:
        """Connections that are kept for the next request."""
        return len(self._pool)

    @property
    def counts(self) -> Counter[str]:
        """What metrics show: `idle` connections, `repeated` requests, `urls_in_bodies`."""
        return Counter(idle=self.idle, repeated=self.repeated, urls_in_bodies=self.urls_in_bodies)

    async def play(
        self, request: Request, listener: Listener, upload: Upload | None = None, received_at: int | None = None
    ) -> None:
        """Play the server's answer as it comes."""
        started = self._clock.now() if received_at is None else received_at  # the client waits for our connection too
        if (idle := self._pool.take()) is not None:
            try:
                await self._play_over(idle, request, listener, upload, started)
                return
            except UpstreamGarbled:
                # The server closed it while our request was on its way, as it may (RFC 9112 section 9.3.1).
                if not idle.died_unanswered or not _may_be_repeated(request, upload):
                    raise
                self.repeated += 1
        await self._play_over(await self._connect(self._wire), request, listener, upload, started)

    async def send(self, request: Request, listener: Listener, on_sent: Callable[[int], None]) -> None:
        """Play the answer with times that count from the last byte of the request; `on_sent` is called with its time.

        For a driver of load, which opens connections before it needs them (`open_connections`), and repeats nothing.
        """
        wire = self._pool.take() or await self._connect(self._wire)
        await self._play_over(wire, request, listener, None, self._clock.now(), on_sent=on_sent)

    async def open_connections(self, count: int) -> None:
        """Have so many idle connections, at most MOST_IDLE, so that as many `send` at once. Raises `UpstreamError`."""
        # The pool closes what is beyond its bound: to want more would be to connect for ever.
        while len(self._pool) + self._opening < min(count, MOST_IDLE):
            self._opening += 1
            try:
                self._pool.give_back(await self._connect(self._wire))
            finally:
                self._opening -= 1

    async def _play_over(
        self,
        wire: UpstreamConnection,
        request: Request,
        listener: Listener,
        upload: Upload | None,
        started: int,
        *,
        on_sent: Callable[[int], None] | None = None,
    ) -> None:
        """Play the answer that comes over this connection."""
        watch = _Watch(wire, self._clock, self.url, self._first_byte, self._stall)
        urls = UrlSearch(self.address.authority)
        sending = Sending(wire, request, upload, self._clock) if upload is not None else None
        left: asyncio.CancelledError | None = None
        try:
            wire.ask(request, started, urls)
            watch.start()
            wire.write(self._head_of(request, uploading=upload is not None) + request.body)
            if sending is None:
                wire.sent()
                if on_sent is not None:
                    wire.start_clock_at(sent_at := self._clock.now())
                    on_sent(sent_at)
            else:
                sending.start()
            head = await wire.head()
            headed = self._clock.now()
            await listener.head(head._replace(headers=neutral(head.headers, self.own)))
            try:
                end = await wire.play_body(listener)
            except asyncio.CancelledError as error:
                patience = lingering.SOON - (self._clock.now() - headed) / 1e9
                sent = sending is None or sending.whole
                rest = await lingering.rest_of(wire, head, listener, patience) if sent else None
                if rest is None:
                    raise
                end, left = rest, error
            await listener.end(end)
            watch.stop()
            if sending is not None and left is None:
                await sending.read_rest()
        except BaseException:
            wire.close()
            raise
        finally:
            watch.stop()
            if sending is not None:
                await sending.stop()
            if urls.found:
                self._note_url_in_body()
            self._pool.give_back(wire)
        if left is not None:
            raise left

    def _note_url_in_body(self) -> None:
        self.urls_in_bodies += 1
        if self.urls_in_bodies == 1:
            log.warning(
                "an answer holds a URL of %s in its body, which is passed on and recorded as it is: who follows it"
                " leaves the proxy (counted in metrics from here on)",
                self.url,
            )

    async def prepare(self) -> None:
        """Have a connection, so that the next `play` sends at once. Raises `UpstreamError`: nothing has been asked."""
        self._pool.give_back(self._pool.take() or await self._connect(self._wire))

    async def reach(self) -> None:
        """Try whether somebody listens. Raises `UpstreamError`."""
        (await self._connect(self._wire)).close()

    async def upgrade(self, request: Request, listener: Listener) -> SwitchingConnection | None:
        """Ask for a WebSocket, on a connection of its own. Gives the connection if the server has switched.

        Else the server's answer has been played, and the connection is closed. Raises `UpstreamError`.
        """
        wire = await self._connect(lambda: SwitchingConnection(self._clock.now, self.url))
        watch = _Watch(wire, self._clock, self.url, self._first_byte, self._stall)
        try:
            wire.ask(request, self._clock.now())
            watch.start()
            wire.write(self._head_of(request, upgrade=headers.get(request.headers, "upgrade")))
            wire.sent()
            head = await wire.head()
            if wire.switched:
                return wire
            await listener.head(head._replace(headers=neutral(head.headers, self.own)))
            await listener.end(await wire.play_body(listener))
            wire.close()
        except BaseException:
            wire.close()
            raise
        finally:
            watch.stop()
        return None

    def close(self) -> None:
        """Close what is idle."""
        self._pool.close()

    # Connections

    def _head_of(self, request: Request, *, uploading: bool = False, upgrade: str | None = None) -> bytes:
        address = self.address
        if self._fields:
            request = replace(request, headers=with_fields(request.headers, self._fields))
        return request_head(
            request, authority=address.authority, prefix=address.prefix, uploading=uploading, upgrade=upgrade
        )

    def _wire(self) -> UpstreamConnection:
        return UpstreamConnection(self._clock.now, self.url)

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
                f"nobody answers at {self.url} ({error.strerror or error}): start it, or give another"
                f" {setting('upstream')}"
            ) from error
        return made


def _may_be_repeated(request: Request, upload: Upload | None) -> bool:
    return request.method in SAFE and not request.body and upload is None


class _Watch:
    """Ends a connection that has been silent for too long. One timer a stream, armed anew only when it rings."""

    def __init__(self, wire: UpstreamConnection, clock: Clock, url: str, first_byte: float, stall: float) -> None:
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
