"""What a client did, from what was seen of it."""

from __future__ import annotations

from typing import Any

import pytest

from replayproxy.core.faults.conduct import MISHANDLED, NOT_INJECTED, Outcome, Sighting, judge_conduct
from replayproxy.core.faults.grammar import parse_fault

MS = 1_000_000
SECOND = 1000 * MS


def seen(text: str, **more: Any) -> tuple[str, str]:
    """The verdict on a fault."""
    if "retries" in more:
        more.setdefault("retry_count", len(more["retries"]))
    outcome, sentence = judge_conduct(Sighting(parse_fault(text), **more))
    return outcome.value, sentence


@pytest.mark.parametrize(
    ("text", "what", "outcome", "sentence"),
    [
        # Statuses
        (
            "status=429,retry-after=2",
            {"retries": (2 * SECOND,), "recovered": True},
            "recovered",
            "asked again after 2 s and got a whole answer",
        ),
        (
            "status=429,retry-after=2",
            {"retries": (500 * MS,), "recovered": True},
            "retried_early",
            "asked again after 500 ms, and Retry-After was 2 s",
        ),
        ("status=429,retry-after=2", {"retries": (1_995 * MS,), "recovered": True}, "recovered", None),
        ("status=503", {}, "gave_up", "did not ask again after 503"),
        (
            "status=503",
            {"retries": (SECOND, 3 * SECOND)},
            "gave_up",
            "asked again 2 times without a whole answer, then no more",
        ),
        ("status=401", {}, "not_retried", "did not ask again, as is right after 401"),
        (
            "status=401",
            {"retries": (SECOND,)},
            "retried_forbidden",
            "asked again after 401, which no repetition changes",
        ),
        (
            "status=503",
            {"retries": (100 * MS, 200 * MS, 300 * MS, 400 * MS), "recovered": True},
            "storm",
            "asked again 4 times within 1 s",
        ),
        (
            "status=503",
            {"retries": (500 * MS, 1_500 * MS, 3_500 * MS, 7_500 * MS), "recovered": True},
            "recovered",
            "asked again after 500 ms and got a whole answer",
        ),
        # Broken answers
        ("cut@3", {}, "gave_up", "did not ask again"),
        ("cut@3", {"command_succeeded": False}, "gave_up", "did not ask again"),
        (
            "cut@3",
            {"command_succeeded": True},
            "accepted_truncated",
            "took what it had for the whole answer: it did not ask again, and the command ended with exit code 0",
        ),
        ("cut-clean@3", {"echoed": True}, "accepted_truncated", None),
        ("cut@3", {"retries": (SECOND,), "recovered": True}, "recovered", None),
        ("cut@3", {"retries": (SECOND,), "recovered": True, "command_succeeded": True}, "recovered", None),
        ("reset@0", {"command_succeeded": True}, "gave_up", "did not ask again"),
        ("reset@2", {"command_succeeded": True}, "accepted_truncated", None),
        ("garbage@2", {"command_succeeded": True}, "accepted_garbage", None),
        ("garbage@2", {"echoed": True}, "accepted_garbage", None),
        # Pauses
        (
            "stall@3,for=5s",
            {},
            "no_read_timeout",
            "waited 5 s without a byte: it has no read time-out below that",
        ),
        ("slow-start,for=20s", {}, "waited", "waited 20 s for the answer to begin"),
        (
            "stall@3,for=5s",
            {"left_after": 2 * SECOND, "retries": (3 * SECOND,), "recovered": True},
            "recovered",
            "left after 2 s without a byte, then asked again after 3 s and got a whole answer",
        ),
        (
            "slow-start,for=20s",
            {"left_after": 2100 * MS},
            "gave_up",
            "left after 2.1 s without a byte and did not ask again",
        ),
        # What cannot be judged
        ("cut@99", {"has_fired": False}, "not_reached", "the answer ended before cut@99 could happen"),
        ("stall@1", {"ended": None}, "unfinished", None),
    ],
)
def test_the_table(text: str, what: dict[str, Any], outcome: str, sentence: str | None) -> None:
    """Each row: a fault, what was seen, a word, and a sentence."""
    found, words = seen(text, **what)
    assert found == outcome
    assert words == sentence or sentence is None


def test_outcomes_are_good_bad_or_nothing() -> None:
    """`--assert-resilient` knows what to do with each."""
    assert not MISHANDLED & NOT_INJECTED
    assert set(Outcome) - MISHANDLED - NOT_INJECTED == {Outcome.RECOVERED, Outcome.WAITED, Outcome.NOT_RETRIED}
