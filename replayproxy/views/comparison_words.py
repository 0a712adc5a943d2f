"""The words of a comparison that terminal, HTML, JUnit and Markdown share: names of times, a difference in one line."""

from __future__ import annotations

from replayproxy.core.comparison.agreement_level import AgreementLevel, AnswerDifference
from replayproxy.core.comparison.statistic import Estimate
from replayproxy.views.comparison import ComparedPair
from replayproxy.views.units import NOTHING

NAMES = {
    "ttft": "TTFT",
    "gap": "Chunk gap",
    "max_gap": "Longest gap",
    "itl": "ITL",
    "tpot": "TPOT",
    "total": "Total",
}

LEVELS = {
    AgreementLevel.BYTES: "same bytes and chunks",
    AgreementLevel.FRAMES: "same bytes, other chunks",
    AgreementLevel.CANONICAL: "same but for ids and dates",
    AgreementLevel.TEXT: "same text, other events",
    AgreementLevel.STRUCTURE: "other text, same structure",
    AgreementLevel.NONE: "other structure",
}

KINDS = {
    "status": "status or ending",
    "text": "text",
    "finish": "finish reason",
    "tools": "tool calls",
    "usage": "token counts",
    "shape": "frame shape",
}

EXPLAINED = {
    "TTFT": "time of the first event with content, since the request was complete",
    "Chunk gap": "mean time between the chunks of one answer; a chunk is not a token",
    "Longest gap": "the longest time between two chunks of one answer",
    "ITL": "(last content - first content) / (output tokens - 1), where the server states its output tokens",
    "TPOT": "(end - TTFT) / (output tokens - 1), as in vLLM's benchmark",
    "Total": "time of the end of the answer, since the request was complete",
    "per request": "`ratio` in gates: median over all pairs of second / first: what one request takes more or less",
    "p50, p95, p99": "that percentile of the second run / that of the first",
    "in brackets": "bootstrap over pairs, 1000 resamples with a fixed seed: the ratio lies in it with 95 % confidence",
    "pairs": "answers that are complete on both sides; only these are measured",
}


def pair_name(pair: ComparedPair) -> str:
    """Which answers: `3e91a0b2 POST /v1/chat/completions`."""
    ids = pair.first.id if pair.first.id == pair.second.id else f"{pair.first.id} and {pair.second.id}"
    return f"{ids} {pair.first.name}"


def difference_line(difference: AnswerDifference) -> str:
    """One difference in one line, with its place."""
    place = difference.place
    if place is None:
        return f"{difference.what}: {_quoted(difference.first)}, then {_quoted(difference.second)}"
    where = [f"character {place.character}"]
    if place.token is not None:
        where = [f"token {place.token}", *where, f"chunk {place.chunk}"]
    return (
        f"{place.path} at {', '.join(where)}: after {_quoted(place.before)}"
        f" {_quoted(place.first)}, then {_quoted(place.second)}"
    )


def _quoted(text: str) -> str:
    return repr(text) if text else "nothing"


def ratio_words(estimate: Estimate) -> str:
    """A ratio as a change with its interval: `+3.1 % (+1.2 to +5.0 %)`."""
    value = change_words(estimate)
    if estimate.ratio is None or estimate.low is None or estimate.high is None:
        return value
    return f"{value} ({100 * (estimate.low - 1):+.1f} to {100 * (estimate.high - 1):+.1f} %)"


def change_words(estimate: Estimate | None) -> str:
    """A ratio as a change: `+3.1 %`."""
    if estimate is None or estimate.ratio is None:
        return NOTHING
    return f"{100 * (estimate.ratio - 1):+.1f} %"
