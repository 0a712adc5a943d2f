"""Tests of `settings`: which values fit together, and what follows from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from replayproxy.core.policy import Mode, OnMiss
from replayproxy.errors import SettingsError
from replayproxy.net.limits import Limits
from replayproxy.settings import Listen, Pair, RecordingSettings, Replaying, Settings
from replayproxy.simulator.options import Simulation
from replayproxy.simulator.state_options import StateOptions

A, B = Path("a.cassette"), Path("b.cassette")
LIVE = "http://127.0.0.1:9"
PAIR: dict[str, Any] = {"prefill": ("http://p:1",), "decode": ("http://d:1",)}

REFUSED: list[tuple[Mode, dict[str, Any], str]] = [
    (Mode.RECORD, {}, "record needs a live server: give its URL with --upstream http://HOST:PORT, or a pair's"),
    (Mode.AUTO, {}, "auto needs a live server"),
    (Mode.REPLAY, {"replaying": Replaying(on_miss=OnMiss.RECORD)}, "--on-miss record needs a live server"),
    (Mode.REPLAY, {"upstream": LIVE}, "leave --upstream away, or add --on-miss forward or --on-miss record"),
    (Mode.RECORD, {"upstream": LIVE, "pair": Pair(**PAIR)}, "--prefill and --decode are a pair: give one or the other"),
    (Mode.RECORD, {"upstream": LIVE, "cassettes": (A, B)}, "recording goes onto one cassette: name exactly one"),
    (Mode.RECORD, {"upstream": LIVE, "recording": RecordingSettings(sample=0)}, "--sample is a share between 0 and 1"),
    (Mode.REPLAY, {"listen": Listen(limits=Limits(idle_timeout=0))}, "a time-out of 0 s closes every connection"),
    (Mode.REPLAY, {"listen": Listen(ssl_keyfile=A)}, "--ssl-keyfile and --ssl-certfile go together: give both"),
]


@pytest.mark.parametrize(("mode", "fields", "sentence"), REFUSED)
def test_values_that_do_not_fit_together_are_refused(mode: Mode, fields: dict[str, Any], sentence: str) -> None:
    """When the settings are made, before a file is opened."""
    with pytest.raises(SettingsError) as raised:
        Settings(mode, **{"cassettes": (A,), **fields})
    assert sentence in str(raised.value)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"prefill": ()}, "a pair needs both: give --prefill URL and --decode URL"),
        ({"protocol": "bootstrap-room", "on_prefill_error": "decode"}, "leave --on-prefill-error decode away, or use"),
        ({"protocol": "addr-id", "decode_kv": ("d:2",)}, "give one --prefill-kv HOST:PORT for each URL"),
        ({"protocol": "addr-id", "prefill_kv": ("p:2",)}, "give one --decode-kv HOST:PORT for each URL"),
    ],
)
def test_a_pair_has_what_its_protocol_needs(fields: dict[str, Any], sentence: str) -> None:
    """Both roles, and connector addresses where the request id carries them."""
    with pytest.raises(SettingsError) as raised:
        Pair(**{**PAIR, **fields})
    assert sentence in str(raised.value)


@pytest.mark.parametrize("name", ["", "http://host", "host:1", "a b", "*"])
def test_an_admin_host_is_a_name(name: str) -> None:
    """Without scheme and port."""
    with pytest.raises(SettingsError, match="is not a host's name"):
        Listen(admin_allowed_hosts=(name,))


MODES = [
    # settings, records, plays, wants whole requests, played cassettes
    (Settings(Mode.RECORD, (A,), LIVE), True, False, False, (A,)),
    (Settings(Mode.RECORD, (A,), pair=Pair(**PAIR)), True, False, True, (A,)),
    (Settings(Mode.REPLAY, (A, B)), False, True, True, (A, B)),
    (Settings(Mode.REPLAY, (A,), LIVE, replaying=Replaying(on_miss=OnMiss.FORWARD)), False, True, True, (A,)),
    (Settings(Mode.REPLAY, (A,), LIVE, replaying=Replaying(on_miss=OnMiss.RECORD)), True, True, True, (A,)),
    (Settings(Mode.AUTO, (A,), LIVE, recording=RecordingSettings(onto=B)), True, True, True, (A, B)),
    (Settings(Mode.SIMULATE), False, False, True, ()),
]


@pytest.mark.parametrize(("settings", "records", "plays", "whole", "played"), MODES)
def test_what_follows_from_the_mode(
    settings: Settings, records: bool, plays: bool, whole: bool, played: tuple[Path, ...]
) -> None:
    """Whether it records, plays, and reads requests to their end; and which cassettes it plays."""
    assert (settings.records, settings.plays, settings.wants_whole_requests) == (records, plays, whole)
    assert settings.played_cassettes == played
    if records:
        assert settings.recorded_file == played[-1]


def test_each_rank_has_ports_of_its_own() -> None:
    """Behind those of the first one; a free port stays one."""
    listen = Listen(port=8000, admin_port=9000, ready_file=Path("ready"))
    ranks = Settings(Mode.SIMULATE, listen=listen).further_ranks(3)
    assert [(one.listen.port, one.listen.admin_port, one.listen.ready_file) for one in ranks] == [
        (8001, 9001, None),
        (8002, 9002, None),
    ]
    assert [one.simulation.state.rank for one in ranks] == [1, 2]
    free = Settings(Mode.SIMULATE, listen=Listen(port=0, admin_port=None)).further_ranks(2)
    assert [(one.listen.port, one.listen.admin_port) for one in free] == [(0, None)]


def test_one_rank_is_alone() -> None:
    """By its size, or because it is one of several processes."""
    assert Settings(Mode.SIMULATE).further_ranks(1) == ()
    second = Simulation(state=StateOptions(rank=1))
    assert Settings(Mode.SIMULATE, simulation=second).further_ranks(2) == ()


@pytest.mark.parametrize(
    ("listen", "words"),
    [
        (Listen(port=65535), "--data-parallel-size 2 has no room above --port 65535"),
        (Listen(uds=Path("socket")), "needs a port for each rank, and not --uds"),
    ],
)
def test_ranks_that_have_no_port(listen: Listen, words: str) -> None:
    """Are refused at the start."""
    with pytest.raises(SettingsError, match=words):
        Settings(Mode.SIMULATE, listen=listen).further_ranks(2)
