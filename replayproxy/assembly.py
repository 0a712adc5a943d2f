"""Choose the parts and connect them. The only file that knows all rooms."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import orjson
import uvloop

from replayproxy.cassette.cassette import Cassette
from replayproxy.cassette.keeper import Keeper
from replayproxy.cassette.library import Library
from replayproxy.cassette.writer import Writer
from replayproxy.core.matching import Matcher, Rules
from replayproxy.core.pd import Knobs, Party, protocol
from replayproxy.core.policy import Mode, looks_for_recordings
from replayproxy.core.redaction import Redactor
from replayproxy.core.selection import Selection
from replayproxy.core.sequence import AtEnd, Playhead
from replayproxy.core.simulator import Simulator
from replayproxy.core.timing import Pace
from replayproxy.errors import ClientError, SettingsError, UpstreamError
from replayproxy.inspector.admin import Shown, application, serve_admin
from replayproxy.inspector.metrics import ProxyCollector, registry
from replayproxy.model import Request
from replayproxy.net.clock import SystemClock
from replayproxy.net.pair import PairUpstream
from replayproxy.net.server import Server as DataPort
from replayproxy.net.server import free_socket, tls_context
from replayproxy.net.servers import Server, Servers
from replayproxy.net.tunnel import tunnel
from replayproxy.net.upstream import Address, HttpUpstream
from replayproxy.proxy.handler import ReplayProxy
from replayproxy.proxy.misses import Misses
from replayproxy.proxy.player import Player
from replayproxy.proxy.recorder import Recorder
from replayproxy.proxy.tally import Tally
from replayproxy.settings import Pair, Settings

log = logging.getLogger("replayproxy")

COLLECTED = (20_000, 20, 50)
"""Allocations before the collector looks: Python's 700 are for programs that make cycles with every request."""

SWITCH_INTERVAL = 0.000_5
"""Seconds. The writing thread may keep the interpreter for so long; Python's own 5 ms would show in recorded times."""


SALT_BYTES = 16
"""Of the keyed hashes in masks: as hard to guess as a key."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a started app listens."""

    url: str
    admin_url: str | None


class App:
    """One proxy. `start` it, `stop` it; or `run` it until a signal."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.tally = Tally()
        self.misses = Misses()
        self.clock = SystemClock()
        self.keeper: Keeper | None = None
        self.writer: Writer | None = None
        self.recorder: Recorder | None = None
        self.upstream: HttpUpstream | PairUpstream | None = None
        self._cassettes: list[Cassette] = []
        self._draining = False
        self._admin_stopped = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        try:
            self._open()
        except BaseException:
            self._close()
            raise

    def _open(self) -> None:
        settings = self.settings
        recording, replaying = settings.recording, settings.replaying
        redactor = self._redactor()
        matcher = Matcher(self._rules(), redactor)
        if settings.records:
            self.keeper = Keeper(settings.cassettes[0], matcher, full=recording.full_durability)
            self.writer = Writer(self.keeper, self.clock, queue_bytes=recording.queue_bytes)
            self.recorder = Recorder(
                self.writer, self.clock, self.tally, block=recording.on_full == "block", redactor=redactor
            )
        if settings.plays:
            for path in settings.cassettes:
                cassette = Cassette(path, allow_incomplete=replaying.allow_incomplete)
                self._cassettes.append(cassette)
                if cassette.rules != matcher.rules:
                    log.warning("%s was recorded with other match rules: deriving its keys again", path)
                    cassette.use_rules(matcher)
                own = cassette.redactor
                if (
                    own is not None
                    and redactor is not None
                    and (own.salt, own.rules) != (redactor.salt, redactor.rules)
                ):
                    log.warning("%s masks secrets otherwise than the first: requests that hold one may miss here", path)
        if settings.upstream is not None:
            self.upstream = self._server(settings.upstream)
        if settings.pair is not None:
            self.upstream = self._pair(settings.pair)
        simulation = settings.simulation
        self.proxy = ReplayProxy(
            settings.mode,
            replaying.on_miss,
            clock=self.clock,
            player=Player(self.clock, self._pace(), self.tally),
            tally=self.tally,
            misses=self.misses,
            matcher=matcher,
            playhead=Playhead(AtEnd.REFUSE if settings.mode is Mode.AUTO else replaying.at_end),
            shelf=Library(self._cassettes) if settings.plays else None,
            upstream=self.upstream,
            recorder=self.recorder,
            invent=Simulator(simulation.model, simulation.latency, simulation.seed).invent,
            wanted=Selection(include=recording.include, exclude=recording.exclude, sample=recording.sample),
        )
        self.server = DataPort(
            self.proxy.answer,
            self._upgrade,
            now=self.clock.now,
            needs_body=looks_for_recordings(settings.mode)
            or settings.mode is Mode.SIMULATE
            or settings.pair is not None,
            api_key=self._api_key(),
        )

    def _server(self, url: str) -> HttpUpstream:
        settings = self.settings
        return HttpUpstream(url, self.clock, first_byte=settings.upstream_timeout, stall=settings.stall_timeout)

    def _pair(self, pair: Pair) -> PairUpstream:
        def party(url: str, kv_address: str) -> Party:
            host = Address.of(url).host
            bootstrap = f"{host}:{pair.bootstrap_port}"
            if pair.protocol != "bootstrap-room":
                bootstrap = f"http://{f'[{host}]' if ':' in host else host}:{pair.bootstrap_port}"
            return Party(url, host, kv_address, bootstrap)

        def servers(role: str, urls: tuple[str, ...], addresses: tuple[str, ...]) -> Servers:
            parties = [party(url, kv) for url, kv in zip_longest(urls, addresses, fillvalue="")]
            return Servers(role, [Server(self._server(party.url), party) for party in parties], self.clock)

        return PairUpstream(
            servers("prefill", pair.prefill, pair.prefill_kv),
            servers("decode", pair.decode, pair.decode_kv),
            protocol(pair.protocol, Knobs(pair.params, pair.remote_host)),
            self.clock,
            draw=random.Random(int.from_bytes(os.urandom(16))),
            decode_alone=pair.on_prefill_error == "decode",
        )

    def _pace(self) -> Pace:
        # What the simulator invents is played at its own pace.
        return Pace(1.0 if self.settings.mode is Mode.SIMULATE else self.settings.replaying.speed)

    def _rules(self) -> Rules:
        """The rules asked for; else those of the first cassette that exists; else the default ones."""
        if self.settings.match is not None:
            return self.settings.match
        first = self._first_cassette()
        if first is None:
            return Rules()
        with Cassette(first) as cassette:
            return cassette.rules

    def _first_cassette(self) -> Path | None:
        return next((path for path in self.settings.cassettes if path.exists() and path.stat().st_size), None)

    def _redactor(self) -> Redactor | None:
        """That of the first cassette that exists. A new cassette gets a salt of its own, and the rules asked for."""
        first = self._first_cassette()
        if first is None:
            return Redactor(os.urandom(SALT_BYTES), self.settings.redact or ())
        with Cassette(first) as cassette:
            if not cassette.meta:  # its recorder died before it had begun
                return Redactor(os.urandom(SALT_BYTES), self.settings.redact or ())
            stored = cassette.redactor
        asked = self.settings.redact
        if stored is None and self.settings.records:
            raise SettingsError(
                f"{first} was recorded before secrets were masked: run `replayproxy redact {first}`, then record"
                " further; or record to another file"
            )
        if asked is not None and (stored is None or stored.rules != asked):
            raise SettingsError(
                f"{first} was recorded with other redaction rules ({' '.join(stored.rules) if stored else 'none'}):"
                f" leave --redact away, run `replayproxy redact {first}` with these, or record to another file"
            )
        return stored

    def _api_key(self) -> str | None:
        file = self.settings.listen.api_key_file
        if file is None:
            return None
        try:
            key = file.read_text().strip()
        except OSError as error:
            raise SettingsError(f"--api-key-file {file} cannot be read: {error.strerror}") from error
        if not key:
            raise SettingsError(f"--api-key-file {file} is empty: put the key into it")
        return key

    async def _upgrade(self, request: Request, client: asyncio.Transport, rest: bytes) -> None:
        """WebSocket and the like: through to the live server, unrecorded; nowhere else."""
        shown = (self.proxy.matcher.redactor or Redactor(b"")).request(request)
        if not isinstance(self.upstream, HttpUpstream):
            self.tally.misses["unsupported"] += 1
            raise ClientError(
                f"{shown.method} {shown.path} asks for another protocol than HTTP, which is not recorded: send it"
                " to a live server",
                status=404,
                code="unsupported",
            )
        self.tally.requests["upgrade"] += 1
        if self.tally.requests["upgrade"] == 1:
            log.warning("%s asks for an upgrade: forwarded, not recorded (counted in metrics from here on)", shown.path)
        await tunnel(request, client, self.upstream, rest)

    # Life

    async def start(self) -> Addresses:
        """Listen. Raises `SettingsError` where that cannot be."""
        sys.setswitchinterval(SWITCH_INTERVAL)
        listen = self.settings.listen
        if self.writer is not None and self.recorder is not None:
            self.writer.start()
            self._tasks.append(asyncio.create_task(self.recorder.run()))
        if listen.uds is not None:
            await self.server.listen_unix(str(listen.uds))
            url = f"unix:{listen.uds}"
        else:
            tls = tls_context(listen.ssl_certfile, listen.ssl_keyfile)
            host, port = self.server.listen(listen.host, listen.port, tls=tls)
            url = f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
            self._refuse_loop(port)
        admin_url = await self._start_admin() if listen.admin_port is not None else None
        gc.collect()
        gc.freeze()  # what is here now stays: the collector need not look at it again
        gc.set_threshold(*COLLECTED)
        if listen.ready_file is not None:
            said = {"url": url, "admin_url": admin_url, "pid": os.getpid()}
            _write_whole(listen.ready_file, orjson.dumps(said))
        return Addresses(url, admin_url)

    def _refuse_loop(self, port: int) -> None:
        pair = self.settings.pair
        for url in (self.settings.upstream, *(pair.prefill + pair.decode if pair else ())):
            address = Address.of(url) if url is not None else None
            ours = ("127.0.0.1", "localhost", "::1", self.settings.listen.host)
            if address is not None and address.port == port and address.host in ours:
                raise SettingsError(f"the upstream {url} is this proxy itself: give the URL of the real server")

    async def _start_admin(self) -> str:
        listen = self.settings.listen
        assert listen.admin_port is not None
        bound = free_socket(listen.admin_host, listen.admin_port)
        writer = self.writer
        collector = ProxyCollector(
            self.settings.mode.value,
            self.tally,
            connections=lambda: self.server.connections,
            recorded=lambda: writer.recorded if writer else 0,
            dropped=lambda: dict(writer.dropped) if writer else {},
            queue_bytes=lambda: writer.queued_bytes if writer else 0,
            degraded=lambda: self.trouble is not None,
        )
        shown = Shown(
            ready=lambda: ["draining"] if self._draining else [],
            degraded=lambda: self.trouble,
            registry=registry(collector),
        )
        hosts = frozenset({"127.0.0.1", "localhost", "[::1]", listen.admin_host})
        host, port = bound.getsockname()[:2]
        serving = serve_admin(application(shown, hosts), bound.detach(), self._admin_stopped)
        self._tasks.append(asyncio.create_task(serving))
        return f"http://{host}:{port}"

    @property
    def trouble(self) -> str | None:
        """Why recording is degraded, if it is."""
        return self.writer.trouble if self.writer is not None else None

    async def stop(self, drain: float | None = None) -> None:
        """Take no more requests, let answers finish, mark those that could not, write, seal."""
        self._draining = True
        await self.server.drain(self.settings.listen.drain if drain is None else drain)
        if self.recorder is not None:
            self.recorder.stopping = True
        await self.server.cut()
        if self.upstream is not None:
            self.upstream.close()
        if self.writer is not None:
            for cassette in self._cassettes:  # a reader would keep the file from being sealed
                cassette.close()
            await self.writer.stop()
        self._admin_stopped.set()
        if self.recorder is not None:
            self._tasks[0].cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        self._close(keeper=False)

    def _close(self, *, keeper: bool = True) -> None:
        for cassette in self._cassettes:
            cassette.close()
        if keeper and self.keeper is not None:
            self.keeper.close()
        self.clock.close()


async def reach(app: App, patience: float) -> None:
    """Wait until the upstream accepts a connection. Raises `UpstreamError` when patience ends."""
    if app.upstream is None:
        return
    deadline = app.clock.now() + round(patience * 1e9)
    while True:
        try:
            await app.upstream.reach()
            return
        except UpstreamError:
            if app.clock.now() >= deadline:
                raise
            await app.clock.sleep_until(min(deadline, app.clock.now() + 500_000_000))


async def run(settings: Settings, ready: Callable[[App, Addresses], None], *, wait_upstream: float = 0) -> App:
    """Serve until SIGINT or SIGTERM; a second one ends the draining. Gives the stopped app, for its last words."""
    app = App(settings)
    loop = asyncio.get_running_loop()
    signals: asyncio.Queue[None] = asyncio.Queue()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, signals.put_nowait, None)
    stopping: asyncio.Task[None] | None = None
    try:
        reaching = asyncio.create_task(reach(app, wait_upstream))
        first = asyncio.create_task(signals.get())
        await asyncio.wait((reaching, first), return_when=asyncio.FIRST_COMPLETED)
        if first.done():
            reaching.cancel()
            return app
        await reaching
        ready(app, await app.start())
        await first
        stopping = asyncio.create_task(app.stop())
        second = asyncio.create_task(signals.get())
        await asyncio.wait((stopping, second), return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            app.server.hurry()
        second.cancel()
        await stopping
    finally:
        if stopping is None:
            await app.stop(drain=0) if app.writer is not None and app.writer.started else app._close()
    return app


def serve(settings: Settings, ready: Callable[[App, Addresses], None], *, wait_upstream: float = 0) -> App:
    """`run` on uvloop, in this thread."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run(settings, ready, wait_upstream=wait_upstream))


def _write_whole(path: Path, content: bytes) -> None:
    """Who waits for this file never sees half of it."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        raise SettingsError(f"--ready-file {path} cannot be written: {error.strerror}") from error
