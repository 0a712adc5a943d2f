"""Tests of `simulator/sequence`."""

from __future__ import annotations

import random

from replayproxy.simulator.sequence import EngineSequence


def test_a_new_sequence_has_not_begun() -> None:
    """No time, no token; its prompt is counted; two equal ones are two."""
    one, two = (EngineSequence("a", 0, "m", [1, 2, 3], 5, random.Random(1)) for _ in range(2))
    assert (one.prompt_tokens, one.generated, one.started_at, one.cached_tokens) == (3, 0, 0, 0)
    assert len({one, two}) == 2
