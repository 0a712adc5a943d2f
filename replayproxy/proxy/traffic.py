"""Count answers by endpoint, model and status, and how long they took: what dashboards ask for.

    AnswerMeter (one answer) ──▶ Traffic.observe, when it has ended ──▶ admin/metrics, at each scrape

Labels come from traffic and are bounded: known endpoints, at most `MOST_MODELS` models, three-digit status codes. What
does not fit is counted as `other`, so that no client can fill the memory of Prometheus. Bucket edges are vLLM's
(vllm/v1/metrics/loggers.py), so that a panel shows both sides of the proxy.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence

from replayproxy.core.incidents import AnswerFacts, IncidentCondition
from replayproxy.core.visible import visible
from replayproxy.errors import UpstreamError
from replayproxy.model import Ending
from replayproxy.proxy.answer_meter import GAP_BOUNDS, AnswerMeter, Labels
from replayproxy.views.access import Outcome

TTFT_BOUNDS = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
    *(160.0, 640.0, 2560.0),
)
"""Seconds: `vllm:time_to_first_token_seconds`."""

TOTAL_BOUNDS = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0),
    *(1920.0, 7680.0),
)
"""Seconds: `vllm:e2e_request_latency_seconds`."""

MOST_MODELS = 64
LONGEST_MODEL = 128
"""Characters of a model's name."""

OTHER = "other"

ENDPOINTS = frozenset(
    {
        *("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/v1/messages/count_tokens"),
        *("/v1/embeddings", "/v1/rerank", "/v2/rerank", "/rerank", "/v1/score", "/score", "/pooling", "/classify"),
        *("/v1/models", "/tokenize", "/detokenize", "/v1/audio/transcriptions", "/v1/audio/translations"),
        *("/v1/audio/speech", "/v1/images/generations", "/invocations", "/generate", "/inference/v1/generate"),
        *("/health", "/ping", "/load", "/metrics", "/version", "/server_info"),
        *("/v1/load_lora_adapter", "/v1/unload_lora_adapter"),
    }
)
"""Paths that are labels as they are."""

MOUNTED = ("/chat/completions", "/completions", "/responses", "/messages", "/embeddings")
"""Ends of paths that gateways mount elsewhere: `/openai/deployments/gpt/chat/completions` is `*/chat/completions`."""

CAUSES = {
    "upstream_unreachable": "unreachable",
    "upstream_timeout": "timeout",
    "upstream_garbled": "garbled",
}
"""Why there was no answer, by the code of the error; any other code is `other`."""

CUT, STALLED, STATUS_5XX = "cut", "stalled", "status_5xx"


class LatencyHistogram:
    """Durations by bucket. `counts` has one more than `bounds`: what is above all of them."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds

    def add(self, counts: Sequence[int], total: float) -> None:
        """Add what was counted under the same bounds."""
        self.counts = [old + new for old, new in zip(self.counts, counts, strict=True)]
        self.sum += total


class Traffic:
    """The answers of one process. Used in the event loop alone."""

    def __init__(self) -> None:
        self.answers: Counter[Labels] = Counter()
        self.ttft: dict[str, LatencyHistogram] = {}
        """By model, as the two below."""
        self.gaps: dict[str, LatencyHistogram] = {}
        self.totals: dict[str, LatencyHistogram] = {}
        self.upstream_errors: Counter[str] = Counter()
        self.request_bytes = 0
        """Of bodies, as the two ends sent them; so is the next."""
        self.response_bytes = 0
        self._models: set[str] = set()
        self.conditions: Sequence[IncidentCondition] = ()
        """What makes an answer an incident."""
        self.on_incident: Callable[[str], object] | None = None
        """Called with the condition that an answer has met, and the answer in a few words."""
        self.reset()

    def reset(self) -> None:
        """Count from 0. Every cause of an upstream error has a series from the start: a rate needs its first 0."""
        self.answers.clear()
        for histograms in (self.ttft, self.gaps, self.totals):
            histograms.clear()
        self.upstream_errors = Counter(dict.fromkeys((*CAUSES.values(), CUT, STALLED, STATUS_5XX, OTHER), 0))
        self.request_bytes = self.response_bytes = 0

    def count(self, meter: AnswerMeter) -> None:
        """Count an answer that has ended."""
        code = meter.status or (meter.error.status if meter.error is not None else 0)
        model = self._label_of(meter.model, code)
        status = str(code) if 100 <= code <= 599 else OTHER
        meter.labels = labels = (str(meter.outcome), endpoint_of(meter.path), model, status)
        self.answers[labels] += 1
        self.request_bytes += meter.request_bytes
        self.response_bytes += meter.response_bytes
        if meter.outcome in (Outcome.RECORDED, Outcome.FORWARDED, Outcome.FAILED) and (cause := _cause(meter)):
            self.upstream_errors[cause] += 1
        if self.conditions and meter.outcome in (Outcome.RECORDED, Outcome.FAILED):
            self._look_for_incident(meter, code, labels[1])
        if meter.status == 0 or meter.status >= 400:
            return  # a refusal takes no time: it would make a server that is overloaded look fast
        if meter.ending is Ending.COMPLETE:
            self._of(self.totals, model, TOTAL_BOUNDS).observe(meter.total_ns / 1e9)
        if meter.ttft_ns is not None:
            self._of(self.ttft, model, TTFT_BOUNDS).observe(meter.ttft_ns / 1e9)
        gaps, total = meter.gaps()
        if any(gaps):
            self._of(self.gaps, model, GAP_BOUNDS).add(gaps, total / 1e9)

    def _look_for_incident(self, meter: AnswerMeter, status: int, endpoint: str) -> None:
        """Say so if an answer meets a condition; the first one counts."""
        meter.gaps()
        facts = AnswerFacts(
            status,
            ttft=meter.ttft_ns,
            gap=meter.longest_gap_ns,
            total=meter.total_ns or None,
            cut=meter.error is not None or meter.ending in (Ending.UPSTREAM_CUT, Ending.TIMEOUT),
        )
        for condition in self.conditions:
            if self.on_incident is not None and condition.is_met_by(facts):
                self.on_incident(f"{condition.text}: {status} at {endpoint}")
                return

    def settle(self, meter: AnswerMeter, outcome: Outcome, error: UpstreamError | None) -> None:
        """Say what became of a request in the end. `error` is why it has no answer.

        An answer that is counted already had the outcome that was planned; a recording may have been damaged.
        """
        if meter.labels is None:
            meter.outcome, meter.error = outcome, error
            meter.finish()
        elif outcome is not meter.outcome:
            self.answers[meter.labels] -= 1
            self.answers[str(outcome), *meter.labels[1:]] += 1

    def _of(self, histograms: dict[str, LatencyHistogram], model: str, bounds: Sequence[float]) -> LatencyHistogram:
        if model not in histograms:
            histograms[model] = LatencyHistogram(bounds)
        return histograms[model]

    def _label_of(self, model: str, status: int) -> str:
        """A model as a label. Only an answer that is no error may bring a new one: anybody can ask for any name."""
        model = visible(model[:LONGEST_MODEL])
        if model in self._models or not model:
            return model
        if status >= 400 or len(self._models) >= MOST_MODELS:
            return OTHER
        self._models.add(model)
        return model


def _cause(meter: AnswerMeter) -> str | None:
    """What went wrong with the server; None if nothing did."""
    if meter.error is not None:
        return CAUSES.get(meter.error.code, OTHER)
    if meter.ending is Ending.UPSTREAM_CUT:
        return CUT
    if meter.ending is Ending.TIMEOUT:
        return STALLED
    return STATUS_5XX if meter.status >= 500 else None


def endpoint_of(path: str) -> str:
    """A path as a label, without what names one of many things."""
    if path in ENDPOINTS:
        return path
    for prefix in ("/v1/models/", "/v1/responses/"):
        if path.startswith(prefix):
            return f"{prefix}*"
    return next((f"*{end}" for end in MOUNTED if path.endswith(end)), OTHER)
