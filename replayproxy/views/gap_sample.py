"""The gaps between chunks of the streams of several groups: of all of them, or of a random sample with its intervals.

A stream's gaps resemble each other, so an interval for a percentile comes from streams and not from gaps: the sample is
dealt out to ten parts at random, each gives the percentile, and their spread gives the interval (the method of random
groups; K. M. Wolter, Introduction to Variance Estimation, 2nd ed., chapter 2).
"""

from __future__ import annotations

import random
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import sqrt
from statistics import fmean, stdev

from replayproxy.views.distributions import percentile_counted
from replayproxy.views.port import Browser

ENOUGH = 1_000
"""Streams whose gaps are read of more than `MOST`: 0.1 s."""

MOST = 20_000
"""Streams up to which all gaps are read, which takes 2 s."""

PARTS = 10

_T = 2.262
"""Of Student's distribution, 9 degrees of freedom: 95 % lie within."""


@dataclass(slots=True)
class Gaps:
    """The gaps of one group, in ns: how often each occurred, in each part of the sample."""

    parts: list[Counter[int]] = field(default_factory=lambda: [Counter() for _ in range(PARTS)])
    streams: int = 0
    """How many streams were read."""
    of: int = 0
    """How many there are."""

    @property
    def is_sampled(self) -> bool:
        """Whether not all streams were read."""
        return self.streams < self.of

    @property
    def counted(self) -> Counter[int]:
        """How often each gap occurred."""
        together = Counter[int]()
        for part in self.parts:
            together.update(part)
        return together

    def interval(self, percent: float) -> tuple[float, float] | None:
        """Where 95 of 100 such samples would have this percentile, in ns; None where all or too few were read."""
        if not self.is_sampled or not all(self.parts):
            return None
        each = [percentile_counted(part, percent) for part in self.parts]
        around, half = fmean(each), _T * stdev(each) / sqrt(PARTS)
        return max(0.0, around - half), around + half


@dataclass(slots=True)
class Streams:
    """Streamed answers of one cassette: their numbers there, and the numbers of their groups."""

    browser: Browser
    numbers: array[int] = field(default_factory=lambda: array("q"))
    groups: array[int] = field(default_factory=lambda: array("q"))


def read_gaps(streams: Sequence[Streams], *, exact: bool, watch: Callable[[int, int], None]) -> dict[int, Gaps]:
    """By group, the gaps of all streams or of a sample. `watch` is called with how many of how many were read."""
    found: dict[int, Gaps] = {}
    for each in streams:
        for group, times in Counter(each.groups).items():
            found.setdefault(group, Gaps()).of += times
    total = sum(len(each.numbers) for each in streams)
    share = 1.0 if exact or total <= MOST else ENOUGH / total
    chance = random.Random(total)
    expected, done = round(total * share), 0
    for each in streams:
        for group, gaps in _read(each, share, chance):
            counted = found[group]
            counted.parts[counted.streams % PARTS].update(gaps)
            counted.streams += 1
            done += 1
            if done % 500 == 0:
                watch(done, expected)
    return found


def _read(streams: Streams, share: float, chance: random.Random) -> Iterator[tuple[int, list[int]]]:
    places: Sequence[int] = range(len(streams.numbers))
    if share < 1:
        places = chance.sample(places, round(len(places) * share))
    group_of = {streams.numbers[place]: streams.groups[place] for place in places}
    for number, timeline in streams.browser.timelines(list(group_of)):
        yield group_of[number], list(timeline.gaps())
