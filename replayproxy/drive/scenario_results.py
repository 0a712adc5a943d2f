"""What a scenario found: first-token latency and tokens per second per user, text quality, cache hits, stalls. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from replayproxy.core.dialects.facts import text_of
from replayproxy.core.stats import percentile
from replayproxy.drive.results import Outcome, RequestResult
from replayproxy.model import Response

STALL = 5.0
"""Times the median gap of a stream from which on a gap is a stall."""

BLOCK = 16
"""Tokens of a block of vLLM's prefix cache."""


@dataclass(frozen=True, slots=True)
class UserResult:
    """One request of a phase. `tps`: (output tokens - 1) / (last content - first content). Times in seconds."""

    name: str
    is_ok: bool
    ftl: float | None
    tps: float | None
    total: float | None
    prompt_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    text: str
    quality: tuple[str, ...]
    """What is wrong with the text; empty: nothing that this cheap check sees."""
    begin: float = 0.0
    """When it was sent, in seconds since the start of the phase."""
    longest_gap: float | None = None
    stalls: tuple[float, ...] = ()
    """When a gap of STALL times the median began, in seconds since the start of the phase."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PhaseResult:
    """All requests of a phase. `wall`: seconds from the first request to the last end. `started_at`: wall time, ns."""

    name: str
    users: tuple[UserResult, ...]
    wall: float
    started_at: int = 0

    @property
    def is_ok(self) -> bool:
        """Whether every request was answered well."""
        return all(user.is_ok for user in self.users)

    @property
    def ftl(self) -> float | None:
        """The median first-token latency, in seconds."""
        return _median([user.ftl for user in self.users if user.ftl is not None])

    @property
    def tps(self) -> float | None:
        """The median of the users' tokens per second."""
        return _median([user.tps for user in self.users if user.tps is not None])

    @property
    def total_tps(self) -> float | None:
        """Output tokens of all users per second of the phase."""
        tokens = sum(user.output_tokens or 0 for user in self.users)
        return tokens / self.wall if self.wall and tokens else None


@dataclass(frozen=True, slots=True)
class CacheHits:
    """Shares of prompt tokens that came from the prefix cache; None: the server does not say."""

    by_usage: float | None
    by_metrics: float | None
    theoretical: float | None


def phase_result(
    name: str, names: Sequence[str], results: Sequence[RequestResult], responses: Sequence[Response | None], at: int
) -> PhaseResult:
    """Measure one phase."""
    users = tuple(
        _user(user, result, response) for user, result, response in zip(names, results, responses, strict=True)
    )
    ends = [result.sent + result.answer.end for result in results if result.sent is not None and result.answer.end]
    begins = [result.sent for result in results if result.sent is not None]
    return PhaseResult(name, users, (max(ends) - min(begins)) / 1e9 if ends and begins else 0.0, at)


def _user(name: str, result: RequestResult, response: Response | None) -> UserResult:
    answer = result.answer
    text = text_of(response) if response is not None and response.status < 400 else ""
    begin = (result.sent or 0) / 1e9
    tpot = answer.tpot
    return UserResult(
        name=name,
        is_ok=result.outcome is Outcome.OK,
        ftl=_seconds(answer.first_content),
        tps=1e9 / tpot if tpot else None,
        total=_seconds(answer.end),
        prompt_tokens=answer.prompt_tokens,
        output_tokens=answer.output_tokens,
        cached_tokens=answer.cached_tokens,
        text=text,
        quality=quality_of(text),
        begin=begin,
        longest_gap=_seconds(answer.max_gap),
        stalls=tuple(begin + at for at in stalls_of(response)),
        reason=result.reason,
    )


def _seconds(ns: int | None) -> float | None:
    return None if ns is None else ns / 1e9


def _median(values: Sequence[float]) -> float | None:
    return percentile(sorted(values), 50) if values else None


def stalls_of(response: Response | None) -> list[float]:
    """When gaps of STALL times the median gap began, in seconds since the request was sent."""
    times = response.timeline.chunks if response is not None else ()
    gaps = [(after - before, before) for before, after in pairwise(times)]
    if len(gaps) < 4:
        return []
    usual = percentile(sorted(gap for gap, _ in gaps), 50)
    return [begin / 1e9 for gap, begin in gaps if usual and gap > STALL * usual]


def stalled_by(users: Sequence[UserResult]) -> list[tuple[str, str]]:
    """Which stream stalled while which other request was prefilled: pairs of names."""
    found = []
    for user in users:
        for other in users:
            if other is user or other.ftl is None or user.longest_gap is None:
                continue
            first = other.begin + other.ftl
            if any(other.begin <= at < first or at <= other.begin < at + user.longest_gap for at in user.stalls):
                found.append((user.name, other.name))
    return found


def quality_of(text: str) -> tuple[str, ...]:
    """What is wrong with a text, by a cheap check: empty, replacement characters, repetition, control characters."""
    if not text.strip():
        return ("empty",)
    found = []
    if "\N{REPLACEMENT CHARACTER}" in text:
        found.append("replacement characters")
    if any(ord(character) < 32 and character not in "\n\r\t" for character in text):
        found.append("control characters")
    words = text.split()
    threes = Counter(zip(words, words[1:], words[2:], strict=False))
    if len(words) >= 20 and sum(threes.values()) - len(threes) > 0.5 * sum(threes.values()):
        found.append("repetition")
    return tuple(found)


# The prefix cache


def hits_of(
    users: Sequence[UserResult], before: str | None, after: str | None, prompts: Sequence[Sequence[int]]
) -> CacheHits:
    """Hit rates: by usage, by the change of vLLM's counters, and what sharing of whole blocks allows.

    `before` and `after` are pages of `/metrics`; `prompts` the token ids of the prompts in their order.
    """
    cached = [user for user in users if user.cached_tokens is not None and user.prompt_tokens]
    by_usage = None
    if cached:
        by_usage = sum(user.cached_tokens or 0 for user in cached) / sum(user.prompt_tokens or 0 for user in cached)
    by_metrics = None
    if before is not None and after is not None:
        old, new = counters_of(before), counters_of(after)
        queries, hits = (
            new.get(name, 0.0) - old.get(name, 0.0) for name in ("vllm:prefix_cache_queries", "vllm:prefix_cache_hits")
        )
        by_metrics = hits / queries if queries > 0 else None
    return CacheHits(by_usage, by_metrics, theoretical_hits(prompts))


def counters_of(page: str) -> Mapping[str, float]:
    """The sums of vLLM's counters on a page of metrics, without `_total`."""
    found: defaultdict[str, float] = defaultdict(float)
    for line in page.splitlines():
        name, _, value = line.rpartition(" ")
        if name.startswith("vllm:"):
            with suppress(ValueError):
                found[name.partition("{")[0].strip().removesuffix("_total")] += float(value)
    return found


def theoretical_hits(prompts: Sequence[Sequence[int]], block: int = BLOCK) -> float | None:
    """The share of tokens in whole blocks that an earlier prompt has; one token is always computed."""
    total = sum(map(len, prompts))
    if not total:
        return None
    seen: set[tuple[int, ...]] = set()
    hits = 0
    for prompt in prompts:
        most = (len(prompt) - 1) // block
        chains = [tuple(prompt[: block * (place + 1)]) for place in range(len(prompt) // block)]
        shared = next((place for place, chain in enumerate(chains) if chain not in seen), len(chains))
        hits += block * min(shared, most)
        seen.update(chains)
    return hits / total


def csv_row(phase: PhaseResult, labels: Mapping[str, Any], started_at: str) -> dict[str, Any]:
    """One row per phase, with the columns that a table of results of several servers needs."""
    totals = [user.total for user in phase.users if user.total is not None]
    return {
        **labels,
        "phase": phase.name,
        "ftl_ms": _rounded(phase.ftl, 1000),
        "tps": _rounded(phase.tps, 1),
        "e2e_ms": _rounded(_median(totals), 1000),
        "total_tps": _rounded(phase.total_tps, 1),
        "prompt_tokens": sum(user.prompt_tokens or 0 for user in phase.users),
        "output_tokens": sum(user.output_tokens or 0 for user in phase.users),
        "ok": phase.is_ok,
        "started_at": started_at,
    }


def _rounded(value: float | None, factor: int) -> float | None:
    return None if value is None else round(value * factor, 3)
