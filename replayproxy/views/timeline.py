"""Draw when the chunks of an answer came, in one line: `.....TTFT....▂▄▄▃▁ !▄▄▄▅`.

Dots are waiting; the height of a block is how many chunks came in that moment; a blank is silence; `!` is a chunk that
came late, more than three times the median gap after the one before it. Draws numbers; knows no terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean as mean
from statistics import median

from replayproxy.views.units import duration

BLOCKS = "▁▂▃▄▅▆▇█"

LATE = 3
"""A chunk is late after a gap of more than so many times the median gap."""

TOGETHER = 500_000
"""Chunks closer than this, in ns, may have come in one read."""


@dataclass(frozen=True, slots=True)
class Lateness:
    """Which chunks came late, by their indexes, and the average with which their gaps were compared."""

    places: tuple[int, ...] = ()
    usual: str = "median"

    @classmethod
    def of(cls, chunks: Sequence[int]) -> Lateness:
        """Find the late ones among chunks with these times (ns); if most came in one read, compare with the mean."""
        gaps = [after - before for before, after in pairwise(chunks)]
        if len(gaps) < 3:
            return cls()
        usual, name = median(gaps), "median"
        if usual < TOGETHER:
            usual, name = max(TOGETHER, mean(gaps)), "mean"
        return cls(tuple(place for place, gap in enumerate(gaps, 1) if gap > LATE * usual), name)


def draw(
    chunks: Sequence[int], end: int, width: int, *, start: int = 0, content: int | None = None, word: str = ""
) -> str:
    """One line of `width` cells for the time from 0 to `end` ns. `start` is when waiting began.

    `content` is the time of the first event with content: waiting ends there, or else with the first chunk. `word` is
    written into the waiting where it fits.
    """
    if width < 1 or end <= 0:
        return ""

    def cell(at: int) -> int:
        return min(width - 1, max(0, at * width // end))

    cells = [" "] * width
    first = content if content is not None else chunks[0] if chunks else None
    waiting = range(cell(start), width if first is None else cell(first))
    for place in waiting:
        cells[place] = "."
    if word and len(waiting) >= len(word) + 2:
        left = waiting.start + (len(waiting) - len(word)) // 2
        cells[left : left + len(word)] = word
    counted = [0] * width
    for at in chunks:
        counted[cell(at)] += 1
    most = max(counted)
    for place, many in enumerate(counted):
        if many:
            cells[place] = BLOCKS[(many * len(BLOCKS) - 1) // most]
    for place in Lateness.of(chunks).places:
        cells[cell(chunks[place])] = "!"
    return "".join(cells)


def axis(end: int, width: int) -> str:
    """Times below a drawing, at round places: `0         0.5 s        1 s`, with the end at its right."""
    last = duration(end / 1e9)
    line = "0".ljust(width - len(last)) + last if width > len(last) + 1 else "0"[:width]
    step = _round_step(end, max(1, width // 16))
    for place in range(step, end, step):
        text = duration(place / 1e9)
        left = place * width // end
        if line[left - 1 : left + len(text) + 2].strip() == "" and left + len(text) + 2 < width:
            line = line[:left] + text + line[left + len(text) :]
    return line


def _round_step(end: int, steps: int) -> int:
    """1, 2 or 5 times a power of ten, so that there are at most so many steps."""
    power = 1
    while True:
        for factor in (1, 2, 5):
            if end // (factor * power) <= steps:
                return factor * power
        power *= 10


def bars(counted: Sequence[int]) -> str:
    """A block per number, as high as the number is beside the largest one; a blank for zero."""
    most = max(counted, default=0)
    return "".join(BLOCKS[(many * len(BLOCKS) - 1) // most] if many else " " for many in counted)
