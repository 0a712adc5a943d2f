"""Tests of `api/options`: keywords as settings, with the names and the defaults of the flags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from replayproxy.api.options import OPTIONS, checked, settings_of
from replayproxy.cli.main import verb_named
from replayproxy.core.cors import AllowedOrigins
from replayproxy.core.headers import StoredFields
from replayproxy.core.identity.rules import MatchRules
from replayproxy.core.policy import Mode, OnMiss
from replayproxy.core.sequence import AtEnd
from replayproxy.errors import SettingsError
from replayproxy.net.limits import Limits
from replayproxy.settings import Listen, RecordingSettings, Replaying, Settings

TAPE = (Path("a.cassette"),)
NOT_FOR_PROGRAMS = {
    *("cassette", "log_format", "log_level", "access_log", "quiet", "rt_priority"),
    *("report", "junit", "fail_unused", "assert_resilient", "model", "lame_duck", "data_parallel_size"),
}
"""What is about the process, its several servers or its last words, or is an argument of the function."""


@pytest.mark.parametrize("mode", OPTIONS)
def test_keywords_are_the_flags(mode: Mode) -> None:
    """Each flag of the verb is a keyword of the function, and each keyword a flag."""
    flags = {parameter.name for parameter in verb_named(mode.value).params}
    assert flags - NOT_FOR_PROGRAMS == set(OPTIONS[mode].__annotations__)


def test_defaults_are_those_of_settings() -> None:
    """But for what a program's own proxy needs otherwise: a free port, no admin port, a short drain."""
    assert settings_of(Mode.REPLAY, TAPE, {}) == Settings(Mode.REPLAY, TAPE)
    own = settings_of(Mode.REPLAY, TAPE, checked(Mode.REPLAY, {}))
    assert own == Settings(Mode.REPLAY, TAPE, listen=Listen(port=0, admin_port=None, drain=5.0))
    assert settings_of(Mode.RECORD, TAPE, checked(Mode.RECORD, {"upstream": "http://h:1"})).recording.probe


SETTINGS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"speed": 2}, {"replaying": Replaying(2)}),
    ({"speed": "max"}, {"replaying": Replaying()}),
    ({"at_end": "last", "allow_incomplete": True}, {"replaying": Replaying(at_end=AtEnd.LAST, allow_incomplete=True)}),
    ({"at_end": AtEnd.LAST}, {"replaying": Replaying(at_end=AtEnd.LAST)}),
    (
        {"on_miss": "forward", "upstream": "http://h:1"},
        {"replaying": Replaying(on_miss=OnMiss.FORWARD), "upstream": "http://h:1"},
    ),
    ({"match": "exact"}, {"match": MatchRules("exact")}),
    ({"match_ignore": ["$.user"]}, {"match": MatchRules("default", ("$.user",))}),
    ({"match_ignore": "$.user"}, {"match": MatchRules("default", ("$.user",))}),
    ({"match_from": "cassette"}, {"match_from": "cassette"}),
    ({"redact": ["header:x-team"]}, {"redact": ("header:x-team",)}),
    ({"host": "::1", "api_key_file": "key"}, {"listen": Listen("::1", api_key_file=Path("key"))}),
    ({"keep_header": ["X-Team"]}, {"recording": RecordingSettings(fields=StoredFields.of(["X-Team"]))}),
    (
        {"drain": "1m", "admin_port": "off", "max_body": "1KiB"},
        {"listen": Listen(drain=60.0, admin_port=None, limits=Limits(body=1024))},
    ),
    ({"admin_port": None}, {"listen": Listen(admin_port=None)}),
    ({"cors": "*"}, {"replaying": Replaying(origins=AllowedOrigins.of(("*",)))}),
    ({"durability": "full", "on_full": "block"}, {"recording": RecordingSettings("block", full_durability=True)}),
]


@pytest.mark.parametrize(("options", "fields"), SETTINGS)
def test_each_option_has_its_setting(options: dict[str, Any], fields: dict[str, Any]) -> None:
    """One string is one value of an option that may be repeated."""
    assert settings_of(Mode.REPLAY, TAPE, options) == Settings(Mode.REPLAY, TAPE, **fields)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"speed": -1}, "speed -1 is not a speed"),
        ({"speed": "fast"}, "not a speed"),
        ({"durability": "none"}, "durability 'none' is not one of its values: choose from normal, full"),
        ({"prefill_kv": ["h:1"]}, "is for a pair"),
        ({"drain": "soon"}, "drain 'soon' is not a duration: write 200ms, 25s or 10m"),
        ({"max_connections": -1}, "--max-connections -1 is out of range: give a whole number from 0"),
        ({"admin_port": "on"}, "--admin-port 'on' is not a port: write a number from 0 to 65535, or off"),
        ({"include": [1]}, "include 1 is not a text"),
        ({"keep_header": ["not a name"]}, "is not the name of a header field"),
    ],
)
def test_values_that_make_no_sense_are_refused(options: dict[str, Any], sentence: str) -> None:
    """With what to give instead."""
    with pytest.raises(SettingsError, match=sentence):
        settings_of(Mode.REPLAY, TAPE, options)
