"""Tests of `simulator/logprobs`: the rule, and the two forms."""

from __future__ import annotations

from replayproxy.simulator.logprobs import chat_logprobs, completion_logprobs, logprob_at
from replayproxy.simulator.tokens import Token

TOKENS = [Token(1, "a"), Token(2, "ü")]


def test_the_rule() -> None:
    """It repeats after three."""
    assert [logprob_at(position) for position in range(4)] == [-1.0, -1.1, -1.2, -1.0]


def test_chat() -> None:
    """Bytes are those of UTF-8; the token is its own first alternative."""
    one, two = chat_logprobs(TOKENS, 2, 2)["content"]
    assert (one["logprob"], two["bytes"]) == (-1.2, [195, 188])
    assert [(entry["token"], entry["logprob"]) for entry in two["top_logprobs"]] == [("ü", -1.0), ("ü_1", -1.5)]


def test_completions() -> None:
    """Offsets count characters from where the first token begins."""
    assert completion_logprobs(TOKENS, 0, 0, 7) == {
        "text_offset": [7, 8],
        "token_logprobs": [-1.0, -1.1],
        "tokens": ["a", "ü"],
        "top_logprobs": [{"a": -1.0}, {"ü": -1.1}],
    }
