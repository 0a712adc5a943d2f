"""Distributions over many exchanges, grouped by model, endpoint, status, hour or leg: what `stats` prints.

    Browser.answer_columns ──▶ counted per group (distributions) ──▶ Group.summaries
                           └─▶ Flights (load), Streams (gap_sample)

A million exchanges are read in one pass, as columns. Reads no stored answers, and of stored times only those that the
gaps between chunks need.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import compress
from typing import Any

from replayproxy.core.stats import DEFINITIONS, Summary
from replayproxy.views import gap_sample
from replayproxy.views.distributions import Rounding, summarise_counted
from replayproxy.views.gap_sample import Gaps, Streams
from replayproxy.views.load import Flights, Load
from replayproxy.views.port import AnswerColumns, AnswerKind, Browser, ExchangeFilter

EXACT = 200_000
"""Exchanges up to which times are counted as they are; more are rounded to the thousandth part of their median."""

EXPLAINED = {
    **DEFINITIONS,
    "Head": "of a leg: from its request to the head of its answer",
    "Prefill": "of a pair: how long the prefill server took for its whole answer",
    "Hand-over": "of a pair: from the end of the prefill to the request to decode; below 0 if both are asked at once",
    "Decode TTFT": "of a pair: TTFT, counted from the request to decode",
    "Output tokens": "completion_tokens of the usage that the server sent; without usage there is none",
    "measured": "answers that ended complete with a status below 400; the others are counted above the table",
    "Output": "tokens of all measured answers, and answers, over the time in which at least one was in flight",
    "starved": "the recorder was scheduled so late, while answers ran, that gaps below that mean nothing",
    "in flight": "how many answers ran at once, while any did; weighted by time",
    "*": f"where more than {gap_sample.MOST:,} answers streamed, gaps are those of {gap_sample.ENOUGH:,} streams drawn"
    " at random, with 95 % intervals of p50 and p99; --exact reads all",
    "rounding": f"of more than {EXACT:,} exchanges, times are rounded to the thousandth part of their median; --exact"
    " does not round",
}
"""What each number means."""

PER: Mapping[str, float] = {
    "ttft_s": 1e6,
    "head_s": 1e6,
    "prefill_s": 1e6,
    "handover_s": 1e6,
    "decode_ttft_s": 1e6,
    "chunk_gap_s": 1e9,
    "tpot_s": 1e9,
    "total_s": 1e6,
    "output_tokens": 1.0,
}
"""The distributions, by the names they have as data; and how many of their counted units make a second."""

MEASURES = tuple(PER)

HOUR_US = 3_600_000_000


def _hour(at_us: int) -> str:
    try:
        return f"{datetime.fromtimestamp(at_us // 10**6, UTC):%Y-%m-%d %H}:00"
    except (ValueError, OverflowError, OSError):  # no calendar has it
        return f"hour {at_us // HOUR_US}"


GROUPINGS: Mapping[str, Callable[[AnswerKind, str, int], str]] = {
    "model": lambda kind, *_: kind.model or "(no model)",
    "endpoint": lambda kind, *_: f"{kind.method} {kind.path}",
    "status": lambda kind, *_: str(kind.status) if kind.status else "(no answer)",
    "hour": lambda _kind, _cassette, at_us: _hour(at_us),
    "leg": lambda *_: "",
    "cassette": lambda _, cassette, __: cassette,
    "none": lambda *_: "all",
}
"""The name of an exchange's group, given its kind, its cassette and its time in us. A leg has its role and its server.
"""


@dataclass(slots=True)
class Group:
    """The values of one group, before they are summarised."""

    name: str
    number: int = 0
    exchanges: int = 0
    measured: int = 0
    streamed: int = 0
    errors: int = 0
    starved: int = 0
    """Measured answers whose gaps are spoilt by a late recorder."""
    starved_s: float = 0.0
    """The largest delay among them, in seconds."""
    endings: Counter[str] = field(default_factory=Counter)
    span: tuple[int, int] | None = None
    """When the first and the last exchange of all groups began, in ns since the Unix epoch."""
    values: dict[str, Counter[int]] = field(default_factory=lambda: {name: Counter() for name in MEASURES})
    """How often each value of a measure occurs, in its unit (`PER`)."""
    gaps: Gaps = field(default_factory=Gaps)
    is_rounded: bool = False
    """Whether times were rounded to the thousandth part of their median."""
    flights: Flights = field(default_factory=Flights)
    """Those of all groups."""

    def summaries(self) -> Iterator[tuple[str, Summary]]:
        """The distributions that have values, in the order of `MEASURES`."""
        for name, per in PER.items():
            summary = summarise_counted(self.values[name], per)
            if summary is not None:
                yield name, summary

    def count(self, kind: AnswerKind, times: int) -> None:
        """Count so many exchanges of a kind."""
        self.exchanges += times
        self.endings["in flight" if not kind.is_done else kind.ending or ""] += times
        self.errors += times * (kind.status >= 400)
        if kind.is_measured:
            self.measured += times
            self.streamed += times * kind.stream


# Gathering


def gather(
    browsers: Sequence[Browser],
    chosen: ExchangeFilter,
    by: str,
    *,
    exact: bool = False,
    watch: Callable[[str, int, int], None] = lambda *_: None,
) -> list[Group]:
    """Every group, the largest first; hours by time. `watch` is called with what was done, how many, of how many."""
    gathering = _Gathering(by, sum(browser.count() for browser in browsers), exact=exact, watch=watch)
    for browser in browsers:
        if by == "leg":
            gathering.read_legs(browser, chosen)
        else:
            gathering.read(browser, chosen)
    groups = gathering.finish()
    return sorted(groups, key=lambda group: group.name if by == "hour" else (-group.exchanges, group.name))


class _Gathering:
    """One pass over the cassettes under way."""

    def __init__(self, by: str, total: int, *, exact: bool, watch: Callable[[str, int, int], None]) -> None:
        self._by = by
        self._name_of = GROUPINGS[by]
        self._exact = exact
        self._total = total
        self._rounds = total > EXACT and not exact
        self._roundings: dict[str, Rounding] = {}
        self._watch = watch
        self._done = 0
        self._groups: dict[str, Group] = {}
        self._counted: dict[str, Counter[int]] = {name: Counter() for name in MEASURES}
        """By measure, how often each value occurs: the value times 2 ** 24, and the number of its group."""
        self._flights = Flights()
        self._streams: list[Streams] = []
        self._spans: list[int] = []

    def read(self, browser: Browser, chosen: ExchangeFilter) -> None:
        """All of one cassette."""
        numbers: dict[Any, int] = {}
        streams = Streams(browser)
        self._streams.append(streams)
        for part in browser.answer_columns(chosen):
            keys: list[Any] = part.codes
            if self._by == "hour":
                keys = [(code, at // HOUR_US) for code, at in zip(part.codes, part.at_us, strict=True)]
            times = Counter(keys)
            for key in times.keys() - numbers.keys():
                code, hour = key if isinstance(key, tuple) else (key, 0)
                numbers[key] = self._group(self._name_of(part.kinds[code], str(browser.path), hour * HOUR_US)).number
            by_number = list(self._groups.values())
            for key, many in times.items():
                code = key[0] if isinstance(key, tuple) else key
                by_number[numbers[key]].count(part.kinds[code], many)
            groups = list(map(numbers.__getitem__, keys))
            self._spans += [min(part.at_us), max(part.at_us)]
            if part.is_measured:
                self._measure(part, groups, streams)
                for code, at, delay in part.starved:
                    group = by_number[numbers[(code, at // HOUR_US) if self._by == "hour" else code]]
                    group.starved += 1
                    group.starved_s = max(group.starved_s, delay / 1e6)
            self._done += len(part.codes)
            self._watch("exchanges read", self._done, self._total)
        self._read_pairs(browser, chosen)

    def _group(self, name: str) -> Group:
        if name not in self._groups:
            self._groups[name] = Group(name, len(self._groups), is_rounded=self._rounds, flights=self._flights)
        return self._groups[name]

    def _measure(self, part: AnswerColumns, groups: list[int], streams: Streams) -> None:
        for name, values in (
            ("ttft_s", part.ttft_us),
            ("total_s", part.total_us),
            ("tpot_s", part.tpot_ns),
            ("output_tokens", part.output_tokens),
        ):
            there: Sequence[int | None] = values
            of: Sequence[int] = groups
            if None in there:
                is_there = [value is not None for value in values]
                there, of = list(compress(values, is_there)), list(compress(groups, is_there))
            self._count(name, there, of)  # type: ignore[arg-type]  # None was left out
        self._flights.add(groups, part.at_us, part.total_us)
        is_stream = {code: part.kinds[code].stream for code in set(part.codes)}
        streamed = list(map(is_stream.__getitem__, part.codes))
        streams.numbers.extend(compress(part.numbers, streamed))
        streams.groups.extend(compress(groups, streamed))

    def _count(self, name: str, values: Sequence[int], groups: Sequence[int]) -> None:
        if self._rounds and values and name not in self._roundings:
            self._roundings[name] = Rounding.of(values)
        self._counted[name].update(self._roundings.get(name, Rounding()).keyed(values, groups))

    def _read_pairs(self, browser: Browser, chosen: ExchangeFilter) -> None:
        """Prefill, hand-over and decode of pairs, row by row."""
        if next(browser.leg_rows(chosen), None) is None:
            return
        where = "legs > 0" if chosen.where is None else f"({chosen.where}\n) AND legs > 0"
        for row in browser.measured_rows(replace(chosen, where=where)):
            if not row["measured"]:
                continue
            kind = AnswerKind(
                row["method"], row["path"], row["model"], bool(row["stream"]), row["status"], True, row["ending"]
            )
            group = self._group(self._name_of(kind, str(browser.path), row["at"] // 1000)).number
            for name, seconds in (
                ("prefill_s", row["prefill_s"]),
                ("handover_s", row["handover_s"]),
                ("decode_ttft_s", row["decode_ttft_s"]),
            ):
                if seconds is not None:
                    self._counted[name][round(seconds * 1e6) << 24 | group] += 1

    def read_legs(self, browser: Browser, chosen: ExchangeFilter) -> None:
        """The legs of all pairs of one cassette, each as an answer of its own."""
        for leg in browser.leg_rows(chosen):
            group = self._group(f"{leg['role']} {leg['upstream']}")
            kind = AnswerKind(leg["method"], leg["path"], None, False, leg["status"], True, leg["ending"])
            group.count(kind, 1)
            at_us = leg["at"] // 1000
            self._spans += [min([at_us, *self._spans[:1]]), max([at_us, *self._spans[1:]])]
            del self._spans[:-2]
            if kind.is_measured:
                head, total = (round(leg[name] * 1e6) for name in ("head_s", "total_s"))
                self._counted["head_s"][head << 24 | group.number] += 1
                self._counted["total_s"][total << 24 | group.number] += 1
                self._flights.add([group.number], [at_us + round(leg["started_s"] * 1e6)], [total])

    def finish(self) -> list[Group]:
        """All groups, with the gaps of their streams."""
        groups = list(self._groups.values())
        for name, counted in self._counted.items():
            for key, times in counted.items():
                groups[key & 0xFFFFFF].values[name][key >> 24] += times
            counted.clear()
        found = gap_sample.read_gaps(
            self._streams, exact=self._exact, watch=lambda done, of: self._watch("streams read", done, of)
        )
        span = (min(self._spans) * 1000, max(self._spans) * 1000) if self._spans else None
        for group in groups:
            group.span = span
            group.gaps = found.get(group.number, group.gaps)
            group.values["chunk_gap_s"] = group.gaps.counted
        return groups


def load_of(groups: Iterable[Group]) -> Load | None:
    """Compute the load of these groups together; None if no answer took time."""
    chosen = list(groups)
    if not chosen:
        return None
    with_tokens = [group.values["output_tokens"] for group in chosen if group.values["output_tokens"]]
    tokens = sum(value * times for counted in with_tokens for value, times in counted.items())
    flights = chosen[0].flights.of([group.number for group in chosen])
    return flights.load(tokens if with_tokens else None)


# As data

FIELDS = ("group", "measure", "n", "avg", "min", "p50", "p90", "p95", "p99", "max", "std")


def distribution_rows(group: Group) -> Iterator[dict[str, Any]]:
    """One row per distribution. Times are in seconds."""
    for name, summary in group.summaries():
        yield _row(group, name, **_figures(summary))


def data_rows(groups: Iterable[Group]) -> Iterator[dict[str, Any]]:
    """One row per distribution, then counts and rates, which have fewer fields. Times are in seconds."""
    for group in groups:
        yield from distribution_rows(group)
        yield from _intervals(group)
        load = load_of([group])
        if load is not None:
            yield _row(group, "concurrency", **_figures(load.concurrency))
            yield _row(group, "busy_s", n=group.measured, avg=load.busy_s)
            yield _row(group, "requests_per_s", n=group.measured, avg=load.requests_per_s)
            if load.tokens_per_s is not None:
                yield _row(group, "output_tokens_per_s", n=group.values["output_tokens"].total(), avg=load.tokens_per_s)
        yield _row(group, "exchanges", n=group.exchanges)
        yield _row(group, "streamed", n=group.streamed)
        yield _row(group, "errors", n=group.errors)
        if group.starved:
            yield _row(group, "starved_s", n=group.starved, max=group.starved_s)
        for ending, times in sorted(group.endings.items()):
            yield _row(group, f"ended {ending}", n=times)


def _intervals(group: Group) -> Iterator[dict[str, Any]]:
    """Of gaps that are a sample: in which interval a percentile of all streams lies, with n the streams read."""
    for percent in (50, 99):
        if (interval := group.gaps.interval(percent)) is not None:
            low, high = interval
            yield _row(group, f"chunk_gap_s p{percent} 95 %", n=group.gaps.streams, min=low / 1e9, max=high / 1e9)


def _row(group: Group, measure: str, **figures: float) -> dict[str, Any]:
    return dict.fromkeys(FIELDS) | {"group": group.name, "measure": measure} | figures


def _figures(summary: Summary) -> dict[str, float]:
    figures = asdict(summary)
    return {"n": figures["n"], "avg": figures["mean"], **{name: figures[name] for name in FIELDS[4:]}}
