"""The settings of a proxy as frozen values, and which of them fit together.

Defaults are those of `setting_table`. Does not know where a value was set.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from replayproxy.core.cors import NO_ORIGINS, AllowedOrigins
from replayproxy.core.faults.choice import FailureInjection
from replayproxy.core.faults.grammar import Fault
from replayproxy.core.headers import STORED, StoredFields
from replayproxy.core.identity.rules import MatchRules
from replayproxy.core.incidents import IncidentCondition
from replayproxy.core.policy import Mode, OnMiss, looks_for_recordings
from replayproxy.core.rechunking import Rechunking
from replayproxy.core.sequence import AtEnd
from replayproxy.errors import SettingsError, setting
from replayproxy.model import Headers
from replayproxy.net.limits import Limits
from replayproxy.setting_table import default
from replayproxy.simulator.options import Simulation

_AT_END = AtEnd(default("at_end"))
_ON_MISS = OnMiss(default("on_miss"))

LONGEST_REPLICA = 64
"""Characters: names of pods in Kubernetes have at most 63."""


LAST_PORT = 65535

SHORTEST_SCRAPE = 0.1
"""Seconds between two scrapes of a server's metrics: vLLM needs some ms of its event loop for one."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen. `admin_port` None: no admin port. Port 0: a free one.

    `admin_allowed_hosts` are host names of the admin port, besides addresses and `localhost`.
    """

    host: str = default("host")
    port: int = default("port")
    uds: Path | None = None
    admin_host: str = default("admin_host")
    admin_port: int | None = default("admin_port")
    admin_allowed_hosts: tuple[str, ...] = ()
    admin_token_file: Path | None = None
    api_key_file: Path | None = None
    ssl_keyfile: Path | None = None
    ssl_certfile: Path | None = None
    ready_file: Path | None = None
    drain: float = default("drain")
    lame_duck: float = default("lame_duck")
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        for name in self.admin_allowed_hosts:
            if not name or set(name) & set(":/ \t,@*"):
                raise SettingsError(
                    f"{setting('admin_allowed_host', name)} is not a host's name: give it without scheme and"
                    " port, such as"
                    " replayproxy.llm.svc"
                )


@dataclass(frozen=True, slots=True)
class RecordingSettings:
    """How to record. `sample` is the share of requests; `include` and `exclude` are globs over the path.

    `onto` is the file to record to where the played cassettes stay unchanged; it is played after them. `salt` is for a
    new cassette that will be merged with others; None: a salt of its own.
    """

    on_full: str = default("on_full")
    full_durability: bool = False
    sample: float = default("sample")
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    queue_bytes: int = default("queue_bytes")
    rotate: tuple[str, float] | None = None
    """Bytes (`size`) or seconds (`age`) after which recording goes on onto a new cassette."""
    keep: int | None = None
    max_size: int | None = None
    min_free: int | None = None
    replica: str = ""
    window: float | None = None
    """Seconds that are kept on disk, of which an incident makes a cassette."""
    keep_on: tuple[IncidentCondition, ...] = ()
    keep_after: float = default("keep_after")
    window_size: int = default("window_size")
    onto: Path | None = None
    salt: bytes | None = None
    fields: StoredFields = STORED
    """Which header fields are stored."""
    probe: bool = False
    """Whether to request the server's models and version when recording starts."""
    scrape_metrics: float | None = None
    """Seconds between two scrapes of the server's metrics; None: they are not recorded."""
    kv_events: tuple[str, ...] = ()
    """Endpoints whose KV events are recorded."""

    def __post_init__(self) -> None:
        if self.keep_on and self.window is None:
            raise SettingsError(f"{setting('keep_on')} needs a window: give {setting('window', '5m')} too")
        if self.window is not None and (self.rotate is not None or not self.window):
            raise SettingsError(
                f"{setting('window')} keeps nothing for good but incidents, and needs more than 0 s: leave"
                f" {setting('rotate')} away"
            )
        if set(self.replica) & set("/\\\0") or len(self.replica) > LONGEST_REPLICA:
            raise SettingsError(
                f"{setting('replica', self.replica)} is no part of a file name: give at most {LONGEST_REPLICA}"
                " characters without /"
            )


@dataclass(frozen=True, slots=True)
class Replaying:
    """How to replay. `speed` None: as fast as possible. `stall` is in seconds, see `core.timing.STALL`."""

    speed: float | None = default("speed")
    at_end: AtEnd = _AT_END
    on_miss: OnMiss = _ON_MISS
    allow_incomplete: bool = default("allow_incomplete")
    origins: AllowedOrigins = NO_ORIGINS
    """Web pages that may read answers, besides those that the recorded server allowed."""
    stall: float = default("stall")
    rechunk: Rechunking | None = None
    """Other chunks than the recorded ones."""
    server_metrics: str = default("server_metrics")
    """What `/metrics` serves: `recorded` or `computed`."""
    carry: bool = default("carry")
    """Whether fresh ids of tools stand for recorded ones (`proxy/carry`)."""


@dataclass(frozen=True, slots=True)
class Faulting:
    """Which requests get a fault. `rpm` and `tpm`: requests and tokens per minute; 0: no limit."""

    faults: tuple[Fault, ...] = ()
    by_header: bool = default("fail_header")
    injection: FailureInjection = FailureInjection()  # noqa: RUF009  a frozen value
    rpm: int = default("rpm")
    tpm: int = default("tpm")

    @property
    def is_on(self) -> bool:
        """Whether a request may get a fault."""
        return bool(self.faults or self.by_header or self.injection.percent or self.rpm or self.tpm)


@dataclass(frozen=True, slots=True)
class Pair:
    """A prefill/decode pair: the URLs of its servers, and how they find each other.

    `prefill_kv` and `decode_kv` are the addresses of the connectors, in the order of the URLs; only for `addr-id`.
    """

    prefill: tuple[str, ...]
    decode: tuple[str, ...]
    protocol: str = default("pd")
    params: str = default("pd_params")
    remote_host: str = default("pd_remote_host")
    prefill_kv: tuple[str, ...] = ()
    decode_kv: tuple[str, ...] = ()
    bootstrap_port: int = default("bootstrap_port")
    on_prefill_error: str = default("on_prefill_error")

    def __post_init__(self) -> None:
        if not self.prefill or not self.decode:
            raise SettingsError(f"a pair needs both: give {setting('prefill', 'URL')} and {setting('decode', 'URL')}")
        if self.protocol == "bootstrap-room" and self.on_prefill_error == "decode":
            raise SettingsError(
                f"an SGLang decode server cannot prefill by itself: leave {setting('on_prefill_error', 'decode')} away,"
                f" or use another {setting('pd')}"
            )
        if self.protocol == "addr-id":
            for name, addresses, urls in (
                ("prefill_kv", self.prefill_kv, self.prefill),
                ("decode_kv", self.decode_kv, self.decode),
            ):
                if len(addresses) != len(urls):
                    raise SettingsError(
                        "addr-id puts the connectors' addresses into the request id: give one"
                        f" {setting(name, 'HOST:PORT')} for"
                        " each URL, in their order"
                    )


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of a proxy. Raises `SettingsError` where two of them do not fit together."""

    mode: Mode
    cassettes: tuple[Path, ...] = ()
    upstream: str | None = None
    pair: Pair | None = None
    upstream_timeout: float = default("upstream_timeout")
    stall_timeout: float = default("stall_timeout")
    upstream_fields: Headers = field(default=(), repr=False)
    """Set on each request to the live servers, and not recorded: they may hold a key."""
    match: MatchRules | None = None
    """None: the rules of the cassette; a new cassette gets the default ones."""
    match_from: str | None = None
    """`cassette`: its rules, also if there is a `match`; `flags`: `match`, or the default ones if that is None."""
    listen: Listen = Listen()
    recording: RecordingSettings = RecordingSettings()
    redact: tuple[str, ...] | None = None
    """Rules of redaction. None: those of the cassette; a new one masks credentials and keys of known formats only."""
    replaying: Replaying = Replaying()
    simulation: Simulation = field(default_factory=Simulation)
    faulting: Faulting = Faulting()

    def __post_init__(self) -> None:
        needs_upstream = self.mode in (Mode.RECORD, Mode.AUTO) or (
            self.mode is Mode.REPLAY and self.replaying.on_miss in (OnMiss.FORWARD, OnMiss.RECORD)
        )
        if self.upstream is not None and self.pair is not None:
            raise SettingsError(
                f"{setting('upstream')} is one server, {setting('prefill')} and {setting('decode')} are a"
                " pair: give one or the other"
            )
        has_upstream = self.upstream is not None or self.pair is not None
        if needs_upstream and not has_upstream:
            why = self.mode.value if self.mode is not Mode.REPLAY else setting("on_miss", self.replaying.on_miss.value)
            raise SettingsError(
                f"{why} needs a live server: give its URL with {setting('upstream', 'http://HOST:PORT')}, or"
                " a pair's with"
                f" {setting('prefill')} and {setting('decode')}"
            )
        if not needs_upstream and has_upstream:
            raise SettingsError(
                f"replay opens no connection upstream unless it is told to: leave {setting('upstream')} away, or add"
                f" {setting('on_miss', 'forward')} or {setting('on_miss', 'record')}"
            )
        if self.records and len(self.cassettes) != 1 and self.recording.onto is None:
            raise SettingsError("recording goes onto one cassette: name exactly one")
        # The client would leave where its answer breaks, and the recording would end there.
        if self.records and self.faulting.is_on:
            raise SettingsError(
                f"a run that records injects no faults: record first, then replay with {setting('fail')}, without"
                f" {setting('on_miss', 'record')}"
            )
        # A recording of a run with --carry would hold ids that stand for others.
        if self.records and self.replaying.carry:
            raise SettingsError(
                f"{setting('carry')} is for replaying: leave it away, or record first and replay then, without"
                f" {setting('on_miss', 'record')}"
            )
        if not 0 < self.recording.sample <= 1:
            raise SettingsError(f"{setting('sample')} is a share between 0 and 1, not {self.recording.sample:g}")
        if self.recording.scrape_metrics is not None and self.recording.scrape_metrics < SHORTEST_SCRAPE:
            raise SettingsError(
                f"{setting('scrape_metrics', f'{self.recording.scrape_metrics:g}s')} would keep the server busy with"
                f" its metrics: give {SHORTEST_SCRAPE:g} s at least"
            )
        if self.listen.limits.shortest <= 0:
            raise SettingsError("a time-out of 0 s closes every connection at once: give --…-timeout more")
        if (self.listen.ssl_keyfile is None) != (self.listen.ssl_certfile is None):
            raise SettingsError(f"{setting('ssl_keyfile')} and {setting('ssl_certfile')} go together: give both")

    def further_ranks(self, size: int) -> tuple[Settings, ...]:
        """The settings of the other ranks of `size` data-parallel ones, each one port behind the one before it.

        None where a rank is given: then this is one of several processes, as with llm-d-inference-sim. Raises
        `SettingsError`.
        """
        listen, simulation = self.listen, self.simulation
        if size == 1 or simulation.state.rank:
            return ()
        if listen.uds is not None:
            raise SettingsError(
                f"{setting('data_parallel_size', size)} needs a port for each rank, and not {setting('uds')}"
            )
        if listen.port + size - 1 > LAST_PORT:
            raise SettingsError(
                f"{setting('data_parallel_size', size)} has no room above {setting('port', listen.port)}"
            )

        return tuple(
            replace(
                self,
                listen=replace(
                    listen,
                    port=listen.port + rank if listen.port else 0,  # a free one for each
                    admin_port=listen.admin_port + rank if listen.admin_port else listen.admin_port,
                    ready_file=None,
                ),
                simulation=replace(simulation, state=replace(simulation.state, rank=rank)),
            )
            for rank in range(1, size)
        )

    @property
    def records(self) -> bool:
        """Whether this run may record."""
        return self.mode in (Mode.RECORD, Mode.AUTO) or (
            self.mode is Mode.REPLAY and self.replaying.on_miss is OnMiss.RECORD
        )

    @property
    def recorded_file(self) -> Path:
        """The file to which this run records."""
        return self.recording.onto or self.cassettes[0]

    @property
    def played_cassettes(self) -> tuple[Path, ...]:
        """The cassettes that are played, in their order: those to which this run records come last."""
        return self.cassettes if self.recording.onto is None else (*self.cassettes, self.recording.onto)

    @property
    def wants_whole_requests(self) -> bool:
        """Whether a request is read to its end before it is answered; else its body is streamed to the server."""
        return self.plays or self.mode is Mode.SIMULATE or self.pair is not None

    @property
    def plays(self) -> bool:
        """Whether this run looks recordings up."""
        return looks_for_recordings(self.mode)
