"""One exchange over time: when its chunks came, and which server of a pair was busy when.

    waiting ░░░░░░░░░│ │ ││ │  │ ‖ │ │        a tick per chunk; late ones in the other colour
    text so far      __--^^^^^^^^^^^^^        share of the body that had come

Above `MOST_TICKS` chunks become bins, whose height is how many chunks came in that moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from replayproxy.views.charts.frame import BOTTOM, TOP, curve, framed, y_place
from replayproxy.views.charts.scale import Scale
from replayproxy.views.charts.svg import Fragment, percent, tag
from replayproxy.views.timeline import Lateness
from replayproxy.views.units import duration, plural

MOST_TICKS = 600
BINS = 240
STEPS = 200
"""Points of the curve of bytes."""

NS = 1e9

MOST_TEXT = 60
"""Characters of a chunk's text in its name."""


@dataclass(frozen=True, slots=True)
class ChunkTick:
    """One chunk: when it came (ns since the request was complete), its size, and the text that it adds."""

    at: int
    size: int
    text: str = ""


def chunk_timeline(chunks: Sequence[ChunkTick], end: int, *, content: int | None, height: int = 120) -> Fragment:
    """When each chunk came. `content` is the time of the first event with content: waiting ends there."""
    x = Scale(0.0, max([end, 1, *(chunk.at for chunk in chunks)]) / NS, duration)
    first = content if content is not None else chunks[0].at if chunks else end
    marks = [
        tag(
            "rect",
            tag("title", f"waiting, {duration(first / NS)}"),
            x="0",
            width=percent(x.share(first / NS)),
            y=TOP,
            height=height - TOP - BOTTOM,
            class_="waiting",
        )
    ]
    late = frozenset(Lateness.of([chunk.at for chunk in chunks]).places)
    if len(chunks) > MOST_TICKS:
        marks += _binned(chunks, late, x, height)
    else:
        before: int | None = None
        for number, chunk in enumerate(chunks):
            gap = None if before is None else chunk.at - before
            line = _tick(number + 1, chunk, gap, percent(x.share(chunk.at / NS)), height)
            marks.append(tag("g", line, class_="tick late" if number in late else "tick"))
            before = chunk.at
    marks.append(curve(_received(chunks, x), height, "line b"))
    name = f"{plural(len(chunks), 'chunk')} over {duration(end / NS)}; the first content after {duration(first / NS)}"
    return framed(name, marks, x=x, y=None, height=height, x_ticks=8)


def _tick(number: int, chunk: ChunkTick, gap: int | None, place: str, height: int) -> Fragment:
    """The line of one chunk, `gap` ns after the one before it."""
    after = "" if gap is None else f", {duration(gap / NS)} after the one before it"
    text = f": {_short(chunk.text)}" if chunk.text else ""
    name = f"chunk {number} at {duration(chunk.at / NS)}{after}, {chunk.size} B{text}"
    return tag("line", tag("title", name), x1=place, x2=place, y1=TOP + 6, y2=height - BOTTOM)


def _binned(chunks: Sequence[ChunkTick], late: frozenset[int], x: Scale, height: int) -> list[Fragment]:
    counted, delayed = [0] * BINS, [False] * BINS
    for number, chunk in enumerate(chunks):
        place = min(BINS - 1, int(x.share(chunk.at / NS) * BINS))
        counted[place] += 1
        delayed[place] = delayed[place] or number in late
    y = Scale.of(counted)
    marks = []
    for place, times in enumerate(counted):
        if times:
            top = y_place(y.share(times), height)
            name = f"{plural(times, 'chunk')} from {duration(x.value(place / BINS))}"
            marks.append(
                tag(
                    "rect",
                    tag("title", name),
                    x=percent(place / BINS),
                    width=percent(0.9 / BINS),
                    y=top,
                    height=max(1.0, y_place(0, height) - top),
                    class_="error" if delayed[place] else "a",
                )
            )
    return marks


def _received(chunks: Sequence[ChunkTick], x: Scale) -> list[tuple[float, float]]:
    """The share of the body that had come, at so many moments."""
    total = sum(chunk.size for chunk in chunks) or 1
    points, received = [(0.0, 0.0)], 0
    every = max(1, len(chunks) // STEPS)
    for number, chunk in enumerate(chunks):
        received += chunk.size
        if number % every == 0 or number == len(chunks) - 1:
            points.append((x.share(chunk.at / NS), received / total))
    return points


def _short(text: str) -> str:
    return text if len(text) <= MOST_TEXT else text[: MOST_TEXT - 1] + "…"


# Several bars on one axis


@dataclass(frozen=True, slots=True)
class Lane:
    """One bar of a waterfall, in ns: waiting from `start` to `first`, then receiving until `end`."""

    name: str
    start: int
    first: int
    end: int
    kind: str = "a"


ROW = 34
"""Pixels of a lane."""


def waterfall(name: str, lanes: Sequence[Lane]) -> Fragment:
    """Bars below one another on one axis of time: a request and the legs of its pair."""
    x = Scale(0.0, max((lane.end for lane in lanes), default=1) / NS or 1e-9, duration)
    marks = []
    for number, lane in enumerate(lanes):
        top = TOP + number * ROW
        start, first, end = (x.share(at / NS) for at in (lane.start, lane.first, lane.end))
        words = f"{lane.name}: from {duration(lane.start / NS)}, {duration((lane.end - lane.start) / NS)}"
        label = tag("text", words, x=percent(min(start, 0.6)), y=top + 10, class_="label")
        bars = [
            tag("rect", x=percent(start), width=percent(first - start), y=top + 14, height=10, class_="waiting"),
            tag(
                "rect",
                x=percent(first),
                width=percent(max(end - first, 0.002)),
                y=top + 14,
                height=10,
                class_=lane.kind,
            ),
        ]
        marks.append(tag("g", tag("title", words), label, *bars))
    return framed(name, marks, x=x, y=None, height=TOP + BOTTOM + 8 + ROW * len(lanes), x_ticks=8)
