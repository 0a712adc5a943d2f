"""Values of metrics that are given and not measured: `--fake-metrics` of llm-d-inference-sim.

A number, or a function of time such as `ramp:0:100:60s`; numbers of observations per bucket; adapters at given times.
While they are there, nothing measured is shown. What is wrong in them is refused with a sentence, all or nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from replayproxy.simulator.metric_table import FIRST_TOKEN, REQUEST_TIME, TOKEN_GAP, token_bounds
from replayproxy.simulator.metrics import EngineState, Histogram, Series, adapter_labels, set_gauges

REASONS = ("stop", "length", "tool_calls", "remote_decode", "cache_threshold")
"""Reasons that `request-success-total` may name: those of llm-d-inference-sim. All are shown."""

_UNITS = {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "m": 60.0, "h": 3600.0}

_TIMES = {
    "ttft-buckets-values": ("time_to_first_token_seconds",),
    "tpot-buckets-values": ("time_per_output_token_seconds", "inter_token_latency_seconds"),
    "request-tpot-buckets-values": ("request_time_per_output_token_seconds",),
    "e2erl-buckets-values": ("e2e_request_latency_seconds",),
    "queue-time-buckets-values": ("request_queue_time_seconds",),
    "inf-time-buckets-values": ("request_inference_time_seconds",),
    "prefill-time-buckets-values": ("request_prefill_time_seconds",),
    "decode-time-buckets-values": ("request_decode_time_seconds",),
}
_TOKENS = {
    "request-prompt-tokens": "request_prompt_tokens",
    "request-generation-tokens": "request_generation_tokens",
    "request-params-max-tokens": "request_params_max_tokens",
    "request-max-generation-tokens": "request_max_num_generation_tokens",
}
_GAUGES = ("running-requests", "waiting-requests", "kv-cache-usage")
_TOTALS = {
    "total-prompt-tokens": "prompt_tokens",
    "total-generation-tokens": "generation_tokens",
    "prefix-cache-hits": "prefix_cache_hits",
    "prefix-cache-queries": "prefix_cache_queries",
}
_SPELLINGS = {"totalprompttokens": "total-prompt-tokens", "totalgenerationtokens": "total-generation-tokens"}
"""How two keys have to be written in a YAML file of llm-d-inference-sim."""

KEYS = (*_GAUGES, "loras", *_TIMES, *_TOKENS, "request-success-total", *_TOTALS)


class BadFakeMetrics(ValueError):
    """Fake metrics that make no sense. The message names the key, and says how to write it."""


@dataclass(frozen=True, slots=True)
class Wave:
    """A value over time, `period` in seconds. `oscillate`, `ramp`, `rampreset` or `squarewave`."""

    shape: str
    start: float
    end: float
    period: float

    def at(self, seconds: float) -> float:
        """The value so many seconds after the beginning."""
        turns = seconds / self.period
        match self.shape:
            case "oscillate":
                middle, amplitude = (self.start + self.end) / 2, (self.end - self.start) / 2
                return middle + amplitude * math.sin(2 * math.pi * turns)
            case "ramp":
                return self.start + (self.end - self.start) * min(1.0, turns)
            case "rampreset":
                return self.start + (self.end - self.start) * (turns % 1.0)
            case _:
                return self.start if turns % 1.0 < 0.5 else self.end


SHAPES = ("oscillate", "ramp", "rampreset", "squarewave")

Gauge = float | Wave


@dataclass(frozen=True, slots=True)
class FakeAdapters:
    """The adapters that run and wait at a time, in seconds since the Unix epoch."""

    running: str
    waiting: str
    timestamp: float


@dataclass(frozen=True, slots=True)
class FakeMetrics:
    """Given values. What is not given is not shown, save for the three gauges, which are 0."""

    gauges: Mapping[str, Gauge] = field(default_factory=dict)
    adapters: tuple[FakeAdapters, ...] = ()
    histograms: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """By name of the metric: observations per bucket."""
    totals: Mapping[str, float] = field(default_factory=dict)
    reasons: Mapping[str, int] | None = None

    def series(self, elapsed: float, *, max_model_len: int, max_loras: int, created: float = 0.0) -> Series:
        """The values so many seconds after they were given."""
        series = Series(created=created)
        running, waiting, usage = (_now(self.gauges.get(name, 0.0), elapsed) for name in _GAUGES)
        state = EngineState(running=int(running), waiting=int(waiting), cache_usage=usage)
        set_gauges(series, state)
        series.samples["lora_requests_info"] = [
            (adapter_labels(max_loras, one.running, one.waiting), one.timestamp) for one in self.adapters
        ]
        if not self.adapters:
            del series.samples["lora_requests_info"]
        for name, counts in self.histograms.items():
            series.set(name, _filled(_bounds(name, max_model_len), counts))
        for source, target in (
            ("request_prompt_tokens", "prompt_tokens"),
            ("request_generation_tokens", "generation_tokens"),
        ):
            if source in self.histograms:
                series.set(target, _filled(_bounds(source, max_model_len), self.histograms[source]).total)
        for name, value in self.totals.items():
            series.set(name, value)
            if name.startswith("prefix_cache"):
                series.set(f"gpu_{name}", value)
        if self.reasons is not None:
            for reason in REASONS:
                series.set("request_success", float(self.reasons.get(reason, 0)), (("finished_reason", reason),))
        return series

    @classmethod
    def read(cls, given: Any, max_model_len: int) -> FakeMetrics:
        """From JSON or YAML, parsed. Raises `BadFakeMetrics`."""
        if not isinstance(given, Mapping):
            raise BadFakeMetrics(
                'fake metrics are a JSON object such as {"running-requests": 10, "kv-cache-usage": 0.4}'
            )
        values = {_SPELLINGS.get(str(key), str(key)): value for key, value in given.items()}
        for key in values:
            if key not in KEYS:
                raise BadFakeMetrics(f"{key!r} is not a fake metric: use {', '.join(KEYS)}")
        gauges = {key: _gauge(key, values[key]) for key in _GAUGES if values.get(key) is not None}
        histograms: dict[str, tuple[int, ...]] = {}
        for key, names in (*_TIMES.items(), *((key, (name,)) for key, name in _TOKENS.items())):
            if values.get(key) is not None:
                counts = _counts(key, values[key])
                for name in names:
                    most = len(_bounds(name, max_model_len)) + 1
                    if len(counts) > most:
                        raise BadFakeMetrics(
                            f"{key} has {len(counts)} buckets, and vLLM's metric has {most}: leave some away"
                        )
                    histograms[name] = counts
        totals = {name: _number(key, values[key]) for key, name in _TOTALS.items() if values.get(key) is not None}
        hits, queries = totals.get("prefix_cache_hits"), totals.get("prefix_cache_queries")
        if (hits is None) != (queries is None) or (hits is not None and queries is not None and hits > queries):
            raise BadFakeMetrics(
                "prefix-cache-hits and prefix-cache-queries go together, and hits are not more than queries"
            )
        adapters = tuple(_adapters(one) for one in _list("loras", values.get("loras") or []))
        return cls(gauges, adapters, histograms, totals, _reasons(values.get("request-success-total")))


# Values


def _gauge(key: str, value: Any) -> Gauge:
    if isinstance(value, str):
        found = re.fullmatch(r"([a-z]+):([0-9.]+):([0-9.]+):([0-9.]+)([a-z]*)", value.strip())
        if found is None or found[1] not in SHAPES or found[5] not in _UNITS:
            raise BadFakeMetrics(
                f"{key} {value!r} is not a number and not a function: write {SHAPES[0]}:START:END:PERIOD, such as"
                f" {SHAPES[1]}:0:100:60s; functions are {', '.join(SHAPES)}"
            )
        start, end, period = (_number(key, text) for text in found.group(2, 3, 4))
        wave = Wave(found[1], start, end, period * _UNITS[found[5]])
        if wave.period <= 0:
            raise BadFakeMetrics(f"{key} {value!r}: the period is not above 0")
        _check_share(key, start, end)
        return wave
    number = _number(key, value)
    _check_share(key, number)
    return number


def _check_share(key: str, *numbers: float) -> None:
    if key == "kv-cache-usage" and max(numbers) > 1:
        raise BadFakeMetrics(f"{key} is a share from 0 to 1, not {max(numbers):g}")


def _number(key: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not 0 <= number < math.inf:
        raise BadFakeMetrics(f"{key} {value!r} is not a number of 0 or more")
    return number


def _list(key: str, value: Any) -> Sequence[Any]:
    if not isinstance(value, list):
        raise BadFakeMetrics(f"{key} is a list, not {value!r}")
    return value


def _counts(key: str, value: Any) -> tuple[int, ...]:
    counts = [_number(key, count) for count in _list(key, value)]
    if any(count != int(count) for count in counts):
        raise BadFakeMetrics(f"{key} counts observations per bucket: give whole numbers")
    return tuple(int(count) for count in counts)


def _adapters(value: Any) -> FakeAdapters:
    if not isinstance(value, Mapping):
        raise BadFakeMetrics(
            f'loras has objects such as {{"running": "a,b", "waiting": "c", "timestamp": 1257894567}}, not {value!r}'
        )
    return FakeAdapters(
        str(value.get("running", "")),
        str(value.get("waiting", "")),
        _number("loras: timestamp", value.get("timestamp", 0)),
    )


def _reasons(value: Any) -> Mapping[str, int] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping) or not set(value) <= set(REASONS):
        raise BadFakeMetrics(f"request-success-total has a number for some of {', '.join(REASONS)}")
    return {str(reason): int(_number("request-success-total", number)) for reason, number in value.items()}


def _now(gauge: Gauge, elapsed: float) -> float:
    return gauge.at(elapsed) if isinstance(gauge, Wave) else gauge


def _bounds(name: str, max_model_len: int) -> tuple[float, ...]:
    if name in _TOKENS.values():
        return token_bounds(max_model_len)
    if name == "time_to_first_token_seconds":
        return FIRST_TOKEN
    return TOKEN_GAP if "output_token" in name or "inter_token" in name else REQUEST_TIME


def _filled(bounds: tuple[float, ...], counts: tuple[int, ...]) -> Histogram:
    """Each observation of a bucket has the value of its bound; above the last one, one more than that."""
    histogram = Histogram(bounds)
    values = (*bounds, (bounds[-1] if bounds else 0.0) + 1)
    for value, count in zip(values, counts, strict=False):
        histogram.observe(value, count)
    return histogram
