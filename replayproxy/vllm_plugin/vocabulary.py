"""What the mock model wants to know of a tokenizer: the text of a token, the tokens of a text, which are ordinary.

Takes any tokenizer with vLLM's interface; without one (`--skip-tokenizer-init`) tokens have no text.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from typing import Protocol


class Tokenizer(Protocol):
    """The part of vLLM's tokenizers that is used here."""

    @property
    def all_special_ids(self) -> Sequence[int]:
        """The ids that stand for no text."""
        ...

    def __len__(self) -> int: ...

    def decode(self, ids: list[int]) -> str:
        """Return the text of some ids."""
        ...


class Vocabulary:
    """A tokenizer, or none, and how many ids the model has."""

    def __init__(self, tokenizer: Tokenizer | None, size: int) -> None:
        """`size` is the model's, which may be padded beyond what the tokenizer knows."""
        self._tokenizer = tokenizer
        self.size = size if tokenizer is None else min(size, len(tokenizer))

    def text(self, token: int) -> str:
        """Return the text of one token; empty where that is not known."""
        return "" if self._tokenizer is None or token >= self.size else self._tokenizer.decode([token])

    def find(self, text: str) -> Sequence[int]:
        """Return the tokens that have this text: several where it is part of a character."""
        return self._by_text.get(text, ())

    @cached_property
    def ordinary(self) -> list[int]:
        """Every id but the special ones: what may stand in the middle of an answer."""
        special = set() if self._tokenizer is None else set(self._tokenizer.all_special_ids)
        return [token for token in range(self.size) if token not in special]

    @cached_property
    def _by_text(self) -> dict[str, list[int]]:
        """Decodes every token once, about a second for 150 000."""
        found: dict[str, list[int]] = defaultdict(list)
        for token in range(self.size):
            found[self.text(token)].append(token)
        return found
