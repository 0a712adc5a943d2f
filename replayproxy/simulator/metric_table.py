"""The metrics that are served, as a table: name, kind, meaning, labels, buckets, and which vLLM has them.

Names, kinds, labels and buckets are those of vLLM: `0.32` as read from its `/metrics`, and `0.9`, the last one with
`gpu_cache_usage_perc`. `tests/live` compares the first with a running vLLM. Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass

CURRENT, OLD = "0.32", "0.9"
GENERATIONS = (CURRENT, OLD)

GAUGE, COUNTER, HISTOGRAM = "gauge", "counter", "histogram"

# Buckets: upper bounds

FIRST_TOKEN = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
TOKEN_GAP = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)
REQUEST_TIME = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0),
    *(120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)
ITERATION = (1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0)
CHOICES = (1.0, 2.0, 5.0, 10.0, 20.0)
PREEMPTIONS = (1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0)
TOKENS: tuple[float, ...] = ()
"""1, 2, 5, 10, 20, 50, … up to the longest context: see `token_bounds`."""

REASONS = ("stop", "length", "abort", "error", "repetition")
SOURCES = ("local_compute", "local_cache_hit", "external_kv_transfer")
TIERS = ("device", "host", "p2p", "disk", "external_unspecified")
SLEEP_STATES = ("awake", "weights_offloaded", "discard_all")
WAITING_REASONS = ("capacity", "deferred")
ADMISSION_LIMITS = ("max_num_queued_reqs", "max_num_queued_tokens")


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric. `name` has no prefix, and that of a counter no `_total`.

    Labels besides `model_name` and `engine` have the values that exist from the start. `bare` where the metric has
    neither of these two; `without_engine` where it lacks the second.
    """

    name: str
    kind: str
    meaning: str
    label: str | None = None
    values: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    generations: tuple[str, ...] = GENERATIONS
    without_engine: bool = False
    bare: bool = False


_NEW, _OLD = (CURRENT,), (OLD,)

TABLE: tuple[MetricRow, ...] = (
    MetricRow("num_requests_running", GAUGE, "Requests that run."),
    MetricRow("num_requests_waiting", GAUGE, "Requests that wait."),
    MetricRow(
        "num_requests_waiting_by_reason",
        GAUGE,
        "Requests that wait: for capacity, or deferred because all adapter slots are taken.",
        "reason",
        WAITING_REASONS,
        generations=_NEW,
    ),
    MetricRow(
        "engine_sleep_state",
        GAUGE,
        "1 at the state of the engine: awake, weights_offloaded (sleep level 1) or discard_all (level 2).",
        "sleep_state",
        SLEEP_STATES,
        generations=_NEW,
    ),
    MetricRow(
        "kv_cache_usage_perc",
        GAUGE,
        "Share of the KV cache's blocks that running requests hold, 0 to 1.",
        generations=_NEW,
    ),
    MetricRow(
        "gpu_cache_usage_perc",
        GAUGE,
        "Share of the KV cache's blocks that running requests hold, 0 to 1.",
        generations=_OLD,
    ),
    MetricRow("prefix_cache_queries", COUNTER, "Prompt tokens looked up in the prefix cache.", generations=_NEW),
    MetricRow("prefix_cache_hits", COUNTER, "Prompt tokens found in the prefix cache.", generations=_NEW),
    MetricRow("gpu_prefix_cache_queries", COUNTER, "Prompt tokens looked up in the prefix cache.", generations=_OLD),
    MetricRow("gpu_prefix_cache_hits", COUNTER, "Prompt tokens found in the prefix cache.", generations=_OLD),
    MetricRow("external_prefix_cache_queries", COUNTER, "Prompt tokens looked up in a remote cache.", generations=_NEW),
    MetricRow("external_prefix_cache_hits", COUNTER, "Prompt tokens found in a remote cache.", generations=_NEW),
    MetricRow(
        "mm_cache_queries", COUNTER, "Items looked up in the cache of multimodal inputs: always 0.", generations=_NEW
    ),
    MetricRow("mm_cache_hits", COUNTER, "Items found in the cache of multimodal inputs: always 0.", generations=_NEW),
    MetricRow("num_preemptions", COUNTER, "Preempted requests: the simulator preempts none."),
    MetricRow("prompt_tokens", COUNTER, "Tokens of prompts."),
    MetricRow(
        "prompt_tokens_by_source",
        COUNTER,
        "Tokens of prompts by where their KV cache came from.",
        "source",
        SOURCES,
        generations=_NEW,
    ),
    MetricRow("prompt_tokens_cached", COUNTER, "Tokens of prompts that were cached.", generations=_NEW),
    MetricRow(
        "prompt_tokens_cached_by_source",
        COUNTER,
        "Tokens of prompts that were cached, by the memory that had them.",
        "source",
        TIERS,
        generations=_NEW,
    ),
    MetricRow("generation_tokens", COUNTER, "Generated tokens."),
    MetricRow("request_success", COUNTER, "Ended requests by their reason.", "finished_reason", REASONS),
    MetricRow(
        "admission_rejections",
        COUNTER,
        "Requests that a limit of the waiting queue refused.",
        "reason",
        ADMISSION_LIMITS,
        generations=_NEW,
        without_engine=True,
    ),
    MetricRow("request_prompt_tokens", HISTOGRAM, "Prompt tokens per request.", bounds=TOKENS),
    MetricRow("request_generation_tokens", HISTOGRAM, "Generated tokens per request.", bounds=TOKENS),
    MetricRow("iteration_tokens_total", HISTOGRAM, "Tokens per moment at which some were due.", bounds=ITERATION),
    MetricRow(
        "request_max_num_generation_tokens",
        HISTOGRAM,
        "Largest number of tokens of a request's choices.",
        bounds=TOKENS,
    ),
    MetricRow("request_params_n", HISTOGRAM, "The parameter n of requests.", bounds=CHOICES),
    MetricRow("request_params_max_tokens", HISTOGRAM, "The parameter max_tokens of requests.", bounds=TOKENS),
    MetricRow("time_to_first_token_seconds", HISTOGRAM, "Arrival to first token.", bounds=FIRST_TOKEN),
    MetricRow("inter_token_latency_seconds", HISTOGRAM, "One token to the next.", bounds=TOKEN_GAP, generations=_NEW),
    MetricRow("time_per_output_token_seconds", HISTOGRAM, "One token to the next.", bounds=TOKEN_GAP, generations=_OLD),
    MetricRow(
        "request_time_per_output_token_seconds",
        HISTOGRAM,
        "Mean time from one token to the next, per request.",
        bounds=TOKEN_GAP,
        generations=_NEW,
    ),
    MetricRow("e2e_request_latency_seconds", HISTOGRAM, "Arrival to last token.", bounds=REQUEST_TIME),
    MetricRow("request_queue_time_seconds", HISTOGRAM, "Arrival to start.", bounds=REQUEST_TIME),
    MetricRow("request_inference_time_seconds", HISTOGRAM, "Start to last token.", bounds=REQUEST_TIME),
    MetricRow("request_prefill_time_seconds", HISTOGRAM, "Start to first token.", bounds=REQUEST_TIME),
    MetricRow("request_decode_time_seconds", HISTOGRAM, "First to last token.", bounds=REQUEST_TIME),
    MetricRow(
        "request_num_preemptions", HISTOGRAM, "Preemptions per request: always 0.", bounds=PREEMPTIONS, generations=_NEW
    ),
    MetricRow(
        "request_prefill_kv_computed_tokens",
        HISTOGRAM,
        "Prompt tokens per request that were not cached.",
        bounds=TOKENS,
        generations=_NEW,
    ),
    MetricRow("cache_config_info", GAUGE, "Always 1; the labels describe the KV cache.", bare=True),
    MetricRow(
        "lora_requests_info",
        GAUGE,
        "Unix time at which these adapters ran and waited; the newest counts. Only with adapters.",
        bare=True,
    ),
)

EXTRA = {
    row.name: row
    for row in (
        MetricRow("avg_prompt_throughput_toks_per_s", GAUGE, "Prompt tokens per second."),
        MetricRow("avg_generation_throughput_toks_per_s", GAUGE, "Generated tokens per second."),
        MetricRow("num_requests_swapped", GAUGE, "Requests whose KV cache was moved to the CPU."),
        MetricRow("cpu_cache_usage_perc", GAUGE, "Share of the CPU's KV cache that is in use."),
    )
}
"""Metrics of vLLM before 0.8, which AIBrix's mocked server has. Only those are shown that somebody sets."""

BY_NAME = {row.name: row for row in TABLE}


def token_bounds(longest: int) -> tuple[float, ...]:
    """Buckets of token counts: 1, 2, 5, 10, … that are not above the longest context."""
    bounds: list[float] = []
    scale = 1
    while True:
        for step in (1, 2, 5):
            if step * scale > longest:
                return tuple(bounds)
            bounds.append(float(step * scale))
        scale *= 10
