"""How fast to play."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayproxy.core.timing import Pace

TIMES = st.lists(st.integers(0, 10**13), min_size=2).map(sorted)


def test_a_table_of_speeds() -> None:
    """None: all at once. 1: as recorded. 2: half the time. 0.5: twice."""
    recorded = [10, 20, 25, 30]
    assert list(map(Pace().at, recorded)) == [0, 0, 0, 0]
    assert list(map(Pace(1).at, recorded)) == recorded
    assert list(map(Pace(2).at, recorded)) == [5, 10, 12, 15]
    assert list(map(Pace(0.5).at, recorded)) == [20, 40, 50, 60]


@given(TIMES, st.floats(0.01, 100))
def test_the_order_survives(times: list[int], speed: float) -> None:
    """Whatever the speed, nothing is due before what is in front of it."""
    paced = list(map(Pace(speed).at, times))
    assert paced == sorted(paced)


@given(TIMES, st.floats(0.01, 100))
def test_errors_do_not_add_up(times: list[int], speed: float) -> None:
    """Each time is the recorded one over the speed, to the nanosecond it rounds to: nothing is summed on the way."""
    for recorded in times:
        ours = Pace(speed).at(recorded)
        assert abs(ours - recorded / speed) <= max(1, abs(ours) * 1e-12)


@pytest.mark.parametrize("speed", [0, -1, float("inf"), float("nan")])
def test_a_speed_without_sense_is_refused(speed: float) -> None:
    """Not zero, not negative, not infinite (that is `max`), not nan."""
    with pytest.raises(ValueError, match="positive number or max"):
        Pace(speed)
