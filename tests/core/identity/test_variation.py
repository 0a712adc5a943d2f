"""What varies between two texts, and the narrow rule that makes them equal and leaves the rest apart."""

from __future__ import annotations

import pytest

from replayproxy.core.identity.normalise import normalisers
from replayproxy.core.identity.variation import MOST_TOKENS, narrow_rule, variations

UUIDS = "11111111-2222-4333-8444-555555555555", "a1111111-2222-4333-8444-555555555556"

# Two versions of a text, a third one that is the same under the rules, and one that must stay apart.
TEXTS = [
    ("Today is 2026-11-17.", "Today is 2026-11-18.", "Today is 2027-01-02.", "It was on 2026-11-17."),
    (
        f"Session: {UUIDS[0]}, go",
        f"Session: {UUIDS[1]}, go",
        f"Session: {UUIDS[0].replace('1', 'f')}, go",
        f"Order: {UUIDS[0]}, go",
    ),
    (
        "Work in /tmp/agent-x8f3ab12/src/a.py",
        "Work in /tmp/agent-41abq_9z/src/a.py",
        "Work in /tmp/agent-zzzz0000/src/a.py",
        "Work in /tmp/agent-x8f3ab12/src/b.py",
    ),
    ("run 12 of 40", "run 13 of 40", "run 9 of 40", "run 12 of 41"),
    ("job 6a8ac4ba ends", "job 2e8d4b8a ends", "job 00000000 ends", "job finished ends"),
    (
        "Current time: 2026-11-27T10:35:43Z",
        "Current time: 2026-11-27T10:35:44.123Z",
        "Current time: 2027-01-01T00:00:00Z",
        "Deadline: 2026-11-27T10:35:43Z",
    ),
    ("took 0.123s in all", "took 12.9s in all", "took 3.0s in all", "took 0.123s at most"),
]


@pytest.mark.parametrize(("first", "second", "third", "other"), TEXTS, ids=[texts[0] for texts in TEXTS])
def test_a_rule_drops_what_varies_and_nothing_else(first: str, second: str, third: str, other: str) -> None:
    """Also in a run that comes later."""
    found = variations(first, second)
    assert found
    rules = [rule.value() for variation in found if (rule := narrow_rule(variation)) is not None]
    texts = [first, second, third, other]
    for normaliser in normalisers(rules):
        texts = [normaliser.of(text) for text in texts]
    assert texts[0] == texts[1] == texts[2]
    assert texts[3] != texts[0]


@pytest.mark.parametrize(
    ("first", "second"), [("one", "one and two"), ("", "x"), ("a", "a\nb\nc"), ("x " * 50, "y z " * 50)]
)
def test_another_text_is_no_variation(first: str, second: str) -> None:
    """Words that only one has, or too many places."""
    assert variations(first, second) is None


def test_equal_texts_do_not_vary() -> None:
    """Nothing to explain."""
    assert variations("the same", "the same") == []


def test_a_value_alone_has_no_context() -> None:
    """Of a kind that is known it is a rule by itself; else there is nothing to hold on to."""
    (uuid,) = variations(*UUIDS) or []
    rule = narrow_rule(uuid)
    assert rule is not None
    assert (uuid.kind, uuid.whole, rule.core[0], rule.core[-1]) == ("uuid", True, "^", "$")
    (nine,) = variations("aB3dE5gH7", "zZ3dE5gH9") or []
    assert narrow_rule(nine) is None


def test_rules_with_the_same_end_become_one() -> None:
    """The beginning of the context varies too, so it does not belong to the rule."""
    first, second = (
        narrow_rule((variations(f"read {name} at 2026-11-17", f"read {name} at 2026-11-18") or [])[0])
        for name in ("a.txt", "b.txt")
    )
    assert first is not None
    assert second is not None
    both = first.joined(second)
    assert both is not None
    assert both.context == "txt at "
    other = narrow_rule((variations("on the 2026-11-17", "on the 2026-11-18") or [])[0])
    assert other is not None
    assert first.joined(other) is None


def test_long_texts_take_bounded_time() -> None:
    """A common start and end cost nothing; too much between them is another text."""
    same = "word " * 100_000
    assert variations(f"{same} 17 {same}", f"{same} 18 {same}") is not None
    assert variations("a " * (MOST_TOKENS + 2), "b " * (MOST_TOKENS + 2)) is None
