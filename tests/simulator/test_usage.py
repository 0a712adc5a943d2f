"""Tests of `simulator/usage`: which tokens are counted once, and which keys are null."""

from __future__ import annotations

import random

from replayproxy.simulator.sequence import EngineSequence
from replayproxy.simulator.usage import TokenCounts, without_nulls


def sequence(prompt: int, generated: int, cached: int) -> EngineSequence:
    """One that has ended."""
    one = EngineSequence("a", 0, "m", range(prompt), generated, random.Random(1))
    one.generated, one.cached_tokens = generated, cached
    return one


def test_choices_share_their_prompt() -> None:
    """Two prompts with two choices each: four completions, two prompts."""
    sequences = [sequence(3, 1, 0), sequence(3, 2, 0), sequence(5, 3, 4), sequence(5, 4, 4)]
    assert TokenCounts.of(sequences, 2, 6) == TokenCounts(8, 10, 4, 6)


def test_details_are_null_where_they_are_not_counted() -> None:
    """As in vLLM."""
    counts = TokenCounts(8, 10, 4, 6)
    assert counts.with_details(has_cache=False, has_reasoning=False) == {
        "prompt_tokens": 8, "total_tokens": 18, "completion_tokens": 10, "prompt_tokens_details": None,
        "completion_tokens_details": None,
    }  # fmt: skip
    detailed = counts.with_details(has_cache=True, has_reasoning=True)
    assert without_nulls(detailed)["prompt_tokens_details"] == {"cached_tokens": 4, "created_cache_tokens": 0}
    assert detailed["completion_tokens_details"] == {"reasoning_tokens": 6}
