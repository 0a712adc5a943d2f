"""Choose the parts and connect them. The only file that knows all rooms."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import orjson

from replayproxy import output_files
from replayproxy.cassette.file_digest import file_digests
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.store import CassetteStore
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.cassette.writer_thread import WriterThread
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.core.pd import PairServer, ProtocolOptions, protocol
from replayproxy.core.policy import Mode
from replayproxy.core.redaction import SALT_BYTES, Redactor
from replayproxy.core.selection import Selection
from replayproxy.core.sequence import AtEnd, Playhead
from replayproxy.core.simulator import Simulator
from replayproxy.core.timing import Pace
from replayproxy.errors import CassetteError, SettingsError
from replayproxy.model import RecordingRef
from replayproxy.net.clock import SystemClock
from replayproxy.net.http_server import DataServer as DataPort
from replayproxy.net.http_server import free_socket, tls_context
from replayproxy.net.pair import PairUpstream
from replayproxy.net.pair_servers import PooledServer, ServerPool
from replayproxy.net.tunnel import Detach, tunnel
from replayproxy.net.upstream import Address, HttpUpstream
from replayproxy.proxy.counters import Counters
from replayproxy.proxy.handler import ReplayProxy
from replayproxy.proxy.misses import Misses
from replayproxy.proxy.player import Player
from replayproxy.proxy.recorder import Recorder
from replayproxy.proxy.request_log import RequestLog
from replayproxy.proxy.result import Cause, RecordingInfo, RunResult
from replayproxy.proxy.stand_in import StandIn
from replayproxy.proxy.upgrades import Upgrades
from replayproxy.settings import Pair, Settings
from replayproxy.worker_process import WorkerProcess

log = logging.getLogger("replayproxy")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a started app listens."""

    url: str
    admin_url: str | None


@dataclass(slots=True)
class _Playable:
    """The recordings that can be played; those of them that this run has recorded, which were asked for; and why these
    are not all, if they are not."""

    recordings: list[RecordingInfo] = field(default_factory=list)
    new: set[RecordingRef] = field(default_factory=set)
    damage: str = ""


class App:
    """One proxy. `start` it, `stop` it; `lifetime` does both, and listens for signals."""

    def __init__(self, settings: Settings, *, journal: RequestLog | None = None) -> None:
        self.settings = settings
        self.journal = journal
        self.tally = Counters()
        self.misses = Misses()
        self.clock = SystemClock()
        self.keeper: CassetteWriter | None = None
        self.writer: WriterThread | None = None
        self.recorder: Recorder | None = None
        self.upstream: HttpUpstream | PairUpstream | None = None
        self.last_report: RunResult | None = None
        """As it was when the app stopped."""
        self.onto: list[Path] = []
        """What was recorded onto, one after the other; nothing after a start that failed."""
        self._ready_file: tuple[int, int] | None = None
        self._socket_file: tuple[int, int] | None = None
        """What these files were when we made them."""
        self._library = CassetteStore(())
        self._draining = False
        self._admin_stopped = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._letting_go: asyncio.Task[None] | None = None
        """The one that would go on for ever."""
        try:
            self._open()
        except BaseException:
            self._close()
            raise

    def _open(self) -> None:
        settings = self.settings
        recording, replaying = settings.recording, settings.replaying
        if settings.listen.ready_file is not None:
            output_files.refuse(settings.listen.ready_file, "--ready-file", settings.shelf)
            _remove_stale(settings.listen.ready_file)
        self.worker = WorkerProcess()
        # A process of its own: the legs of a request must not wait for the masks of those before it.
        self.leg_worker = WorkerProcess()
        redactor = self._redactor()
        matcher = Matcher(self._rules(), redactor)
        if settings.records:
            onto = recording.onto or settings.cassettes[0]
            self.onto.append(onto)
            assert redactor is not None, "nothing is recorded onto what was recorded before secrets were masked"
            self.keeper = CassetteWriter(onto, matcher, full_durability=recording.full_durability, begin=False)
            block = recording.on_full == "block"
            self.writer = WriterThread(self.keeper, self.clock, queue_bytes=recording.queue_bytes, block=block)
            self.writer.moved = self._moved
            self.recorder = Recorder(
                self.writer,
                self.clock,
                self.tally,
                redactor,
                block=block,
                compared=matcher.compared_headers,
                max_body=settings.listen.limits.body,
                fields=recording.fields,
                matcher=matcher,
                worker=self.worker,
            )
        self._library = CassetteStore((), in_turn=self._pace().speed is not None)
        if settings.plays and not settings.records:
            self._open_library(matcher)
        if settings.upstream is not None:
            self.upstream = self._server(settings.upstream)
        if settings.pair is not None:
            self.upstream = self._pair(settings.pair)
        simulation = settings.simulation
        self.proxy = ReplayProxy(
            settings.mode,
            replaying.on_miss,
            clock=self.clock,
            player=Player(self.clock, self._pace(), self.tally, stall=round(replaying.stall * 1e9)),
            tally=self.tally,
            misses=self.misses,
            matcher=matcher,
            playhead=Playhead(
                AtEnd.REFUSE if settings.mode is Mode.AUTO else replaying.at_end, records=self.recorder is not None
            ),
            shelf=self._library if settings.plays else None,
            upstream=self.upstream,
            recorder=self.recorder,
            invent=Simulator(simulation.model, simulation.latency, simulation.seed).invent,
            wanted=Selection(include=recording.include, exclude=recording.exclude, sample=recording.sample),
            journal=self.journal,
            tls=settings.listen.ssl_certfile is not None,
            stand_in=StandIn(self._library if settings.plays else None, settings.replaying.origins),
            worker=self.worker,
        )
        self.server = DataPort(
            self.proxy.answer,
            self._upgrades(redactor).answer,
            now=self.clock.now,
            needs_body=settings.wants_whole_requests,
            answers_unsent=self.proxy.answers_unsent if settings.plays else None,
            api_key=self._api_key(),
            limits=settings.listen.limits,
            host=settings.listen.host,
            page_fields=self.proxy.stand_in.page_fields,
        )

    def _upgrades(self, redactor: Redactor | None) -> Upgrades[Detach]:
        settings = self.settings
        return Upgrades(
            settings.mode,
            settings.replaying.on_miss,
            counters=self.tally,
            misses=self.misses,
            redactor=redactor,
            request_log=self.journal,
            tls=settings.listen.ssl_certfile is not None,
            tunnel=partial(tunnel, self.upstream) if isinstance(self.upstream, HttpUpstream) else None,
        )

    def _open_library(self, matcher: Matcher) -> None:
        """Open what is played. Where this run records, that is after the file is there that it records onto."""
        self._library.open(self.settings.shelf, allow_incomplete=self.settings.replaying.allow_incomplete)
        for cassette in self._library.cassettes:
            self._use_rules(cassette, matcher)
            if self._pace().speed is not None:
                cassette.warm_up()

    def _use_rules(self, cassette: CassetteReader, matcher: Matcher) -> None:
        """Let a cassette be played by the rules of this run, and say where they are not its own."""
        if cassette.rules != matcher.rules:
            log.warning(
                "%s was recorded with %s and is replayed with %s: its keys are derived again; --match-from"
                " cassette keeps its own",
                *(cassette.path, cassette.rules, matcher.rules),
            )
            cassette.use_rules(matcher)
        own, redactor = cassette.redactor, matcher.redactor
        if own is not None and redactor is not None and (own.salt, own.rules) != (redactor.salt, redactor.rules):
            log.warning(
                "%s masks secrets otherwise than the first: requests that hold one may miss here", cassette.path
            )

    def _server(self, url: str) -> HttpUpstream:
        settings = self.settings
        return HttpUpstream(url, self.clock, first_byte=settings.upstream_timeout, stall=settings.stall_timeout)

    def _pair(self, pair: Pair) -> PairUpstream:
        def party(url: str, kv_address: str) -> PairServer:
            host = Address.of(url).host
            bootstrap = f"{host}:{pair.bootstrap_port}"
            if pair.protocol != "bootstrap-room":
                bootstrap = f"http://{f'[{host}]' if ':' in host else host}:{pair.bootstrap_port}"
            return PairServer(url, host, kv_address, bootstrap)

        def servers(role: str, urls: tuple[str, ...], addresses: tuple[str, ...]) -> ServerPool:
            parties = [party(url, kv) for url, kv in zip_longest(urls, addresses, fillvalue="")]
            return ServerPool(role, [PooledServer(self._server(party.url), party) for party in parties], self.clock)

        prefill = servers("prefill", pair.prefill, pair.prefill_kv)
        decode = servers("decode", pair.decode, pair.decode_kv)
        sources = [server.source for server in (*prefill.servers, *decode.servers)]
        for source in sources:  # a URL of any of them leads back to us
            source.own = (source.address.origin, *(other.address.origin for other in sources if other is not source))
        return PairUpstream(
            prefill,
            decode,
            protocol(pair.protocol, ProtocolOptions(pair.params, pair.remote_host)),
            self.clock,
            draw=random.Random(int.from_bytes(os.urandom(16))),
            worker=self.leg_worker,
            decode_alone=pair.on_prefill_error == "decode",
        )

    def _pace(self) -> Pace:
        # What the simulator invents is played at its own pace.
        return Pace(1.0 if self.settings.mode is Mode.SIMULATE else self.settings.replaying.speed)

    def _rules(self) -> MatchRules:
        """The rules asked for; else those of the first cassette that exists; else the default ones."""
        if self.settings.match is not None and self.settings.match_from != "cassette":
            return self.settings.match
        if self.settings.match_from == "flags":
            return MatchRules()
        first = self._first_cassette()
        if first is None:
            return self.settings.match or MatchRules()
        with CassetteReader(first) as cassette:
            return cassette.rules

    def _first_cassette(self) -> Path | None:
        return next((path for path in self.settings.shelf if path.is_file() and path.stat().st_size), None)

    def _redactor(self) -> Redactor | None:
        """That of the first cassette that exists. A new cassette gets a salt of its own, and the rules asked for."""
        first = self._first_cassette()
        new = Redactor(self.settings.recording.salt or os.urandom(SALT_BYTES), self.settings.redact or ())
        if first is None:
            return new
        with CassetteReader(first) as cassette:
            if not cassette.meta:  # its recorder died before it had begun
                return new
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

    # Life

    async def start(self) -> Addresses:
        """Listen. Raises `SettingsError` where that cannot be; then `give_up`, and nothing of the start stays."""
        listen = self.settings.listen
        about_server = await self._ask_the_server() if self.settings.recording.probe else {}
        if listen.uds is not None:
            await self.server.listen_unix(str(listen.uds))
            self._socket_file = _identity(listen.uds)
            url = f"unix:{listen.uds}"
        else:
            tls = tls_context(listen.ssl_certfile, listen.ssl_keyfile)
            host, port = self.server.listen(listen.host, listen.port, tls=tls)
            url = f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
            self._refuse_loop(port)
        admin_url = await self._start_admin() if listen.admin_port is not None else None
        if listen.ready_file is not None:
            said = {"url": url, "admin_url": admin_url, "pid": os.getpid()}
            output_files.write(listen.ready_file, orjson.dumps(said), "--ready-file", self.settings.shelf)
            self._ready_file = _identity(listen.ready_file)
        # Last, and no other task has run since we listen: whatever failed before has written nothing, not a byte of a
        # cassette that is there.
        if self.keeper is not None and self.writer is not None and self.recorder is not None:
            self.keeper.begin_recording()
            if self.settings.plays:
                self._open_library(self.proxy.matcher)
            for name, value in about_server.items():
                self.keeper.note(name, value)
            self.writer.start()
            self._letting_go = asyncio.create_task(self.recorder.run())
            self._tasks.append(self._letting_go)
        return Addresses(url, admin_url)

    async def _ask_the_server(self) -> dict[str, object]:
        """What the server says of itself; of a pair the decode server, which answers such requests live too."""
        from replayproxy.net.server_probe import server_entries  # brings aiohttp, which takes 0.2 s

        pair = self.settings.pair
        url = pair.decode[0] if pair is not None else self.settings.upstream
        redactor = self.proxy.matcher.redactor
        return {} if url is None or redactor is None else await server_entries(url, self.clock, redactor)

    def _refuse_loop(self, port: int) -> None:
        pair = self.settings.pair
        for url in (self.settings.upstream, *(pair.prefill + pair.decode if pair else ())):
            address = Address.of(url) if url is not None else None
            ours = ("127.0.0.1", "localhost", "::1", self.settings.listen.host)
            if address is not None and address.port == port and address.host in ours:
                raise SettingsError(f"the upstream {url} is this proxy itself: give the URL of the real server")

    async def _start_admin(self) -> str:
        # A quarter of the time that this file takes to import; tests, which have no admin port, start without it.
        from replayproxy.admin import asgi
        from replayproxy.admin.app import Replayed, Shown, application
        from replayproxy.admin.metrics import ProxyCollector, registry

        listen = self.settings.listen
        assert listen.admin_port is not None
        bound = free_socket(listen.admin_host, listen.admin_port)
        writer = self.writer
        collector = ProxyCollector(
            self.settings.mode.value,
            self.tally,
            server=self.server,
            recorded=lambda: writer.recorded if writer else 0,
            dropped=lambda: dict(writer.dropped) if writer else {},
            queue_bytes=lambda: writer.queued_bytes if writer else 0,
            degraded=lambda: self.trouble is not None,
            state_bytes=self._state_bytes,
            upstream=lambda: self.upstream.counts if self.upstream is not None else {},
        )
        shown = Shown(
            ready=lambda: ["draining"] if self._draining else [],
            degraded=lambda: self.trouble,
            registry=registry(collector),
            replay=Replayed(self._report_in_time, self._missed, self._missed_as, self.reset)
            if self.settings.plays
            else None,
            rotate=self.rotate if self.settings.mode is Mode.RECORD else None,
        )
        hosts = frozenset(name.lower() for name in ("localhost", listen.admin_host, *listen.admin_allowed_hosts))
        host, port = bound.getsockname()[:2]
        host = f"[{host}]" if ":" in host else host
        serving = asgi.serve(
            application(shown, hosts),
            lambda server: server.serve_on(bound),
            self._admin_stopped,
            now=self.clock.now,
            refusals=self.server.refusals,
        )
        self._tasks.append(asyncio.create_task(serving))
        return f"http://{host}:{port}"

    def _state_bytes(self) -> dict[str, int]:
        """What is kept of past requests and for coming ones, by kind. Each of them is bounded."""
        return {
            "misses": self.misses.bytes,
            "unmasked": 0 if self.recorder is None else self.recorder.pending_bytes,
            "positions": self.proxy.playhead.bytes,
            "request_log": 0 if self.journal is None else self.journal.bytes,
            **self._library.state_bytes(),
        }

    def report(self) -> RunResult:
        """What has become of this run so far. After `stop`, which closes the cassettes, it is in `last_report`."""
        return self._report(self._playable())

    async def _report_in_time(self) -> list[bytes]:
        """The same as JSON, in parts; all of it is made in a thread, so that no stream is late for it."""
        causes = self._causes()  # now, because the loop may add to them meanwhile

        def encoded() -> list[bytes]:
            # What is recorded onto changes: its digest would be another one when the report is read.
            digests = {} if self.settings.records else file_digests(self.settings.cassettes)
            return list(replace(self._report(self._playable(), causes), digests=digests).encoded())

        return await self._library.aside(encoded)

    async def _missed(self) -> list[dict[str, Any]]:
        causes = self._causes()
        return await self._library.aside(lambda: [cause.document() for cause in causes])

    def _missed_as(self, name: str) -> dict[str, Any] | None:
        return next((cause.document() for cause in self._causes() if cause.id == name), None)

    def _causes(self) -> tuple[Cause, ...]:
        return tuple(Cause(name, miss, times) for name, miss, times in self.misses.causes.values())

    def reset(self, scope: str | None = None, counts: bool = False) -> None:
        """Equal requests get their first recording again, in this scope or in all.

        `counts`: also forget what was counted, and the misses. No recording is touched.
        """
        self.proxy.playhead.reset(scope)
        if counts:
            self.tally.reset()
            self.misses.clear()

    async def rotate(self) -> tuple[str, str]:
        """Go on recording onto a new cassette beside the first, named after the time, and seal the one so far.

        Gives both names. Raises `CassetteError` where that cannot be; then recording goes on where it was.
        """
        assert self.writer is not None
        first, old = self.onto[0], self.onto[-1]
        now = datetime.fromtimestamp(self.clock.today() / 1e9, UTC)
        new = first.with_name(f"{first.stem}-{now:%Y%m%dT%H%M%S.%f}"[:-3] + f"Z{first.suffix}")
        await self.writer.rotate(new)
        self.onto.append(new)
        return str(old), str(new)

    def _moved(self, old: Path, new: Path) -> None:
        """The file of the recording was taken away, and it goes on in another one: what is played comes from there."""
        if new != old:
            self.onto.append(new)
        try:
            self._library.reopen(old, new)
        except CassetteError as error:
            log.error("what is recorded from now on is not played: %s", error)

    def _playable(self) -> _Playable:
        """What can be replayed, as far as it can be read: a damaged file must keep nothing from being sealed."""
        found = _Playable()
        try:
            found.recordings.extend(self._listed())
            if self.writer is not None:
                found.new.update(place for _, place, *_ in self._library.playable(new=True))
        except CassetteError as error:
            found.damage = str(error)
        return found

    def playable(self) -> list[RecordingInfo]:
        """Everything that can be played now, oldest first. Raises `CassetteError`."""
        return list(self._listed())

    def _listed(self) -> Iterator[RecordingInfo]:
        for cassette, place, short_id, method, path in self._library.playable():
            yield RecordingInfo(cassette, short_id, place, method, path)

    def _report(self, playable: _Playable, causes: tuple[Cause, ...] | None = None) -> RunResult:
        tally = self.tally
        return RunResult(
            mode=self.settings.mode.value,
            cassettes=tuple(map(str, self.settings.cassettes)),
            recordings=len(playable.recordings),
            served=tally.requests["replay"],
            forwarded=tally.requests["forward"],
            recorded=self.writer.recorded if self.writer else 0,
            dropped=sum(self.writer.dropped.values()) if self.writer else 0,
            simulated=tally.requests["simulate"],
            causes=self._causes() if causes is None else causes,
            unused=tuple(
                recording
                for recording in playable.recordings
                if recording.place not in tally.played and recording.place not in playable.new
            ),
            lateness_max=tally.lateness_max,
            forgotten=dict(self.misses.forgotten),
            damage=playable.damage,
        )

    @property
    def trouble(self) -> str | None:
        """Why recording is degraded, if it is; what was lost stays lost."""
        return None if self.writer is None else self.writer.trouble or self.writer.loss

    async def stop(self, drain: float | None = None) -> None:
        """Take no more requests, let answers finish, mark those that could not, write, seal."""
        self._draining = True
        self.proxy.player.release()
        await self.server.drain(self.settings.listen.drain if drain is None else drain)
        if self.recorder is not None:
            self.recorder.stopping = True
        await self.server.cut()
        if self.upstream is not None:
            self.upstream.close()
        if self.recorder is not None:
            await self.recorder.finish()
        for worker in (self.worker, self.leg_worker):
            await asyncio.to_thread(worker.close)
        playable = self._playable()
        if self.writer is not None:
            self._library.close()  # a reader would keep the file from being sealed
            await self.writer.stop()
        self.last_report = self._report(playable)
        await self._end_tasks()
        self._close(keeper=False)

    async def _end_tasks(self) -> None:
        self._admin_stopped.set()
        if self._letting_go is not None:
            self._letting_go.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task

    async def give_up(self) -> None:
        """As `stop`, at once, however far the start has come; a start that failed leaves no file behind."""
        if self.writer is not None and self.writer.started:
            await self.stop(drain=0)
            return
        await self.server.drain(0)
        await self.server.cut()
        if self.upstream is not None:
            self.upstream.close()
        await self._end_tasks()
        self._close()
        self.onto.clear()

    def _close(self, *, keeper: bool = True) -> None:
        self._library.close()
        if keeper and self.keeper is not None:
            self.keeper.discard()
        self.clock.close()
        # What says that we are there goes with us, unless somebody else has put his own in its place.
        listen = self.settings.listen
        for path, ours in ((listen.ready_file, self._ready_file), (listen.uds, self._socket_file)):
            if path is not None and ours is not None and _identity(path) == ours:
                with suppress(OSError):
                    path.unlink()


def _remove_stale(ready_file: Path) -> None:
    """Remove what a proxy that was killed has left: whoever waits for the file would take it for ours."""
    with suppress(OSError, orjson.JSONDecodeError):
        if ready_file.is_file() and set(orjson.loads(ready_file.read_bytes())) == {"url", "admin_url", "pid"}:
            ready_file.unlink()


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of a file or socket of ours; None where it is not there, or is a pipe or device."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) or stat.S_ISSOCK(found.st_mode) else None
