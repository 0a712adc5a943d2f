"""Tests of `core/incidents`: conditions as people write them, and which answers meet them."""

from __future__ import annotations

import pytest

from replayproxy.core.incidents import AnswerFacts, IncidentCondition
from replayproxy.setting_kinds import BadValue

SECOND = 10**9

FINE = AnswerFacts(200, ttft=SECOND, gap=SECOND, total=10 * SECOND)


@pytest.mark.parametrize(
    ("text", "facts", "is_met"),
    [
        ("status>=500", AnswerFacts(500), True),
        ("status>=500", AnswerFacts(499), False),
        ("status = 429", AnswerFacts(429), True),
        ("status!=200", FINE, False),
        ("ttft>2s", AnswerFacts(200, ttft=2 * SECOND + 1), True),
        ("ttft>2s", AnswerFacts(200, ttft=2 * SECOND), False),
        ("ttft>2s", AnswerFacts(502), False),
        ("gap>=500ms", AnswerFacts(200, gap=SECOND // 2), True),
        ("total<1m", FINE, True),
        ("cut", AnswerFacts(200, cut=True), True),
        (" cut ", FINE, False),
    ],
)
def test_which_answers_meet_a_condition(text: str, facts: AnswerFacts, is_met: bool) -> None:
    """What was not measured meets none."""
    assert IncidentCondition.parse(text).is_met_by(facts) is is_met


@pytest.mark.parametrize("text", ["", "slow", "ttft", "ttft>", "ttft>fast", "status>=5xx", "status>=9999", "gap>5s>6s"])
def test_what_is_no_condition_is_refused_with_the_form(text: str) -> None:
    """And quoted."""
    with pytest.raises(BadValue, match=r"status>=500|is not a duration") as refused:
        IncidentCondition.parse(text)
    assert repr(text) in str(refused.value)
