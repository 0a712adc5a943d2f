"""Axes: where values are, and which round values are labelled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayproxy.views.charts.scale import Scale
from replayproxy.views.units import duration


def labels(scale: Scale, most: int = 6) -> list[str]:
    """Of an axis."""
    return [tick.label for tick in scale.ticks(most)]


AXES = [
    (Scale(0, 10), ["0", "2", "4", "6", "8", "10"]),
    (Scale(0, 0.93, duration), ["0 ms", "200 ms", "400 ms", "600 ms", "800 ms"]),
    (Scale(0.02, 7, duration, is_log=True), ["30.0 ms", "100 ms", "300 ms", "1.00 s", "3.00 s"]),
    (Scale(0, 90, is_time=True), ["Jan 01", "00:00:30", "00:01:00", "00:01:30"]),
    (Scale(1.7e9, 1.7e9 + 86400 * 3, is_time=True), ["Nov 15", "Nov 16", "Nov 17"]),
]


@pytest.mark.parametrize(("scale", "expected"), AXES[:3] + AXES[4:])
def test_labels_are_round(scale: Scale, expected: list[str]) -> None:
    """1, 2 or 5 times a power of ten; of time, what clocks and calendars have."""
    assert labels(scale) == expected


NUMBERS = st.floats(0, 1e12, allow_nan=False)


@given(st.lists(NUMBERS, max_size=5), st.booleans(), st.integers(2, 9))
def test_any_values_have_an_axis(values: list[float], is_log: bool, most: int) -> None:
    """With all of them on it, and about as many labels as there is room for, in ascending order."""
    scale = Scale.of(values, is_log=is_log)
    assert all(0 <= scale.share(value) <= 1 for value in values)
    shares = [tick.share for tick in scale.ticks(most)]
    assert shares == sorted(shares)
    assert len(shares) <= most + 2


@given(st.lists(st.floats(0, 4e9), max_size=4), st.integers(2, 9))
def test_any_times_have_an_axis(times: list[float], most: int) -> None:
    """Also one moment, and a hundred years."""
    scale = Scale.of_times(times)
    assert len(scale.ticks(most)) <= most + 2
    assert all(0 <= scale.share(time) <= 1 for time in times)


@given(st.floats(0, 1), st.booleans())
def test_a_place_has_its_value(share: float, is_log: bool) -> None:
    """`value` undoes `share`."""
    scale = Scale(0.5, 800, is_log=is_log)
    assert scale.share(scale.value(share)) == pytest.approx(share, abs=1e-9)
