"""The words of a comparison that several reports share."""

from __future__ import annotations

import pytest

from replayproxy.core.comparison.agreement_level import AnswerDifference, TextPlace
from replayproxy.core.comparison.gate import TIMES
from replayproxy.core.comparison.statistic import Estimate
from replayproxy.views.comparison_words import EXPLAINED, NAMES, change_words, difference_line, ratio_words


@pytest.mark.parametrize(
    ("estimate", "change", "ratio"),
    [
        (Estimate("p50", 9, 1, 1.2, 1.2, 1.1, 1.31), "+20.0 %", "+20.0 % (+10.0 to +31.0 %)"),
        (Estimate("p50", 3, 1, 0.9, 0.9), "-10.0 %", "-10.0 %"),
        (Estimate("p50", 0), "-", "-"),
    ],
)
def test_a_ratio_is_a_change(estimate: Estimate, change: str, ratio: str) -> None:
    """With its interval where there is one."""
    assert (change_words(estimate), ratio_words(estimate)) == (change, ratio)
    assert change_words(None) == "-"


def test_a_difference_is_one_line() -> None:
    """With its place, and with control characters as they are written in Python."""
    place = TextPlace("$.x", 0, 7, 2, 3, "the ", "sea\n", "sky", 0.5)
    line = difference_line(AnswerDifference("text", "content", "sea\n", "sky", place))
    assert line == "$.x at token 2, character 7, chunk 3: after 'the ' 'sea\\n', then 'sky'"
    assert difference_line(AnswerDifference("finish", "finish reason", "stop", "")) == (
        "finish reason: 'stop', then nothing"
    )


def test_every_time_has_a_name_and_an_explanation() -> None:
    """So that no column is a riddle."""
    assert set(NAMES) == set(TIMES)
    assert set(NAMES.values()) <= EXPLAINED.keys()
