"""Tests of `proxy/counters`: lateness by bucket, and what a reset keeps."""

from __future__ import annotations

from replayproxy.model import RecordingRef
from replayproxy.proxy.counters import LATENESS_BOUNDS, Counters


def test_lateness_is_counted_in_the_bucket_whose_bound_it_does_not_exceed() -> None:
    """As Prometheus has it: a bound belongs to its bucket (`le`); above the last bound there is one more."""
    counters = Counters()
    for nanoseconds in (0, 100_000, 100_001, 500_000_000, 500_000_001):
        counters.late(nanoseconds)
    assert len(counters.lateness_counts) == len(LATENESS_BOUNDS) + 1
    assert [counters.lateness_counts[index] for index in (0, 1, -2, -1)] == [2, 1, 1, 1]
    assert counters.lateness_max == 0.500_000_001
    assert abs(counters.lateness_sum - 1.000_200_002) < 1e-9


def test_a_reset_sets_everything_to_zero_but_the_requests_in_flight() -> None:
    """They end later, and would make a negative number."""
    counters = Counters()
    counters.requests["replay"] = counters.endings["complete"] = counters.misses["no_match"] = 1
    counters.played[RecordingRef("rp1:00", 0)] = counters.stalled = counters.uploads_cut = counters.in_flight = 1
    counters.late(1)
    counters.reset()
    empty = Counters()
    empty.in_flight = 1
    counters.traffic.request_bytes = 1
    counters.reset()
    assert {**vars(counters), "traffic": vars(counters.traffic)} == {**vars(empty), "traffic": vars(empty.traffic)}
