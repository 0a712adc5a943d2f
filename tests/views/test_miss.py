"""Tests of `views/miss`: what people and programs learn of a request without a recording."""

from __future__ import annotations

from dataclasses import replace

import pytest

from replayproxy.core.identity.difference import Difference, Nearest
from replayproxy.model import Request
from replayproxy.ports import Neighbour
from replayproxy.views.miss import Miss

CHAT = Request("POST", "/v1/chat/completions?x=1", (), b"{}")


def near(*differences: Difference, more: int = 0) -> Miss:
    """A request that was nearly recorded."""
    neighbour = Neighbour("ci.cassette", "7f3a1c02", CHAT, 200, 311, "stop")
    return Miss("no_match", CHAT, "rp1:00", nearest=Nearest(neighbour, 0.9, differences, more), every=412, here=37)


DATE = Difference("$.messages[3].content", "…today is 2026-11-17…", "…today is 2026-11-20…", "date")
WARMTH = Difference("$.temperature", "0.7", "0.8")


def test_a_near_miss_explains_itself() -> None:
    """To people: what is there, both values, what they look like, what the answer would have been, what to do."""
    assert near(DATE, WARMTH).explanation.splitlines() == [
        "No recording matches this POST /v1/chat/completions (412 are there; 37 to this endpoint).",
        "Closest 7f3a1c02 (ci.cassette), the same except:",
        "  $.messages[3].content  recorded  …today is 2026-11-17…",
        "                         received  …today is 2026-11-20…   <- looks like a date",
        "  $.temperature          recorded  0.7",
        "                         received  0.8",
        "Would have answered: 200, 311 tokens, stop.",
        "Fix one of:",
        "  make the request as it was recorded",
        "  --match-normalise date   (compares every date as equal)",
        "  --match-ignore '$.temperature'   (loses meaning: matches anything there)",
        "  record only this: --on-miss record --upstream URL",
    ]


def test_a_miss_for_defaults_alone_names_the_flag() -> None:
    """To the client and to people, in place of one that loses meaning."""
    miss = near(Difference("$.separate_reasoning", "(absent)", "true"))
    assert miss.nearest is not None
    only = replace(miss, nearest=replace(miss.nearest, only_defaults=True))
    assert "Make the request as it was recorded, or replay with --match-defaults, or record it again" in only.sentence
    assert only.explanation.splitlines()[-3:] == [
        "  make the request as it was recorded",
        "  --match-defaults   (compares a field with its documented default as absent)",
        "  record only this: --on-miss record --upstream URL",
    ]
    assert "--match-defaults" not in miss.explanation + miss.sentence


def test_a_miss_as_data() -> None:
    """Everything that the words say."""
    document = near(DATE).document()
    assert document["nearest"] == {
        "cassette": "ci.cassette",
        "id": "7f3a1c02",
        "similarity": 0.9,
        "differences": [
            {
                "path": "$.messages[3].content",
                "recorded": "…today is 2026-11-17…",
                "received": "…today is 2026-11-20…",
                "looks_like": "date",
            }
        ],
        "more_differences": 0,
        "only_defaults": False,
        "would_have_answered": {"status": 200, "completion_tokens": 311, "finish": "stop"},
    }
    assert Miss("exhausted", CHAT, "rp1:00").document()["nearest"] is None


ORDINALS = {1: "1st", 2: "2nd", 3: "3rd", 4: "4th", 11: "11th", 12: "12th", 13: "13th", 21: "21st", 112: "112th"}


@pytest.mark.parametrize(("asked", "spelled"), ORDINALS.items())
def test_ordinals(asked: int, spelled: str) -> None:
    """As people write them."""
    assert f"for the {spelled} time" in Miss("exhausted", CHAT, "rp1:00", recorded=1, request_count=asked).sentence
