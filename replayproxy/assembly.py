"""Choose the parts of a proxy and connect them. The only file that knows all packages; it starts nothing.

Settings ──▶ assemble ──▶ Parts ──▶ Control (what entry points use), App (start and stop)
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from replayproxy.agreement import agree, apply_rules
from replayproxy.cassette.segments import SegmentNames
from replayproxy.cassette.store import CassetteStore
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.cassette.writer_thread import WriterThread
from replayproxy.core.faults.choice import FaultChooser
from replayproxy.core.faults.rate_limits import RateLimits
from replayproxy.core.identity.rules import Matcher
from replayproxy.core.pd import PairServer, ProtocolOptions, protocol
from replayproxy.core.policy import Mode, OnMiss
from replayproxy.core.selection import Selection
from replayproxy.core.sequence import AtEnd, Playhead
from replayproxy.core.timing import Pace
from replayproxy.errors import SettingsError, setting
from replayproxy.incident_window import IncidentWindow, WindowOptions, ring_of, ring_policy
from replayproxy.model import Request
from replayproxy.net.clock import SystemClock
from replayproxy.net.http_server import DataServer
from replayproxy.net.pair import PairUpstream
from replayproxy.net.pair_servers import PooledServer, ServerPool
from replayproxy.net.tunnel import Detach, tunnel
from replayproxy.net.upstream import Address, HttpUpstream
from replayproxy.ports import Clock, Source
from replayproxy.proxy.carry import Carry
from replayproxy.proxy.counters import Counters
from replayproxy.proxy.fault_injector import FaultInjector, FaultSettings
from replayproxy.proxy.handler import ReplayProxy
from replayproxy.proxy.misses import Misses
from replayproxy.proxy.player import Player
from replayproxy.proxy.recorder import Recorder
from replayproxy.proxy.request_log import RequestLog
from replayproxy.proxy.run_state import RunState
from replayproxy.proxy.stand_in import StandIn
from replayproxy.proxy.upgrades import Upgrades
from replayproxy.segment_rotation import SegmentedFiles, SegmentPolicy, SegmentRotation
from replayproxy.server_watch import ServerWatch
from replayproxy.settings import Pair, RecordingSettings, Settings
from replayproxy.views.access import AccessEntry
from replayproxy.worker_process import WorkerProcess

if TYPE_CHECKING:
    from replayproxy.recorded_server import RecordedServer
    from replayproxy.simulated_server import SimulatedServer


ROOMY = 1_000_000
"""Sequences that run at once, and tokens of a context, in a simulator that stands in for a server without limits."""


@dataclass(frozen=True, slots=True)
class Recording:
    """The parts of a proxy that records: requests and answers go from the recorder over a thread to the cassette."""

    recorder: Recorder
    writer_thread: WriterThread
    cassette_writer: CassetteWriter
    server_watch: ServerWatch
    """Keeps the server's own state beside the exchanges, where that was asked for."""
    rotation: SegmentRotation
    files: list[Path]
    """The files to which this run has recorded, in their order."""
    window: IncidentWindow | None = None
    """If only incidents are kept."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The connected parts of one proxy. What a mode has no use for is None."""

    settings: Settings
    clock: SystemClock
    state: RunState
    store: CassetteStore
    """The recordings. Open if this proxy plays without recording; else `open_recordings` opens them."""
    recording: Recording | None
    upstream: HttpUpstream | PairUpstream | None
    worker: WorkerProcess
    leg_worker: WorkerProcess
    proxy: ReplayProxy
    server: DataServer
    faults: FaultInjector | None = None
    """Between the server and the proxy, where faults or limits are set."""
    carry: Carry | None = None
    """With `--carry`: the ids that stand for recorded ones."""
    simulated: SimulatedServer | None = None
    recorded_server: RecordedServer | None = None
    """The state of the server whose recordings a replay plays."""

    def close(self) -> None:
        """Close the files. A cassette that was begun must have been sealed before, else it is discarded."""
        self.store.close()
        if self.recording is not None:
            self.recording.server_watch.close()
            self.recording.cassette_writer.discard()
        if self.simulated is not None:
            self.simulated.close()
        self.clock.close()


def assemble(
    settings: Settings,
    request_log: RequestLog | None = None,
    access: Callable[[AccessEntry], None] | None = None,
) -> Parts:
    """Build and connect the parts. Raises `SettingsError`, `CassetteError`; then no file stays open.

    `access` is called with each answered request, from the loop or the writing thread; it must not wait.
    """
    with ExitStack() as undo:
        clock, counters = SystemClock(), Counters()
        # Two processes: the legs of a request must not wait for the masks of those before it.
        worker, leg_worker = WorkerProcess(), WorkerProcess()
        undo.callback(clock.close)
        matcher = agree(settings)
        recording = None
        if settings.records:
            recording = _recording(settings, matcher, clock, counters, worker, access=access)
            undo.callback(recording.cassette_writer.discard)
            undo.callback(recording.server_watch.close)
        store = CassetteStore((), in_turn=_pace(settings).speed is not None)
        undo.callback(store.close)
        if settings.plays and recording is None:
            open_recordings(store, settings, matcher)
        upstream = _upstream(settings, clock, leg_worker)
        simulated = _simulated(settings, clock, counters)
        playhead = Playhead(
            AtEnd.REFUSE if settings.mode is Mode.AUTO else settings.replaying.at_end,
            records=recording is not None,
        )
        state = RunState(playhead, counters, Misses(), request_log)
        recorded_server = _recorded_server(settings, store, clock)
        carry = Carry(store, matcher, worker, counters) if settings.replaying.carry else None
        proxy = ReplayProxy(
            settings.mode,
            settings.replaying.on_miss,
            clock=clock,
            player=Player(clock, _pace(settings), counters, stall=round(settings.replaying.stall * 1e9)),
            state=state,
            matcher=matcher,
            store=store if settings.plays else None,
            upstream=upstream,
            recorder=recording.recorder if recording is not None else None,
            simulator=simulated.simulator if simulated is not None else _stand_in(settings, clock, counters),
            is_recorded=_selection(settings, recording),
            tls=settings.listen.ssl_certfile is not None,
            stand_in=StandIn(
                store if settings.plays else None,
                settings.replaying.origins,
                metrics=None if recorded_server is None else recorded_server.page,
            ),
            worker=worker,
            rechunk=None if settings.replaying.rechunk is None else settings.replaying.rechunk.apply,
            access=access,
            playing=None if recorded_server is None else recorded_server.playing,
            carry=carry,
        )
        faults = _faults(settings, proxy, worker) if _may_inject(settings) else None
        upgrades: Upgrades[Detach] = Upgrades(
            settings.mode,
            settings.replaying.on_miss,
            state=state,
            redactor=matcher.redactor,
            tls=settings.listen.ssl_certfile is not None,
            tunnel=partial(tunnel, upstream) if isinstance(upstream, HttpUpstream) else None,
        )
        server = DataServer(
            proxy.answer if faults is None else faults.answer,
            upgrades.answer,
            now=clock.now,
            needs_body=settings.wants_whole_requests,
            answers_unsent=proxy.answers_unsent if settings.plays else None,
            api_key=_api_key(settings),
            limits=settings.listen.limits,
            host=settings.listen.host,
            page_fields=proxy.stand_in.page_fields,
        )
        undo.pop_all()
    return Parts(
        settings, clock, state, store, recording, upstream, worker, leg_worker, proxy, server, faults, carry,
        simulated, recorded_server,
    )  # fmt: skip


def open_recordings(store: CassetteStore, settings: Settings, matcher: Matcher) -> None:
    """Open what is played. A proxy that records does so when the file exists to which it records.

    Raises `CassetteError`.
    """
    store.open(settings.played_cassettes, allow_incomplete=settings.replaying.allow_incomplete)
    for cassette in store.cassettes:
        apply_rules(cassette, matcher)
        if _pace(settings).speed is not None:
            cassette.warm_up()


def _recording(
    settings: Settings,
    matcher: Matcher,
    clock: Clock,
    counters: Counters,
    worker: WorkerProcess,
    *,
    access: Callable[[AccessEntry], None] | None,
) -> Recording:
    recording = settings.recording
    assert matcher.redactor is not None, "a cassette from before redaction is not recorded further"
    names, policy = SegmentNames(settings.recorded_file, recording.replica), _segment_policy(recording)
    window = _window(settings, policy, clock)
    if window is not None:
        names, policy = ring_of(names.base, names.replica), ring_policy(_window_options(recording), recording.min_free)
        try:
            names.base.parent.mkdir(0o700, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"{names.base.parent} cannot be created: {error.strerror}") from error
    # With segments, what an earlier run has written is an old one: it would be the oldest and the newest.
    goes_on = window is None and (not policy.is_on or not names.base.exists())
    file = names.base if goes_on else names.at(clock.today())
    cassette_writer = CassetteWriter(file, matcher, full_durability=recording.full_durability, begin=False)
    block = recording.on_full == "block"
    writer_thread = WriterThread(cassette_writer, clock, queue_bytes=recording.queue_bytes, block=block, access=access)
    try:
        server_watch = ServerWatch(settings, clock, writer_thread.keep_state)
    except BaseException:
        cassette_writer.discard()
        raise
    recorder = Recorder(
        writer_thread,
        clock,
        counters,
        matcher.redactor,
        block=block,
        compared=matcher.compared_headers,
        max_body=settings.listen.limits.body,
        fields=recording.fields,
        matcher=matcher,
        worker=worker,
    )
    rotation = SegmentRotation(writer_thread, clock, SegmentedFiles(names, files := [file]), policy, matcher)
    if window is not None:
        counters.traffic.conditions = recording.keep_on
        counters.traffic.on_incident = window.keep
    return Recording(recorder, writer_thread, cassette_writer, server_watch, rotation, files, window)


def _window_options(recording: RecordingSettings) -> WindowOptions:
    assert recording.window is not None
    return WindowOptions(round(recording.window * 1e9), round(recording.keep_after * 1e9), recording.window_size)


def _window(settings: Settings, policy: SegmentPolicy, clock: Clock) -> IncidentWindow | None:
    recording = settings.recording
    if recording.window is None:
        return None
    # A process of its own: what masks long requests is not to wait for a merge.
    return IncidentWindow(
        settings.recorded_file,
        recording.replica,
        _window_options(recording),
        policy,
        clock=clock,
        worker=WorkerProcess(),
    )


def _segment_policy(recording: RecordingSettings) -> SegmentPolicy:
    what, bound = recording.rotate or ("", 0.0)
    return SegmentPolicy(
        size=round(bound) if what == "size" else None,
        age=round(bound * 1e9) if what == "age" else None,
        keep=recording.keep,
        max_size=recording.max_size,
        min_free=recording.min_free,
    )


def _selection(settings: Settings, recording: Recording | None) -> Callable[[Request], bool]:
    """Which requests are recorded: those that are selected, while there is room."""
    chosen = settings.recording
    selection = Selection(include=chosen.include, exclude=chosen.exclude, sample=chosen.sample)
    if recording is None or chosen.min_free is None:
        return selection
    rotation = recording.rotation
    return lambda request: selection(request) and rotation.admits()


def _faults(settings: Settings, proxy: ReplayProxy, worker: WorkerProcess) -> FaultInjector:
    faulting, simulation = settings.faulting, settings.simulation
    return FaultInjector(
        FaultSettings(
            FaultChooser(faulting.faults, faulting.injection, seed=simulation.seed),
            by_header=faulting.by_header,
            limits=RateLimits(faulting.rpm, faulting.tpm),
            model=simulation.model if settings.mode is Mode.SIMULATE else None,
            seed=simulation.seed,
            has_scopes=settings.plays,
        ),
        proxy.answer,
        clock=proxy.clock,
        matcher=proxy.matcher,
        worker=worker,
        state=proxy.state,
        readable=proxy.stand_in.readable,
    )


def _may_inject(settings: Settings) -> bool:
    """Whether requests may get faults: now, or when somebody sets some through the admin port."""
    return settings.faulting.is_on or (settings.mode is Mode.SIMULATE and settings.listen.admin_port is not None)


def _pace(settings: Settings) -> Pace:
    return Pace(settings.replaying.speed)


def _simulated(settings: Settings, clock: Clock, counters: Counters) -> SimulatedServer | None:
    """The server of `simulate`, which alone loads it."""
    if settings.mode is not Mode.SIMULATE:
        return None
    from replayproxy.recorded_traffic import with_recordings
    from replayproxy.simulated_server import SimulatedServer

    return SimulatedServer(with_recordings(settings.simulation), clock, late=counters.late)


def _recorded_server(settings: Settings, store: CassetteStore, clock: Clock) -> RecordedServer | None:
    """The state of the recorded server, in a replay. Live, clients get that of the server itself."""
    if settings.mode is not Mode.REPLAY:
        return None
    from replayproxy.recorded_server import RecordedServer

    return RecordedServer(settings, store, clock)


def _stand_in(settings: Settings, clock: Clock, counters: Counters) -> Source | None:
    """What invents the answers that are missing, with `--on-miss simulate`."""
    if settings.mode is not Mode.REPLAY or settings.replaying.on_miss is not OnMiss.SIMULATE:
        return None
    from replayproxy.simulator.simulator import Simulator

    # In the place of a server of which any model may be wanted, and which has room for everybody. It takes as long as
    # the recorded one did, unless recordings are played as fast as possible.
    options = replace(settings.simulation, any_model=True, max_num_seqs=ROOMY, max_model_len=ROOMY)
    if settings.replaying.speed is not None:
        from replayproxy.recorded_traffic import with_times_of

        options = with_times_of(options, settings.played_cassettes[0], settings.replaying.speed)
    return Simulator(options, clock, late=counters.late)


def _api_key(settings: Settings) -> str | None:
    file = settings.listen.api_key_file
    if file is None:
        return None
    try:
        key = file.read_text().strip()
    except OSError as error:
        raise SettingsError(f"{setting('api_key_file', file)} cannot be read: {error.strerror}") from error
    if not key:
        raise SettingsError(f"{setting('api_key_file', file)} is empty: put the key into it")
    return key


# Live servers


def _upstream(settings: Settings, clock: Clock, leg_worker: WorkerProcess) -> HttpUpstream | PairUpstream | None:
    if settings.pair is not None:
        return _pair(settings, settings.pair, clock, leg_worker)
    return None if settings.upstream is None else _server(settings, settings.upstream, clock)


def _server(settings: Settings, url: str, clock: Clock) -> HttpUpstream:
    return HttpUpstream(
        url,
        clock,
        first_byte=settings.upstream_timeout,
        stall=settings.stall_timeout,
        fields=settings.upstream_fields,
    )


def _pair(settings: Settings, pair: Pair, clock: Clock, leg_worker: WorkerProcess) -> PairUpstream:
    def pool(role: str, urls: tuple[str, ...], kv_addresses: tuple[str, ...]) -> ServerPool:
        servers = [_pair_server(pair, url, kv) for url, kv in zip_longest(urls, kv_addresses, fillvalue="")]
        return ServerPool(
            role, [PooledServer(_server(settings, server.url, clock), server) for server in servers], clock
        )

    prefill = pool("prefill", pair.prefill, pair.prefill_kv)
    decode = pool("decode", pair.decode, pair.decode_kv)
    sources = [server.source for server in (*prefill.servers, *decode.servers)]
    for source in sources:  # a URL of any of them in an answer leads back to this proxy
        source.own = (source.address.origin, *(other.address.origin for other in sources if other is not source))
    return PairUpstream(
        prefill,
        decode,
        protocol(pair.protocol, ProtocolOptions(pair.params, pair.remote_host)),
        clock,
        draw=random.Random(int.from_bytes(os.urandom(16))),
        worker=leg_worker,
        decode_alone=pair.on_prefill_error == "decode",
    )


def _pair_server(pair: Pair, url: str, kv_address: str) -> PairServer:
    host = Address.of(url).host
    bootstrap = f"{host}:{pair.bootstrap_port}"
    if pair.protocol != "bootstrap-room":
        bootstrap = f"http://{f'[{host}]' if ':' in host else host}:{pair.bootstrap_port}"
    return PairServer(url, host, kv_address, bootstrap)
