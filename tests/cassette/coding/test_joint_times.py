"""Times of many exchanges in one code: any of them come back, whatever their clocks say; proof against strangers."""

from __future__ import annotations

import random
from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from replayproxy.cassette.coding.joint_times import GROUP, JointTimes, PackedTimes, pack
from replayproxy.cassette.coding.times import pack_times
from replayproxy.cassette.coding.untrusted import MAX_TICK
from replayproxy.errors import Damaged

GAPS = st.lists(st.integers(0, 3) | st.integers(0, 2**20) | st.integers(0, 2**40), min_size=1, max_size=30)
EXCHANGES = st.lists(st.tuples(st.integers(-(2**50), 2**50), GAPS.map(accumulate).map(list)), min_size=1, max_size=20)


def packed(exchanges: list[tuple[int, list[int]]]) -> PackedTimes:
    """Of start and times each."""
    made = pack([start for start, _ in exchanges], [ticks for _, ticks in exchanges])
    assert made is not None
    return made


def read(made: PackedTimes, counts: list[int]) -> list[list[int]]:
    """All of them again."""
    times = JointTimes(made.shape, made.bits, counts)
    return [times[index] for index in range(len(counts))]


def steps(streams: int, length: int, seed: int) -> list[tuple[int, list[int]]]:
    """As of a server that sends to all its streams in each of its steps; some wait, some get several at once."""
    chance = random.Random(seed)
    times: list[list[int]] = [[] for _ in range(streams)]
    now = 10**6
    for _ in range(length):
        now += chance.randint(1000, 5000)
        for ticks in times:
            if chance.random() < 0.95:
                now += chance.randint(0, 15)
                ticks.extend([now] * chance.choice((1, 1, 1, 1, 1, 1, 4)))
    starts = [chance.randint(0, 10**6) for _ in times]
    return [(start, [tick - start for tick in ticks]) for start, ticks in zip(starts, times, strict=True)]


@given(EXCHANGES)
@example([(0, [0])])
@example([(5, [MAX_TICK])])
@example([(0, [0] * 500), (0, [0, 0])])
@example([(2**50, [3, 3, 9]), (-(2**50), [0, MAX_TICK])])
@settings(max_examples=25)
def test_any_times_come_back(exchanges: list[tuple[int, list[int]]]) -> None:
    """To a tick, in any order of clocks, also those of years, and of many at one moment."""
    assert read(packed(exchanges), [len(ticks) for _, ticks in exchanges]) == [ticks for _, ticks in exchanges]


def test_streams_of_one_server_take_less_than_each_by_itself() -> None:
    """Two thirds, for 12 streams with steps of 10 to 50 ms."""
    exchanges = steps(12, 120, 1)
    made = packed(exchanges)
    assert read(made, [len(ticks) for _, ticks in exchanges]) == [ticks for _, ticks in exchanges]
    assert len(made.bits) < 0.67 * sum(len(pack_times(ticks)) for _, ticks in exchanges)


def test_a_group_is_read_by_itself() -> None:
    """Each is full with some thousand times, and begins anew."""
    exchanges = steps(40, 200, 2)
    made = packed(exchanges)
    members = made.shape[2]
    assert isinstance(members, list)
    assert len(members) == -(-sum(len(ticks) for _, ticks in exchanges) // GROUP)
    times = JointTimes(made.shape, made.bits, [len(ticks) for _, ticks in exchanges])
    assert times[39] == exchanges[39][1]


@pytest.mark.parametrize(
    ("starts", "times"),
    [([], []), ([0], [[MAX_TICK + 1]]), ([0, MAX_TICK + 1], [[1], [1]]), ([0], [[]])],
    ids=["none", "too long", "clocks too far apart", "without times"],
)
def test_what_cannot_be_spelled_is_not(starts: list[int], times: list[list[int]]) -> None:
    """Then each is kept by itself."""
    assert pack(starts, times) is None


def changed(made: PackedTimes, place: int, value: object) -> list[Any]:
    """Another shape."""
    shape = list(made.shape)
    shape[place] = value
    return shape


def test_damage_is_damage() -> None:
    """Any bit of it: other times that are possible, or `Damaged`, and nothing else."""
    exchanges = steps(5, 20, 3)
    counts = [len(ticks) for _, ticks in exchanges]
    made = packed(exchanges)
    chance = random.Random(4)
    refused = 0
    for _ in range(60):
        bits = bytearray(made.bits)
        bits[chance.randrange(len(bits))] ^= 1 << chance.randrange(8)
        try:
            again = read(PackedTimes(made.shape, bytes(bits)), counts)
        except Damaged:
            refused += 1
        else:
            assert list(map(len, again)) == counts
            assert all(0 <= before <= after for ticks in again for before, after in pairwise(ticks))
    assert refused


@pytest.mark.parametrize(
    ("place", "value"),
    [(0, b"\x93"), (0, 1), (1, None), (2, [4]), (2, [6]), (2, "5"), (3, [10**6]), (3, [])],
)
def test_a_shape_of_a_stranger_is_refused(place: int, value: object) -> None:
    """Codes that are none, groups of other exchanges, sizes that do not cover what is there."""
    exchanges = steps(5, 20, 3)
    made = packed(exchanges)
    counts = [len(ticks) for _, ticks in exchanges]
    with pytest.raises(Damaged):
        JointTimes(changed(made, place, value), made.bits, counts)


@pytest.mark.parametrize("shape", [None, [], 5, [b"", b"", [], [], []]])
def test_what_is_no_shape_is_refused(shape: object) -> None:
    """Also nothing at all."""
    with pytest.raises(Damaged):
        JointTimes(shape, b"", [2])


def test_counts_that_are_not_theirs_are_refused() -> None:
    """More than there are, fewer, and none."""
    exchanges = steps(5, 20, 3)
    made = packed(exchanges)
    counts = [len(ticks) for _, ticks in exchanges]
    for other in ([counts[0] + 9, *counts[1:]], [0, *counts[1:]]):
        with pytest.raises(Damaged):
            read(made, other)
    times = JointTimes(made.shape, made.bits, counts)
    with pytest.raises(Damaged):
        times[5]
