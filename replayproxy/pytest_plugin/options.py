"""What the run, a marker and a fixture ask for, and which of them wins. Knows pytest's configuration, starts nothing.

What is typed for this run wins, because it is typed to change what the files say; then the narrowest: marker, fixture,
ini file, default. (pytest-recording decides so too.)
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from replayproxy.errors import SettingsError

MODES = ("none", "once", "new_episodes", "all", "rewrite")
LAYOUTS = ("test", "module")
UNUSED = ("ignore", "warn", "fail")
ASKED = (
    *("mode", "upstream", "speed", "stall", "match", "match_ignore", "match_normalise", "match_header", "redact"),
    *("match_defaults", "keep_header", "drop_header", "at_end", "on_miss"),
)
"""What a marker or the fixture `replayproxy_config` may say."""

T = TypeVar("T")


class Unusable(Exception):
    """What was asked for makes no sense, or cannot be had. The message says what to do."""


@dataclass(frozen=True, slots=True)
class TestChoice:
    """What counts for one test. `speed` None: as fast as possible. `match` None: by the cassette's own rules.

    `stall` is how many seconds an answer is held open whose recorded client had left.
    """

    __test__ = False
    """pytest would take a class of this name for one of tests, wherever it is imported."""

    mode: str = "none"
    upstream: str | None = None
    speed: float | None = None
    stall: float = 30.0  # as core.timing.STALL: a run that does not use this plugin imports nothing of ours
    match: str | None = None
    match_ignore: tuple[str, ...] = ()
    match_normalise: tuple[str, ...] = ()
    match_header: tuple[str, ...] = ()
    match_defaults: bool = False
    redact: tuple[str, ...] = ()
    keep_header: tuple[str, ...] = ()
    drop_header: tuple[str, ...] = ()
    at_end: str = "refuse"
    on_miss: str = "refuse"


def add_options(parser: pytest.Parser) -> None:
    """Every option has a name of its own (others have taken the short ones) and a twin in the ini file."""
    group = parser.getgroup("replayproxy", "answers of LLM servers from recordings")

    def option(name: str, what: str, **more: Any) -> None:
        group.addoption(f"--replayproxy-{name}", dest=f"replayproxy_{name.replace('-', '_')}", help=what, **more)

    def twin(name: str, what: str, **more: Any) -> None:
        parser.addini(f"replayproxy_{name}", f"{what} (--replayproxy-{name.replace('_', '-')})", **more)

    option("mode", "none: replay only. once: record a cassette that does not exist. new_episodes: record what is not"
           " on it. all: record anew, and replace it when its tests passed. rewrite: delete it, then record.",
           choices=MODES)  # fmt: skip
    option("upstream", "The live server to record, without /v1.", metavar="URL")
    option("allow-record", "Record also if the variable CI is set.", action="store_true")
    option("layout", "One cassette per test, or per module.", choices=LAYOUTS)
    option("speed", "max (default), 1 as recorded, 2 twice as fast.", metavar="X")
    option("stall", "Seconds that an answer whose client had left is held open (30).", metavar="SECONDS")
    option("unused", "What to do about recordings that were not used.", choices=UNUSED)
    option("report", "Write the result of the run to this file, as JSON.", metavar="FILE")
    option("block-network", "Refuse connections that leave this machine.", action="store_true", default=None)
    option("allowed-hosts", "Hosts that tests may reach nevertheless.", metavar="A,B")
    group.addoption(
        "--disable-replayproxy",
        dest="replayproxy_disable",
        action="store_true",
        help="No recordings: tests talk to --replayproxy-upstream, and are skipped without it.",
    )
    twin("mode", "none, once, new_episodes, all or rewrite", default="none")
    twin("upstream", "The live server to record", default="")
    twin("allow_record", "Record also if CI is set", type="bool", default=False)
    twin("layout", "test or module", default="test")
    twin("speed", "max, or a factor", default="max")
    twin("stall", "Seconds that an answer whose client had left is held open", default="30")
    twin("unused", "ignore, warn or fail", default="warn")
    twin("report", "A file for the report", default="")
    twin("block_network", "Refuse connections that leave this machine", type="bool", default=False)
    twin("allowed_hosts", "Hosts that tests may reach nevertheless", type="args", default=[])


def of_run(config: pytest.Config, name: str) -> Any:
    """What counts for the whole run: the command line, else the ini file."""
    typed = config.getoption(f"replayproxy_{name}")
    return config.getini(f"replayproxy_{name}") if typed in (None, False) else typed


def check(config: pytest.Config) -> None:
    """Refuse a run whose words make no sense, before it begins."""
    try:
        one_of("mode", of_run(config, "mode"), MODES)
        one_of("layout", of_run(config, "layout"), LAYOUTS)
        one_of("unused", of_run(config, "unused"), UNUSED)
        speed_of(of_run(config, "speed"))
        seconds_of("stall", of_run(config, "stall"))
        if file := of_run(config, "report"):
            from replayproxy.output_files import refuse_cassette  # every run of pytest pays for what is imported above

            refuse_cassette(report_path(config, file), "--replayproxy-report")
    except (Unusable, SettingsError) as error:
        raise pytest.UsageError(f"replayproxy: {error}") from error


def report_path(config: pytest.Config, file: str) -> Path:
    """Where `--replayproxy-report` writes to."""
    return config.invocation_params.dir / file


def allowed_hosts(config: pytest.Config) -> tuple[str, ...]:
    """Hosts that tests may reach though the network is blocked."""
    said = of_run(config, "allowed_hosts")
    return tuple(said.split(",") if isinstance(said, str) else said)


def choose(config: pytest.Config, marker: Mapping[str, Any], fixture: Mapping[str, Any]) -> TestChoice:
    """What counts for one test. Raises `Unusable`."""
    for where, said in (("the marker replayproxy", marker), ("the fixture replayproxy_config", fixture)):
        for name in said:
            if name not in ASKED:
                near = difflib.get_close_matches(name, ASKED, 1)
                hint = f"did you mean {near[0]}?" if near else f"it may be one of {', '.join(ASKED)}."
                raise Unusable(f"{where} says {name!r}, which is not known: {hint}")

    def narrowest(name: str, otherwise: T) -> Any | T:
        return marker.get(name, fixture.get(name, otherwise))

    def chosen(name: str) -> Any:
        typed = config.getoption(f"replayproxy_{name}")
        return typed if typed is not None else narrowest(name, config.getini(f"replayproxy_{name}"))

    match = narrowest("match", None)
    return TestChoice(
        mode=one_of("mode", chosen("mode"), MODES),
        upstream=chosen("upstream") or None,
        speed=speed_of(chosen("speed")),
        stall=seconds_of("stall", chosen("stall")),
        match=match if match is None else one_of("match", match, ("default", "exact")),
        match_ignore=tuple(narrowest("match_ignore", ())),
        match_normalise=tuple(narrowest("match_normalise", ())),
        match_header=tuple(narrowest("match_header", ())),
        match_defaults=bool(narrowest("match_defaults", False)),
        redact=tuple(narrowest("redact", ())),
        keep_header=tuple(narrowest("keep_header", ())),
        drop_header=tuple(narrowest("drop_header", ())),
        at_end=one_of("at_end", narrowest("at_end", "refuse"), ("refuse", "cycle", "last")),
        on_miss=one_of("on_miss", narrowest("on_miss", "refuse"), ("refuse", "forward")),
    )


def one_of(name: str, said: object, known: tuple[str, ...]) -> str:
    """A word out of few. Raises `Unusable`."""
    if said not in known:
        raise Unusable(f"{name} is {said!r}: use one of {', '.join(known)}")
    return str(said)


def speed_of(said: object) -> float | None:
    """`max`, or a positive factor. Raises `Unusable`."""
    if said in (None, "max"):
        return None
    try:
        speed = float(str(said))
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise Unusable(f"speed is {said!r}: use max, 1 as recorded, 2 twice as fast")
    return speed


def seconds_of(name: str, said: object) -> float:
    """A number of seconds, 0 or more. Raises `Unusable`."""
    try:
        seconds = float(str(said).removesuffix("s"))
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise Unusable(f"{name} is {said!r}: use a number of seconds, such as 30 or 0.5")
    return seconds


def may_record(config: pytest.Config) -> bool:
    """Not on a machine that builds what others have written, unless it is told to."""
    in_ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
    return not in_ci or bool(of_run(config, "allow_record"))
