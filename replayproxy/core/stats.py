"""What people measure of a streamed answer, with the definitions of vLLM's own benchmark.

TTFT is the time of the first event with content; a chunk gap is the time between chunks (a chunk is not a token);
TPOT = (end - TTFT) / (output tokens - 1). Times are nanoseconds here; printing gives them units.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from replayproxy.core.dialects.facts import Facts
    from replayproxy.model import Exchange

DEFINITIONS = {
    "TTFT": "time of the first event with content, since the request was complete",
    "Chunk gap": "time between a chunk and the one before it; a chunk is not a token",
    "TPOT": "(end - TTFT) / (output tokens - 1), as in vLLM's benchmark",
    "Total": "time of the end of the answer, since the request was complete",
    "percentiles": "linear interpolation, as numpy's default",
}


@dataclass(frozen=True, slots=True)
class Measure:
    """One answer, measured. `ttft` and `tpot` are None where the answer has no content events or no token count."""

    ttft: int | None
    tpot: float | None
    total: int
    gaps: tuple[int, ...]


def tpot(ttft: int | None, total: int, completion_tokens: int | None) -> float | None:
    """Time per output token after the first, in ns."""
    if ttft is None or completion_tokens is None or completion_tokens < 2:
        return None
    return (total - ttft) / (completion_tokens - 1)


def measure(exchange: Exchange, facts: Facts | None = None) -> Measure:
    """Measure one exchange."""
    from replayproxy.core.dialects.facts import facts_of  # lists need percentiles alone

    facts = facts or facts_of(exchange.request, exchange.response)
    timeline = exchange.response.timeline
    return Measure(
        ttft=facts.first_content,
        tpot=tpot(facts.first_content, timeline.end, facts.completion_tokens),
        total=timeline.end,
        gaps=tuple(timeline.gaps()),
    )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Linear interpolation between the closest ranks, as numpy's default. `ordered` is sorted and not empty."""
    rank = (len(ordered) - 1) * percent / 100
    low = math.floor(rank)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (rank - low)


@dataclass(frozen=True, slots=True)
class Summary:
    """Many values in one row. `std` is the population's."""

    n: int
    mean: float
    min: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float
    std: float


def summarise(values: Iterable[float]) -> Summary | None:
    """One row for many values; None for none."""
    ordered = sorted(values)
    if not ordered:
        return None
    mean = math.fsum(ordered) / len(ordered)
    return Summary(
        n=len(ordered),
        mean=mean,
        min=ordered[0],
        p50=percentile(ordered, 50),
        p90=percentile(ordered, 90),
        p95=percentile(ordered, 95),
        p99=percentile(ordered, 99),
        max=ordered[-1],
        std=math.sqrt(math.fsum((value - mean) ** 2 for value in ordered) / len(ordered)),
    )
