"""`stats`: many exchanges as distributions, by model or endpoint.

Reads columns only, but for the gaps between chunks, which need the stored times. Those are counted by their length in
ticks of 10 us, so that a hundred million of them fit in memory and percentiles stay exact; and where there are more
streams than `ENOUGH`, every n-th is read.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from replayproxy.cli.reading.choice import Choice
from replayproxy.core.stats import DEFINITIONS, Summary, percentile, summarise
from replayproxy.views import starvation

if TYPE_CHECKING:
    from replayproxy.cassette.cassette import Cassette

ENOUGH = 20_000
"""Streams whose gaps are read: 4 s. More do not change a percentile that anybody reads."""

COUNTED = "state = 'done' AND ending = 'complete' AND status BETWEEN 200 AND 399"
"""Answers that are measured. An error that comes fast is no fast answer."""

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

By = Callable[[Mapping[str, Any]], str]

GROUPINGS: Mapping[str, By] = {
    "model": lambda row: row["model"] or "(no model)",
    "endpoint": lambda row: f"{row['method']} {row['path']}",
    "cassette": lambda row: row["cassette"],
    "none": lambda _: "all",
}

# The last leg of a role: a server that was out may have had one before.
_LEG = "(SELECT ({}) / 1e6 FROM leg WHERE leg.exchange = v_exchange.number AND role = '{}' ORDER BY leg DESC LIMIT 1)"

_COLUMNS = (
    "number, model, method, path, stream, status, state, ending, ttft_s, tpot_s, total_s, chunks, starved_s,"
    " CAST(completion_tokens AS INTEGER) AS output_tokens,"
    " (SELECT CAST(recorded_at AS INTEGER) FROM exchange WHERE exchange.id = v_exchange.number) AS at,"
    f" {_LEG.format('total_us', 'prefill')} AS prefill_s,"
    f" {_LEG.format('started_us', 'decode')} - {_LEG.format('started_us + total_us', 'prefill')} AS handover_s,"
    f" ttft_s - {_LEG.format('started_us', 'decode')} AS decode_ttft_s"
)


@dataclass(slots=True)
class Group:
    """What was gathered of one group, before it is summed up."""

    name: str
    exchanges: int = 0
    measured: int = 0
    streamed: int = 0
    errors: int = 0
    starved: int = 0
    """Measured answers whose gaps a late recorder has spoilt."""
    starved_s: float = 0.0
    """By how much at most."""
    endings: Counter[str] = field(default_factory=Counter)
    asked: tuple[int, int] | None = None
    """When the first and the last exchange were, in ns since the Unix epoch."""
    values: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in MEASURES})
    gaps: Counter[int] = field(default_factory=Counter)
    """How often each gap occurred, in ns."""
    sampled: int = 1
    """Gaps are of every n-th stream."""
    flights: list[tuple[int, int]] = field(default_factory=list)
    """When each measured answer began and ended, in ns since the Unix epoch."""

    def add(self, row: Mapping[str, Any]) -> None:
        """Count one exchange."""
        self.exchanges += 1
        first, last = self.asked or (row["at"], row["at"])
        self.asked = min(first, row["at"]), max(last, row["at"])
        self.endings["in flight" if row["state"] == "open" else row["ending"]] += 1
        self.errors += row["status"] >= 400
        if not row["measured"]:
            return
        self.measured += 1
        self.streamed += row["stream"]
        if delay := starvation.delay(row):
            self.starved += 1
            self.starved_s = max(self.starved_s, delay)
        for name, values in self.values.items():
            if name != "chunk_gap_s" and row[name] is not None:
                values.append(row[name])
        self.flights.append((row["at"], row["at"] + round(row["total_s"] * 1e9)))

    def summaries(self) -> Iterator[tuple[str, Summary]]:
        """The distributions that there are, in their order."""
        for name in MEASURES:
            gaps = name == "chunk_gap_s"
            summary = summarise_counted(self.gaps, 1e-9) if gaps else summarise(self.values[name])
            if summary is not None:
                yield name, summary


def summarise_counted(counted: Mapping[int, int], unit: float = 1.0) -> Summary | None:
    """As `summarise`, of values given with how often each occurs; each multiplied by `unit`."""
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
    """Values, each so many times, as one sorted sequence that is never made."""

    def __init__(self, values: Sequence[float], times: Iterable[int]) -> None:
        self._values = values
        self._stops = list(accumulate(times))

    def __len__(self) -> int:
        return self._stops[-1]

    def __getitem__(self, place: Any) -> Any:
        return self._values[bisect_right(self._stops, place)]


# Gather


def gather(
    cassettes: Sequence[Cassette],
    choice: Choice,
    by: str,
    *,
    exact: bool = False,
    watch: Callable[[int], None] = lambda _: None,
) -> list[Group]:
    """Every group, the largest first. `watch` is told how many streams are going to be read."""
    groups: dict[str, Group] = {}
    streams: list[tuple[Cassette, dict[int, Group]]] = []
    for cassette in cassettes:
        of_stream: dict[int, Group] = {}
        columns = f"{_COLUMNS}, {COUNTED} AS measured"
        for row in cassette.rows(choice.condition, choice.parameters, columns=columns, order="1"):
            name = GROUPINGS[by](row | {"cassette": str(cassette.path)})
            group = groups.setdefault(name, Group(name))
            group.add(row)
            if row["measured"] and row["stream"]:
                of_stream[row["number"]] = group
        streams.append((cassette, of_stream))
    total = sum(len(of_stream) for _, of_stream in streams)
    step = 1 if exact else -(-total // ENOUGH) or 1
    watch(total // step)
    for cassette, of_stream in streams:
        for number, gaps in _gaps(cassette, list(of_stream)[::step]):
            of_stream[number].gaps.update(gaps)
    for group in groups.values():
        group.sampled = step
    return sorted(groups.values(), key=lambda group: (-group.exchanges, group.name))


def _gaps(cassette: Cassette, numbers: Sequence[int]) -> Iterator[tuple[int, Iterable[int]]]:
    for start in range(0, len(numbers), 500):
        some = ",".join(map(str, numbers[start : start + 500]))  # integers of ours: nothing to bind
        for number, timeline in cassette.timelines(f"number IN ({some})"):
            yield number, timeline.gaps()


# How much at once


@dataclass(frozen=True, slots=True)
class Load:
    """What was going on while anything was. Concurrency is weighted by time."""

    busy_s: float
    requests_per_s: float
    tokens_per_s: float | None
    concurrency: Summary


def load_of(groups: Iterable[Group]) -> Load | None:
    """The load of all these together; None where nothing took time."""
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
    """One row a distribution; then counts and rates, which have fewer fields. Seconds throughout."""
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
