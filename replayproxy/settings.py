"""Options, checked once, frozen, passed whole. Knows what the options mean, not where they came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from replayproxy.core.latency import Latency
from replayproxy.core.matching import Rules
from replayproxy.core.policy import Mode, OnMiss
from replayproxy.core.sequence import AtEnd
from replayproxy.errors import SettingsError

QUEUE_BYTES = 256 * 1024 * 1024
"""What may wait to be written."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen. `admin_port` None: no admin port. Port 0: a free one."""

    host: str = "127.0.0.1"
    port: int = 8080
    uds: Path | None = None
    admin_host: str = "127.0.0.1"
    admin_port: int | None = 8081
    api_key_file: Path | None = None
    ssl_keyfile: Path | None = None
    ssl_certfile: Path | None = None
    ready_file: Path | None = None
    drain: float = 25.0


@dataclass(frozen=True, slots=True)
class Recording:
    """How to record. `sample` is the share of requests; `include` and `exclude` are globs over the path."""

    on_full: str = "drop"
    full_durability: bool = False
    sample: float = 1.0
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    queue_bytes: int = QUEUE_BYTES


@dataclass(frozen=True, slots=True)
class Replaying:
    """How to replay. `speed` None: as fast as possible."""

    speed: float | None = None
    at_end: AtEnd = AtEnd.CYCLE
    on_miss: OnMiss = OnMiss.REFUSE
    allow_incomplete: bool = False


@dataclass(frozen=True, slots=True)
class Simulation:
    """What the simulator plays."""

    model: str = "simulated"
    latency: Latency = field(default_factory=Latency)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a serving process is told. Raises `SettingsError` where the parts do not fit."""

    mode: Mode
    cassettes: tuple[Path, ...] = ()
    upstream: str | None = None
    upstream_timeout: float = 600.0
    stall_timeout: float = 300.0
    match: Rules | None = None
    """None: by the rules on the cassette, and the default ones for a new cassette."""
    listen: Listen = Listen()
    recording: Recording = Recording()
    replaying: Replaying = Replaying()
    simulation: Simulation = Simulation()

    def __post_init__(self) -> None:
        needs_upstream = self.mode in (Mode.RECORD, Mode.AUTO) or (
            self.mode is Mode.REPLAY and self.replaying.on_miss in (OnMiss.FORWARD, OnMiss.RECORD)
        )
        if needs_upstream and self.upstream is None:
            why = self.mode.value if self.mode is not Mode.REPLAY else f"--on-miss {self.replaying.on_miss.value}"
            raise SettingsError(f"{why} needs a live server: give its URL with --upstream http://HOST:PORT")
        if not needs_upstream and self.upstream is not None:
            raise SettingsError(
                "replay opens no connection upstream unless it is told to: leave --upstream away, or add --on-miss"
                " forward or --on-miss record"
            )
        if self.records and len(self.cassettes) != 1:
            raise SettingsError("recording goes onto one cassette: name exactly one")
        if not 0 < self.recording.sample <= 1:
            raise SettingsError(f"--sample is a share between 0 and 1, not {self.recording.sample:g}")
        if (self.listen.ssl_keyfile is None) != (self.listen.ssl_certfile is None):
            raise SettingsError("--ssl-keyfile and --ssl-certfile go together: give both")

    @property
    def records(self) -> bool:
        """Whether something may be written."""
        return self.mode in (Mode.RECORD, Mode.AUTO) or (
            self.mode is Mode.REPLAY and self.replaying.on_miss is OnMiss.RECORD
        )

    @property
    def plays(self) -> bool:
        """Whether recordings are looked up."""
        return self.mode in (Mode.AUTO, Mode.REPLAY)
