"""Numbers come back, take the bytes they need, and are refused where they have no end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayproxy.cassette.coding import varint
from replayproxy.errors import Damaged


@given(st.lists(st.integers(0, 2**63 - 1) | st.integers(0, 300), max_size=9), st.binary(max_size=3))
def test_numbers_come_back(numbers: list[int], behind: bytes) -> None:
    """One after the other, each in a byte for every seven bits; what stands behind them is left alone."""
    out = bytearray()
    for number in numbers:
        varint.put(out, number)
    assert len(out) == sum(max(1, -(-number.bit_length() // 7)) for number in numbers)
    at, found = 0, []
    for _ in numbers:
        number, at = varint.read(bytes(out) + behind, at)
        found.append(number)
    assert (found, at) == (numbers, len(out))


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 9, b"\xff" * 100])
def test_a_number_without_end_is_damage(data: bytes) -> None:
    """Cut off, or longer than any number is."""
    with pytest.raises(Damaged):
        varint.read(data, 0)
