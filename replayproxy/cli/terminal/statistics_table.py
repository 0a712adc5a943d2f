"""The table of `stats` for people: the groups of `views.statistics`, one after the other. Gathers nothing itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from replayproxy.cli.terminal.screen import Line, Screen, Span
from replayproxy.cli.terminal.table import Column, layout
from replayproxy.views import starvation, statistics, timeline
from replayproxy.views.distributions import histogram
from replayproxy.views.load import Load
from replayproxy.views.statistics import Group
from replayproxy.views.units import count, duration, moment, plural

NAMES = {
    "ttft_s": "TTFT",
    "head_s": "Head",
    "prefill_s": "Prefill",
    "handover_s": "Hand-over",
    "decode_ttft_s": "Decode TTFT",
    "chunk_gap_s": "Chunk gap",
    "tpot_s": "TPOT",
    "total_s": "Total",
    "output_tokens": "Output tokens",
}

_SPARK = 40


def _figure(name: str) -> Column:
    def text(row: Any) -> str:
        value = row[name]
        return count(value) if row["measure"] == "output_tokens" else duration(value)

    spare = {"std": 5, "min": 4, "p95": 3, "avg": 2}.get(name, 0)
    return Column(name, text, style=lambda _: "bold" if name == "p50" else "", spare=spare)


COLUMNS = [
    Column("", lambda row: "  " + NAMES[row["measure"]] + ("*" if row["sampled"] else ""), left=True),
    *(_figure(name) for name in ("avg", "min", "p50", "p90", "p95", "p99", "max", "std")),
    Column("n", lambda row: count(row["n"]), style=lambda _: "dim", spare=1),
]


def page(groups: Sequence[Group], names: str, screen: Screen, *, width: int | None, headers: bool) -> None:
    """The whole page: what there is, a table, and how much went on at once."""
    screen.prose(*_summary(groups, names))
    table: list[tuple[Group, list[dict[str, Any]]]] = []
    for group in groups:
        rows = [
            dict(row, sampled=row["measure"] == "chunk_gap_s" and group.gaps.is_sampled)
            for row in statistics.distribution_rows(group)
            if row["measure"] in NAMES
        ]
        table.append((group, rows))
    measured = layout(COLUMNS, [row for _, rows in table for row in rows], width)
    for place, (group, rows) in enumerate(table):
        if not rows:
            screen.line(*_group_heading(group), Span("  nothing to measure", "dim"))
            continue
        if headers and place == 0:
            screen.line(*measured.heading())
        screen.line(*_group_heading(group))
        screen.lines([measured.row(row) for row in rows])
        screen.lines(_spread(group))
        for line in _sampled(group):
            screen.prose(*line)
        if group.starved:
            of = f" ({count(group.starved)} of {count(group.streamed)} streams)"
            screen.line(Span(f"  {starvation.sentence(group.starved_s)}{of}", "yellow"))
    load = statistics.load_of(groups)
    if load is not None:
        screen.entry("Output", *_load(load, sum(group.values["output_tokens"].total() for group in groups)))


def _group_heading(group: Group) -> Line:
    streamed = f", {count(group.streamed)} streamed" if group.streamed else ""
    return [Span(group.name, "bold cyan"), Span(f" ({count(group.measured)} measured{streamed})", "dim")]


def _summary(groups: Sequence[Group], names: str) -> list[Span | str]:
    endings: Counter[str] = Counter()
    for group in groups:
        endings.update(group.endings)
    spans = [group.span for group in groups if group.span is not None]
    line: list[Span | str] = [Span(names, "bold"), "   ", plural(sum(group.exchanges for group in groups), "exchange")]
    if spans:
        first, last = min(first for first, _ in spans), max(last for _, last in spans)
        line.append(f", {moment(first)[:19]} to {_until(first, last)} UTC")
    if errors := sum(group.errors for group in groups):
        line += [", ", Span(plural(errors, "error"), "red")]
    for ending, times in sorted(endings.items()):
        if ending != "complete":
            line += [
                ", ",
                Span(f"{count(times)} {ending}", "yellow" if ending == "in flight" else "red"),
            ]
    return line


def _until(first: int, last: int) -> str:
    start, stop = moment(first), moment(last)
    return stop[11:19] if start[:10] == stop[:10] else stop[:19]


def _spread(group: Group) -> list[Line]:
    """TTFT on a line, where there is enough of it to have a shape."""
    values = group.values["ttft_s"]
    bars = histogram(values, _SPARK, statistics.PER["ttft_s"])
    if values.total() < 20 or len(bars) < 2:
        return []
    drawn = timeline.bars([bar.n for bar in bars])
    ends = duration(bars[0].low), duration(bars[-1].high)
    return [[Span(f"  TTFT  {ends[0]} |", "dim"), Span(drawn, "green"), Span(f"| {ends[1]} (log)", "dim")]]


def _sampled(group: Group) -> list[Line]:
    """Of how many streams the gaps are, and how far off that may be."""
    gaps = group.gaps
    if not gaps.is_sampled:
        return []
    text = f"  * gaps of {count(gaps.streams)} of {count(gaps.of)} streams, drawn at random"
    intervals = [
        f"p{percent} {duration(interval[0] / 1e9)} to {duration(interval[1] / 1e9)}"
        for percent in (50, 99)
        if (interval := gaps.interval(percent)) is not None
    ]
    text += f": 95 % intervals {', '.join(intervals)}" if intervals else ""
    return [[Span(f"{text}; --exact reads all", "dim")]]


def _load(load: Load, with_usage: int) -> list[Span | str]:
    tokens = f"{count(round(load.tokens_per_s))} tok/s, " if load.tokens_per_s is not None else ""
    without = load.concurrency.n - with_usage
    note = f" ({plural(without, 'answer')} said no usage)" if without and with_usage else ""
    note = note or ("" if with_usage else " (no answer said its usage)")
    return [
        f"{tokens}{load.requests_per_s:.3g} answers/s while busy ({duration(load.busy_s)}), ",
        f"in flight p50 {count(round(load.concurrency.p50))}, max {count(load.concurrency.max)}",
        Span(note, "dim"),
    ]


def explained(screen: Screen) -> None:
    """What each number means."""
    widest = max(map(len, statistics.EXPLAINED))
    for name, meaning in statistics.EXPLAINED.items():
        screen.entry(name.ljust(widest + 1), meaning, style="bold")
