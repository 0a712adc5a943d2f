"""How fast to play."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayproxy.core.timing import Pace
from replayproxy.model import Timeline

TIMES = st.lists(st.integers(0, 10**13), min_size=2).map(sorted)


def timeline(times: list[int]) -> Timeline:
    """Head first, end last."""
    return Timeline(times[0], tuple(times[1:-1]), times[-1])


def test_a_table_of_speeds() -> None:
    """None: all at once. 1: as recorded. 2: half the time. 0.5: twice."""
    recorded = Timeline(10, (20, 25), 30)
    assert Pace()(recorded) is None
    assert Pace(1)(recorded) is recorded
    assert Pace(2)(recorded) == Timeline(5, (10, 12), 15)
    assert Pace(0.5)(recorded) == Timeline(20, (40, 50), 60)


@given(TIMES, st.floats(0.01, 100))
def test_order_and_number_survive(times: list[int], speed: float) -> None:
    """Whatever the speed, as many chunks, never before the one in front."""
    paced = Pace(speed)(timeline(times))
    assert paced is not None
    flat = [paced.head, *paced.chunks, paced.end]
    assert flat == sorted(flat)
    assert len(flat) == len(times)


@given(TIMES, st.floats(0.01, 100))
def test_errors_do_not_add_up(times: list[int], speed: float) -> None:
    """Each time is the recorded one over the speed, to the nanosecond it rounds to: nothing is summed on the way."""
    paced = Pace(speed)(timeline(times))
    assert paced is not None
    for ours, recorded in zip([paced.head, *paced.chunks, paced.end], times, strict=True):
        assert abs(ours - recorded / speed) <= max(1, abs(ours) * 1e-12)


@pytest.mark.parametrize("speed", [0, -1, float("inf"), float("nan")])
def test_a_speed_without_sense_is_refused(speed: float) -> None:
    """Not zero, not negative, not infinite (that is `max`), not nan."""
    with pytest.raises(ValueError, match="positive number or max"):
        Pace(speed)
