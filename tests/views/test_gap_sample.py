"""Tests of `views/gap_sample`: all gaps, or those of a sample with intervals that hold."""

from __future__ import annotations

import random
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import cast

import pytest

from replayproxy.model import Timeline
from replayproxy.views import gap_sample
from replayproxy.views.distributions import percentile_counted
from replayproxy.views.gap_sample import Gaps, Streams, read_gaps
from replayproxy.views.port import Browser

MS = 1_000_000


class Timelines:
    """What is read of a browser here: the times of streams, by their numbers."""

    def __init__(self, gaps: dict[int, list[int]]) -> None:
        self._gaps = gaps

    def timelines(self, numbers: Sequence[int]) -> Iterator[tuple[int, Timeline]]:
        """In the order of the numbers, as the file has them."""
        for number in sorted(numbers):
            chunks = [0]
            for gap in self._gaps[number]:
                chunks.append(chunks[-1] + gap)
            yield number, Timeline(0, tuple(chunks), chunks[-1])


def streams(gaps: dict[int, list[int]], groups: int = 1) -> Streams:
    """Streams of so many groups in turn."""
    browser = cast(Browser, Timelines(gaps))
    return Streams(browser, array("q", gaps), array("q", (number % groups for number in gaps)))


def paced(count: int, seed: int) -> dict[int, list[int]]:
    """Streams of 20 gaps, each with a pace of its own."""
    chance = random.Random(seed)
    paces = [chance.lognormvariate(3, 0.3) for _ in range(count)]
    return {n: [round(pace * chance.uniform(0.5, 1.5) * MS) for _ in range(20)] for n, pace in enumerate(paces)}


def read(some: Streams, *, exact: bool = False) -> dict[int, Gaps]:
    """All gaps or a sample."""
    return read_gaps([some], exact=exact, watch=lambda *_: None)


def test_few_streams_are_all_read() -> None:
    """Each gap once, and no interval."""
    gaps = paced(30, seed=1)
    found = read(streams(gaps, groups=2))
    assert found[0].counted + found[1].counted == Counter(gap for each in gaps.values() for gap in each)
    assert (found[0].streams, found[0].of, found[0].is_sampled, found[0].interval(50)) == (15, 15, False, None)


def test_many_streams_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many of them, the same ones in each run; --exact reads all."""
    monkeypatch.setattr(gap_sample, "MOST", 100)
    monkeypatch.setattr(gap_sample, "ENOUGH", 50)
    some = streams(paced(400, seed=2))
    found, again = read(some)[0], read(some)[0]
    assert (found.streams, found.of, found.is_sampled) == (50, 400, True)
    assert found.counted == again.counted
    exact = read(some, exact=True)[0]
    assert (exact.streams, exact.is_sampled) == (400, False)


def test_intervals_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """In 60 populations the median of all lies within in at least 52: 95 % would be 57, less than 52 one in 1000."""
    monkeypatch.setattr(gap_sample, "MOST", 100)
    monkeypatch.setattr(gap_sample, "ENOUGH", 200)
    held = 0
    for seed in range(60):
        gaps = paced(1000, seed)
        interval = read(streams(gaps))[0].interval(50)
        assert interval is not None
        true = percentile_counted(Counter(gap for each in gaps.values() for gap in each), 50)
        held += interval[0] <= true <= interval[1]
    assert held >= 52
