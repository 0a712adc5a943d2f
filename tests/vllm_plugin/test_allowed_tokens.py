"""A row of vLLM's bit mask as a set."""

from __future__ import annotations

import random

from replayproxy.vllm_plugin.allowed_tokens import AllowedTokens


def test_a_bit_per_token() -> None:
    """The least significant bit of the first word is token 0; words may be negative, as 32-bit integers are."""
    chance = random.Random(5)
    for _ in range(50):
        tokens = set(chance.sample(range(160), chance.randrange(160)))
        words = [sum(1 << (token & 31) for token in tokens if token >> 5 == number) for number in range(5)]
        signed = [word - (1 << 32) if word >> 31 else word for word in words]
        allowed = AllowedTokens(signed)
        assert set(allowed) == tokens
        assert {token for token in range(200) if token in allowed} == tokens
