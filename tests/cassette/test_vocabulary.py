"""Words get short codes of either kind, what has none is spelled out, and a stranger's vocabulary is checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replayproxy.cassette.vocabulary import FEWEST_WORDS, MAX_WORDS, Said, Vocabulary, with_bits, with_bytes
from replayproxy.errors import Damaged

EITHER = pytest.mark.parametrize("words_of", [with_bytes, with_bits])
Words = Callable[[Said], bytes | None]


def told(said: Said, words_of: Words) -> Vocabulary:
    """A vocabulary of what was said."""
    content = words_of(said)
    assert content is not None
    return Vocabulary(content)


STORY = Counter({b" w%d" % number: 2 + 20_000 // (number + 1) for number in range(5000)}) + Counter(
    {b"": 7, b"once": 1, b"a\0b": 9, b"x" * 64: 9}
)
KNOWN: dict[Words, Vocabulary] = {words_of: told(STORY, words_of) for words_of in (with_bytes, with_bits)}
MIDDLES = st.lists(st.sampled_from([b"", b" w0", b" w1", b" w300", b" w4999", b"once"]) | st.binary(max_size=5))


@EITHER
@given(MIDDLES)
def test_any_middles_come_back(words_of: Words, middles: list[bytes]) -> None:
    """Words, empty ones, and others; but for NULs, which nobody asks for."""
    middles = [middle.replace(b"\0", b"") for middle in middles]
    codes, others = KNOWN[words_of].spell(middles)
    assert KNOWN[words_of].read(codes, others, len(middles)) == middles


@EITHER
def test_words_are_what_is_said_more_than_once(words_of: Words) -> None:
    """And holds no NUL, and is not too long; every one of them, or the most frequent ones."""
    assert sorted(KNOWN[words_of].words) == sorted(STORY.keys() - {b"once", b"a\0b", b"x" * 64})
    many = told({b"%d" % number: 2 + (number < 9) for number in range(9000)}, words_of).words
    assert len(many) == MAX_WORDS
    assert {b"%d" % number for number in range(9)} <= set(many)


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
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD.keys())
def test_a_vocabulary_that_is_none_is_damage(content: bytes) -> None:
    """Each part of it may lie."""
    with pytest.raises(Damaged):
        Vocabulary(content)


def test_one_word_is_enough_to_read() -> None:
    """A code of one bit each: for the word, and for what has none."""
    one = Vocabulary(packed([2], 1, b"a"))
    assert one.spell([b"a", b"b", b"a"]) == (b"\x40", b"b")
    assert one.read(b"\x40", b"b", 3) == [b"a", b"b", b"a"]
    assert Vocabulary(packed([], 0, b"a")).spell([b"a", b"b", b"a"]) == (b"\x01\0\x01", b"b")


@EITHER
@given(st.binary(max_size=40), st.binary(max_size=9), st.integers(0, 60))
@settings(max_examples=300)
def test_any_codes_are_read_or_damage(words_of: Words, codes: bytes, others: bytes, count: int) -> None:
    """`Damaged` is the only exception that may come of damage."""
    with suppress(Damaged):
        KNOWN[words_of].read(codes, others, count)


@given(st.lists(st.integers(-1, 9), max_size=17), st.integers(-1, 9), st.binary(max_size=20))
@settings(max_examples=300)
def test_any_vocabulary_is_read_or_damage(counts: list[int], escape: int, words: bytes) -> None:
    """Whatever it says of its code."""
    with suppress(Damaged):
        Vocabulary(packed(counts, escape, words)).read(b"ab", b"", 3)
