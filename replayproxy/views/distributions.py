"""Distributions whose values are counted instead of listed: whole numbers of a unit, and how often each occurs.

A hundred million chunk gaps fit in memory so, and percentiles stay exact. Where a million values are nearly all
different, they are rounded to the thousandth part of their median first (`Rounding`).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from replayproxy.core.stats import Summary, percentile

FINEST = 1024
"""Values above the median have at most the error of half of the median's part by this."""


def summarise_counted(counted: Mapping[int, int], per: float = 1.0) -> Summary | None:
    """Summarise values that are given with how often each occurs; the results are divided by `per`."""
    if not counted:
        return None
    values = sorted(counted)
    ordered = _Repeated(values, [counted[value] for value in values])
    mean = math.fsum(value * counted[value] for value in values) / len(ordered)
    variance = math.fsum(counted[value] * (value - mean) ** 2 for value in values) / len(ordered)
    figures = (
        *(mean, values[0]),
        *(percentile(ordered, percent) for percent in (50, 90, 95, 99)),
        *(values[-1], math.sqrt(variance)),
    )
    return Summary(len(ordered), *(figure / per for figure in figures))


def percentile_counted(counted: Mapping[int, int], percent: float) -> float:
    """One percentile of counted values, of which there is one at least; as `core.stats.percentile`."""
    values = sorted(counted)
    return percentile(_Repeated(values, [counted[value] for value in values]), percent)


class _Repeated(Sequence[float]):
    """Behaves as the sorted sequence in which each value stands as often as it occurs, without making it."""

    def __init__(self, values: Sequence[float], times: Iterable[int]) -> None:
        self._values = values
        self._stops = list(accumulate(times))

    def __len__(self) -> int:
        return self._stops[-1]

    def __getitem__(self, place: Any) -> Any:
        return self._values[bisect_right(self._stops, place)]


@dataclass(frozen=True, slots=True)
class Rounding:
    """How values are rounded before they are counted: to the middle of `2 ** bits`; small ones are not."""

    bits: int = 0

    @classmethod
    def of(cls, some: Iterable[int]) -> Rounding:
        """The one for values like these."""
        ordered = sorted(some)
        return cls(max(0, (ordered[len(ordered) // 2] // FINEST).bit_length() - 1) if ordered else 0)

    def keyed(self, values: Sequence[int], keys: Sequence[int]) -> list[int]:
        """The rounded values times 2 ** 24, each plus its key, which is less: one number is counted fastest."""
        if not self.bits:
            return [value << 24 | key for value, key in zip(values, keys, strict=True)]
        bits, small, half = self.bits, 64 << self.bits, 1 << self.bits - 1
        return [
            (value if value < small else value >> bits << bits | half) << 24 | key
            for value, key in zip(values, keys, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Bin:
    """One bar of a histogram: values from `low` to below `high`, the last one's included."""

    low: float
    high: float
    n: int


def histogram(counted: Mapping[int, int], bins: int, per: float = 1.0) -> list[Bin]:
    """The values, divided by `per`, in so many bins, each by the same factor wider. Values below 1 are left out."""
    values = [value for value in counted if value > 0]
    if not values or bins < 1:
        return []
    low, high = min(values), max(values)
    step = math.log(high / low) / bins if high > low else 0.0
    if not step:
        return [Bin(low / per, high / per, sum(counted[value] for value in values))]
    numbers = Counter[int]()
    for value in values:
        numbers[min(bins - 1, int(math.log(value / low) / step))] += counted[value]
    edges = [low * math.exp(step * place) for place in range(bins)] + [high]
    return [Bin(edges[place] / per, edges[place + 1] / per, numbers[place]) for place in range(bins)]
