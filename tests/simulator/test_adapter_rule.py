"""A sequence of an adapter needs a slot; one of the base model needs none."""

from __future__ import annotations

import random

from replayproxy.simulator.adapter_rule import AdapterRule
from replayproxy.simulator.adapters import Adapters
from replayproxy.simulator.listeners import Admission
from replayproxy.simulator.sequence import EngineSequence


def sequence(adapter: str | None) -> EngineSequence:
    """One of an adapter, or of the base model."""
    return EngineSequence("r", 0, adapter or "tiny", [1], 1, random.Random(1), adapter=adapter)


def test_slots_are_taken_shared_and_given_back() -> None:
    """Whoever finds no slot is skipped, so that others may overtake it."""
    rule = AdapterRule(Adapters(("tiny",), max_loras=1))
    a, again, b, base = (sequence(name) for name in ("a", "a", "b", None))
    assert [rule.admit(one) for one in (a, b, again, base)] == [
        Admission.ADMITTED,
        Admission.SKIPPED,
        Admission.ADMITTED,
        Admission.ADMITTED,
    ]
    for one in (a, base):
        rule.release(one)
    assert rule.admit(b) is Admission.SKIPPED
    rule.release(again)
    assert rule.admit(b) is Admission.ADMITTED
