"""Answers by endpoint, model and status, and their times, as Prometheus metrics. Labels are bounded by `Traffic`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from replayproxy.proxy.traffic import LatencyHistogram, Traffic


def of_traffic(traffic: Traffic, *, has_upstream: bool = True) -> Iterator[Metric]:
    """Yield the metric families; those about a server only where there is one."""
    answers = CounterMetricFamily(
        "replayproxy_answers",
        "Answers that have ended, by what became of the request",
        labels=["outcome", "endpoint", "model", "status"],
    )
    for labels, count in sorted(traffic.answers.items()):
        answers.add_metric(labels, count)
    yield answers
    yield _by_model("time_to_first_token_seconds", "From the request to the first event with content", traffic.ttft)
    yield _by_model("chunk_gap_seconds", "Between two chunks of a stream", traffic.gaps)
    yield _by_model("e2e_request_latency_seconds", "From the request to the end of a complete answer", traffic.totals)
    yield CounterMetricFamily("replayproxy_request_bytes", "Bytes of request bodies", traffic.request_bytes)
    yield CounterMetricFamily("replayproxy_response_bytes", "Bytes of answers, without heads", traffic.response_bytes)
    if has_upstream:
        errors = CounterMetricFamily("replayproxy_upstream_errors", "What went wrong with the server", labels=["cause"])
        for cause, count in sorted(traffic.upstream_errors.items()):
            errors.add_metric([cause], count)
        yield errors


def _by_model(name: str, meaning: str, histograms: Mapping[str, LatencyHistogram]) -> Metric:
    family = HistogramMetricFamily(f"replayproxy_{name}", meaning, labels=["model"])
    for model, histogram in sorted(histograms.items()):
        total, buckets = 0, []
        for bound, count in zip((*map(str, histogram.bounds), "+Inf"), histogram.counts, strict=True):
            total += count
            buckets.append((bound, total))
        family.add_metric([model], buckets, histogram.sum)
    return family
