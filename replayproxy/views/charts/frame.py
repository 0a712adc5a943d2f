"""The frame of a chart: axes with labels and grid lines around the marks, and a name for those who cannot see it."""

from __future__ import annotations

from collections.abc import Iterable

from replayproxy.views.charts.scale import Scale
from replayproxy.views.charts.svg import Fragment, joined, percent, tag

TOP, BOTTOM = 10, 24
"""Pixels above the marks, and below them for labels."""


def framed(
    name: str,
    marks: Iterable[Fragment],
    *,
    x: Scale,
    y: Scale | None,
    height: int = 180,
    is_image: bool = True,
    x_ticks: int = 5,
    y_ticks: int = 5,
) -> Fragment:
    """A chart of so many pixels' height. `is_image`: nothing in it can be followed; else it is a group of links."""
    bottom = height - BOTTOM
    grid: list[Fragment] = []
    labels: list[Fragment] = []
    for tick in y.ticks(y_ticks) if y is not None else ():
        top = y_place(tick.share, height)
        grid.append(tag("line", x1="0", x2="100%", y1=top, y2=top, class_="grid"))
        labels.append(tag("text", tick.label, x="100%", y=top + 4, dx=-8, text_anchor="end"))
    grid.append(tag("line", x1="0", x2="100%", y1=bottom, y2=bottom, class_="axis"))
    drawn = -1.0
    for number, tick in enumerate(x.ticks(x_ticks)):
        if tick.share > 0.96 and tick.share - drawn < 1.5 / x_ticks:  # its label would reach into the one before it
            continue
        drawn = tick.share
        at = percent(tick.share)
        anchor = "start" if tick.share < 0.04 else "end" if tick.share > 0.96 else "middle"
        grid.append(tag("line", x1=at, x2=at, y1=bottom, y2=bottom + 4, class_="axis"))
        more = " sparse" if number % 2 else ""
        grid.append(tag("text", tick.label, x=at, y=height - 6, text_anchor=anchor, class_=f"label{more}"))
    plot = tag(
        "svg",
        tag("title", name),
        *grid,
        *marks,
        class_="plot",
        height=height,
        role="img" if is_image else "group",
        aria_label=name,
    )
    if y is None:
        return tag("div", plot, class_="chart")
    scale = tag("svg", joined(*labels), class_="scale", height=height, aria_hidden="true")
    return tag("div", scale, plot, class_="chart")


def y_place(share: float, height: int) -> float:
    """The vertical place of a share of the y axis, in pixels from the top."""
    return TOP + (1 - share) * (height - TOP - BOTTOM)


def curve(points: Iterable[tuple[float, float]], height: int, class_: str) -> Fragment:
    """A line through points, each coordinate from 0 to 1. Stretched to the width; its stroke is not."""
    path = " ".join(f"{100 * x:.2f},{100 * (1 - y):.2f}" for x, y in points)
    line = tag("polyline", points=path, class_=class_, fill="none", vector_effect="non-scaling-stroke")
    return tag(
        "svg",
        line,
        x="0",
        y=TOP,
        width="100%",
        height=height - TOP - BOTTOM,
        viewBox="0 0 100 100",
        preserveAspectRatio="none",
        overflow="visible",
    )
