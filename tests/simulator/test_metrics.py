"""Metrics are what the engine did: gauges follow its state down as well as up, counters and histograms add up."""

from __future__ import annotations

from replayproxy.simulator.metrics import (
    MOST_ADAPTER_SETS,
    EngineState,
    FinishedRequest,
    Histogram,
    Labels,
    Metrics,
    Series,
)

FINISHED = FinishedRequest("stop", 30, 5, 2.0, 0.25, 0.75, 1.0, cached_tokens=16, max_tokens=10)


def metrics(max_loras: int | None = None) -> Metrics:
    """Of a server with a context of 100 tokens."""
    return Metrics(max_model_len=100, max_loras=max_loras)


def value(series: Series, name: str, *labels: str) -> float:
    """The sample whose labels have these values."""
    (found,) = [sample for own, sample in series.samples[name] if tuple(text for _, text in own) == labels]
    assert not isinstance(found, Histogram)
    return found


def histogram(series: Series, name: str) -> Histogram:
    """The only one of that name."""
    ((labels, found),) = series.samples[name]
    assert isinstance(found, Histogram)
    assert labels == ()
    return found


def test_a_bucket_holds_what_is_up_to_its_bound() -> None:
    """The bound included, as Prometheus has it."""
    one = Histogram((1.0, 2.0))
    for observed in (0.5, 1.0, 1.5, 2.0, 2.5):
        one.observe(observed)
    one.observe(9.0, 2)
    assert (one.counts, one.total, one.count) == ([2, 2, 3], 25.5, 7)


def test_gauges_are_the_state_of_the_moment() -> None:
    """Up and down: nothing of a busy moment is left in an idle one."""
    one = metrics()
    names = ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc", "gpu_cache_usage_perc")
    busy = one.series(EngineState(running=3, waiting=5, deferred=2, cache_usage=0.5))
    idle = one.series(EngineState())
    assert [value(busy, name) for name in names] == [3, 5, 0.5, 0.5]
    assert [value(busy, "num_requests_waiting_by_reason", reason) for reason in ("capacity", "deferred")] == [3, 2]
    assert [value(idle, name) for name in names] == [0, 0, 0, 0]
    assert [value(idle, "num_requests_waiting_by_reason", reason) for reason in ("capacity", "deferred")] == [0, 0]


def test_one_sleep_state_is_1() -> None:
    """That of the level."""
    states = ("awake", "weights_offloaded", "discard_all")
    for level in range(3):
        series = metrics().series(EngineState(sleep_level=level))
        assert [value(series, "engine_sleep_state", state) for state in states] == [
            float(level == number) for number in range(3)
        ]


def test_a_request_is_counted_where_vllm_counts_it() -> None:
    """Tokens at the first token and at each further one, everything else at the end."""
    one = metrics()
    one.started(30, 16)
    one.first_token(1.0, 10, 30, 16)
    one.next_token(0.25, 20)
    one.finished(FINISHED)
    one.ended(2, 5)
    series = one.series(EngineState())
    counted = {
        ("prefix_cache_queries",): 30,
        ("prefix_cache_hits",): 16,
        ("gpu_prefix_cache_hits",): 16,
        ("prompt_tokens",): 30,
        ("prompt_tokens_cached",): 16,
        ("prompt_tokens_by_source", "local_compute"): 14,
        ("prompt_tokens_by_source", "local_cache_hit"): 16,
        ("prompt_tokens_by_source", "external_kv_transfer"): 0,
        ("prompt_tokens_cached_by_source", "device"): 16,
        ("generation_tokens",): 2,
        ("request_success", "stop"): 1,
        ("request_success", "length"): 0,
    }
    assert {key: value(series, *key) for key in counted} == counted
    observed = {
        "time_to_first_token_seconds": 1.0,
        "inter_token_latency_seconds": 0.25,
        "time_per_output_token_seconds": 0.25,
        "e2e_request_latency_seconds": 2.0,
        "request_queue_time_seconds": 0.25,
        "request_prefill_time_seconds": 0.75,
        "request_decode_time_seconds": 1.0,
        "request_inference_time_seconds": 1.75,
        "request_time_per_output_token_seconds": 0.25,
        "request_prompt_tokens": 30,
        "request_generation_tokens": 5,
        "request_max_num_generation_tokens": 5,
        "request_params_max_tokens": 10,
        "request_params_n": 2,
        "request_prefill_kv_computed_tokens": 14,
        "request_num_preemptions": 0,
    }
    found = {name: histogram(series, name) for name in observed}
    assert {name: one.total for name, one in found.items()} == observed
    assert {one.count for one in found.values()} == {1}


def test_a_remote_prefill_is_not_computed_here() -> None:
    """Its tokens come from the transfer."""
    one = metrics()
    one.started(30, 0, is_remote=True)
    one.first_token(1.0, 10, 30, 0, is_remote=True)
    series = one.series(EngineState())
    assert value(series, "prompt_tokens_by_source", "external_kv_transfer") == 30
    assert value(series, "prompt_tokens_by_source", "local_compute") == 0
    assert value(series, "external_prefix_cache_hits") == 30
    assert value(series, "prompt_tokens_cached_by_source", "p2p") == 30


def test_a_request_without_max_tokens_has_no_such_parameter() -> None:
    """And a reason of ours that vLLM has not is a stop: a tool call ends with a stop token."""
    one = metrics()
    one.finished(FinishedRequest("tool_calls", 30, 1, 1.0, 0.0, 1.0, 0.0))
    series = one.series(EngineState())
    assert histogram(series, "request_params_max_tokens").count == 0
    assert histogram(series, "request_time_per_output_token_seconds").total == 0
    assert value(series, "request_success", "stop") == 1


def test_tokens_of_one_moment_are_one_iteration() -> None:
    """The iterations together have all tokens, whenever somebody scrapes."""
    one = metrics()
    for at in (10, 10, 10, 20, 20):
        one.next_token(0.1, at)
    one.first_token(0.1, 30, 64, 14)
    iterations = histogram(one.series(EngineState()), "iteration_tokens_total")
    assert (iterations.count, iterations.total) == (3, 5 + 51)
    assert iterations.counts[:5] == [0, 2, 0, 0, 1]
    assert histogram(one.series(EngineState()), "iteration_tokens_total").count == 3


def test_a_client_that_left_and_one_that_was_turned_away() -> None:
    """Neither counts as a latency."""
    one = metrics()
    one.aborted()
    one.rejected()
    series = one.series(EngineState())
    assert value(series, "request_success", "abort") == 1
    assert value(series, "admission_rejections", "max_num_queued_reqs") == 1
    assert histogram(series, "e2e_request_latency_seconds").count == 0


def test_buckets_of_tokens_end_with_the_context() -> None:
    """1, 2, 5, 10, … up to the longest context."""
    assert histogram(metrics().series(EngineState()), "request_prompt_tokens").bounds == (1, 2, 5, 10, 20, 50, 100)


def sets(series: Series) -> list[tuple[Labels, float]]:
    """The combinations of adapters with their times."""
    return [(labels, at) for labels, at in series.samples["lora_requests_info"] if not isinstance(at, Histogram)]


def test_the_newest_combination_of_adapters_is_that_of_now() -> None:
    """Its time is the largest, also when it had been there before; the oldest ones are forgotten."""
    one = metrics(max_loras=2)
    for at, running in enumerate((("a",), ("a", "b"), ("a",), ())):
        one.adapters(running, ("c", "c"), float(at))
    labels = [
        (("max_lora", "2"), ("running_lora_adapters", names), ("waiting_lora_adapters", "c"))
        for names in ("a,b", "a", "")
    ]
    assert sets(one.series(EngineState())) == list(zip(labels, (1.0, 2.0, 3.0), strict=True))
    for number in range(MOST_ADAPTER_SETS):
        one.adapters((f"n{number}",), (), 10.0 + number)
    assert len(sets(one.series(EngineState()))) == MOST_ADAPTER_SETS


def test_a_server_without_adapters_has_no_metric_of_them() -> None:
    """As vLLM without `--enable-lora`."""
    one = metrics()
    one.adapters(("a",), (), 1.0)
    assert "lora_requests_info" not in one.series(EngineState()).samples
