"""Tests of `simulator/latency`: which formula counts, what load does, and how far a sample is from its mean."""

from __future__ import annotations

import random
from statistics import mean, stdev
from typing import Any

import pytest

from replayproxy.errors import SettingsError
from replayproxy.simulator.latency import Latency

MS = 1_000_000


def first(latency: Latency, **more: Any) -> float:
    """The time to first token in ms, of a prompt of 100 tokens."""
    return latency.first_token(random.Random(1), **{"prompt": 100, **more}) / MS


PREFILL = Latency(prefill_overhead=20 * MS, prefill_per_token=MS, kv_transfer_per_token=MS // 10)


@pytest.mark.parametrize(
    ("latency", "more", "ms"),
    [
        (Latency(ttft=50 * MS), {}, 50),
        (Latency(ttft=50 * MS), {"load": 1.5}, 75),
        (Latency(ttft=50 * MS), {"cached": 90}, 50),
        (Latency(ttft=50 * MS, kv_transfer=5 * MS), {"is_remote": True, "load": 3.0}, 5),
        (PREFILL, {}, 120),
        (PREFILL, {"cached": 90}, 30),
        (PREFILL, {"cached": 200}, 20),
        (PREFILL, {"load": 2.0}, 240),
        (PREFILL, {"is_remote": True, "cached": 90}, 10),
        (Latency(ttft=7 * MS, prefill_per_token=MS), {}, 7),
        (Latency(forward_time=25 * MS), {}, 25),
        (Latency(forward_time=25 * MS, ttft=50 * MS), {}, 50),
        (Latency(), {}, 0),
    ],
)
def test_first_token(latency: Latency, more: dict[str, Any], ms: float) -> None:
    """A constant wins over a time for each token; cached tokens and load count where they should."""
    assert first(latency, **more) == ms


def test_next_token() -> None:
    """The inter-token latency, else one forward step, times the load."""
    draw = random.Random(1)
    assert Latency(itl=10 * MS).next_token(draw, load=1.5) == 15 * MS
    assert Latency(forward_time=25 * MS).next_token(draw) == 25 * MS
    assert Latency(itl=300).next_token(draw) == 300  # less than a microsecond is kept


@pytest.mark.parametrize(("running", "most", "load"), [(1, 5, 1), (5, 5, 3), (3, 5, 2), (0, 5, 1), (9, 1, 1)])
def test_load(running: int, most: int, load: float) -> None:
    """Linear from one running sequence to all of them; never less than 1."""
    assert Latency(time_factor=3.0).load(running, most) == load


@pytest.mark.parametrize(
    "latency",
    [Latency(itl=100 * MS, itl_std_dev=30 * MS), Latency(itl=100 * MS, jitter=0.3)],
    ids=["deviation", "share"],
)
def test_samples_have_their_mean_and_deviation(latency: Latency) -> None:
    """And none is further from the mean than 70 %."""
    draw = random.Random(3)
    samples = [latency.next_token(draw) / MS for _ in range(20_000)]
    assert mean(samples) == pytest.approx(100, rel=0.01)
    assert stdev(samples) == pytest.approx(29.4, rel=0.03)  # a bit less than 30: both tails are cut
    assert min(samples) == 30
    assert max(samples) == 170


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"ttft": 10, "ttft_std_dev": 4}, "--time-to-first-token-std-dev is more than 30 % of --time-to-first-token"),
        ({"itl_std_dev": 4}, "--inter-token-latency-std-dev is more than 30 % of --inter-token-latency"),
        ({"kv_transfer": 1, "kv_transfer_std_dev": 1}, "--kv-cache-transfer-latency-std-dev is more than 30 %"),
        ({"time_factor": 0.5}, "--time-factor-under-load 0.5 is less than 1"),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any], message: str) -> None:
    """By a sentence that names the settings."""
    with pytest.raises(SettingsError, match=message):
        Latency(**wrong)
