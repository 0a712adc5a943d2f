"""Tests of `simulator/listeners`: several listeners hear the same."""

from __future__ import annotations

import random

from replayproxy.simulator.listeners import Listeners
from replayproxy.simulator.sequence import EngineSequence
from tests.doubles.simulation import MS, EventLog


def test_all_listeners_are_told_everything() -> None:
    """In the order in which it happens."""
    logs = [EventLog(), EventLog()]
    listeners, sequence = Listeners(logs), EngineSequence("a", 0, "m", [1], 5, random.Random(1), finish_reason="stop")
    listeners.accepted(sequence, 0)
    listeners.queued(sequence, 0)
    listeners.started(sequence, MS)
    listeners.first_token(sequence, 2 * MS)
    listeners.token(sequence, 3 * MS, MS)
    listeners.finished(sequence, 3 * MS)
    listeners.failed(sequence, 4 * MS)
    listeners.rejected(sequence, 5 * MS)
    assert logs[0].lines == logs[1].lines
    assert [line.split(maxsplit=2)[2] for line in logs[0].lines] == [
        "accepted", "queued", "started", "first", "token +1", "finished stop", "failed stop", "rejected",
    ]  # fmt: skip
