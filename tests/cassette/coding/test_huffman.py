"""Frequent symbols are short, any sequence of them comes back, and a stranger's code is refused unless it is one."""

from __future__ import annotations

from collections import Counter
from math import log2
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayproxy.cassette.coding.huffman import LONGEST, Code, lengths_of, packed
from replayproxy.errors import Damaged


def code_of(frequencies: list[int]) -> tuple[Code[int], list[int]]:
    """The code for symbols that are as frequent, and how many bits each has."""
    lengths = lengths_of(frequencies)
    counts = Counter(lengths)
    order = sorted(range(len(frequencies)), key=lengths.__getitem__)
    return Code(order, [counts[bits] for bits in range(1, max(lengths) + 1)]), lengths


FREQUENCIES = st.lists(st.integers(1, 9) | st.integers(1, 10**6), min_size=2, max_size=60)


@given(FREQUENCIES, st.data())
def test_any_symbols_come_back(frequencies: list[int], data: st.DataObject) -> None:
    """Equally frequent ones, too."""
    code, lengths = code_of(frequencies)
    symbols = data.draw(st.lists(st.sampled_from(range(len(frequencies))), max_size=40))
    spelled = dict(zip(sorted(range(len(lengths)), key=lengths.__getitem__), code.codes(), strict=True))
    bits = "".join(spelled[symbol] for symbol in symbols)
    assert [len(spelled[symbol]) for symbol in range(len(lengths))] == lengths
    assert code.read(packed(bits), len(symbols)) == symbols


@given(st.lists(st.integers(1, 20), min_size=2, max_size=60))  # too few for a code that is too long
def test_no_code_is_shorter(frequencies: list[int]) -> None:
    """Within a bit a symbol of the entropy; the more frequent of two symbols has no more bits than the other."""
    lengths = lengths_of(frequencies)
    total = sum(frequencies)
    spent = sum(length * times for length, times in zip(lengths, frequencies, strict=True))
    assert spent < sum(times * (log2(total / times) + 1) for times in frequencies)
    by_frequency = sorted(zip(frequencies, lengths, strict=True), key=lambda one: (-one[0], one[1]))
    assert [bits for _, bits in by_frequency] == sorted(lengths)


def test_what_is_known() -> None:
    """The example of the text books."""
    assert lengths_of([45, 13, 12, 16, 9, 5]) == [1, 3, 3, 3, 4, 4]
    assert Code("afbecd", [1, 0, 3, 2]).codes() == ["0", "100", "101", "110", "1110", "1111"]


def test_no_code_is_too_long() -> None:
    """Frequencies that double would need a bit more for each symbol; and 8 193 of them are none too many."""
    assert max(lengths_of([2**n for n in range(40)])) <= LONGEST
    assert max(lengths_of([1] * 8192 + [10**9])) <= LONGEST
    code_of([2**n for n in range(40)])


BAD: dict[str, tuple[int, list[Any]]] = {
    "no symbols": (0, []),
    "one symbol": (1, [1]),
    "an incomplete code": (3, [0, 3]),
    "too many for their lengths": (3, [3]),
    "fewer symbols than codes": (1, [2]),
    "more symbols than codes": (3, [2]),
    "a negative count": (2, [3, -2, 1]),
    "a count that is none": (2, [True, 2]),
    "a count that is a text": (2, ["2"]),
    "too long": (17, [1] * 15 + [2]),
    "too long, by far": (2, [0] * 1000 + [2]),
    "without end": (2, [2**64]),
}


@pytest.mark.parametrize(("symbols", "counts"), BAD.values(), ids=BAD.keys())
def test_a_code_that_is_none_is_damage(symbols: int, counts: list[int]) -> None:
    """Every sequence of bits begins with exactly one code (L. G. Kraft), or it is none."""
    with pytest.raises(Damaged):
        Code(range(symbols), counts)


MISCOUNTED = [(b"", 1), (b"\0", 9), (b"\0\0", 1), (b"\0", 0), (b"\0" * 9, 2**40), (b"\0", -1), (b"\xff" * 3, 23)]


@pytest.mark.parametrize(("data", "count"), MISCOUNTED)
def test_codes_of_another_number_are_damage(data: bytes, count: int) -> None:
    """Fewer than so many, or a byte too much."""
    code = Code("abc", [1, 2])
    assert code.read(b"\x80", 4) == ["b", "a", "a", "a"]
    with pytest.raises(Damaged):
        code.read(data, count)
