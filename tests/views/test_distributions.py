"""Tests of `views/distributions`: counted values are summed up like listed ones."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayproxy.core.stats import summarise
from replayproxy.views.distributions import Rounding, histogram, percentile_counted, summarise_counted


@given(st.lists(st.integers(0, 50), max_size=200))
def test_counted_values_are_summed_up_like_listed_ones(values: list[int]) -> None:
    """Exactly: the same percentiles, whatever the order."""
    listed, counted = summarise(values), summarise_counted(Counter(values))
    if listed is None or counted is None:
        assert listed is counted
        return
    assert (counted.n, counted.min, counted.max) == (listed.n, listed.min, listed.max)
    for name in ("mean", "p50", "p90", "p95", "p99", "std"):
        assert getattr(counted, name) == pytest.approx(getattr(listed, name))
    assert percentile_counted(Counter(values), 90) == pytest.approx(listed.p90)


def test_a_unit_divides_every_figure_but_the_number() -> None:
    """Microseconds become seconds."""
    found = summarise_counted({100_000: 1, 200_000: 1}, 1e6)
    assert found is not None
    assert (found.n, found.min, found.max) == (2, 0.1, 0.2)
    assert found.p50 == pytest.approx(0.15)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=300))
def test_rounding_is_finer_than_the_thousandth_part_of_the_median(values: list[int]) -> None:
    """And small values stay what they are."""
    rounding = Rounding.of(values)
    median = sorted(values)[len(values) // 2]
    for place, (value, keyed) in enumerate(zip(values, rounding.keyed(values, range(len(values))), strict=True)):
        rounded, key = keyed >> 24, keyed & 0xFFFFFF
        assert key == place
        assert abs(rounded - value) <= max(0, median / 1024)
        assert rounded == value or value >= 32 << rounding.bits


def test_rounding_of_nothing_rounds_nothing() -> None:
    """No value, no median."""
    assert Rounding.of([]).keyed([5, 6], [1, 0]) == [5 << 24 | 1, 6 << 24]


def test_a_histogram_has_every_value_once() -> None:
    """In bins that are each wider by the same factor; the largest value belongs to the last one."""
    chance = random.Random(1)
    counted = Counter(round(chance.lognormvariate(5, 1)) + 1 for _ in range(1000))
    bars = histogram(counted, 20, 1000)
    assert sum(bar.n for bar in bars) == 1000
    assert (bars[0].low, bars[-1].high) == (min(counted) / 1000, max(counted) / 1000)
    factors = [bar.high / bar.low for bar in bars]
    assert factors == pytest.approx([factors[0]] * 20)
    for bar in bars[:-1]:
        inside = sum(times for value, times in counted.items() if bar.low <= value / 1000 < bar.high)
        assert abs(inside - bar.n) <= max(counted.values())  # a value on an edge may fall to either side


def test_a_histogram_of_one_value_or_none() -> None:
    """One bar, or none; zero has no place on a logarithmic line."""
    assert [(bar.low, bar.n) for bar in histogram({7: 3}, 10)] == [(7, 3)]
    assert histogram({0: 5}, 10) == histogram({}, 10) == histogram({1: 1, 2: 1}, 0) == []
