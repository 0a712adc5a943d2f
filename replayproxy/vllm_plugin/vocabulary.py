"""What the mock model wants to know of a tokenizer: the text of a token, the tokens of a text, which are ordinary.

Takes any tokenizer with vLLM's interface; without one (`--skip-tokenizer-init`) tokens have no text.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Protocol

PART = "\ufffd"
"""What the end of an incomplete character decodes to."""


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

    def find(self, text: str, before: Sequence[int] = ()) -> Iterator[int]:
        """Yield the tokens that have this text behind these tokens.

        A token that is part of a character reads as vLLM shows it: as the character if it completes one, else as
        nothing.
        """
        exact = self._by_text.get(text)
        if exact is not None and not text.endswith(PART):
            yield from exact
            return
        for token in self._parts:
            if self._completed(token, before) == text:
                yield token

    def _completed(self, token: int, before: Sequence[int]) -> str:
        """What a part of a character adds to the tokens before it."""
        assert self._tokenizer is not None, "without a tokenizer there are no parts"
        for length in range(1, len(before) + 1):
            context = list(before[-length:])
            text = self._tokenizer.decode([*context, token])
            if not text.endswith(PART):
                whole = self._tokenizer.decode(context).rstrip(PART)
                return text.removeprefix(whole)
        return ""

    @cached_property
    def ordinary(self) -> list[int]:
        """Every id but the special ones: what may stand in the middle of an answer."""
        special = set() if self._tokenizer is None else set(self._tokenizer.all_special_ids)
        return [token for token in range(self.size) if token not in special]

    @cached_property
    def _parts(self) -> list[int]:
        """The tokens that end within a character."""
        return [token for text, tokens in self._by_text.items() if text.endswith(PART) for token in tokens]

    @cached_property
    def _by_text(self) -> dict[str, list[int]]:
        """Decodes every token once, about a second for 150 000."""
        found: dict[str, list[int]] = defaultdict(list)
        for token in range(self.size):
            found[self.text(token)].append(token)
        return found
