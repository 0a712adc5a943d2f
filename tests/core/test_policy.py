"""The table of decisions, row by row."""

from __future__ import annotations

from itertools import product

import pytest

from replayproxy.core.policy import (
    PROBES,
    Decision,
    Forward,
    Mode,
    OnMiss,
    Probe,
    Record,
    Refuse,
    Replay,
    Simulate,
    Tunnel,
    decide,
    decide_upgrade,
    looks_for_recordings,
)
from replayproxy.model import RecordingRef

FOUND = RecordingRef("rp1:00", 0)
ANY = (False, True)

# mode, probe, wanted, found, on miss, decision
TABLE: list[tuple[Mode, bool, bool, bool, OnMiss, Decision]] = [
    *((Mode.RECORD, False, True, found, miss, Record()) for found, miss in product(ANY, OnMiss)),
    *((Mode.RECORD, False, False, found, miss, Forward()) for found, miss in product(ANY, OnMiss)),
    *((Mode.RECORD, True, wanted, found, miss, Forward()) for wanted, found, miss in product(ANY, ANY, OnMiss)),
    *((Mode.AUTO, True, wanted, found, miss, Forward()) for wanted, found, miss in product(ANY, ANY, OnMiss)),
    *((Mode.AUTO, False, wanted, True, miss, Replay(FOUND)) for wanted, miss in product(ANY, OnMiss)),
    *((Mode.AUTO, False, True, False, miss, Record()) for miss in OnMiss),
    *((Mode.AUTO, False, False, False, miss, Forward()) for miss in OnMiss),
    *((Mode.REPLAY, True, wanted, found, miss, Probe()) for wanted, found, miss in product(ANY, ANY, OnMiss)),
    *((Mode.REPLAY, False, wanted, True, miss, Replay(FOUND)) for wanted, miss in product(ANY, OnMiss)),
    *((Mode.REPLAY, False, wanted, False, OnMiss.REFUSE, Refuse()) for wanted in ANY),
    *((Mode.REPLAY, False, wanted, False, OnMiss.FORWARD, Forward()) for wanted in ANY),
    *((Mode.REPLAY, False, wanted, False, OnMiss.RECORD, Record()) for wanted in ANY),
    *((Mode.REPLAY, False, wanted, False, OnMiss.SIMULATE, Simulate()) for wanted in ANY),
    *((Mode.SIMULATE, True, wanted, found, miss, Simulate()) for wanted, found, miss in product(ANY, ANY, OnMiss)),
    *((Mode.SIMULATE, False, wanted, found, miss, Simulate()) for wanted, found, miss in product(ANY, ANY, OnMiss)),
]


@pytest.mark.parametrize(("mode", "probe", "wanted", "found", "on_miss", "decision"), TABLE)
def test_every_row(mode: Mode, probe: bool, wanted: bool, found: bool, on_miss: OnMiss, decision: Decision) -> None:
    """Record what passes, play what is there, and do on a miss what was asked for."""
    place = FOUND if found else None
    assert decide(mode, probe=probe, is_recorded=wanted, place=place, on_miss=on_miss) == decision


def test_the_table_has_every_case_once() -> None:
    """No mode, no fallback and no flag is forgotten."""
    assert sorted(row[:5] for row in TABLE) == sorted(product(Mode, ANY, ANY, ANY, OnMiss))


def test_refusing_never_asks_a_server() -> None:
    """The default of a replay opens no upstream connection, whatever comes."""
    decisions = [row[5] for row in TABLE if row[0] is Mode.REPLAY and row[4] is OnMiss.REFUSE]
    assert {type(decision) for decision in decisions} == {Probe, Replay, Refuse}


def test_probes_are_never_recorded() -> None:
    """Health and metrics are about the server of that moment."""
    assert not [row for row in TABLE if row[1] and row[5] == Record()]
    assert {"/health", "/ping", "/load", "/metrics", "/version"} == PROBES


def test_only_who_may_replay_looks_for_recordings() -> None:
    """Recording need not know a key before the answer."""
    looking = {row[0] for row in TABLE if isinstance(row[5], Replay)}
    assert {mode for mode in Mode if looks_for_recordings(mode)} == looking


def test_an_upgrade_goes_to_a_server_or_nowhere() -> None:
    """It reaches a live server in the modes that may ask one, if that can switch; no recording answers it."""
    rows = {(mode, miss, tunnel): decide_upgrade(mode, miss, has_tunnel=tunnel) for mode, miss, tunnel in
            product(Mode, OnMiss, ANY)}  # fmt: skip
    connected = {row for row, decision in rows.items() if decision == Tunnel()}
    assert connected == {
        *((mode, miss, True) for mode in (Mode.RECORD, Mode.AUTO) for miss in OnMiss),
        *((Mode.REPLAY, miss, True) for miss in (OnMiss.FORWARD, OnMiss.RECORD)),
    }
    assert {decision for row, decision in rows.items() if row not in connected} == {Refuse()}
