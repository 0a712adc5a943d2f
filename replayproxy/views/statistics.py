"""Distributions over many exchanges, grouped by model or endpoint: what `stats` prints.

Reads rows only, except for the gaps between chunks, which need the stored times. Gaps are counted by their length (in
ticks of 10 us), so that a hundred million of them fit in memory and percentiles stay exact. If there are more streams
than `ENOUGH`, every n-th is read.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import accumulate
from typing import Any

from replayproxy.core.stats import DEFINITIONS, Summary, percentile, summarise
from replayproxy.views import starvation
from replayproxy.views.port import Browser, ExchangeFilter, MeasuredRow

ENOUGH = 20_000
"""Streams whose gaps are read, which takes 4 s. More of them would not visibly change a percentile."""

EXPLAINED = {
    **DEFINITIONS,
    "Prefill": "of a pair: how long the prefill server took for its whole answer",
    "Hand-over": "of a pair: from the end of the prefill to the request to decode; below 0 if both are asked at once",
    "Decode TTFT": "of a pair: TTFT, counted from the request to decode",
    "Output tokens": "completion_tokens of the usage that the server sent; without usage there is none",
    "measured": "answers that ended complete with a status below 400; the others are counted above the table",
    "Output": "tokens of all measured answers, and answers, over the time in which at least one was in flight",
    "starved": "the recorder was scheduled so late, while answers ran, that gaps below that mean nothing",
    "in flight": "how many answers ran at once, while any did; weighted by time",
    "*": f"where more than {ENOUGH:,} answers streamed, gaps are read of every n-th, evenly; --exact reads all",
}
"""What each number means."""

MEASURES = ("ttft_s", "prefill_s", "handover_s", "decode_ttft_s", "chunk_gap_s", "tpot_s", "total_s", "output_tokens")
"""The distributions, by the names they have as data."""

GROUPINGS: Mapping[str, Callable[[MeasuredRow, str], str]] = {
    "model": lambda row, _: row["model"] or "(no model)",
    "endpoint": lambda row, _: f"{row['method']} {row['path']}",
    "cassette": lambda _, cassette: cassette,
    "none": lambda *_: "all",
}
"""The name of a row's group, given the row and its cassette."""


@dataclass(slots=True)
class Group:
    """The values of one group, before they are summarised."""

    name: str
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
    """When the first and the last exchange began, in ns since the Unix epoch."""
    values: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in MEASURES})
    gaps: Counter[int] = field(default_factory=Counter)
    """How often each gap occurred, by its length in ns."""
    sampled: int = 1
    """The gaps of every n-th stream were read."""
    flights: list[tuple[int, int]] = field(default_factory=list)
    """When each measured answer began and ended, in ns since the Unix epoch."""

    def add(self, row: MeasuredRow) -> None:
        """Count one exchange."""
        self.exchanges += 1
        first, last = self.span or (row["at"], row["at"])
        self.span = min(first, row["at"]), max(last, row["at"])
        self.endings["in flight" if row["state"] == "open" else row["ending"] or ""] += 1
        self.errors += row["status"] >= 400
        if not row["measured"]:
            return
        self.measured += 1
        self.streamed += row["stream"]
        if delay := starvation.delay(row):
            self.starved += 1
            self.starved_s = max(self.starved_s, delay)
        numbers: Mapping[str, Any] = row
        for name, values in self.values.items():
            if name != "chunk_gap_s" and numbers[name] is not None:
                values.append(numbers[name])
        self.flights.append((row["at"], row["at"] + round(row["total_s"] * 1e9)))

    def summaries(self) -> Iterator[tuple[str, Summary]]:
        """The distributions that have values, in the order of `MEASURES`."""
        for name in MEASURES:
            gaps = name == "chunk_gap_s"
            summary = summarise_counted(self.gaps, 1e-9) if gaps else summarise(self.values[name])
            if summary is not None:
                yield name, summary


def summarise_counted(counted: Mapping[int, int], unit: float = 1.0) -> Summary | None:
    """Summarise values that are given with how often each occurs; the results are multiplied by `unit`."""
    if not counted:
        return None
    values = sorted(counted)
    ordered = _Repeated(values, [counted[value] for value in values])
    mean = math.fsum(value * counted[value] for value in values) / len(ordered)
    variance = math.fsum(counted[value] * (value - mean) ** 2 for value in values) / len(ordered)
    figures = (
        *(mean, values[0]),
        *(percentile(ordered, percent) for percent in (50, 90, 95, 99)),
        *(values[-1], math.sqrt(variance)),
    )
    return Summary(len(ordered), *(figure * unit for figure in figures))


class _Repeated(Sequence[float]):
    """Behaves as the sorted sequence in which each value stands as often as it occurs, without making it."""

    def __init__(self, values: Sequence[float], times: Iterable[int]) -> None:
        self._values = values
        self._stops = list(accumulate(times))

    def __len__(self) -> int:
        return self._stops[-1]

    def __getitem__(self, place: Any) -> Any:
        return self._values[bisect_right(self._stops, place)]


# Gathering


def gather(
    browsers: Sequence[Browser],
    chosen: ExchangeFilter,
    by: str,
    *,
    exact: bool = False,
    watch: Callable[[int], None] = lambda _: None,
) -> list[Group]:
    """Every group, the largest first. `watch` is called with the number of streams that will be read."""
    groups: dict[str, Group] = {}
    streams: list[tuple[Browser, dict[int, Group]]] = []
    for browser in browsers:
        of_stream: dict[int, Group] = {}
        for row in browser.measured_rows(chosen):
            name = GROUPINGS[by](row, str(browser.path))
            group = groups.setdefault(name, Group(name))
            group.add(row)
            if row["measured"] and row["stream"]:
                of_stream[row["number"]] = group
        streams.append((browser, of_stream))
    total = sum(len(of_stream) for _, of_stream in streams)
    step = 1 if exact else -(-total // ENOUGH) or 1
    watch(total // step)
    for browser, of_stream in streams:
        for number, timeline in browser.timelines(list(of_stream)[::step]):
            of_stream[number].gaps.update(timeline.gaps())
    for group in groups.values():
        group.sampled = step
    return sorted(groups.values(), key=lambda group: (-group.exchanges, group.name))


# Concurrency


@dataclass(frozen=True, slots=True)
class Load:
    """The load while at least one answer was in flight. Concurrency is weighted by time."""

    busy_s: float
    requests_per_s: float
    tokens_per_s: float | None
    concurrency: Summary


def load_of(groups: Iterable[Group]) -> Load | None:
    """Compute the load of these groups together; None if no answer took time."""
    chosen = list(groups)
    steps: list[tuple[int, int]] = sorted(
        step for group in chosen for start, stop in group.flights for step in ((start, 1), (stop, -1))
    )
    at_level: Counter[int] = Counter()
    level, before = 0, 0
    for at, change in steps:
        if level and at > before:
            at_level[level] += at - before
        level += change
        before = at
    busy = sum(at_level.values())
    if not busy:
        return None
    weighted = summarise_counted(at_level)
    assert weighted is not None
    tokens = [token for group in chosen for token in group.values["output_tokens"]]
    answers = sum(group.measured for group in chosen)
    seconds = busy / 1e9
    tokens_per_s = math.fsum(tokens) / seconds if tokens else None
    return Load(seconds, answers / seconds, tokens_per_s, replace(weighted, n=answers))


# As data

FIELDS = ("group", "measure", "n", "avg", "min", "p50", "p90", "p95", "p99", "max", "std")


def data_rows(groups: Iterable[Group]) -> Iterator[dict[str, Any]]:
    """One row per distribution, then counts and rates, which have fewer fields. Times are in seconds."""
    for group in groups:
        for name, summary in group.summaries():
            yield _row(group, name, **_figures(summary))
        load = load_of([group])
        if load is not None:
            yield _row(group, "concurrency", **_figures(load.concurrency))
            yield _row(group, "busy_s", n=group.measured, avg=load.busy_s)
            yield _row(group, "requests_per_s", n=group.measured, avg=load.requests_per_s)
            if load.tokens_per_s is not None:
                yield _row(group, "output_tokens_per_s", n=len(group.values["output_tokens"]), avg=load.tokens_per_s)
        yield _row(group, "exchanges", n=group.exchanges)
        yield _row(group, "streamed", n=group.streamed)
        yield _row(group, "errors", n=group.errors)
        if group.starved:
            yield _row(group, "starved_s", n=group.starved, max=group.starved_s)
        for ending, times in sorted(group.endings.items()):
            yield _row(group, f"ended {ending}", n=times)


def _row(group: Group, measure: str, **figures: float) -> dict[str, Any]:
    return dict.fromkeys(FIELDS) | {"group": group.name, "measure": measure} | figures


def _figures(summary: Summary) -> dict[str, float]:
    figures = asdict(summary)
    return {"n": figures["n"], "avg": figures["mean"], **{name: figures[name] for name in FIELDS[4:]}}
