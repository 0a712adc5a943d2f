"""Statistics of pairs: values by hand, and intervals that hold what is true as often as they say."""

from __future__ import annotations

import random

import pytest

from replayproxy.core.comparison.statistic import Estimate, Statistic, estimates, over_runs


def named(name: str) -> Statistic:
    """A statistic that there is."""
    found = Statistic.named(name)
    assert found is not None
    return found


def noisy(count: int, scale: float, seed: int, noise: float = 0.05) -> list[tuple[float, float]]:
    """Times of requests of very different length, measured twice; the second time `scale` times as long."""
    chance = random.Random(seed)
    lengths = [chance.lognormvariate(0, 0.6) for _ in range(count)]
    return [
        (length * chance.lognormvariate(0, noise), length * chance.lognormvariate(0, noise) * scale)
        for length in lengths
    ]


@pytest.mark.parametrize(
    ("name", "percent"), [("median", 50), ("p50", 50), ("p95", 95), ("p99.9", 99.9), ("mean", None), ("avg", None)]
)
def test_a_statistic_has_a_name(name: str, percent: float | None) -> None:
    """As people and k6 write them."""
    assert named(name).percent == percent


@pytest.mark.parametrize("name", ["p100", "p", "max", "p5000", "percentile", ""])
def test_another_name_is_none(name: str) -> None:
    """Of an extreme there is no bootstrap interval."""
    assert Statistic.named(name) is None


def test_values_are_those_of_numpy() -> None:
    """Linear interpolation; the mean; the median of ratios, which is not the ratio of medians."""
    pairs = [(1.0, 3.0), (2.0, 2.0), (4.0, 4.0), (10.0, 5.0)]
    p50, mean, ratio, p90 = estimates(pairs, [named("p50"), named("mean"), named("ratio"), named("p90")])
    assert (p50.first, p50.second, p50.ratio) == (3.0, 3.5, 3.5 / 3.0)
    assert (mean.first, mean.second) == (4.25, 3.5)
    assert (ratio.first, ratio.second, ratio.ratio) == (None, None, 1.0)
    assert p90.first == pytest.approx(8.2)
    assert p90.low is None, "four pairs give no interval"


def test_pairs_remove_what_the_prompts_cost() -> None:
    """Of requests whose times differ by ten, a change of 5 % is seen."""
    (found,) = estimates(noisy(200, 1.05, seed=1), [named("ratio")])
    assert found.low is not None
    assert found.high is not None
    assert 1.0 < found.low < 1.05 < found.high < 1.08


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Of 100 recordings of two equal servers, about 95 intervals hold 1; counted with fixed seeds."""
    held = 0
    for seed in range(100):
        (found,) = estimates(noisy(30, 1.0, seed), [named("ratio")], seed=str(seed))
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 1 <= found.high
    assert 90 <= held <= 99


def test_the_same_pairs_give_the_same_interval() -> None:
    """Whoever judges again gets the same verdict."""
    pairs = noisy(50, 1.1, seed=3)
    assert estimates(pairs, [named("p95")], seed="ttft") == estimates(pairs, [named("p95")], seed="ttft")


def test_a_wider_confidence_gives_a_wider_interval() -> None:
    """And the narrow one lies in it."""
    pairs = noisy(50, 1.0, seed=4)
    (narrow,), (wide,) = (estimates(pairs, [named("p50")], confidence=share) for share in (0.8, 0.99))
    assert wide.low is not None
    assert narrow.low is not None
    assert wide.high is not None
    assert narrow.high is not None
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize("pairs", [[], [(0.0, 1.0)] * 9, [(float("nan"), 1.0), (1.0, float("inf"))]])
def test_what_has_no_ratio_has_none(pairs: list[tuple[float, float]]) -> None:
    """No pairs, a first of 0, or values that are no numbers."""
    assert [found.ratio for found in estimates(pairs, [named("p50"), named("ratio")])] == [None, None]


def test_runs_are_judged_by_their_ratios() -> None:
    """The median, from the lowest to the highest."""
    runs = [Estimate("p50", 10, 1.0, ratio, ratio) for ratio in (1.3, 1.1, 1.2)]
    found = over_runs(runs)
    assert (found.pairs, found.first, found.ratio, found.low, found.high) == (30, 1.0, 1.2, 1.1, 1.3)
