"""The tokens that a grammar admits at one place: vLLM's bit mask, one bit per token of the vocabulary.

Knows no vLLM; a row of its mask is a sequence of 32-bit words, the least significant bit first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence


class AllowedTokens:
    """One row of the mask, as a set of token ids."""

    def __init__(self, words: Sequence[int]) -> None:
        self._words = words

    def __contains__(self, token: int) -> bool:
        word = token >> 5
        return word < len(self._words) and bool((int(self._words[word]) >> (token & 31)) & 1)

    def __iter__(self) -> Iterator[int]:
        for number, word in enumerate(self._words):
            bits = int(word) & 0xFFFFFFFF  # vLLM's words are signed
            while bits:
                lowest = bits & -bits
                yield (number << 5) + lowest.bit_length() - 1
                bits ^= lowest
