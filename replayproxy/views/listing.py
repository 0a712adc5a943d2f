"""Which exchanges a list shows, in which order, and what is counted while it is printed.

A list of fifty costs the same on a cassette of any size: the newest are read from the row numbers. Chunk gaps and the
event that ends a stream need the stored answers, so only short lists ask for them (`with_streams`).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from replayproxy.errors import CassetteError
from replayproxy.views.port import Browser, ExchangeFilter, ExchangeRow, RowOrder

SEVERAL = 1.5
"""Tokens per chunk above which a chunk is called bundled."""


class ListedRow(ExchangeRow, total=False):
    """A row with the cassette that it stands on; and of a stream that was read, what the list says of it."""

    cassette: str
    chunk_gap_p50_s: float
    """The median gap between its chunks."""
    missing_end: str | None
    """The event that ends such a stream, where the answer lacks it."""


def is_bundled(row: ExchangeRow) -> bool:
    """Whether a chunk holds several tokens, so that its gap is no inter-token latency."""
    tokens, chunks = row["completion_tokens"], row["chunks"]
    return bool(row["stream"] and tokens and chunks and tokens > SEVERAL * chunks)


def ending(row: ExchangeRow) -> str:
    """How the answer ended: its finish reason where it is complete, else what cut it."""
    if row["state"] == "open":
        return "in flight"
    return str(row["finish"] or "") if row["ending"] == "complete" else str(row["ending"])


# Which rows


def rows(
    browsers: Sequence[Browser], chosen: ExchangeFilter, order: RowOrder | None = None, limit: int | None = None
) -> Iterator[ListedRow]:
    """The exchanges of all cassettes that meet a filter, by time or by `order`.

    With a limit: the newest so many by time, or the first so many by `order`.
    """
    if order is not None:
        each = (_of(browser, browser.rows(chosen, order, limit)) for browser in browsers)
        return _first(heapq.merge(*each, key=lambda row: _place(row, order)), limit)
    if limit is None:
        return heapq.merge(*(_of(browser, browser.rows(chosen)) for browser in browsers), key=_by_time)
    newest = [row for browser in browsers for row in _of(browser, browser.newest_rows(chosen, limit))]
    return iter(sorted(newest, key=_by_time)[max(0, len(newest) - limit) :])


def _by_time(row: ExchangeRow) -> tuple[str, int]:
    return row["recorded_at"], row["number"]


def _place(row: ExchangeRow, order: RowOrder) -> tuple[bool, Any]:
    """Where a row belongs, as SQL orders them; to merge the rows of several cassettes, each in order already."""
    value = row[order.field]  # type: ignore[literal-required]  # the browser has refused other names
    if value is None:
        return (True, 0)
    return (False, _Reversed(value) if order.descending else value)


@dataclass(frozen=True, slots=True)
class _Reversed:
    value: Any

    def __lt__(self, other: _Reversed) -> bool:
        return bool(other.value < self.value)


def _of(browser: Browser, found: Iterable[ExchangeRow]) -> Iterator[ListedRow]:
    name = str(browser.path)
    for row in found:
        yield cast(ListedRow, {"cassette": name, **row})


def _first(rows: Iterable[ListedRow], limit: int | None) -> Iterator[ListedRow]:
    for place, row in enumerate(rows):
        if place == limit:
            return
        yield row


def with_streams(rows: Iterable[ListedRow], browsers: Sequence[Browser]) -> Iterator[ListedRow]:
    """The same rows, with `chunk_gap_p50_s` and `missing_end` where an answer was streamed. Unpacks the answers."""
    # These read JSON, which a list of rows needs nowhere else.
    from replayproxy.core.dialects.stream_end import missing_end
    from replayproxy.core.stats import percentile

    by_path = {str(browser.path): browser for browser in browsers}
    for row in rows:
        if not row["stream"] or row["state"] != "done":
            yield row
            continue
        browser = by_path[row["cassette"]]
        more = row.copy()
        if row["chunks"] > 1:
            for _, timeline in browser.timelines([row["number"]]):
                more["chunk_gap_p50_s"] = percentile(sorted(timeline.gaps()), 50) / 1e9
        if row["ending"] == "complete":
            with suppress(CassetteError):  # `verify` says what is wrong with it
                more["missing_end"] = missing_end(row["path"], browser.response(row["number"]))
        yield more


# What is counted


@dataclass(slots=True)
class PrintedRows:
    """What went by while a list was printed."""

    count: int = 0
    any_bundled: bool = False
    first: ListedRow | None = None
    last: ListedRow | None = None

    def watch(self, rows: Iterable[ListedRow]) -> Iterator[ListedRow]:
        """The same rows."""
        for row in rows:
            self.count += 1
            self.any_bundled = self.any_bundled or is_bundled(row)
            self.first = self.first or row
            self.last = row
            yield row


@dataclass(frozen=True, slots=True)
class RowCount:
    """How many exchanges there are, and how many of them meet the filter."""

    all: int
    chosen: int

    @classmethod
    def of(cls, browsers: Sequence[Browser], chosen: ExchangeFilter) -> RowCount:
        """Count. Without a filter this reads an index only."""
        everything = sum(browser.count() for browser in browsers)
        if chosen.is_everything:
            return cls(everything, everything)
        return cls(everything, sum(browser.count(chosen) for browser in browsers))
