"""How many answers were in flight at once, from when each began and ended.

    starts, ends ──sorted, a part at a time──▶ level after each event ──▶ how long each level lasted

Exact up to `EXACT` answers. Of more, busy time, rates and the average stay exact, and the other figures come from
moments drawn at random: each within an answer in flight, weighted by one over how many were in flight then.
"""

from __future__ import annotations

import random
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, compress
from operator import sub

from replayproxy.core.stats import Summary
from replayproxy.views.distributions import summarise_counted

EXACT = 200_000
"""Answers up to which each one's beginning and end are followed, which takes 0.3 s."""

MOMENTS = 20_000
"""Moments that are drawn of more answers: the percentiles of levels below 100 then err by less than one."""

_WEIGHT = 10**9


@dataclass(frozen=True, slots=True)
class Load:
    """The load while at least one answer was in flight. Concurrency is weighted by time."""

    busy_s: float
    requests_per_s: float
    tokens_per_s: float | None
    concurrency: Summary
    is_sampled: bool = False
    """Whether percentiles and maximum of the concurrency come from random moments."""


@dataclass(slots=True)
class Flights:
    """When measured answers began and ended, in us since the Unix epoch, and the number of each one's group."""

    starts: array[int] = field(default_factory=lambda: array("q"))
    ends: array[int] = field(default_factory=lambda: array("q"))
    groups: array[int] = field(default_factory=lambda: array("q"))

    def add(self, groups: Sequence[int], starts: Sequence[int], took: Iterable[int]) -> None:
        """Add some; `took` are their lengths in us."""
        self.starts.extend(starts)
        self.ends.extend(map(int.__add__, starts, took))
        self.groups.extend(groups)

    def of(self, groups: Collection[int]) -> Flights:
        """Those of some groups."""
        if set(self.groups) <= set(groups):
            return self
        chosen = list(map(set(groups).__contains__, self.groups))
        return Flights(
            *(array("q", compress(column, chosen)) for column in (self.starts, self.ends, self.groups)),
        )

    def load(self, tokens: int | None) -> Load | None:
        """Compute the load; None if no answer took time. `tokens` are those of all answers, None where not stated."""
        starts, ends = array("q", sorted(self.starts)), array("q", sorted(self.ends))
        if not starts:
            return None
        # No answer is in flight after the n-th end if the one that begins next begins later.
        idle = sum(gap for gap in map(sub, starts[1:], ends) if gap > 0)
        busy = ends[-1] - starts[0] - idle
        if busy <= 0:
            return None
        is_sampled = len(starts) > EXACT
        levels = self._drawn(starts, ends) if is_sampled else _levels(starts, ends)
        concurrency = summarise_counted(levels)
        assert concurrency is not None
        mean = (sum(ends) - sum(starts)) / busy
        seconds = busy / 1e6
        return Load(
            seconds,
            len(starts) / seconds,
            None if tokens is None else tokens / seconds,
            replace(concurrency, n=len(starts), mean=mean),
            is_sampled,
        )

    def _drawn(self, starts: array[int], ends: array[int]) -> Counter[int]:
        """Weights of levels at random moments."""
        chance = random.Random(len(starts))
        # An answer is drawn as often as it is long: by its place on the line of all of them, one after the other.
        stops = array("q", accumulate(map(sub, self.ends, self.starts)))
        at_level = Counter[int]()
        for _ in range(MOMENTS):
            drawn = chance.randrange(stops[-1])
            place = bisect_right(stops, drawn)
            moment = self.ends[place] - (stops[place] - drawn)
            level = bisect_right(starts, moment) - bisect_right(ends, moment)
            at_level[max(1, level)] += _WEIGHT // max(1, level)
        return at_level


def _levels(starts: array[int], ends: array[int]) -> Counter[int]:
    """For how many us how many answers were in flight, from the sorted times."""
    events = sorted([*(2 * at + 1 for at in starts), *(2 * at for at in ends)])  # at one moment, ends come first
    levels = accumulate([1 if event & 1 else -1 for event in events])
    at_level = Counter[int]()
    for level, before, after in zip(levels, events, events[1:], strict=False):
        if level and after >> 1 > before >> 1:
            at_level[level] += (after >> 1) - (before >> 1)
    return at_level
