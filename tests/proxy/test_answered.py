"""Each decision has an outcome, also where its client leaves before the answer has ended."""

from __future__ import annotations

import pytest

from replayproxy.core.policy import Decision, Forward, Probe, Record, Refuse, Replay, Simulate
from replayproxy.model import RecordingRef
from replayproxy.proxy.answered import planned
from replayproxy.views.access import Outcome

PLANS: list[tuple[Decision, Outcome]] = [
    (Replay(RecordingRef("rp1:00", 0)), Outcome.REPLAYED),
    (Record(), Outcome.RECORDED),
    (Forward(), Outcome.FORWARDED),
    (Simulate(), Outcome.SIMULATED),
    (Probe(), Outcome.ANSWERED),
    (Refuse(), Outcome.MISS),
]


@pytest.mark.parametrize(("decision", "outcome"), PLANS, ids=[outcome for _, outcome in PLANS])
def test_a_decision_leads_to_an_outcome(decision: Decision, outcome: Outcome) -> None:
    """Details are known once it has been carried out."""
    assert planned(decision).outcome is outcome
    assert planned(decision).id is None
