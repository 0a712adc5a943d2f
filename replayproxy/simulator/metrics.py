"""What the simulated server has done, counted as vLLM counts it. Measured from the engine's events, never configured.

    engine ──▶ Metrics: counters, histograms          state of the engine now ──▶ gauges
                     └────────────────────── series() ────────┘──▶ metrics_page

Gauges are read when somebody scrapes, so they go down with the load as they went up. Times are seconds as floats;
knows no clock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from replayproxy.simulator.metric_table import BY_NAME, COUNTER, HISTOGRAM, REASONS, TABLE, TOKENS, token_bounds

MOST_ADAPTER_SETS = 200
"""Combinations of running and waiting adapters that are shown, newest last. vLLM shows all that there ever were."""

Labels = tuple[tuple[str, str], ...]
"""Labels besides `model_name` and `engine`."""


class Histogram:
    """Observations by bucket. `counts` has one more than `bounds`: those above the last bound."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value: a bucket holds those up to its bound, this included (Prometheus, "le")."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    @property
    def count(self) -> int:
        """All observations."""
        return sum(self.counts)


Sample = tuple[Labels, float | Histogram]


@dataclass(slots=True)
class Series:
    """The values of all metrics at one moment, by name as in `metric_table`. What is not there is not shown."""

    samples: dict[str, list[Sample]] = field(default_factory=dict)
    created: float = 0.0
    """When counting began, in seconds since the Unix epoch."""
    shown: set[str] = field(default_factory=set)
    """Names that are shown whether the generation of vLLM has them or not: somebody has set their values."""

    def set(self, name: str, value: float | Histogram, labels: Labels = ()) -> None:
        """Set one value."""
        samples = self.samples.setdefault(name, [])
        samples[:] = [sample for sample in samples if sample[0] != labels]
        samples.append((labels, value))


@dataclass(frozen=True, slots=True)
class EngineState:
    """What a scrape reads of the engine."""

    running: int = 0
    waiting: int = 0
    deferred: int = 0
    """Of those that wait, how many wait for an adapter slot."""
    cache_usage: float = 0.0
    sleep_level: int = 0


@dataclass(frozen=True, slots=True)
class FinishedRequest:
    """A choice of a request that is complete. Times in seconds, from one moment to another as the metrics have them."""

    reason: str
    prompt_tokens: int
    generated: int
    end_to_end: float
    queue: float
    prefill: float
    decode: float
    cached_tokens: int = 0
    max_tokens: int | None = None


class Metrics:
    """Counters and histograms of one engine.

    `max_loras` None: the server has no adapters, and no metric about them.
    """

    def __init__(
        self,
        *,
        max_model_len: int,
        max_loras: int | None = None,
        cache_config: Labels = (),
        created: float = 0.0,
    ) -> None:
        self._counters: dict[str, dict[Labels, float]] = {}
        self._histograms: dict[str, Histogram] = {}
        longest = token_bounds(max_model_len)
        for row in TABLE:
            if row.kind == COUNTER:
                values: tuple[Labels, ...] = tuple(((row.label or "", value),) for value in row.values) or ((),)
                self._counters[row.name] = dict.fromkeys(values, 0.0)
            elif row.kind == HISTOGRAM:
                self._histograms[row.name] = Histogram(longest if row.bounds is TOKENS else row.bounds)
        self._cache_config = cache_config
        self._max_loras = max_loras
        self._adapter_sets: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._created = created
        self._iteration_at: int | None = None
        self._iteration_tokens = 0

    # What the engine reports

    def started(
        self, prompt_tokens: int, cached_tokens: int, *, is_remote: bool = False, looks_up: bool = True
    ) -> None:
        """A request begins to run. `is_remote`: its KV cache comes from a prefill server."""
        if looks_up:
            for name in ("prefix_cache_queries", "gpu_prefix_cache_queries"):
                self._add(name, prompt_tokens)
            for name in ("prefix_cache_hits", "gpu_prefix_cache_hits"):
                self._add(name, cached_tokens)
            self._add("prompt_tokens_cached_by_source", cached_tokens, (("source", "device"),))
        if is_remote:
            remote = prompt_tokens - cached_tokens
            self._add("external_prefix_cache_queries", remote)
            self._add("external_prefix_cache_hits", remote)
            self._add("prompt_tokens_cached_by_source", remote, (("source", "p2p"),))

    def first_token(self, seconds: float, at: int, prompt_tokens: int, cached: int, *, is_remote: bool = False) -> None:
        """A prefill is over, `seconds` after the request came; `at` tells moments apart."""
        self._histograms["time_to_first_token_seconds"].observe(seconds)
        self._add("prompt_tokens", prompt_tokens)
        rest = prompt_tokens - cached
        self._add("prompt_tokens_by_source", cached, (("source", "local_cache_hit"),))
        self._add(
            "prompt_tokens_by_source", rest, (("source", "external_kv_transfer" if is_remote else "local_compute"),)
        )
        self._add("prompt_tokens_cached", prompt_tokens if is_remote else cached)
        self._add("generation_tokens", 1)
        self._iterate(at, 1 if is_remote else 1 + rest)

    def next_token(self, gap: float, at: int) -> None:
        """One more token, `gap` seconds after the one before it."""
        self._histograms["inter_token_latency_seconds"].observe(gap)
        self._histograms["time_per_output_token_seconds"].observe(gap)
        self._add("generation_tokens", 1)
        self._iterate(at, 1)

    def finished(self, request: FinishedRequest) -> None:
        """A choice is complete. vLLM counts each as a request of its own."""
        reason = request.reason if request.reason in REASONS else "stop"  # a tool call ends with a stop token
        self._add("request_success", 1, (("finished_reason", reason),))
        observations = {
            "e2e_request_latency_seconds": request.end_to_end,
            "request_queue_time_seconds": request.queue,
            "request_prefill_time_seconds": request.prefill,
            "request_decode_time_seconds": request.decode,
            "request_inference_time_seconds": request.prefill + request.decode,
            "request_prompt_tokens": request.prompt_tokens,
            "request_generation_tokens": request.generated,
            "request_num_preemptions": 0,
            "request_prefill_kv_computed_tokens": request.prompt_tokens - request.cached_tokens,
            # vLLM observes 0 for a single token.
            "request_time_per_output_token_seconds": request.decode / max(1, request.generated - 1),
        }
        for name, value in observations.items():
            self._histograms[name].observe(value)
        if request.max_tokens is not None:
            self._histograms["request_params_max_tokens"].observe(request.max_tokens)

    def ended(self, choices: int, most_generated: int) -> None:
        """All choices of a request have ended; the longest has so many tokens."""
        self._histograms["request_params_n"].observe(choices)
        self._histograms["request_max_num_generation_tokens"].observe(most_generated)

    def aborted(self) -> None:
        """The client of a request has left."""
        self._add("request_success", 1, (("finished_reason", "abort"),))

    def rejected(self) -> None:
        """The waiting queue was full."""
        self._add("admission_rejections", 1, (("reason", "max_num_queued_reqs"),))

    def adapters(self, running: Iterable[str], waiting: Iterable[str], today: float) -> None:
        """The adapters of running and waiting requests have changed. `today` in seconds since the Unix epoch."""
        if self._max_loras is None:
            return
        names = (",".join(dict.fromkeys(running)), ",".join(dict.fromkeys(waiting)))
        self._adapter_sets.pop(names, None)
        self._adapter_sets[names] = today
        if len(self._adapter_sets) > MOST_ADAPTER_SETS:
            self._adapter_sets.popitem(last=False)

    def _add(self, name: str, number: float, labels: Labels = ()) -> None:
        self._counters[name][labels] += number

    def _iterate(self, at: int, tokens: int) -> None:
        if at != self._iteration_at:
            self._end_iteration()
            self._iteration_at = at
        self._iteration_tokens += tokens

    def _end_iteration(self) -> None:
        if self._iteration_tokens:
            self._histograms["iteration_tokens_total"].observe(self._iteration_tokens)
        self._iteration_tokens = 0

    # What a scrape reads

    def series(self, state: EngineState) -> Series:
        """All values, of all generations of vLLM: the page chooses."""
        self._end_iteration()
        series = Series(created=self._created)
        for name, values in self._counters.items():
            series.samples[name] = list(values.items())
        for name, histogram in self._histograms.items():
            series.samples[name] = [((), histogram)]
        set_gauges(series, state)
        series.set("cache_config_info", 1.0, self._cache_config)
        if self._max_loras is not None:
            series.samples["lora_requests_info"] = [
                (adapter_labels(self._max_loras, running, waiting), at)
                for (running, waiting), at in self._adapter_sets.items()
            ]
        return series


def adapter_labels(max_loras: int, running: str, waiting: str) -> Labels:
    """The labels of `lora_requests_info`; names are separated by commas."""
    return (("max_lora", str(max_loras)), ("running_lora_adapters", running), ("waiting_lora_adapters", waiting))


def set_gauges(series: Series, state: EngineState) -> None:
    """The gauges of a state."""
    series.set("num_requests_running", state.running)
    series.set("num_requests_waiting", state.waiting)
    series.set("num_requests_waiting_by_reason", state.waiting - state.deferred, (("reason", "capacity"),))
    series.set("num_requests_waiting_by_reason", state.deferred, (("reason", "deferred"),))
    for level, name in enumerate(BY_NAME["engine_sleep_state"].values):
        series.set("engine_sleep_state", float(state.sleep_level == level), (("sleep_state", name),))
    for name in ("kv_cache_usage_perc", "gpu_cache_usage_perc"):
        series.set(name, state.cache_usage)
