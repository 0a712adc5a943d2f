"""Arrival processes: their rates, ramps and spellings."""

from __future__ import annotations

from itertools import pairwise

import pytest

from replayproxy.drive.arrivals import ArrivalProcess, shape_of
from replayproxy.errors import SettingsError

SECOND = 1_000_000_000


def test_constant_gaps_begin_at_once() -> None:
    """Four per second: every quarter of a second."""
    assert ArrivalProcess(4, None).times(4, 0) == [0, SECOND // 4, SECOND // 2, 3 * SECOND // 4]


@pytest.mark.parametrize("shape", [1.0, 0.5, 4.0])
def test_a_drawn_process_has_its_rate(shape: float) -> None:
    """Within 5 % over 10 000 requests; the same seed gives the same times, another one others."""
    process = ArrivalProcess(100, shape)
    times = process.times(10_000, 1)
    assert times == sorted(times)
    assert times[-1] / SECOND == pytest.approx(100, rel=0.05)
    assert process.times(10, 1) == times[:10] != process.times(10, 2)


def test_a_small_shape_makes_bursts() -> None:
    """The variance of a gap is 1 / shape times its mean squared."""
    for shape, expected in ((0.25, 4), (1.0, 1), (4.0, 0.25)):
        times = ArrivalProcess(1, shape).times(20_000, 3)
        gaps = [(after - before) / SECOND for before, after in pairwise(times)]
        mean = sum(gaps) / len(gaps)
        assert sum((gap - mean) ** 2 for gap in gaps) / len(gaps) == pytest.approx(expected, rel=0.15)


def test_a_ramp_has_the_requests_of_its_mean_rate() -> None:
    """From 0 to 10 per second within 10 s: 50 requests, then one each 100 ms."""
    times = [time / SECOND for time in ArrivalProcess(10, None, ramp=10).times(70, 0)]
    assert sum(time < 10 for time in times) == 50
    assert sum(time < 5 for time in times) == 13  # a quarter of the way, rounded up: the first is at 0
    assert times[60] == pytest.approx(11)
    level = ArrivalProcess(10, None, ramp=10, ramp_from=10).times(5, 0)
    assert level == ArrivalProcess(10, None).times(5, 0)
    falling = [time / SECOND for time in ArrivalProcess(5, None, ramp=10, ramp_from=15).times(101, 0)]
    assert falling[100] == pytest.approx(10)


def test_shapes_are_spelt_as_in_other_tools() -> None:
    """And anything else is refused with a way out."""
    assert [shape_of(text) for text in ("constant", "poisson", "gamma:0.5")] == [None, 1.0, 0.5]
    for text in ("gamma", "gamma:0", "gamma:x", "gamma:inf", "uniform", "poisson:2"):
        with pytest.raises(SettingsError, match="write gamma"):
            shape_of(text)
