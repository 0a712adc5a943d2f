"""The options of `replay`, `record`, `auto` and `simulate` as values, and `Settings` made of them.

Names and defaults are those of the command line's flags, with `_` for `-`; flags that may be repeated take a sequence.
Durations are seconds, sizes bytes. The command line makes its settings here too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar

from replayproxy.core.cors import AllowedOrigins
from replayproxy.core.headers import StoredFields
from replayproxy.core.identity.rules import MatchRules
from replayproxy.core.latency import Latency
from replayproxy.core.policy import Mode, OnMiss
from replayproxy.core.sequence import AtEnd
from replayproxy.errors import SettingsError
from replayproxy.net.limits import Limits
from replayproxy.settings import Listen, Pair, RecordingSettings, Replaying, Settings, Simulation

AnyPath = str | PathLike[str]
E = TypeVar("E", bound=Enum)

DRAIN = 5.0
"""Seconds that answers in flight get at the end of a block; the command line, whose clients are others, gives 25."""


class ListenOptions(TypedDict, total=False):
    """Where to listen. `port` 0, the default, takes a free one; `admin_port` None, the default, opens none."""

    host: str
    port: int
    uds: AnyPath
    admin_host: str
    admin_port: int | None
    admin_allowed_host: Sequence[str]
    api_key_file: AnyPath
    ssl_keyfile: AnyPath
    ssl_certfile: AnyPath
    ready_file: AnyPath
    drain: float
    header_timeout: float
    body_timeout: float
    idle_timeout: float
    send_timeout: float
    max_connections: int
    max_body: int


class MatchOptions(TypedDict, total=False):
    """What equal requests are, and what is secret."""

    match: Literal["default", "exact"]
    match_ignore: Sequence[str]
    match_normalise: Sequence[str]
    match_header: Sequence[str]
    match_defaults: bool
    match_from: Literal["cassette", "flags"]
    redact: Sequence[str]


class UpstreamOptions(TypedDict, total=False):
    """The live server. `wait_upstream`: how long it may take until it accepts connections."""

    upstream: str
    upstream_timeout: float
    stall_timeout: float
    wait_upstream: float


class PlayingOptions(TypedDict, total=False):
    """How recordings are played. `speed` is `"max"`, 1 as recorded, 2 twice as fast."""

    speed: float | Literal["max"] | None
    allow_incomplete: bool
    stall: float
    cors: Sequence[str]


class RecordingOptions(TypedDict, total=False):
    """Servers of a pair, and what is recorded."""

    prefill: Sequence[str]
    decode: Sequence[str]
    pd: str
    on_prefill_error: Literal["fail", "decode"]
    pd_params: Literal["six", "two"]
    pd_remote_host: Literal["keep", "url"]
    prefill_kv: Sequence[str]
    decode_kv: Sequence[str]
    bootstrap_port: int
    include: Sequence[str]
    exclude: Sequence[str]
    sample: float
    on_full: Literal["drop", "block"]
    queue_bytes: int
    durability: Literal["normal", "full"]
    keep_header: Sequence[str]
    drop_header: Sequence[str]
    probe: bool


class ReplayOptions(ListenOptions, MatchOptions, UpstreamOptions, PlayingOptions, total=False):
    """The keywords of `replay`."""

    on_miss: Literal["refuse", "forward", "record"]
    at_end: Literal["cycle", "last", "refuse"]


class RecordOptions(ListenOptions, MatchOptions, UpstreamOptions, RecordingOptions, total=False):
    """The keywords of `record`."""


class AutoOptions(ListenOptions, MatchOptions, UpstreamOptions, PlayingOptions, RecordingOptions, total=False):
    """The keywords of `auto`."""


class SimulateOptions(ListenOptions, total=False):
    """The keywords of `simulate`. `ttft` and `itl` are seconds."""

    ttft: float
    itl: float
    jitter: float
    seed: int


OPTIONS: Mapping[Mode, type] = {
    Mode.REPLAY: ReplayOptions,
    Mode.RECORD: RecordOptions,
    Mode.AUTO: AutoOptions,
    Mode.SIMULATE: SimulateOptions,
}


def checked(mode: Mode, options: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of a Python call, with its own defaults. Raises `TypeError` for a name that is none of them."""
    names = OPTIONS[mode].__annotations__
    for name in options:
        if name not in names:
            from difflib import get_close_matches

            close = get_close_matches(name, names, 1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise TypeError(f"{mode.value}() got an unexpected keyword argument {name!r}{hint}")
    defaults = {"port": 0, "admin_port": None, "drain": DRAIN}
    if mode in (Mode.RECORD, Mode.AUTO):
        defaults["probe"] = True
    return {**defaults, **options}


def settings_of(mode: Mode, cassettes: tuple[Path, ...], options: Mapping[str, Any]) -> Settings:
    """One frozen settings object out of options by their names. Raises `SettingsError`."""
    speed = options.get("speed", "max")
    if speed not in ("max", None) and not (isinstance(speed, int | float) and 0 < speed < float("inf")):
        raise SettingsError(f"speed {speed!r} is not a speed: give max, or a factor above 0")
    simulation = Simulation()
    if mode is Mode.SIMULATE:
        ttft, itl = (round(options.get(name, 0.0) * 1e9) for name in ("ttft", "itl"))
        latency = Latency(ttft=ttft, itl=itl, jitter=options.get("jitter", 0.0))
        simulation = Simulation(options.get("model", "simulated"), latency, options.get("seed", 0))
    recording = RecordingSettings()
    return Settings(
        mode=mode,
        cassettes=cassettes,
        upstream=options.get("upstream"),
        pair=_pair(options),
        upstream_timeout=options.get("upstream_timeout", 600.0),
        stall_timeout=options.get("stall_timeout", 300.0),
        match=match_rules(options),
        match_from=_one_of(options, "match_from", ("cassette", "flags"), None),
        redact=redaction_rules(_several(options, "redact")) if options.get("redact") else None,
        listen=_listen(options),
        recording=RecordingSettings(
            on_full=_one_of(options, "on_full", ("drop", "block"), "drop"),
            full_durability=_one_of(options, "durability", ("normal", "full"), "normal") == "full",
            sample=options.get("sample", 1.0),
            include=_several(options, "include"),
            exclude=_several(options, "exclude"),
            queue_bytes=options.get("queue_bytes", recording.queue_bytes),
            fields=stored_fields(options),
            probe=options.get("probe", False),
        ),
        replaying=Replaying(
            speed=None if speed == "max" else speed,
            at_end=_member(AtEnd, options, "at_end", "cycle"),
            on_miss=_member(OnMiss, options, "on_miss", "refuse"),
            allow_incomplete=options.get("allow_incomplete", False),
            origins=AllowedOrigins.of(_several(options, "cors")),
            stall=options.get("stall", Replaying().stall),
        ),
        simulation=simulation,
    )


def _listen(options: Mapping[str, Any]) -> Listen:
    own, limits = Listen(), Limits()
    return Listen(
        host=options.get("host", own.host),
        port=options.get("port", own.port),
        uds=_path(options, "uds"),
        admin_host=options.get("admin_host", own.admin_host),
        admin_port=options.get("admin_port", own.admin_port),
        admin_allowed_hosts=_several(options, "admin_allowed_host"),
        api_key_file=_path(options, "api_key_file"),
        ssl_keyfile=_path(options, "ssl_keyfile"),
        ssl_certfile=_path(options, "ssl_certfile"),
        ready_file=_path(options, "ready_file"),
        drain=options.get("drain", own.drain),
        limits=Limits(
            header_timeout=options.get("header_timeout", limits.header_timeout),
            body_timeout=options.get("body_timeout", limits.body_timeout),
            idle_timeout=options.get("idle_timeout", limits.idle_timeout),
            send_timeout=options.get("send_timeout", limits.send_timeout),
            connections=options.get("max_connections", limits.connections),
            body=options.get("max_body", limits.body),
        ),
    )


def _pair(options: Mapping[str, Any]) -> Pair | None:
    prefill, decode = _several(options, "prefill"), _several(options, "decode")
    if not prefill and not decode:
        for name in ("prefill_kv", "decode_kv"):
            if options.get(name):
                raise SettingsError(f"--{name.replace('_', '-')} is for a pair: give --prefill and --decode too")
        return None
    return Pair(
        prefill=prefill,
        decode=decode,
        protocol=options.get("pd", "nixl"),
        params=_one_of(options, "pd_params", ("six", "two"), "six"),
        remote_host=_one_of(options, "pd_remote_host", ("keep", "url"), "keep"),
        prefill_kv=_several(options, "prefill_kv"),
        decode_kv=_several(options, "decode_kv"),
        bootstrap_port=options.get("bootstrap_port", 8998),
        on_prefill_error=_one_of(options, "on_prefill_error", ("fail", "decode"), "fail"),
    )


# What several verbs share


def match_rules(options: Mapping[str, Any]) -> MatchRules | None:
    """What the match options say; None where they say nothing. Raises `SettingsError`."""
    ignore, normalise, compared = (
        _several(options, name) for name in ("match_ignore", "match_normalise", "match_header")
    )
    profile, defaults = _one_of(options, "match", ("default", "exact"), None), bool(options.get("match_defaults"))
    if not any((profile, ignore, normalise, compared, defaults)):
        return None
    return MatchRules(str(profile or "default"), ignore, normalise, compared, defaults)


def stored_fields(options: Mapping[str, Any]) -> StoredFields:
    """Which header fields are stored. Raises `SettingsError`."""
    return StoredFields.of(_several(options, "keep_header"), _several(options, "drop_header"))


def redaction_rules(rules: Sequence[str]) -> tuple[str, ...]:
    """MatchRules, those of files (`@FILE`) in their place. Raises `SettingsError` where a file cannot be read."""
    found: list[str] = []
    for rule in rules:
        if not rule.startswith("@"):
            found.append(rule)
            continue
        try:
            lines = Path(rule[1:]).read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"--redact {rule}: the file cannot be read: {error}") from error
        found += [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return tuple(dict.fromkeys(found))


# Values


def _several(options: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A repeatable option; one string is one value, and not its letters."""
    value = options.get(name) or ()
    return (value,) if isinstance(value, str) else tuple(value)


def _path(options: Mapping[str, Any], name: str) -> Path | None:
    value = options.get(name)
    return None if value is None else Path(value)


def _one_of(options: Mapping[str, Any], name: str, values: Sequence[str], default: Any) -> Any:
    value = options.get(name)
    if value is None:
        return default
    if value not in values:
        raise SettingsError(f"{name} {value!r} is not one of its values: choose from {', '.join(values)}")
    return value


def _member(kind: type[E], options: Mapping[str, Any], name: str, default: str) -> E:
    values = [str(member.value) for member in kind]
    value = options.get(name)
    return kind(_one_of(options, name, values, default)) if not isinstance(value, kind) else value
