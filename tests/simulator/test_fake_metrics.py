"""Given metrics are those of llm-d-inference-sim: numbers, functions of time, buckets and adapters."""

from __future__ import annotations

from typing import Any

import pytest

from replayproxy.simulator.fake_metrics import BadFakeMetrics, FakeMetrics, Wave
from replayproxy.simulator.metrics import Histogram, Series

SEED = {
    "running-requests": 10,
    "waiting-requests": 30,
    "kv-cache-usage": 0.4,
    "loras": [
        {"running": "lora4,lora2", "waiting": "lora3", "timestamp": 1257894567},
        {"running": "lora4,lora3", "waiting": "", "timestamp": 1257894569},
    ],
}
"""The example of the seed's own documentation."""


def series(given: Any, elapsed: float = 0.0) -> Series:
    """What a scrape finds."""
    return FakeMetrics.read(given, 1024).series(elapsed, max_model_len=1024, max_loras=2)


def only(one: Series, name: str) -> Any:
    """The value of a metric that has one."""
    ((_, value),) = one.samples[name]
    return value


def test_the_example_of_the_documentation() -> None:
    """Three gauges, and each line of adapters with its time."""
    one = series(SEED)
    assert [only(one, name) for name in ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc")] == [
        10,
        30,
        0.4,
    ]
    assert one.samples["lora_requests_info"] == [
        ((("max_lora", "2"), ("running_lora_adapters", running), ("waiting_lora_adapters", waiting)), at)
        for running, waiting, at in (("lora4,lora2", "lora3", 1257894567.0), ("lora4,lora3", "", 1257894569.0))
    ]


def test_nothing_else_is_there() -> None:
    """Given and measured metrics are never shown together."""
    assert set(series({}).samples) == {
        "num_requests_running",
        "num_requests_waiting",
        "num_requests_waiting_by_reason",
        "engine_sleep_state",
        "kv_cache_usage_perc",
        "gpu_cache_usage_perc",
    }


@pytest.mark.parametrize(
    ("text", "values"),
    [
        # at 0, 15, 30, 45, 60 and 75 s
        ("oscillate:0:100:60s", [50, 100, 50, 0, 50, 100]),
        ("ramp:0:100:60s", [0, 25, 50, 75, 100, 100]),
        ("ramp:100:0:1m", [100, 75, 50, 25, 0, 0]),
        ("rampreset:0:100:60", [0, 25, 50, 75, 0, 25]),
        ("squarewave:1:9:60000ms", [1, 1, 9, 9, 1, 1]),
    ],
)
def test_functions_of_time(text: str, values: list[int]) -> None:
    """Running requests are whole numbers."""
    found = [only(series({"running-requests": text}, at), "num_requests_running") for at in range(0, 90, 15)]
    assert found == pytest.approx(values, abs=1)
    assert all(isinstance(value, int) for value in found)


def test_a_share_is_no_whole_number() -> None:
    """The use of the cache is."""
    assert only(series({"kv-cache-usage": "ramp:0:1:10s"}, 2.5), "kv_cache_usage_perc") == 0.25


def test_observations_per_bucket() -> None:
    """Each has the value of its bucket's bound; trailing buckets may be left out."""
    one = series({"tpot-buckets-values": [0, 0, 1, 2], "request-prompt-tokens": [1, 0, 3]})
    for name in ("time_per_output_token_seconds", "inter_token_latency_seconds"):
        found = only(one, name)
        assert isinstance(found, Histogram)
        assert found.counts[:5] == [0, 0, 1, 2, 0]
        assert found.total == pytest.approx(0.05 + 2 * 0.075)
    assert only(one, "prompt_tokens") == 1 + 3 * 5


def test_the_last_bucket() -> None:
    """What is above the last bound counts as one more than that."""
    found = only(series({"tpot-buckets-values": [0] * 19 + [2]}), "inter_token_latency_seconds")
    assert (found.counts[-1], found.total) == (2, 162)


def test_totals_override_what_follows_from_buckets() -> None:
    """Also as YAML of llm-d-inference-sim spells them."""
    for key in ("total-prompt-tokens", "totalprompttokens"):
        assert only(series({"request-prompt-tokens": [1], key: 500}), "prompt_tokens") == 500


def test_reasons() -> None:
    """Those that are not given are 0."""
    found = dict(series({"request-success-total": {"stop": 20, "length": 1}}).samples["request_success"])
    assert {labels[0][1]: value for labels, value in found.items()} == {
        "stop": 20,
        "length": 1,
        "tool_calls": 0,
        "remote_decode": 0,
        "cache_threshold": 0,
    }


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "a JSON object"),
        ({"running": 1}, "'running' is not a fake metric: use running-requests"),
        ({"running-requests": -1}, "0 or more"),
        ({"running-requests": True}, "0 or more"),
        ({"running-requests": "many"}, "ramp:0:100:60s"),
        ({"running-requests": "saw:0:1:1s"}, "oscillate, ramp, rampreset, squarewave"),
        ({"running-requests": "ramp:0:1:0s"}, "period is not above 0"),
        ({"running-requests": "ramp:0:1:1d"}, "ramp:0:100:60s"),
        ({"running-requests": "ramp:1.2.3:1:1s"}, "0 or more"),
        ({"kv-cache-usage": 1.5}, "share from 0 to 1"),
        ({"kv-cache-usage": "ramp:0:40:1s"}, "share from 0 to 1"),
        ({"tpot-buckets-values": 5}, "is a list"),
        ({"tpot-buckets-values": [0.5]}, "whole numbers"),
        ({"tpot-buckets-values": [1] * 21}, "has 21 buckets, and vLLM's metric has 20"),
        ({"loras": ["lora1"]}, "objects such as"),
        ({"prefix-cache-hits": 5}, "go together"),
        ({"prefix-cache-hits": 5, "prefix-cache-queries": 4}, "not more than queries"),
        ({"request-success-total": {"finished": 1}}, "stop, length"),
    ],
)
def test_what_makes_no_sense_is_refused(given: Any, words: str) -> None:
    """With the key, and how to write it."""
    with pytest.raises(BadFakeMetrics, match=words):
        FakeMetrics.read(given, 1024)


def test_a_wave_repeats() -> None:
    """For as long as the server runs."""
    wave = Wave("squarewave", 0, 1, 10.0)
    assert [wave.at(at) for at in (1e6, 1e6 + 5)] == [0, 1]
