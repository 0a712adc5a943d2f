"""Lay rows out in columns for people. Knows widths, not where the lines go.

Where there is no width (a pipe, a file, `--no-trunc`) every column is as wide as it needs and nothing is cut. On a
terminal columns that say nothing go first, then those of the highest `spare`, then the `flexible` ones are cut with an
ellipsis: a line never wraps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from rich.cells import cell_len, set_cell_size

from replayproxy.cli.terminal.screen import Line, Span
from replayproxy.core.visible import visible
from replayproxy.views.units import NOTHING

Row = Mapping[str, Any]

SAMPLE = 1000
"""Rows by which columns are measured where there may be millions."""

_GAP = "  "


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `text` says a row's value for people, "" for nothing; `style` how a terminal shows it."""

    heading: str
    text: Callable[[Row], str]
    style: Callable[[Row], str] = lambda _: ""
    left: bool = False
    spare: int = 0
    """The higher, the sooner it goes where there is no room; 0 stays."""
    flexible: int = 0
    """The least width to which it may be cut; 0 is never cut."""
    tail: bool = False
    """Its end tells more than its beginning, so that is what a cut leaves."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns that are shown, how wide; and the headings of those that are not."""

    columns: tuple[Column, ...]
    widths: tuple[int, ...]
    hidden: tuple[str, ...] = ()

    def heading(self) -> Line:
        """The line above all rows."""
        return self._line([column.heading for column in self.columns], ["bold"] * len(self.columns))

    def row(self, row: Row) -> Line:
        """One row."""
        texts = [visible(column.text(row)) or NOTHING for column in self.columns]
        styles = [
            column.style(row) if text != NOTHING else "dim" for column, text in zip(self.columns, texts, strict=True)
        ]
        return self._line(texts, styles)

    def _line(self, texts: list[str], styles: list[str]) -> Line:
        line: Line = []
        for text, style, column, width in zip(texts, styles, self.columns, self.widths, strict=True):
            fitted = _cut(text, width, tail=column.tail) if column.flexible else text
            blank = " " * (width - cell_len(fitted))
            line += [
                Span(_GAP if line else ""),
                *((Span(fitted, style), Span(blank)) if column.left else (Span(blank), Span(fitted, style))),
            ]
        return line


def _cut(text: str, width: int, *, tail: bool) -> str:
    if cell_len(text) <= width:
        return text
    if not tail:
        return set_cell_size(text, width - 1) + "…"
    while cell_len(text) > width - 1:
        text = text[1:]
    return "…" + text


def layout(columns: Sequence[Column], rows: Sequence[Row], width: int | None = None) -> Layout:
    """Find a place for every column, or leave some out."""
    natural: dict[str, int] = {}
    empty: set[str] = set()
    for column in columns:
        texts = [visible(column.text(row)) for row in rows]
        natural[column.heading] = max(map(cell_len, (column.heading, *texts)))
        if not any(texts):
            empty.add(column.heading)

    def least(column: Column) -> int:
        return (
            min(natural[column.heading], max(column.flexible, cell_len(column.heading)))
            if column.flexible
            else natural[column.heading]
        )

    shown = list(columns)
    while width is not None and sum(map(least, shown)) + len(_GAP) * (len(shown) - 1) > width:
        spare = [column for column in shown if column.spare]
        if not spare:
            break
        shown.remove(max(spare, key=lambda column: (column.heading in empty, column.spare)))
    widths = {column.heading: least(column) for column in shown}
    room = 10**9 if width is None else width - sum(widths.values()) - len(_GAP) * (len(shown) - 1)
    for column in sorted((column for column in shown if column.flexible), key=lambda column: natural[column.heading]):
        more = max(0, min(natural[column.heading] - widths[column.heading], room))
        widths[column.heading] += more
        room -= more
    hidden = tuple(column.heading for column in columns if column not in shown)
    return Layout(tuple(shown), tuple(widths[column.heading] for column in shown), hidden)


def measured(columns: Sequence[Column], rows: Iterable[Row], width: int | None = None) -> tuple[Layout, Iterator[Row]]:
    """Find a place for rows that may be millions, without holding them: by the first thousand. Gives the rows again."""
    coming = iter(rows)
    first = list(islice(coming, SAMPLE))
    return layout(columns, first, width), chain(first, coming)
