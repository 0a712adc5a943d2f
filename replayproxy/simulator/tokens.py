"""Text to tokens and back, without a vocabulary: fast, the same everywhere, and without loss.

A token is up to four bytes of text, about as much as a token of a real vocabulary holds; its id is these bytes, read as
a number, so that an id has a text and a text has its ids without any table. Ids are 32 bits wide and most of them are
above the vocabulary of every real model: they are for counting, for KV blocks and for `/detokenize`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

_PIECE = re.compile(
    r" [A-Za-z0-9_]{1,3}|[A-Za-z0-9_]{1,4}"  # a word, with the space before it
    r"| [!-/:-@\[-^`{-~]|[!-/:-@\[-^`{-~]"  # punctuation
    r"|\x00|[ \t\r\n]{1,4}|[\x01-\x7f]|[^\x00-\x7f]",  # white space, control characters, all other scripts
)

LARGEST = 2**32 - 1
"""The largest id: four bytes."""


class Token(NamedTuple):
    """One token of an answer."""

    id: int
    text: str


class Tokenizer(Protocol):
    """Turns text into tokens."""

    def encode(self, text: str) -> list[int]:
        """The ids."""
        ...

    def decode(self, ids: Iterable[int]) -> str:
        """The text of these ids; of one that is none, U+FFFD."""
        ...

    def tokens(self, text: str) -> list[Token]:
        """The tokens, whose texts joined are `text`."""
        ...


class ByteTokenizer:
    """Four bytes at most per token."""

    def encode(self, text: str) -> list[int]:
        """The ids."""
        return [int.from_bytes(piece.encode("utf-8", "replace")) for piece in _PIECE.findall(text)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of these ids; of one that is none, U+FFFD."""
        pieces = [_bytes(id) if 0 <= id <= LARGEST else b"\xff" for id in ids]
        return b"".join(pieces).decode("utf-8", "replace")

    def tokens(self, text: str) -> list[Token]:
        """The tokens, whose texts joined are `text`."""
        return [Token(int.from_bytes(piece.encode("utf-8", "replace")), piece) for piece in _PIECE.findall(text)]


def _bytes(id: int) -> bytes:
    return id.to_bytes(max(1, (id.bit_length() + 7) // 8))


def text_of(tokens: Sequence[Token]) -> str:
    """The text of tokens, joined."""
    return "".join([token.text for token in tokens])
