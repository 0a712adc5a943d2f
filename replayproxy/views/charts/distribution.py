"""How values are spread: a histogram of one series, and cumulative shares of several."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence

from replayproxy.core.stats import percentile
from replayproxy.views.charts.frame import curve, framed, y_place
from replayproxy.views.charts.scale import Scale
from replayproxy.views.charts.svg import Fragment, percent, tag
from replayproxy.views.units import count, duration, plural

BINS = 48

STEPS = 120
"""Points of a cumulative curve."""

LOG_FROM = 20
"""Where the largest value is more than so many times the median, the axis is logarithmic."""

Weighted = Sequence[tuple[float, int]]
"""Values, each with how often it occurs."""


def histogram(
    name: str, values: Weighted, label: Callable[[float], str] = duration, *, things: str = "answer", height: int = 150
) -> Fragment:
    """Bars of how many values lie where, and lines at p50, p90 and p99."""
    ordered = sorted(value for value in values if value[1] > 0)
    x = _axis([value for value, _ in ordered], label)
    counted = [0] * BINS
    for value, times in ordered:
        counted[min(BINS - 1, int(x.share(value) * BINS))] += times
    y = Scale.of(counted, count)
    marks = []
    for place, times in enumerate(counted):
        if not times:
            continue
        top = y_place(y.share(times), height)
        low, high = label(x.value(place / BINS)), label(x.value((place + 1) / BINS))
        marks.append(
            tag(
                "rect",
                tag("title", f"{plural(times, things)} from {low} to {high}"),
                x=percent((place + 0.08) / BINS),
                width=percent(0.84 / BINS),
                y=top,
                height=max(1.0, y_place(0, height) - top),
                class_="a",
            )
        )
    marks += _percentile_lines(ordered, x, label, height)
    return framed(name, marks, x=x, y=y, height=height, y_ticks=3)


def _percentile_lines(ordered: Weighted, x: Scale, label: Callable[[float], str], height: int) -> list[Fragment]:
    total = sum(times for _, times in ordered)
    if total < 2:
        return []
    marks = []
    for percent_of, kind in ((50, "p50"), (90, "p90"), (99, "p99")):
        value = _at_rank(ordered, (total - 1) * percent_of / 100)
        at = percent(x.share(value))
        line = tag(
            "line", tag("title", f"{kind} {label(value)}"), x1=at, x2=at, y1=y_place(1, height), y2=y_place(0, height)
        )
        marks.append(tag("g", line, class_=f"percentile {kind}"))
    return marks


def _at_rank(ordered: Weighted, rank: float) -> float:
    passed = 0
    for value, times in ordered:
        passed += times
        if passed > rank:
            return value
    return ordered[-1][0]


def cumulative(
    name: str, series: Mapping[str, Sequence[float]], label: Callable[[float], str] = duration, height: int = 200
) -> Fragment:
    """For each of at most two series the share of values that are not larger, from 0 to 100 %."""
    x = _axis([value for values in series.values() for value in values], label)
    marks = []
    for kind, values in zip(("a", "b"), series.values(), strict=False):
        ordered = sorted(values)
        if not ordered:
            continue
        shares = [place / STEPS for place in range(STEPS + 1)]
        points = [(share, bisect_right(ordered, x.value(share)) / len(ordered)) for share in shares]
        marks.append(curve(points, height, f"line {kind}"))
    y = Scale(0.0, 100.0, lambda value: f"{value:.0f} %")
    return framed(name, marks, x=x, y=y, height=height, y_ticks=4)


def _axis(values: Sequence[float], label: Callable[[float], str]) -> Scale:
    """From 0, or logarithmic where few values are much larger than the others."""
    above = sorted(value for value in values if value > 0)
    if above and above[-1] > LOG_FROM * percentile(above, 50) and len(above) == len(values):
        return Scale.of(above, label, is_log=True)
    low = min(values, default=0.0)
    scale = Scale.of(list(values), label)
    return scale if low >= 0 else Scale(low, max(scale.high, -low), label)
