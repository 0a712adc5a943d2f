"""Tests of `views/load`: how many answers were in flight, beside a count of every microsecond."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayproxy.views import load
from replayproxy.views.distributions import summarise_counted
from replayproxy.views.load import Flights


def flights(*spans: tuple[int, int], group: int = 0) -> Flights:
    """Answers that began and took so many us."""
    found = Flights()
    found.add([group] * len(spans), [start for start, _ in spans], [took for _, took in spans])
    return found


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 30)), max_size=25))
def test_levels_are_those_of_every_microsecond(spans: list[tuple[int, int]]) -> None:
    """Busy time, average, percentiles, and the most at once."""
    level = Counter(at for start, took in spans for at in range(start, start + took))
    found = flights(*spans).load(100)
    if not level:
        assert found is None
        return
    assert found is not None
    assert found.busy_s == pytest.approx(len(level) / 1e6)
    assert found.requests_per_s == pytest.approx(len(spans) / len(level) * 1e6)
    assert found.tokens_per_s == pytest.approx(100 / len(level) * 1e6)
    expected = summarise_counted(Counter(level.values()))
    assert expected is not None
    assert (found.concurrency.p50, found.concurrency.max) == (expected.p50, expected.max)
    assert found.concurrency.mean == pytest.approx(expected.mean)
    assert not found.is_sampled


def test_very_many_answers_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Percentiles within one of the exact ones, and the average and the busy time exact; it says so."""
    chance = random.Random(3)
    at, spans = 0, []
    for _ in range(2000):
        at += round(chance.expovariate(1 / 1000))
        spans.append((at + (10**7 if at > 10**6 else 0), round(chance.lognormvariate(9, 1))))
    exact = flights(*spans).load(None)
    monkeypatch.setattr(load, "EXACT", 100)
    sampled = flights(*spans).load(None)
    assert exact is not None
    assert sampled is not None
    assert (sampled.is_sampled, sampled.busy_s, sampled.tokens_per_s) == (True, exact.busy_s, None)
    assert sampled.concurrency.mean == pytest.approx(exact.concurrency.mean)
    for name in ("p50", "p90", "p99"):
        assert abs(getattr(sampled.concurrency, name) - getattr(exact.concurrency, name)) <= 1, name


def test_the_flights_of_one_group() -> None:
    """Alone, or all of them."""
    both = flights((0, 10), (5, 10))
    both.add([1], [100], [50])
    alone = both.of([1]).load(None)
    assert alone is not None
    assert alone.busy_s == pytest.approx(50e-6)
    assert both.of([0, 1]) is both
    assert both.of([7]).load(None) is None
