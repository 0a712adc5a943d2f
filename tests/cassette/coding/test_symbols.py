"""Words get short codes of either kind, what has none is spelled out, and a stranger's vocabulary is checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replayproxy.cassette.coding.symbols import FEWEST_WORDS, MAX_WORDS, SymbolTable, WordCounts, with_bits, with_bytes
from replayproxy.errors import Damaged
from tests import fuzz

EITHER = pytest.mark.parametrize("words_of", [with_bytes, with_bits])
Words = Callable[[WordCounts], bytes | None]


def told(said: WordCounts, words_of: Words) -> SymbolTable:
    """A vocabulary of what was said."""
    content = words_of(said)
    assert content is not None
    return SymbolTable(content)


STORY = Counter({b" w%d" % number: 2 + 20_000 // (number + 1) for number in range(5000)}) + Counter(
    {b"": 7, b"once": 1, b"a\0b": 9, b"x" * 64: 9}
)
KNOWN: dict[Words, SymbolTable] = {words_of: told(STORY, words_of) for words_of in (with_bytes, with_bits)}
MIDDLES = st.lists(st.sampled_from([b"", b" w0", b" w1", b" w300", b" w4999", b"once"]) | st.binary(max_size=5))


@EITHER
@given(MIDDLES)
def test_any_middles_come_back(words_of: Words, middles: list[bytes]) -> None:
    """Words, empty ones, and others; but for NULs, which nobody asks for."""
    middles = [middle.replace(b"\0", b"") for middle in middles]
    codes, others, joins = KNOWN[words_of].spell(middles)
    assert KNOWN[words_of].read(codes, others, len(middles), joins) == middles


@EITHER
def test_words_are_what_is_said_more_than_once(words_of: Words) -> None:
    """And holds no NUL, and is not too long; every one of them, or the most frequent ones."""
    assert sorted(KNOWN[words_of].words) == sorted(STORY.keys() - {b"once", b"a\0b", b"x" * 64})
    many = told({b"%05d!" % (7919 * number): 2 + (number < 9) for number in range(9000)}, words_of).words
    assert len(many) == MAX_WORDS
    assert {b"%05d!" % (7919 * number) for number in range(9)} <= set(many)


@EITHER
def test_frequent_words_have_short_codes(words_of: Words) -> None:
    """One byte or two of bytes; of bits, what they are worth."""
    sizes = [len(KNOWN[words_of].spell([word] * 80)[0]) / 80 for word in (b" w0", b" w200", b" w4999", b"other")]
    assert sizes == ([1, 2, 2, 1] if words_of is with_bytes else [0.375, 1.375, 1.875, 1.625])


@EITHER
def test_too_few_words_make_no_vocabulary(words_of: Words) -> None:
    """It would not pay for itself."""
    few = {b"%d" % number: 2 for number in range(FEWEST_WORDS - 1)}
    assert words_of(few) is None
    assert words_of({}) is None
    assert told(few | {b"one more": 2}, words_of).words


def packed(*parts: object) -> bytes:
    """Of any content."""
    return bytes(msgpack.packb(list(parts)))


BAD: dict[str, bytes] = {
    "nothing": b"",
    "no msgpack": b"a\0b",
    "two parts": packed([], 0),
    "lengths that are none": packed("", 0, b"a"),
    "an escape that is none": packed([], None, b"a"),
    "an escape beyond the words": packed([], 2, b"a"),
    "an escape before them": packed([], -1, b"a"),
    "words that are a text": packed([], 0, "a"),
    "a word too long": packed([], 0, b"x" * 64),
    "too many words": packed([], 0, b"a\0" * MAX_WORDS),
    "a code of another number": packed([2], 0, b"a\0b"),
    "a code that is none": packed([1, 1], 0, b"a"),
    "a code without end": packed([0] * 40 + [2], 0, b"a"),
    "a code of lists": packed([[]], 0, b"a"),
    "joins where there is no code": packed([], 0, 1, b"a"),
    "joins beyond the words": packed([1, 2], 0, 3, b"a"),
    "joins that are none": packed([1, 2], 0, None, b"a"),
    "escapes where no words are": packed([1, 2], 2, 0, b"a"),
    "five parts": packed([1, 2], 0, 1, b"a", b""),
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD.keys())
def test_a_vocabulary_that_is_none_is_damage(content: bytes) -> None:
    """Each part of it may lie."""
    with pytest.raises(Damaged):
        SymbolTable(content)


def test_one_word_is_enough_to_read() -> None:
    """A code of one bit each: for the word, and for what has none."""
    one = SymbolTable(packed([2], 1, b"a"))
    assert one.spell([b"a", b"b", b"a"]) == (b"\x40", b"b", 0)
    assert one.read(b"\x40", b"b", 3) == [b"a", b"b", b"a"]
    assert SymbolTable(packed([], 0, b"a")).spell([b"a", b"b", b"a"]) == (b"\x01\0\x01", b"b", 0)


# Several tokens in one event

TOKENS = [
    b" the",
    b" sea",
    b"shore",
    b" is",
    b" calm",
    b" and",
    b" we",
    b" wait",
    b"ing",
    b"s",
    *(b"t%02d" % n for n in range(99)),
]
JOINED = Counter(dict.fromkeys(TOKENS, 30) | {b" the sea": 2, b" we wait": 1, b" is calm and": 1})


def test_several_words_in_one_middle_are_joined() -> None:
    """A busy server sends several tokens in one event, and no such event is like another."""
    vocabulary = told(JOINED, with_bits)
    middles = [b" the sea", b" the sea is calm", b" we", b" waiting", b"no words", b"seas", b" calm and we waits"]
    spelled = vocabulary.spell(middles)
    assert spelled.others == b"no words\0seas"
    assert spelled.joins == 1 + 3 + 1 + 4
    assert 4 * len(spelled.codes) < len(b"".join(middles)) * 4 - 4 * len(spelled.others)
    assert vocabulary.read(*spelled[:2], len(middles), spelled.joins) == middles


def test_a_word_that_others_make_is_no_word() -> None:
    """It would take a place in the vocabulary and save nothing."""
    words = told(JOINED, with_bits).words
    assert b" the sea" not in words
    assert set(TOKENS) <= set(words)
    assert b" the sea" in told(JOINED | {b" the sea": 40}, with_bits).words


def test_what_stands_beside_words_again_and_again_becomes_a_word() -> None:
    """Half a character, for example: it never comes alone."""
    half = "\ufffd".encode()
    assert half in told(JOINED | {half + token: 1 for token in TOKENS}, with_bits).words


@pytest.mark.parametrize("joins", [0, 3, 5, 10**9])
def test_another_number_of_joins_is_damage(joins: int) -> None:
    """Too few, too many, very many."""
    vocabulary = told(JOINED, with_bits)
    middles = [b" the sea", b" the sea is calm"]
    codes, others, right = vocabulary.spell(middles)
    assert right == 4
    with pytest.raises(Damaged):
        vocabulary.read(codes, others, 2, joins)


def test_a_middle_of_words_is_short() -> None:
    """A million joins in one middle would take quadratic time."""
    vocabulary = SymbolTable(packed([0, 4], 0, 1, b"a\0b"))
    assert vocabulary.read(bytes([0b10011001] * 31) + b"\x98", b"", 1, 62) == [b"a" * 63]
    for joins in (64, 1_000_000):
        with pytest.raises(Damaged):
            vocabulary.read(bytes([0b10011001] * (joins // 2)) + b"\x98", b"", 1, joins)


def test_symbols_that_join_nothing_are_damage_or_nothing() -> None:
    """Whatever their number and place is, there are as many middles as the answer has chunks, and no NUL in them."""
    vocabulary = SymbolTable(packed([0, 4], 0, 1, b"a\0b"))  # 00 escapes, 01 joins, 10 is a, 11 is b
    assert vocabulary.read(b"\x9c", b"", 1, 1) == [b"ab"]  # 10 01 11
    for bad, joins in ((b"\x64", 1), (b"\x50", 1), (b"\xb4", 1), (b"\x40", 0)):
        with pytest.raises(Damaged):
            vocabulary.read(bad, b"", 1, joins)


@EITHER
@given(st.binary(max_size=40), st.binary(max_size=9), st.integers(0, 60))
@settings(max_examples=fuzz.cases(75))
def test_any_codes_are_read_or_damage(words_of: Words, codes: bytes, others: bytes, count: int) -> None:
    """`Damaged` is the only exception that may come of damage."""
    with suppress(Damaged):
        KNOWN[words_of].read(codes, others, count)
        KNOWN[words_of].read(codes, others, count // 2, count // 4)


@given(st.lists(st.integers(-1, 9), max_size=17), st.integers(-1, 9), st.binary(max_size=20))
@settings(max_examples=fuzz.cases(75))
def test_any_vocabulary_is_read_or_damage(counts: list[int], escape: int, words: bytes) -> None:
    """Whatever it says of its code."""
    with suppress(Damaged):
        SymbolTable(packed(counts, escape, words)).read(b"ab", b"", 3)
