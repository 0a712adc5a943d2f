"""Tests of `simulator/tokens`: no text is lost, and a token is about what a token of a real model is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replayproxy.simulator.tokens import LARGEST, ByteTokenizer, text_of
from tests import fuzz

TOKENIZER = ByteTokenizer()


@settings(max_examples=fuzz.cases(30), deadline=None)
@given(st.text())
def test_a_text_is_its_tokens(text: str) -> None:
    """Joined, and by their ids; the ids are what `encode` gives, and fit into 32 bits."""
    clean = text.encode("utf-8", "replace").decode()
    tokens = TOKENIZER.tokens(clean)
    assert text_of(tokens) == clean
    assert TOKENIZER.decode([token.id for token in tokens]) == clean
    assert [token.id for token in tokens] == TOKENIZER.encode(clean)
    assert all(0 <= token.id <= LARGEST for token in tokens)
    assert all(1 <= len(token.text.encode()) <= 4 for token in tokens)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Hello, world 1", ["Hell", "o", ",", " wor", "ld", " 1"]),
        ("    x", ["    ", "x"]),
        ("Grüß", ["Gr", "ü", "ß"]),
        ("🙂!", ["🙂", "!"]),
        ('{"a": 1}', ["{", '"', "a", '"', ":", " 1", "}"]),
        ("\0\0a", ["\0", "\0", "a"]),
        ("", []),
    ],
)
def test_pieces(text: str, pieces: list[str]) -> None:
    """Words in pieces of four with the space before them, every other script character by character."""
    assert [token.text for token in TOKENIZER.tokens(text)] == pieces


def test_ids_that_are_none_become_replacement_characters() -> None:
    """Half a character, negative numbers, and what is larger than four bytes; nothing fails."""
    assert TOKENIZER.decode([0xC3, -1, 2**40, 0x41]) == "\ufffd\ufffd\ufffdA"


def test_it_is_fast_enough_for_long_prompts() -> None:
    """Linear: a hundred thousand words are a hundred thousand pieces or two."""
    assert 100_000 <= len(TOKENIZER.encode("word and " * 100_000)) <= 400_000
