"""The page is what Prometheus reads, under the names, kinds, labels and buckets of a vLLM."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from replayproxy.simulator.metric_table import CURRENT, OLD
from replayproxy.simulator.metrics import EngineState, FinishedRequest, Metrics, Series
from replayproxy.simulator.metrics_page import MetricsPage

Families = dict[str, list[tuple[str, tuple[tuple[str, str], ...], float]]]


def families(series: Series, generation: str = CURRENT, engine: int = 0) -> Families:
    """The samples of each metric of a page, read by Prometheus' own parser."""
    text = MetricsPage(series, "tiny", generation, engine).text().decode()
    return {
        family.name: [(sample.name, tuple(sorted(sample.labels.items())), sample.value) for sample in family.samples]
        for family in text_string_to_metric_families(text)
    }


def measured() -> Series:
    """A server that has answered one request."""
    metrics = Metrics(max_model_len=20, max_loras=1, cache_config=(("block_size", "16"), ("engine", "0")), created=7.0)
    metrics.started(10, 0)
    metrics.first_token(0.03, 1, 10, 0)
    metrics.finished(FinishedRequest("length", 10, 1, 0.03, 0.0, 0.03, 0.0))
    metrics.adapters(("a", "b"), (), 99.0)
    return metrics.series(EngineState(running=2))


OWN = (("engine", "0"), ("model_name", "tiny"))


def test_gauges_and_counters() -> None:
    """Counters have `_total` and, as a metric beside them, when they began."""
    page = families(measured())
    assert page["vllm:num_requests_running"] == [("vllm:num_requests_running", OWN, 2.0)]
    assert page["vllm:prompt_tokens"] == [("vllm:prompt_tokens_total", OWN, 10.0)]
    assert page["vllm:prompt_tokens_created"] == [("vllm:prompt_tokens_created", OWN, 7.0)]
    assert ("vllm:request_success_total", (("engine", "0"), ("finished_reason", "length"), OWN[1]), 1.0) in page[
        "vllm:request_success"
    ]
    assert [labels for _, labels, _ in page["vllm:admission_rejections"]] == [
        (OWN[1], ("reason", "max_num_queued_reqs")),
        (OWN[1], ("reason", "max_num_queued_tokens")),
    ]


def test_histograms() -> None:
    """Cumulative, with the sum and the count."""
    page = families(measured())["vllm:request_prompt_tokens"]
    assert page == [
        *(
            ("vllm:request_prompt_tokens_bucket", (OWN[0], ("le", bound), OWN[1]), count)
            for bound, count in (("1.0", 0), ("2.0", 0), ("5.0", 0), ("10.0", 1), ("20.0", 1), ("+Inf", 1))
        ),
        ("vllm:request_prompt_tokens_count", OWN, 1.0),
        ("vllm:request_prompt_tokens_sum", OWN, 10.0),
    ]


def test_metrics_without_the_name_of_the_model() -> None:
    """Two of them, as in vLLM."""
    page = families(measured())
    assert page["vllm:cache_config_info"] == [("vllm:cache_config_info", (("block_size", "16"), ("engine", "0")), 1.0)]
    assert page["vllm:lora_requests_info"] == [
        (
            "vllm:lora_requests_info",
            (("max_lora", "1"), ("running_lora_adapters", "a,b"), ("waiting_lora_adapters", "")),
            99.0,
        )
    ]


@pytest.mark.parametrize(
    ("generation", "there", "absent"),
    [
        (
            CURRENT,
            {"kv_cache_usage_perc", "prefix_cache_hits", "inter_token_latency_seconds"},
            {"gpu_cache_usage_perc"},
        ),
        (
            OLD,
            {"gpu_cache_usage_perc", "gpu_prefix_cache_hits", "time_per_output_token_seconds"},
            {"kv_cache_usage_perc", "inter_token_latency_seconds", "engine_sleep_state", "request_num_preemptions"},
        ),
    ],
)
def test_each_generation_has_its_names(generation: str, there: set[str], absent: set[str]) -> None:
    """Nothing is shown under two names, except what somebody has set."""
    page = families(measured(), generation)
    assert {f"vllm:{name}" for name in there} <= set(page)
    assert not {f"vllm:{name}" for name in absent} & set(page)


def test_what_was_set_is_shown_in_any_generation() -> None:
    """Its name is what a scraper looks for."""
    series = measured()
    series.shown.add("gpu_cache_usage_perc")
    assert "vllm:gpu_cache_usage_perc" in families(series)


def test_what_has_no_value_is_not_shown() -> None:
    """As given metrics need it."""
    series = Series()
    series.set("num_requests_running", 1.0)
    assert list(families(series)) == ["vllm:num_requests_running"]


def test_the_rank_is_a_label() -> None:
    """Data-parallel engines are told apart."""
    assert dict(families(measured(), engine=3)["vllm:num_requests_running"][0][1])["engine"] == "3"
