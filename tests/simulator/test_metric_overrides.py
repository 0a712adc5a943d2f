"""Values that are set replace measured ones, and totals are shared among replicas, as AIBrix's mocked vLLM does."""

from __future__ import annotations

from typing import Any

import pytest

from replayproxy.simulator.metric_overrides import BadOverride, MetricOverrides
from replayproxy.simulator.metrics import EngineState, Metrics, Series


def scrape(overrides: MetricOverrides) -> Series:
    """A server with one running request."""
    series = Metrics(max_model_len=100).series(EngineState(running=1, cache_usage=0.25))
    overrides.apply(series)
    return series


def values(series: Series, *names: str) -> list[Any]:
    """The values of metrics that have one sample each; None where a metric is not there."""
    return [series.samples[name][0][1] if name in series.samples else None for name in names]


THROUGHPUTS = ("avg_prompt_throughput_toks_per_s", "avg_generation_throughput_toks_per_s")


@pytest.mark.parametrize(("replicas", "share"), [(1, 100.0), (5, 20.0)])
def test_a_total_is_shared_among_replicas(replicas: int, share: float) -> None:
    """The example of the seed's documentation: 100 on one replica, 20 on each of five."""
    series = scrape(MetricOverrides(replicas))
    assert series.samples["request_success"] == [((("finished_reason", "stop"),), share)]
    assert values(series, *THROUGHPUTS) == [share, share]


def test_without_replicas_all_is_measured() -> None:
    """A vLLM of today has no average throughput."""
    series = scrape(MetricOverrides())
    assert values(series, "num_requests_running", *THROUGHPUTS) == [1, None, None]
    assert series.shown == set()


def test_a_value_that_is_set() -> None:
    """It replaces what was measured, under both names of the cache, and is shown in any generation."""
    overrides = MetricOverrides()
    overrides.update({"gpu_cache_usage_perc": 75.0, "running": 7})
    series = scrape(overrides)
    assert values(series, "gpu_cache_usage_perc", "kv_cache_usage_perc", "num_requests_running") == [75.0, 75.0, 7.0]
    assert series.shown == {"gpu_cache_usage_perc", "kv_cache_usage_perc", "num_requests_running"}


def test_the_newer_name_of_the_cache_has_a_value_of_its_own() -> None:
    """Whatever the order."""
    overrides = MetricOverrides()
    overrides.update({"kv_cache_usage_perc": 0.5})
    overrides.update({"gpu_cache_usage_perc": 75.0})
    assert values(scrape(overrides), "gpu_cache_usage_perc", "kv_cache_usage_perc") == [75.0, 0.5]


def test_values_add_up_and_can_be_taken_back() -> None:
    """null returns to what is measured."""
    overrides = MetricOverrides(2)
    overrides.update({"running": 7, "total": 50})
    overrides.update({"waiting": 3, "running": None})
    assert values(scrape(overrides), "num_requests_running", "num_requests_waiting", "request_success") == [
        1,
        3.0,
        25.0,
    ]
    overrides.update({"success_total": 8, "replicas": 5})
    assert values(scrape(overrides), "request_success", *THROUGHPUTS) == [8.0, 10.0, 10.0]


@pytest.mark.parametrize("name", ["vllm:num_preemptions_total", "num_preemptions_total", "num_preemptions"])
def test_a_metric_by_its_name(name: str) -> None:
    """As it stands on the page, or without prefix and suffix."""
    overrides = MetricOverrides()
    overrides.update({name: 4})
    assert values(scrape(overrides), "num_preemptions") == [4.0]


def test_the_load_and_the_name_of_the_model() -> None:
    """What is on no metric."""
    overrides = MetricOverrides()
    overrides.update({"server_load": 3, "model_name": "other"})
    assert (overrides.server_load, overrides.model) == (3.0, "other")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "No data provided"),
        ([1], "No data provided"),
        (None, "No data provided"),
        ({"runing": 1}, "'runing' cannot be set: use success_total"),
        ({"engine_sleep_state": 1}, "cannot be set"),
        ({"time_to_first_token_seconds": 1}, "cannot be set"),
        ({"running": "many"}, "running 'many' is not a number"),
        ({"running": -1}, "0 or more"),
        ({"running": True}, "0 or more"),
        ({"replicas": 0}, "replicas 0 is not a whole number of 1 or more"),
    ],
)
def test_what_cannot_be_set(given: Any, words: str) -> None:
    """Is refused with its name, and nothing else of the call is set."""
    overrides = MetricOverrides()
    before = {"waiting": 3, **given} if isinstance(given, dict) and given else given
    with pytest.raises(BadOverride, match=words):
        overrides.update(before)
    assert overrides.values == {}
