"""Tests of `simulator/recorded_times`: times are those of requests that were alike; a held-out half."""

from __future__ import annotations

import random
from statistics import median

import pytest

from replayproxy.simulator import recorded_times
from replayproxy.simulator.recorded_times import RecordedRequest, RecordedTimes, held_out_by_load, held_out_errors

MS = 1_000_000


def traffic(count: int, seed: int = 1) -> list[RecordedRequest]:
    """A server that takes 20 ms and 0.1 ms for each token of a prompt, times its load, give or take a tenth."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        prompt, running = draw.choice((16, 100, 1000)), draw.choice((1, 4, 16))
        load = 1 + running / 8
        first = round((20 + prompt / 10) * MS * load * draw.uniform(0.9, 1.1))
        gaps = tuple(round(10 * MS * load * draw.uniform(0.9, 1.1)) for _ in range(20))
        found.append(RecordedRequest(prompt, running, first, gaps))
    return found


MODEL = RecordedTimes.of(traffic(600))


@pytest.mark.parametrize("prompt", [16, 100, 1000])
@pytest.mark.parametrize("running", [1, 4, 16])
def test_a_first_token_takes_what_it_took(prompt: int, running: int) -> None:
    """By prompt and by load."""
    assert MODEL is not None
    draw = random.Random(2)
    predicted = median(MODEL.first_token(draw, prompt=prompt, running=running) for _ in range(100))
    assert predicted == pytest.approx((20 + prompt / 10) * MS * (1 + running / 8), rel=0.1)


@pytest.mark.parametrize(("running", "like"), [(1, 1), (2, 1), (3, 4), (5, 4), (16, 16), (17, 16), (500, 16)])
def test_a_gap_is_one_of_the_nearest_load(running: int, like: int) -> None:
    """Beyond the recorded loads it is the largest of them."""
    assert MODEL is not None
    draw = random.Random(2)
    predicted = median(MODEL.next_token(draw, running=running) for _ in range(200))
    assert predicted == pytest.approx(10 * MS * (1 + like / 8), rel=0.1)


def test_a_held_out_half_is_predicted() -> None:
    """Medians within 10 %, the 99th percentile within 25 %."""
    errors = {error.name: error for error in held_out_errors(traffic(600))}
    assert list(errors) == ["first token median", "first token p99", "gap median", "gap p99"]
    for name, error in errors.items():
        assert abs(error.relative) < (0.10 if "median" in name else 0.25), error


def test_without_requests_there_is_no_model() -> None:
    """And without gaps they take no time."""
    assert RecordedTimes.of([]) is None
    assert held_out_errors([RecordedRequest(1, 1, 5)]) == []
    alone = RecordedTimes.of([RecordedRequest(1, 1, 5)])
    assert alone is not None
    draw = random.Random(1)
    assert (alone.first_token(draw, prompt=9, running=9), alone.next_token(draw, running=9)) == (5, 0)


def test_a_model_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of requests and of gaps."""
    monkeypatch.setattr(recorded_times, "MOST_REQUESTS", 3)
    monkeypatch.setattr(recorded_times, "MOST_GAPS", 5)
    small = RecordedTimes.of([RecordedRequest(1, 1, number, (1, 2, 3)) for number in range(10)])
    assert small is not None
    assert ([one.first_token for one in small.requests], len(small.gaps[0])) == ([7, 8, 9], 5)


def test_a_model_can_be_faster() -> None:
    """By a factor, for a replay at another speed."""
    assert MODEL is not None
    draw = random.Random(2)
    fast = MODEL.faster(4)
    predicted = median(fast.next_token(draw, running=1) for _ in range(200))
    assert predicted == pytest.approx(2.5 * MS * 1.125, rel=0.1)
    assert fast.first_token(draw, prompt=16, running=1) < 0.3 * MODEL.first_token(draw, prompt=16, running=1)


def test_errors_are_told_apart_by_load() -> None:
    """A model that mixed the loads would be right for all of them together, and for none of them."""
    requests = [
        RecordedRequest(10, running, 1000 * running, (100 * running,) * 3) for running in (1, 8) for _ in range(40)
    ]
    low, high = held_out_by_load(requests, (2, 5, 100))
    assert [(low.least, low.most, low.requests), (high.least, high.most, high.requests)] == [(1, 2, 20), (6, 100, 20)]
    for load, running in ((low, 1), (high, 8)):
        assert [(error.recorded, error.predicted) for error in load.errors] == [
            *[(1000 * running, 1000 * running)] * 2,
            *[(100 * running, 100 * running)] * 2,
        ]
    assert held_out_by_load([], (2,)) == []
