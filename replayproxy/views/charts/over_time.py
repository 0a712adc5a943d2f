"""Latency over time as points, and requests over time as bars.

Above `MOST_POINTS` points become cells of a grid, so that the page stays small whatever it shows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from replayproxy.views.charts.frame import framed, y_place
from replayproxy.views.charts.scale import Scale
from replayproxy.views.charts.svg import Fragment, percent, tag
from replayproxy.views.units import duration, plural

MOST_POINTS = 800
COLUMNS, ROWS = 96, 28
"""Cells of the grid."""

BINS = 60
"""Bars over time."""


@dataclass(frozen=True, slots=True)
class Point:
    """One exchange: when it began (seconds since the Unix epoch), how long it took (seconds), and where it leads."""

    at: float
    seconds: float
    name: str
    link: str
    is_error: bool = False


Link = Callable[[float, float], str]
"""The address of what lies between two times, in seconds since the Unix epoch."""


def latency(name: str, points: Sequence[Point], span: Link, height: int = 240) -> Fragment:
    """Latency over time: a point per exchange, which leads to it; of many, cells that lead to a list."""
    x = Scale.of_times([point.at for point in points])
    y = Scale.of([point.seconds for point in points], is_log=True)
    marks = _cells(points, x, y, span, height) if len(points) > MOST_POINTS else _points(points, x, y, height)
    return framed(name, marks, x=x, y=y, height=height, is_image=False)


def _points(points: Sequence[Point], x: Scale, y: Scale, height: int) -> list[Fragment]:
    marks = []
    for point in sorted(points, key=lambda point: point.is_error):
        place = {"cx": percent(x.share(point.at)), "cy": y_place(y.share(point.seconds), height)}
        circle = tag("circle", tag("title", point.name), **place, r=4, class_="error" if point.is_error else "a")
        marks.append(tag("a", circle, href=point.link, tabindex=-1, aria_label=point.name))
    return marks


def _cells(points: Sequence[Point], x: Scale, y: Scale, span: Link, height: int) -> list[Fragment]:
    counted: Counter[tuple[int, int]] = Counter()
    errors: Counter[tuple[int, int]] = Counter()
    for point in points:
        cell = (
            min(COLUMNS - 1, int(x.share(point.at) * COLUMNS)),
            min(ROWS - 1, int(y.share(point.seconds) * ROWS)),
        )
        counted[cell] += 1
        errors[cell] += point.is_error
    most, marks = max(counted.values()), []
    for (column, row), times in sorted(counted.items()):
        since, until = x.value(column / COLUMNS), x.value((column + 1) / COLUMNS)
        low, high = duration(y.value(row / ROWS)), duration(y.value((row + 1) / ROWS))
        name = f"{plural(times, 'exchange')} from {low} to {high}"
        top = y_place((row + 1) / ROWS, height)
        square = tag(
            "rect",
            tag("title", name),
            x=percent(column / COLUMNS),
            y=top,
            width=percent(1 / COLUMNS),
            height=y_place(row / ROWS, height) - top,
            class_="error" if 2 * errors[(column, row)] > times else "a",
            fill_opacity=round(0.25 + 0.75 * (times / most) ** 0.5, 2),
        )
        marks.append(tag("a", square, href=span(since, until), tabindex=-1, aria_label=name))
    return marks


def rates(name: str, points: Sequence[Point], span: Link, *, each: int = 1, height: int = 120) -> Fragment:
    """Requests over time, with errors in the other colour on top. Each point stands for `each` exchanges."""
    x = Scale.of_times([point.at for point in points])
    counted, errors = [0] * BINS, [0] * BINS
    for point in points:
        place = min(BINS - 1, int(x.share(point.at) * BINS))
        counted[place] += each
        errors[place] += each * point.is_error
    y = Scale.of(counted, lambda value: plural(round(value), "", " ").strip())
    marks = []
    for place, times in enumerate(counted):
        if not times:
            continue
        since, until = x.value(place / BINS), x.value((place + 1) / BINS)
        name_of_bar = f"{plural(times, 'request')} in {duration(until - since)}" + (
            f", {plural(errors[place], 'error')}" if errors[place] else ""
        )
        bars = [tag("title", name_of_bar)]
        for bottom, top, kind in (
            (0, times - errors[place], "a"),
            (times - errors[place], times, "error"),
        ):
            if top > bottom:
                above = y_place(y.share(top), height)
                bars.append(
                    tag(
                        "rect",
                        x=percent((place + 0.1) / BINS),
                        width=percent(0.8 / BINS),
                        y=above,
                        height=y_place(y.share(bottom), height) - above,
                        class_=kind,
                    )
                )
        marks.append(tag("a", *bars, href=span(since, until), tabindex=-1, aria_label=name_of_bar))
    return framed(name, marks, x=x, y=y, height=height, is_image=False, y_ticks=3)
