"""When a step ends, and when a KV cache has arrived."""

from __future__ import annotations

import pytest

from replayproxy.vllm_plugin.step_timing import StepTiming


@pytest.mark.parametrize(
    ("forward", "recorded", "lasts", "ends"),
    [(0, 0, 0, 100), (25, 0, 0, 125), (25, 150, 0, 150), (25, 110, 0, 125), (0, 110, 20, 120), (25, 0, 20, 125)],
)
def test_a_step_lasts_for_its_forward_time_at_least(forward: int, recorded: int, lasts: int, ends: int) -> None:
    """And until the recorded time of its slowest request; a late one still takes a part of it."""
    assert StepTiming(forward).end_of_step(100, recorded, lasts) == ends


def test_a_cache_arrives_once_after_its_time() -> None:
    """The constant one, and one per byte."""
    timing = StepTiming(transfer_time=10, transfer_bandwidth=1_000_000_000)
    assert (timing.next_arrival, timing.arrived(0)) == (None, set())
    timing.begin_transfer("a", 100, 1000)
    timing.begin_transfer("b", 0, 1050)
    assert timing.next_arrival == 1060
    assert [timing.arrived(now) for now in (1059, 1060, 1110, 2000)] == [set(), {"b"}, {"a"}, set()]
    without_bandwidth = StepTiming()
    without_bandwidth.begin_transfer("a", 10**12, 5)
    assert without_bandwidth.arrived(5) == {"a"}
