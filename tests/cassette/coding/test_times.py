"""Times in bytes and back: any of them, to a tick, and proof against strangers."""

from __future__ import annotations

import random
from contextlib import suppress
from itertools import accumulate

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from replayproxy.cassette.coding import codec, digests, varint
from replayproxy.cassette.coding.delta import MAX_CHUNKS
from replayproxy.cassette.coding.times import TICK, pack_times, ticks_of, unpack_times
from replayproxy.cassette.coding.untrusted import MAX_TICK
from replayproxy.errors import Damaged
from replayproxy.model import Ending, Request, Timeline
from tests import fuzz


@given(st.lists(st.integers(0, 2**20) | st.integers(0, 2**45)).map(accumulate).map(list))
@example([])
@example([0])
@example([MAX_TICK])
@example([0] * 100)
@example([0, MAX_TICK])
@example([5, 5, 5 + 2**50, 5 + 2**50])
def test_any_ticks_come_back(ticks: list[int]) -> None:
    """From steady streams to one that slept for years between two tokens."""
    assert unpack_times(pack_times(ticks)) == ticks


@given(st.integers(0, 10**11), st.lists(st.integers(0, 10**10), max_size=20), st.integers(0, 10**11))
def test_times_are_kept_to_a_tick(head: int, gaps: list[int], rest: int) -> None:
    """Ten microseconds: what comes back is the time rounded down, and packs to the same again."""
    heard = list(accumulate(gaps, initial=head))
    timeline = Timeline(head, tuple(heard[1:]), heard[-1] + rest)
    ticks = ticks_of(timeline)
    back = codec.response_of(200, codec.Answer((), [b""] * len(gaps)), unpack_times(pack_times(ticks)), Ending.COMPLETE)
    for now, then in zip(flat(back.timeline), flat(timeline), strict=True):
        assert 0 <= then - now < TICK
    assert ticks_of(back.timeline) == ticks


def flat(timeline: Timeline) -> list[int]:
    """All times in their order."""
    return [timeline.head, *timeline.chunks, timeline.end]


def test_ticks_never_run_backwards() -> None:
    """A body that came with its head has a chunk before it; a clock cannot be negative."""
    assert ticks_of(Timeline(50_000, (40_000, 70_000), 60_000)) == [5, 5, 7, 7]
    assert ticks_of(Timeline(-1, (), 9_999)) == [0, 0]


def test_steady_times_are_small() -> None:
    """A gap of 20 ms give or take 1 ms costs about a byte."""
    chance = random.Random(7)
    ticks = list(accumulate(2000 + chance.randrange(-100, 100) for _ in range(1000)))
    assert len(pack_times(ticks)) < 1.2 * len(ticks)


@given(st.binary(max_size=40), st.integers(0, 60), st.integers(0, 2**70), st.integers(0, 25))
@settings(max_examples=fuzz.cases(75))
def test_any_times_are_read_or_damage(tail: bytes, count: int, first: int, k: int) -> None:
    """Whatever the head of the blob declares; and what is read can be digested."""
    head = packed(count, first, 7, k)
    with suppress(Damaged):
        ticks = unpack_times(head + tail)
        assert ticks == sorted(ticks)
        assert len(ticks) == count
        if len(ticks) > 1:
            said = codec.response_of(200, codec.Answer((), [b""] * (count - 2)), ticks, Ending.COMPLETE)
            digests.digest("rp1:00", Request("GET", "/"), said)


def packed(*numbers: int) -> bytes:
    """Numbers as they stand at the front."""
    out = bytearray()
    for number in numbers:
        varint.put(out, number)
    return bytes(out)


FORGED_TIMES: dict[str, tuple[int, int, int, int, int]] = {
    "beyond every tick": (1, MAX_TICK + 1, 0, 0, 2),
    "beyond every tick by gaps": (9, 2**62, 2**62, 0, 2),
    "a number of ten bytes": (1, 2**64, 0, 0, 2),
    "a parameter beyond reason": (1, 1, 1, 2**40, 2),
    "more than there are bits for": (1000, 0, 0, 0, 100),
    "more than there are bits for, by far": (2**40, 0, 0, 0, 100),
    "more than any answer has": (MAX_CHUNKS + 3, 0, 0, 0, MAX_CHUNKS // 8 + 9),
}


@pytest.mark.parametrize(("count", "first", "median", "k", "zeros"), FORGED_TIMES.values(), ids=FORGED_TIMES.keys())
def test_forged_times_are_damage(count: int, first: int, median: int, k: int, zeros: int) -> None:
    """Each number at the front may lie. (A zero bit is a gap like the median.)"""
    blob = packed(count, first, median, k) + b"\x80" + bytes(zeros)
    with pytest.raises(Damaged):
        unpack_times(blob)


@pytest.mark.parametrize("tail", [b"\xff" * 900_000, b"\xfe" * 90_000, b"\xff" * 50 + bytes(10)])
def test_codes_that_are_none_are_damage(tail: bytes) -> None:
    """More ones in a row than any gap has, or gaps beyond every tick; a long one is looked at once."""
    with pytest.raises(Damaged):
        unpack_times(packed(100_000, 0, 0, 0) + tail)


def test_the_smallest_code_is_found() -> None:
    """Within a few bits, whatever the gaps are like."""
    chance = random.Random(3)
    for mean in (0.1, 1, 30, 500, 10**6):
        gaps = [int(chance.expovariate(1 / mean)) for _ in range(500)]
        median = sorted(gaps)[250]
        folded = [2 * (gap - median) if gap >= median else 2 * (median - gap) - 1 for gap in gaps]
        smallest = min(sum(2 * ((value >> k) + 1).bit_length() - 1 + k for value in folded) for k in range(41))
        assert 8 * len(pack_times(list(accumulate(gaps, initial=0)))) < 1.01 * smallest + 80


@pytest.mark.parametrize("length", [64, 1_000_000])
def test_times_longer_than_their_count_needs_are_damage(length: int) -> None:
    """So that a blob costs no more to read than its count says."""
    with pytest.raises(Damaged):
        unpack_times(packed(1, 1, 0, 0) + b"\x80" + bytes(length))


def test_what_could_not_be_read_is_not_written() -> None:
    """The limits of reading hold for writing: the recorder drops the exchange and says so."""
    with pytest.raises(ValueError, match="too long"):
        pack_times([0, MAX_TICK + 1])
    for ticks in ([5, 4], [0, 9, 8, 20, 30], [-1]):
        with pytest.raises(ValueError, match="backwards"):
            pack_times(ticks)


@given(st.binary(max_size=200))
@settings(max_examples=fuzz.cases(75))
def test_any_bytes_are_read_or_damage(junk: bytes) -> None:
    """`Damaged` is the only exception that may come of damage."""
    with suppress(Damaged):
        unpack_times(junk)
