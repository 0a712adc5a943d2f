"""Log probabilities of invented tokens, by the rule of llm-d-inference-sim, in the forms of chat and completions.

The token at position p has -1 - 0.1 (p mod 3), and its alternative j half a unit less for each j.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from replayproxy.simulator.tokens import Token


def logprob_at(position: int) -> float:
    """The log probability of the token at a position of an answer, from 0."""
    return -1.0 - (position % 3) / 10


def chat_logprobs(tokens: Sequence[Token], position: int, top: int) -> dict[str, Any]:
    """`logprobs` of a chat choice, for tokens from a position on."""
    content = []
    for offset, token in enumerate(tokens):
        logprob = logprob_at(position + offset)
        alternatives = [_entry(token.text if j == 0 else f"{token.text}_{j}", logprob - j / 2) for j in range(top)]
        content.append({**_entry(token.text, logprob), "top_logprobs": alternatives})
    return {"content": content}


def completion_logprobs(tokens: Sequence[Token], position: int, top: int, text_offset: int) -> dict[str, Any]:
    """`logprobs` of a completion choice. `text_offset` is where the first of these tokens begins, in characters."""
    texts = [token.text for token in tokens]
    values = [logprob_at(position + offset) for offset in range(len(tokens))]
    offsets = []
    for text in texts:
        offsets.append(text_offset)
        text_offset += len(text)
    # vLLM has the token itself besides the alternatives, so at least one entry.
    tops = [
        {text if j == 0 else f"{text}_{j}": value - j / 2 for j in range(max(1, top))}
        for text, value in zip(texts, values, strict=True)
    ]
    return {"text_offset": offsets, "token_logprobs": values, "tokens": texts, "top_logprobs": tops}


def _entry(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}
