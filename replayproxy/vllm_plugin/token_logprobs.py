"""Logprobs of a step, in the shape in which vLLM's output processor wants them: a row per token, the token first.

Recorded ones name alternatives by id or by text; vLLM decodes ids, so a text becomes an id that decodes to it. Made-up
ones have a seed and fall from one alternative to the next. Knows no vLLM and no numpy.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from replayproxy.vllm_plugin.token_recordings import TokenLogprob

FindTokens = Callable[[str], Iterable[int]]
"""Returns the ids that decode to a text."""

UNLIKELY = -9999.0
"""What vLLM itself writes for a probability of nothing (minus infinity is no JSON)."""


class LogprobRow(NamedTuple):
    """One token's: ids and logprobs side by side, its own first, and its rank among all tokens."""

    ids: list[int]
    logprobs: list[float]
    rank: int


def logprob_row(token: int, recorded: Sequence[TokenLogprob], width: int, find: FindTokens, size: int) -> LogprobRow:
    """Return the row of a token with `width` alternatives, made-up ones if none are recorded.

    `size`: of the vocabulary.
    """
    ids, logprobs = _recorded(token, recorded, width, find, size) if recorded else _made_up(token, width, size)
    own = logprobs[0]
    rank = 1 + sum(1 for id, logprob in zip(ids[1:], logprobs[1:], strict=True) if id != token and logprob > own)
    # vLLM collapses equal ids, so that a row is filled up with the token itself: no alternative is invented.
    missing = width + 1 - len(ids)
    return LogprobRow(ids[: width + 1] + [token] * missing, logprobs[: width + 1] + [own] * missing, rank)


def _recorded(
    token: int, recorded: Sequence[TokenLogprob], width: int, find: FindTokens, size: int
) -> tuple[list[int], list[float]]:
    own = recorded[0]
    ids, logprobs, used = [token], [own.logprob], {token}
    for text, logprob in recorded[1 : width + 2]:
        if text == own.token and logprob == own.logprob:
            continue  # itself, among the most likely
        found: Iterable[int] = [text] if isinstance(text, int) else find(text)
        id = next((id for id in found if id not in used and id < size), None)
        if id is not None:
            used.add(id)
            ids.append(id)
            logprobs.append(logprob)
    return ids, logprobs


def _made_up(token: int, width: int, size: int) -> tuple[list[int], list[float]]:
    chance = random.Random(token)
    ids, logprobs = [token], [-chance.random() / 10]
    while len(ids) < min(width + 1, size):
        id = chance.randrange(size)
        if id not in ids:
            ids.append(id)
            logprobs.append(logprobs[-1] - 1 - chance.random())
    return ids, logprobs
