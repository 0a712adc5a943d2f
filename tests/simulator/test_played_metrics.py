"""Metrics of answers that are being played rise and fall with them, and have their tokens and times."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from replayproxy.core.server_state import RecordedFacts
from replayproxy.simulator.played_metrics import PlayedMetrics, is_generation, token_times

MS = 1_000_000
FACTS = RecordedFacts(
    recorded_at=0,
    total=500 * MS,
    first_token=100 * MS,
    status=200,
    is_stream=True,
    prompt_tokens=30,
    completion_tokens=5,
    cached_tokens=16,
    finish="length",
)
CHUNKS = tuple(at * MS for at in (50, 100, 200, 300, 400, 500))
"""The first one has the role alone."""


def metrics() -> PlayedMetrics:
    """Of a cache with room for 100 tokens."""
    return PlayedMetrics(model="tiny", max_model_len=1024, cache_tokens=100, created=0.0)


def values(page: bytes, *names: str) -> list[float]:
    """The sums of the samples of these names."""
    samples = [one for family in text_string_to_metric_families(page.decode()) for one in family.samples]
    return [sum(one.value for one in samples if one.name == f"vllm:{name}") for name in names]


def test_gauges_and_counters_follow_an_answer() -> None:
    """Before, in the middle, and after it."""
    followed = metrics()
    names = ("num_requests_running", "generation_tokens_total", "kv_cache_usage_perc", "prompt_tokens_total")
    seen = [values(followed.text(0), *names)]
    played = followed.begin(FACTS, CHUNKS, 0, 1.0)
    seen += [values(followed.text(at * MS), *names) for at in (99, 100, 350)]
    followed.end(played, 500 * MS, is_whole=True)
    seen.append(values(followed.text(600 * MS), *names))
    assert seen == [[0, 0, 0, 0], [1, 0, 0.3, 0], [1, 1, 0.31, 30], [1, 3, 0.33, 30], [0, 5, 0, 30]]


@pytest.mark.parametrize(("speed", "first", "total"), [(1.0, 0.1, 0.5), (2.0, 0.05, 0.25), (None, 0.1, 0.5)])
def test_latencies_are_those_at_which_it_is_played(speed: float | None, first: float, total: float) -> None:
    """As fast as possible is no latency: then they are the recorded ones."""
    followed = metrics()
    followed.end(followed.begin(FACTS, CHUNKS, 0, speed), 0, is_whole=True)
    names = ("time_to_first_token_seconds_sum", "e2e_request_latency_seconds_sum", "inter_token_latency_seconds_count")
    assert values(followed.text(0), *names) == pytest.approx([first, total, 4])


def test_a_client_that_leaves_aborts() -> None:
    """With the tokens that had gone out."""
    followed = metrics()
    followed.end(followed.begin(FACTS, CHUNKS, 0, 1.0), 250 * MS, is_whole=False)
    page = followed.text(0)
    assert values(page, "generation_tokens_total", "e2e_request_latency_seconds_count") == [2, 0]
    assert b'vllm:request_success_total{engine="0",finished_reason="abort",model_name="tiny"} 1.0' in page


TIMES = [
    (FACTS, CHUNKS, [100, 200, 300, 400, 500]),
    (replace(FACTS, completion_tokens=10), CHUNKS, [100, 100, 200, 200, 300, 300, 400, 400, 500, 500]),
    (replace(FACTS, completion_tokens=2), CHUNKS, [100, 300]),
    (replace(FACTS, completion_tokens=None), CHUNKS, [100, 200, 300, 400, 500]),
    (replace(FACTS, is_stream=False), (500 * MS,), [100, 200, 300, 400, 500]),
    (replace(FACTS, is_stream=False, completion_tokens=None), (500 * MS,), []),
    (replace(FACTS, completion_tokens=1), (), [500]),
]


@pytest.mark.parametrize(("facts", "chunks", "expected"), TIMES)
def test_tokens_are_spread_over_the_chunks(facts: RecordedFacts, chunks: tuple[int, ...], expected: list[int]) -> None:
    """From the first one with content on; over the whole time where nothing was streamed."""
    assert token_times(facts, chunks) == [at * MS for at in expected]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (FACTS, True),
        (replace(FACTS, is_stream=False), True),
        (replace(FACTS, is_stream=False, completion_tokens=None), False),
        (replace(FACTS, status=400), False),
    ],
)
def test_only_generated_answers_count(facts: RecordedFacts, expected: bool) -> None:
    """Not a list of models, not an error."""
    assert is_generation(facts) is expected
