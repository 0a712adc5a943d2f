"""Statistics of paired measurements, each with a bootstrap interval: is the second run slower, and how sure is that?

    (first, second) per request ──▶ statistic of each side ──▶ second / first, with the interval of 95 %

The same requests are drawn for both sides, so what one prompt costs more than another does not widen the interval.
Knows no request and no unit.

Sources: Efron, Tibshirani, An Introduction to the Bootstrap (1993), chapter 13 (percentile interval); Chamandy et al.,
Estimating Uncertainty for Massive Data Streams (2012), for weights by Poisson(1) in place of drawn indexes: the values
are sorted once, and each resample is one table look-up and one running sum per side.
"""

from __future__ import annotations

import math
import random
import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import itemgetter, mul

from replayproxy.core.stats import percentile

RESAMPLES = 1000

FEWEST = 6
"""Pairs below which no interval is given: with five, all of them slower happens by chance once in 32."""

CONFIDENCE = 0.95

# Poisson(1) in 256 equally likely values: 0 to 5 with the rounded probabilities of the distribution.
_WEIGHTS = bytes([0] * 94 + [1] * 94 + [2] * 47 + [3] * 16 + [4] * 4 + [5])

_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d{1,3})?)")

Pairs = Sequence[tuple[float, float]]
"""What was measured of the same request, in the first and in the second run."""


@dataclass(frozen=True, slots=True)
class Statistic:
    """A number that stands for many: `percent` of a percentile, None for the mean; `of_ratios` for `ratio`."""

    name: str
    percent: float | None = None
    of_ratios: bool = False

    @classmethod
    def named(cls, name: str) -> Statistic | None:
        """`mean`, `median`, `p95`, `p99.9`, or `ratio`: the median of the ratios of the pairs. None for others."""
        if name in ("mean", "avg"):
            return cls("mean")
        if name == "median":
            return cls("p50", 50)
        if name == "ratio":
            return cls("ratio", 50, of_ratios=True)
        if (found := _PERCENTILE.fullmatch(name)) is not None:
            return cls(name, float(found[1]))
        return None


@dataclass(frozen=True, slots=True)
class Estimate:
    """A statistic of both runs. `ratio` is second / first, and lies in `low` to `high` with the confidence asked.

    `first` and `second` are None for the median of ratios; `ratio` is None where the first is 0 or there are no pairs;
    `low` and `high` are None where there are fewer than FEWEST pairs. `second_low` and `second_high` are the interval
    of `second` alone.
    """

    statistic: str
    pairs: int
    first: float | None = None
    second: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    second_low: float | None = None
    second_high: float | None = None


def estimates(
    pairs: Pairs, statistics: Sequence[Statistic], *, seed: str = "", confidence: float = CONFIDENCE
) -> list[Estimate]:
    """Each statistic of the pairs, from the same resamples. The same pairs and seed give the same intervals."""
    values = [pair for pair in pairs if all(map(math.isfinite, pair))]
    sides = _Sides.of(values)
    found = [Estimate(statistic.name, len(values), *sides.numbers(statistic)) for statistic in statistics]
    if len(values) < FEWEST:
        return found
    resampled: list[list[tuple[float | None, float | None]]] = [[] for _ in statistics]
    chance = random.Random(seed)
    for _ in range(RESAMPLES):
        weights = chance.randbytes(len(values)).translate(_WEIGHTS)
        if not any(weights):
            continue
        sides.weigh(weights)
        for place, statistic in enumerate(statistics):
            _, second, ratio = sides.numbers(statistic)
            resampled[place].append((ratio, second))
    return [_with_interval(*both, confidence) for both in zip(found, resampled, strict=True)]


def _with_interval(
    estimate: Estimate, resampled: Sequence[tuple[float | None, float | None]], confidence: float
) -> Estimate:
    ratios = sorted(ratio for ratio, _ in resampled if ratio is not None)
    seconds = sorted(second for _, second in resampled if second is not None)
    return Estimate(
        estimate.statistic,
        estimate.pairs,
        estimate.first,
        estimate.second,
        estimate.ratio,
        *_interval(ratios, confidence),
        *_interval(seconds, confidence),
    )


def _interval(ordered: Sequence[float], confidence: float) -> tuple[float | None, float | None]:
    if not ordered:
        return None, None
    outside = (1 - confidence) * 50
    return percentile(ordered, outside), percentile(ordered, 100 - outside)


class _Sides:
    """Both sides and their ratios, each sorted once; and how often each pair counts."""

    def __init__(self, first: _Column, second: _Column, ratios: _Column) -> None:
        self._first, self._second, self._ratios = first, second, ratios

    @classmethod
    def of(cls, pairs: Pairs) -> _Sides:
        ratios = [(place, second / first) for place, (first, second) in enumerate(pairs) if first > 0]
        return cls(
            _Column([(place, pair[0]) for place, pair in enumerate(pairs)]),
            _Column([(place, pair[1]) for place, pair in enumerate(pairs)]),
            _Column(ratios),
        )

    def weigh(self, weights: bytes) -> None:
        for column in (self._first, self._second, self._ratios):
            column.weigh(weights)

    def numbers(self, statistic: Statistic) -> tuple[float | None, float | None, float | None]:
        """First, second, and their ratio."""
        if statistic.of_ratios:
            return None, None, self._ratios.value(statistic)
        first, second = self._first.value(statistic), self._second.value(statistic)
        return first, second, second / first if first and second is not None else None


class _Column:
    """Values in ascending order, and how often each counts (once, until weighed)."""

    def __init__(self, placed: Sequence[tuple[int, float]]) -> None:
        ordered = sorted(placed, key=itemgetter(1))
        self._values = [value for _, value in ordered]
        places = [place for place, _ in ordered]
        # An itemgetter of one item gives it alone, and there is none of no items.
        self._arrange: Callable[[bytes], Sequence[int]] = (
            itemgetter(*places) if len(places) > 1 else lambda weights: [weights[place] for place in places]
        )
        self._weights: Sequence[int] = [1] * len(places)
        self._sums: list[int] | None = None

    def weigh(self, weights: bytes) -> None:
        self._weights = self._arrange(weights)
        self._sums = None

    def value(self, statistic: Statistic) -> float | None:
        if self._sums is None:
            self._sums = list(accumulate(self._weights))
        total = self._sums[-1] if self._sums else 0
        if not total:
            return None
        if statistic.percent is None:
            return math.fsum(map(mul, self._values, self._weights)) / total
        rank = (total - 1) * statistic.percent / 100
        whole = math.floor(rank)
        low = self._values[bisect_right(self._sums, whole)]
        if whole == rank:
            return low
        high = self._values[bisect_right(self._sums, whole + 1)]
        return low + (high - low) * (rank - whole)


# Repeated runs


def over_runs(runs: Sequence[Estimate]) -> Estimate:
    """One estimate of several runs of the same work: the median of their ratios, from the lowest to the highest.

    Requests within one run share the state of the machine, so their interval is too narrow when the machine drifts
    between runs; the runs themselves do not share it when they were interleaved (ABAB).
    """
    ratios = sorted(run.ratio for run in runs if run.ratio is not None)
    firsts = sorted(run.first for run in runs if run.first is not None)
    seconds = sorted(run.second for run in runs if run.second is not None)

    def middle(values: Sequence[float]) -> float | None:
        return percentile(values, 50) if values else None

    return Estimate(
        runs[0].statistic,
        sum(run.pairs for run in runs),
        middle(firsts),
        middle(seconds),
        middle(ratios),
        ratios[0] if ratios else None,
        ratios[-1] if ratios else None,
        seconds[0] if seconds else None,
        seconds[-1] if seconds else None,
    )
