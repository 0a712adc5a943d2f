"""The options of `replay`, `record`, `auto` and `simulate` as values, and `Settings` made of them.

Names and defaults are those of the command line's flags, with `_` for `-`; flags that may be repeated take a sequence.
Durations are seconds, sizes bytes. The command line makes its settings here too.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from replayproxy.api.keywords import AutoOptions, RecordOptions, ReplayOptions, SimulateOptions
from replayproxy.core.cors import AllowedOrigins
from replayproxy.core.faults.choice import FailureInjection
from replayproxy.core.faults.failure_answers import FAILURE_TYPES
from replayproxy.core.faults.grammar import BadFault, Fault, parse_fault
from replayproxy.core.headers import StoredFields
from replayproxy.core.identity.rules import MatchRules
from replayproxy.core.incidents import IncidentCondition
from replayproxy.core.policy import Mode, OnMiss
from replayproxy.core.rechunking import Rechunking
from replayproxy.core.sequence import AtEnd
from replayproxy.core.upstream_fields import BadField, fields_of
from replayproxy.errors import SettingsError, setting
from replayproxy.model import Headers
from replayproxy.net.limits import Limits
from replayproxy.setting_kinds import BadValue, Duration, Port, Rotation
from replayproxy.setting_table import PYTHON, TABLE, Setting, of_python
from replayproxy.settings import Faulting, Listen, Pair, RecordingSettings, Replaying, Settings
from replayproxy.simulator.generation import TextSettings, ToolRanges
from replayproxy.simulator.latency import Latency
from replayproxy.simulator.options import Simulation
from replayproxy.simulator.state_options import StateOptions

OPTIONS: Mapping[Mode, type] = {
    Mode.REPLAY: ReplayOptions,
    Mode.RECORD: RecordOptions,
    Mode.AUTO: AutoOptions,
    Mode.SIMULATE: SimulateOptions,
}


def checked(mode: Mode, options: Mapping[str, Any]) -> dict[str, Any]:
    """The keywords of a Python call, with the defaults of Python. Raises `TypeError` for another name."""
    rows = {row.name: row for row in of_python(mode.value)}
    for name in options:
        if name not in rows:
            from difflib import get_close_matches

            close = get_close_matches(name, rows, 1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise TypeError(f"{mode.value}() got an unexpected keyword argument {name!r}{hint}")
    defaults = {name: row.default_for(PYTHON) for name, row in rows.items() if not row.is_repeatable}
    return {**{name: value for name, value in defaults.items() if value is not None}, **options}


_LATENCIES = [
    row.goes_to for row in TABLE.values() if row.group == "latency" and isinstance(row.kind, Duration) and row.goes_to
]


def rechunking(text: str) -> Rechunking:
    """The value of `rechunk`. Raises `SettingsError`."""
    try:
        return Rechunking.parse(text)
    except ValueError as error:
        raise SettingsError(f"{setting('rechunk')} {error}") from None


def conditions(texts: Sequence[str]) -> tuple[IncidentCondition, ...]:
    """The values of `keep_on`. Raises `SettingsError`."""
    try:
        return tuple(map(IncidentCondition.parse, texts))
    except BadValue as error:
        raise SettingsError(f"{setting('keep_on')} {error}") from None


CONVERSIONS: Mapping[str, Callable[[Any], Any]] = {
    "recording.rotate": Rotation.bound,
    "recording.keep_on": conditions,
    "recording.full_durability": lambda word: word == "full",
    "replaying.at_end": AtEnd,
    "replaying.on_miss": OnMiss,
    "replaying.origins": AllowedOrigins.of,
    "replaying.rechunk": rechunking,
    "simulation.text.words": lambda word: word == "words",
    **dict.fromkeys(_LATENCIES, lambda seconds: round(seconds * 1e9)),
}
"""What a field of `Settings` holds of a value, where that is something else."""


def settings_of(mode: Mode, cassettes: tuple[Path, ...], options: Mapping[str, Any]) -> Settings:
    """One frozen settings object out of values by the names of their settings. Raises `SettingsError`."""
    fields: dict[str, dict[str, Any]] = defaultdict(dict)
    for name in options:
        row = TABLE.get(name)
        if row is not None and row.goes_to is not None and is_given(row, options):
            section, _, field = row.goes_to.rpartition(".")
            if field in fields[section]:
                twin = next(other for other in options if other != name and _goes_to(other) == row.goes_to)
                raise SettingsError(f"{setting(twin)} and {setting(name)} are the same: give one of them")
            fields[section][field] = CONVERSIONS.get(row.goes_to, _itself)(value_of(name, options))
    redact = value_of("redact", options)
    return Settings(
        mode=mode,
        cassettes=cassettes,
        pair=_pair(fields["pair"]),
        upstream_fields=upstream_fields_of(options),
        match=match_rules(options),
        redact=redaction_rules(redact) if redact else None,
        listen=Listen(**fields["listen"], limits=Limits(**fields["listen.limits"])),
        recording=RecordingSettings(**fields["recording"], fields=stored_fields(options)),
        replaying=Replaying(**fields["replaying"]),
        faulting=Faulting(faults=faults_of(options), injection=_injection(options), **fields["faulting"]),
        simulation=_simulation(fields),
        **fields[""],
    )


def _pair(fields: Mapping[str, Any]) -> Pair | None:
    if fields.get("prefill") or fields.get("decode"):
        return Pair(**{"prefill": (), "decode": (), **fields})
    for name in ("prefill_kv", "decode_kv"):
        if fields.get(name):
            raise SettingsError(f"{setting(name)} is for a pair: give {setting('prefill')} and {setting('decode')} too")
    return None


def upstream_fields_of(options: Mapping[str, Any]) -> Headers:
    """The field lines of `set_upstream_header`. Raises `SettingsError`, which does not quote a value."""
    try:
        return fields_of(value_of("set_upstream_header", options), os.environ)
    except BadField as error:
        raise SettingsError(f"{setting('set_upstream_header')} {error}") from None


def faults_of(options: Mapping[str, Any]) -> tuple[Fault, ...]:
    """The faults of `fail`. Raises `SettingsError`."""
    try:
        return tuple(map(parse_fault, value_of("fail", options)))
    except BadFault as error:
        raise SettingsError(f"{setting('fail')} {error}") from None


def _injection(options: Mapping[str, Any]) -> FailureInjection:
    words = [word.strip() for value in value_of("failure_types", options) for word in value.split(",")]
    for word in words:
        if word not in FAILURE_TYPES:
            raise SettingsError(
                f"{setting('failure_types', word)} is not a type of failure: choose from {', '.join(FAILURE_TYPES)}"
            )
    return FailureInjection(value_of("failure_injection_rate", options), tuple(words))


def _goes_to(name: str) -> str | None:
    row = TABLE.get(name)
    return None if row is None else row.goes_to


def _simulation(fields: Mapping[str, Mapping[str, Any]]) -> Simulation:
    text = TextSettings(**fields["simulation.text"], ranges=ToolRanges(**fields["simulation.text.ranges"]))
    latency, state = Latency(**fields["simulation.latency"]), StateOptions(**fields["simulation.state"])
    return Simulation(**fields["simulation"], latency=latency, text=text, state=state)


def _itself(value: Any) -> Any:
    return value


# Values


def is_given(row: Setting, options: Mapping[str, Any]) -> bool:
    """Whether the options have a value. None is one only for a port that may be off."""
    return row.name in options and (options[row.name] is not None or row.kind == Port(or_off=True))


def value_of(name: str, options: Mapping[str, Any]) -> Any:
    """The value that the options have for a setting, else its default. Raises `SettingsError`.

    One text is one value of a setting that may be repeated, and not its letters.
    """
    row = TABLE[name]
    if not is_given(row, options):
        return row.value
    given = options[name]
    try:
        if row.is_repeatable:
            return tuple(map(row.kind.read, (given,) if isinstance(given, str) else given))
        return row.kind.read(given)
    except BadValue as error:
        raise SettingsError(f"{setting(name)} {error}") from None


# What several verbs share


def match_rules(options: Mapping[str, Any]) -> MatchRules | None:
    """What the match options say; None where they say nothing. Raises `SettingsError`."""
    names = ("match", "match_ignore", "match_normalise", "match_header", "match_defaults")
    profile, ignore, normalise, compared, defaults = (value_of(name, options) for name in names)
    if not any((profile, ignore, normalise, compared, defaults)):
        return None
    return MatchRules(profile or "default", ignore, normalise, compared, defaults)


def stored_fields(options: Mapping[str, Any]) -> StoredFields:
    """Which header fields are stored. Raises `SettingsError`."""
    return StoredFields.of(value_of("keep_header", options), value_of("drop_header", options))


def redaction_rules(rules: Sequence[str]) -> tuple[str, ...]:
    """Redaction rules, those of files (`@FILE`) in their place. Raises `SettingsError` where a file cannot be read."""
    found: list[str] = []
    for rule in rules:
        if not rule.startswith("@"):
            found.append(rule)
            continue
        try:
            lines = Path(rule[1:]).read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{setting('redact', rule)}: the file cannot be read: {error}") from error
        found += [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return tuple(dict.fromkeys(found))
