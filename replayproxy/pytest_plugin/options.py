"""The settings of a run of pytest and of one test, by the table of settings, and which value counts.

    command line  >  marker  >  fixture replayproxy_config  >  ini file  >  default

What is typed for this run counts first, because it is typed to change what the files say; then the narrowest.
(pytest-recording has the same order.) Knows the configuration of pytest, and starts nothing.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from replayproxy.errors import SettingsError, as_keyword
from replayproxy.setting_kinds import BadValue, Choice, Flag
from replayproxy.setting_table import TABLE, InPytest, Setting, flag

_ROWS = {name: (row, row.pytest) for name, row in TABLE.items() if row.pytest is not None}
OF_RUN = tuple(name for name, (_, use) in _ROWS.items() if use.option is not None)
"""Settings of a whole run: each has an option and an ini key."""
OF_TEST = tuple(name for name, (_, use) in _ROWS.items() if use.by_test)
"""Settings that a marker or the fixture `replayproxy_config` may have."""


class Unusable(Exception):
    """Settings of a test that make no sense, or cannot be had. The message says what to do."""


def _default(name: str) -> Any:
    row, use = _ROWS[name]
    return row.value if use.default is None else (use.kind or row.kind).read(use.default)


@dataclass(frozen=True, slots=True)
class TestChoice:
    """The settings of one test. `speed` None: as fast as possible. `match` None: by the cassette's own rules.

    `stall` is how many seconds an answer is held open whose recorded client had left.
    """

    __test__ = False
    """pytest would take a class of this name for one of tests, wherever it is imported."""

    mode: str = _default("mode")
    upstream: str | None = None
    speed: float | None = _default("speed")
    stall: float = _default("stall")
    match: str | None = None
    match_ignore: tuple[str, ...] = ()
    match_normalise: tuple[str, ...] = ()
    match_header: tuple[str, ...] = ()
    match_defaults: bool = False
    redact: tuple[str, ...] = ()
    keep_header: tuple[str, ...] = ()
    drop_header: tuple[str, ...] = ()
    at_end: str = _default("at_end")
    on_miss: str = _default("on_miss")
    fail: tuple[str, ...] = ()
    fail_header: bool = False
    rechunk: str | None = None
    carry: bool = False


def add_options(parser: pytest.Parser) -> None:
    """Add the options and ini keys. All of them begin with `replayproxy`: other plugins have taken the short names."""
    group = parser.getgroup("replayproxy", "answers of LLM servers from recordings")
    for name in OF_RUN:
        row, use = _ROWS[name]
        group.addoption(option_of(name), dest=f"replayproxy_{name}", **_option(row, use))
        parser.addini(f"replayproxy_{name}", f"{use.ini} ({option_of(name)})", **_ini(row, use))
    group.addoption(
        "--disable-replayproxy",
        dest="replayproxy_disable",
        action="store_true",
        help="No recordings: tests talk to --replayproxy-upstream, and are skipped without it.",
    )


def _option(row: Setting, use: InPytest) -> dict[str, Any]:
    meaning = use.option or row.meaning
    match row.kind:
        case Flag():
            return {"help": meaning, "action": "store_true", "default": None}
        case Choice(values):
            return {"help": meaning, "choices": values}
    return {"help": meaning, "metavar": use.metavar}


def _ini(row: Setting, use: InPytest) -> dict[str, Any]:
    if row.is_repeatable:
        return {"type": "args", "default": []}
    default = row.default if use.default is None else use.default
    return {"type": "bool", "default": default} if isinstance(row.kind, Flag) else {"default": default}


def option_of(name: str) -> str:
    """The option of pytest for a setting."""
    return f"--replayproxy-{flag(name).removeprefix('--')}"


def as_in_pytest(name: str, value: str) -> str:
    """A setting in the message of an error: the option of the run, or the keyword of a marker."""
    return f"{option_of(name)}{' ' if value else ''}{value}" if name in OF_RUN else as_keyword(name, value)


# A whole run


def of_run(config: pytest.Config, name: str) -> Any:
    """The value for the whole run, as it is written: that of the command line, else that of the ini file."""
    typed = config.getoption(f"replayproxy_{name}")
    return config.getini(f"replayproxy_{name}") if typed in (None, False) else typed


def check(config: pytest.Config) -> None:
    """Refuse a run whose settings make no sense, before it begins. Raises `pytest.UsageError`."""
    try:
        for name in OF_RUN:
            if not _ROWS[name][0].is_repeatable:
                _read(name, *_with_place_of_run(config, name))
        if file := of_run(config, "report"):
            from replayproxy.output_files import refuse_cassette  # every run of pytest pays for what is imported above

            refuse_cassette(report_path(config, file), option_of("report"))
    except (Unusable, SettingsError) as error:
        raise pytest.UsageError(f"replayproxy: {error}") from error


def report_path(config: pytest.Config, file: str) -> Path:
    """Where `--replayproxy-report` writes to."""
    return config.invocation_params.dir / file


def allowed_hosts(config: pytest.Config) -> tuple[str, ...]:
    """Hosts that tests may reach though the network is blocked."""
    hosts = of_run(config, "allowed_hosts")
    return tuple(hosts.split(",") if isinstance(hosts, str) else hosts)


def may_record(config: pytest.Config) -> bool:
    """Whether this run may record. In CI only if an option allows it: what it tests was written by others."""
    in_ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
    return not in_ci or bool(of_run(config, "allow_record"))


# One test


def choose(config: pytest.Config, marker: Mapping[str, Any], fixture: Mapping[str, Any]) -> TestChoice:
    """The settings of one test. Raises `Unusable`."""
    places = {"the marker replayproxy": marker, "the fixture replayproxy_config": fixture}
    for place, values in places.items():
        for name in values:
            if name not in OF_TEST:
                near = difflib.get_close_matches(name, OF_TEST, 1)
                hint = f"did you mean {near[0]}?" if near else f"it may be one of {', '.join(OF_TEST)}."
                raise Unusable(f"{place} says {name!r}, which is not known: {hint}")

    def chosen(name: str) -> Any:
        if name in OF_RUN and config.getoption(f"replayproxy_{name}") is not None:
            return _read(name, *_with_place_of_run(config, name))
        for place, values in places.items():
            if name in values:
                return _read(name, values[name], f"{place}: {name}")
        return _read(name, *_with_place_of_run(config, name)) if name in OF_RUN else _default(name)

    return TestChoice(**{name: chosen(name) for name in OF_TEST})


def _with_place_of_run(config: pytest.Config, name: str) -> tuple[Any, str]:
    """A value of the run, and how its place spells the setting: as an option, or as an ini key."""
    is_typed = config.getoption(f"replayproxy_{name}") not in (None, False)
    return of_run(config, name), option_of(name) if is_typed else f"replayproxy_{name}"


def _read(name: str, value: Any, spelling: str) -> Any:
    """The value of a setting. Raises `Unusable`, with the setting as its place spells it."""
    row, use = _ROWS[name]
    kind = use.kind or row.kind
    try:
        if row.is_repeatable:
            return tuple(map(kind.read, (value,) if isinstance(value, str) else value))
        return None if value is None or (value == "" and row.default is None) else kind.read(value)
    except BadValue as error:
        raise Unusable(f"{spelling} {error}") from None
