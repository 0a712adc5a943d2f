"""Values that replace measured ones: `POST /set_metrics` of AIBrix's mocked vLLM, and totals shared among replicas.

    total ÷ replicas ──▶ request_success, avg_prompt_throughput, avg_generation_throughput      while there are replicas
    {"running": 7} ────▶ num_requests_running, over what the engine says                         until it is set anew

Keys are AIBrix's short names, and the names of metrics. The first group is shown only where replicas are given, or one
of its values is set: a vLLM of today has no average throughput.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from replayproxy.simulator.metric_table import BY_NAME, COUNTER, EXTRA, GAUGE
from replayproxy.simulator.metrics import Labels, Series

TOTAL = 100.0
"""What is divided by the number of replicas, as in AIBrix."""

_STOPPED: Labels = (("finished_reason", "stop"),)

SHORT_NAMES: Mapping[str, tuple[str, ...]] = {
    "success_total": ("request_success",),
    "avg_prompt_throughput": ("avg_prompt_throughput_toks_per_s",),
    "avg_generation_throughput": ("avg_generation_throughput_toks_per_s",),
    "prompt_tokens_total": ("prompt_tokens",),
    "generation_tokens_total": ("generation_tokens",),
    "running": ("num_requests_running",),
    "waiting": ("num_requests_waiting",),
    "swapped": ("num_requests_swapped",),
    "gpu_cache_usage_perc": ("gpu_cache_usage_perc", "kv_cache_usage_perc"),
    "kv_cache_usage_perc": ("kv_cache_usage_perc",),
    "cpu_cache_usage_perc": ("cpu_cache_usage_perc",),
}
"""AIBrix's keys, and the metrics that they set. A later row wins: `kv_cache_usage_perc` has its own value."""

SHARED = ("success_total", "avg_prompt_throughput", "avg_generation_throughput")
"""Keys whose value is the total divided by the replicas, unless they are set."""

_OTHER_KEYS = ("total", "replicas", "model_name", "server_load", "cpu_running")


class BadOverride(ValueError):
    """An override that makes no sense. The message names the key."""


@dataclass(slots=True)
class MetricOverrides:
    """What has been set so far. `replicas` None: nothing is shared."""

    replicas: int | None = None
    values: dict[str, float] = field(default_factory=dict)
    model: str | None = None
    """The name of the model in metrics."""

    def update(self, given: Any) -> None:
        """Add values to those that are set; null takes one back. Raises `BadOverride`, and then changes nothing."""
        if not isinstance(given, Mapping) or not given:
            raise BadOverride("No data provided")
        values, model, replicas = dict(self.values), self.model, self.replicas
        for key, value in given.items():
            name = str(key).removeprefix("vllm:")
            if name == "model_name":
                model = None if value is None else str(value)[:200]
            elif name == "replicas":
                replicas = None if value is None else _replicas(value)
            elif name not in SHORT_NAMES and name not in _OTHER_KEYS and _metric(name) is None:
                raise BadOverride(
                    f"{key!r} cannot be set: use {', '.join((*SHORT_NAMES, *_OTHER_KEYS))}, or the name of a metric"
                )
            elif value is None:
                values.pop(name, None)
            else:
                values[name] = _value(name, value)
        self.values, self.model, self.replicas = values, model, replicas

    def apply(self, series: Series) -> None:
        """Put the values into those of a scrape."""
        if self.replicas is not None:
            share = self.values.get("total", TOTAL) / self.replicas
            for key in SHARED:
                _put(series, key, share)
        for key in (*SHORT_NAMES, *(name for name in self.values if name not in SHORT_NAMES)):
            if key in self.values and key not in _OTHER_KEYS:
                _put(series, key, self.values[key])

    @property
    def server_load(self) -> float | None:
        """What `/load` answers, if it is set."""
        return self.values.get("server_load")


def _put(series: Series, key: str, value: float) -> None:
    for name in SHORT_NAMES.get(key) or (_metric(key) or key,):
        series.shown.add(name)
        if name == "request_success":
            # One value for a metric that has several: the others would add to it.
            series.samples[name] = [(_STOPPED, value)]
        else:
            series.samples[name] = [((), value)]


def _metric(name: str) -> str | None:
    """The metric of a name with or without `_total`. None: there is none that has one value."""
    for candidate in (name, name.removesuffix("_total")):
        row = BY_NAME.get(candidate) or EXTRA.get(candidate)
        if row is not None and row.kind in (GAUGE, COUNTER) and (row.label is None or candidate == "request_success"):
            return None if row.bare else candidate
    return None


def _value(key: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not 0 <= number < math.inf:
        raise BadOverride(f"{key} {value!r} is not a number of 0 or more")
    return number


def _replicas(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BadOverride(f"replicas {value!r} is not a whole number of 1 or more")
    return value
