"""Tests of `admin/traffic_metrics`: families that Prometheus reads, and vLLM's bucket edges."""

from __future__ import annotations

import pytest
from prometheus_client.core import Metric

from replayproxy.admin.traffic_metrics import of_traffic
from replayproxy.proxy.answer_meter import GAP_BOUNDS
from replayproxy.proxy.traffic import TOTAL_BOUNDS, TTFT_BOUNDS, LatencyHistogram, Traffic
from replayproxy.simulator.metric_table import FIRST_TOKEN, REQUEST_TIME, TOKEN_GAP


def family(traffic: Traffic, name: str) -> Metric:
    """One of the families."""
    return next(one for one in of_traffic(traffic) if one.name == f"replayproxy_{name}")


def test_answers_have_four_labels() -> None:
    """In one family, so that a sum by any of them is right."""
    traffic = Traffic()
    traffic.answers["recorded", "/v1/completions", "tiny", "200"] = 7
    (sample,) = family(traffic, "answers").samples
    labels = {"outcome": "recorded", "endpoint": "/v1/completions", "model": "tiny", "status": "200"}
    assert (sample.name, sample.labels, sample.value) == ("replayproxy_answers_total", labels, 7)


@pytest.mark.parametrize("name", ["time_to_first_token_seconds", "chunk_gap_seconds", "e2e_request_latency_seconds"])
def test_a_histogram_is_cumulative_and_ends_with_everything(name: str) -> None:
    """By model, with a sum and a count."""
    traffic = Traffic()
    histogram = LatencyHistogram((0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 9.0):
        histogram.observe(seconds)
    for one in (traffic.ttft, traffic.gaps, traffic.totals):
        one["tiny"] = histogram
    samples = family(traffic, name).samples
    buckets = [(one.labels["le"], one.value) for one in samples if one.name.endswith("_bucket")]
    assert buckets == [("0.1", 2), ("1.0", 3), ("+Inf", 4)]
    assert [one.value for one in samples if one.name.endswith(("_count", "_sum"))] == [4, 9.65]


def test_bucket_edges_are_those_of_vllm() -> None:
    """As the simulator has them of vLLM's own source: one panel shows both sides of the proxy."""
    assert (TTFT_BOUNDS, GAP_BOUNDS, TOTAL_BOUNDS) == (FIRST_TOKEN, TOKEN_GAP, REQUEST_TIME)


def test_upstream_errors_are_there_before_the_first() -> None:
    """A rate that begins with 1 shows nothing."""
    assert {sample.value for sample in family(Traffic(), "upstream_errors").samples} == {0}
    assert len(family(Traffic(), "upstream_errors").samples) == 7
