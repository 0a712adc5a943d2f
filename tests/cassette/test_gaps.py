"""Gaps come back from their code, which costs what they are worth; a stranger's code is checked."""

from __future__ import annotations

import random
from contextlib import suppress
from itertools import accumulate

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replayproxy.cassette.coding.codec import Codec, squeezed
from replayproxy.cassette.coding.times import pack_times, unpack_times
from replayproxy.cassette.coding.untrusted import MAX_TICK
from replayproxy.cassette.gaps import ESCAPE, GapCode, train
from replayproxy.errors import Damaged
from tests import fuzz


def gaps_of_a_server(seed: int, answers: int = 40, chunks: int = 120) -> list[list[int]]:
    """Most chunks come 5 ms after the one before, some with it, and some long after."""
    chance = random.Random(seed)
    return [
        [chance.choice((0, 0, int(chance.gauss(500, 20)), int(chance.gauss(500, 20)), 4000)) for _ in range(chunks)]
        for _ in range(answers)
    ]


def trained(seed: int = 1) -> bytes:
    """A stored code."""
    content = train(gaps_of_a_server(seed))
    assert content is not None
    return content


CODE = GapCode(trained())
ANY_GAPS = st.lists(st.integers(0, 9) | st.integers(400, 600) | st.integers(0, MAX_TICK), max_size=60)


@given(ANY_GAPS)
def test_any_gaps_come_back(gaps: list[int]) -> None:
    """Those that were seen in training, and those that were not."""
    assert CODE.read(CODE.spell(gaps), len(gaps)) == gaps


@pytest.mark.parametrize("gap", [0, 1, 3, 4, 7, 8, 15, 16, 2**20 - 1, 2**20, MAX_TICK - 1, MAX_TICK])
def test_every_size_of_gap_comes_back(gap: int) -> None:
    """At the edges of the symbols; behind each other, too."""
    assert CODE.read(CODE.spell([gap, gap, 500, gap]), 4) == [gap, gap, 500, gap]


def test_gaps_like_those_of_the_training_are_small() -> None:
    """Smaller than in Golomb codes by a fifth: what they are worth is 1.3 bits for the kind, and the noise."""
    other = gaps_of_a_server(2)
    plain = sum(len(pack_times(list(accumulate(gaps, initial=0)))) for gaps in other)
    assert sum(len(CODE.spell(gaps)) for gaps in other) < 0.8 * plain


def test_too_few_gaps_make_no_code() -> None:
    """It would not pay for itself."""
    assert train(gaps_of_a_server(1, answers=10)) is None
    assert train([]) is None


def test_times_in_a_code_come_back_through_a_codec() -> None:
    """Which looks the code up by the number in front of them; older times stay readable."""
    ticks = list(accumulate(gaps_of_a_server(3)[0], initial=1234))
    writer = Codec()
    before = writer.pack_times(ticks)
    stored = squeezed(trained())
    writer.learn(7, "gaps", stored)
    after = writer.pack_times(ticks)
    assert len(after) < len(before)
    reader = Codec(lambda number: ("gaps", stored) if number == 7 else None)
    for packed in (before, after):
        assert reader.unpack_times(packed) == writer.unpack_times(packed) == ticks
    assert reader.unpack_times(writer.pack_times([])) == []
    assert reader.unpack_times(writer.pack_times([5])) == [5]
    with pytest.raises(Damaged, match="code of gaps 7, which is not on the cassette"):
        Codec().unpack_times(after)
    with pytest.raises(Damaged):
        unpack_times(after)
    with pytest.raises(Damaged):
        Codec(lambda _: ("vocabulary", stored)).unpack_times(after)
    for bad in ([5, 4], [-1]):
        with pytest.raises(ValueError, match="backwards"):
            writer.pack_times(bad)


def stored(contexts: object = b"\xff", symbols: object = bytes((0, ESCAPE)), counts: object = None) -> bytes:
    """Of any content; a code of one bit each unless told otherwise."""
    return bytes(msgpack.packb([contexts, symbols, [2] + [0] * 11 if counts is None else counts]))


BAD: dict[str, bytes] = {
    "nothing": b"",
    "two parts": bytes(msgpack.packb([b"", b""])),
    "contexts that are a text": stored(contexts="a"),
    "no common code": stored(contexts=b"\x01"),
    "no contexts": stored(contexts=b"", counts=[]),
    "another number of contexts": stored(contexts=b"\xff\x01"),
    "more contexts than there are": stored(
        contexts=b"\xff" * 61, symbols=bytes((0, ESCAPE)) * 61, counts=([2] + [0] * 11) * 61
    ),
    "a symbol that stands for nothing": stored(symbols=bytes((212, ESCAPE))),
    "no escape": stored(symbols=b"\0\1"),
    "a symbol twice": stored(symbols=bytes((ESCAPE, ESCAPE))),
    "a code that is none": stored(counts=[1, 1] + [0] * 10),
    "more symbols than codes": stored(symbols=bytes((0, ESCAPE, 1))),
    "counts below zero": stored(counts=[-2] + [0] * 11),
    "counts of texts": stored(counts=["2"] + [0] * 11),
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD.keys())
def test_a_code_that_is_none_is_damage(content: bytes) -> None:
    """Each part of it may lie."""
    with pytest.raises(Damaged):
        GapCode(content)
    assert GapCode(stored()).read(b"\x00", 3) == [0, 0, 0]


@given(st.binary(max_size=40), st.integers(0, 60))
@settings(max_examples=fuzz.cases(75))
def test_any_bits_are_read_or_damage(packed: bytes, count: int) -> None:
    """`Damaged` is the only exception that may come of damage; and what is read is not longer than it says."""
    with suppress(Damaged):
        assert len(CODE.read(packed, count)) == count
    with suppress(Damaged):
        unpack_times(b"\0" + packed, lambda _: CODE)
    with suppress(Damaged):
        GapCode(packed)


def test_an_escape_to_a_symbol_that_does_not_exist_is_damage() -> None:
    """And one that ends in mid-symbol."""
    code = GapCode(stored())  # 0 is the symbol 0, 1 escapes
    assert code.read(bytes((0b10000011, 0b10000000)), 1) == [7]
    for packed in (bytes((0b11111111, 0b10000000)), b"\x80", b"\xff" * 9):
        with pytest.raises(Damaged):
            code.read(packed, 1)
