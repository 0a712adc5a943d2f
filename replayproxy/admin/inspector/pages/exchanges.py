"""The list of exchanges: filters and order in the URL, a page of rows, links to the pages beside it.

A page begins where the one before ended (`before`, `after`), so that no page costs more than another. Live: the script
asks for the newest page again and again with the entity tag of what it has, and gets 304 while nothing has changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from replayproxy.admin.inspector.page import Page, Visitor
from replayproxy.admin.inspector.query import SORTS, BadQuery, ListPlace, Query, with_condition
from replayproxy.cassette.browse import CassetteBrowser
from replayproxy.views import listing
from replayproxy.views.port import ExchangeFilter, ExchangeRow, RowOrder

ROWS = 100
"""Rows of a page, unless `n` says otherwise."""

MOST_ROWS = 500

COUNTED = 50_000
"""Exchanges on a cassette up to which those that meet a filter are counted."""


@dataclass(frozen=True, slots=True)
class RowsPage:
    """One page of rows, and whether there are more on either side."""

    rows: Sequence[ExchangeRow]
    has_older: bool
    has_newer: bool
    everything: int
    chosen: int | None
    """None where they are too many to be counted for a page."""


async def page(visitor: Visitor) -> Page:
    """The list of one cassette, the newest first."""
    name, query = visitor.cassette(), visitor.query
    chosen, order, most = query.chosen(), query.order(), query.whole("n", ROWS, 1, MOST_ROWS)
    found = await visitor.library.ask(name, lambda browser: read(browser, query, chosen, order, most))
    rows = found.rows
    links: dict[str, str] = {}
    if order is not None and rows and found.has_older:
        links["older"] = query.link(cassette=name, after=ListPlace.of(rows[-1], order), before=None)
    elif order is None and rows:
        if found.has_older:
            links["older"] = query.link(cassette=name, before=rows[-1]["number"], after=None)
        if found.has_newer:
            links["newer"] = query.link(cassette=name, after=rows[0]["number"], before=None, live=None)
            links["newest"] = query.link(cassette=name, after=None, before=None)
    data = {
        "cassette": name,
        "filters": query.filters,
        "sort": query.get("sort") or None,
        "exchanges": found.everything,
        "matching": found.chosen,
        "rows": list(rows),
        "older": links.get("older"),
        "newer": links.get("newer"),
    }
    return Page("list.html", data, {**_view(rows, query), "links": links, "cassettes": list(visitor.library.names())})


def read(browser: CassetteBrowser, query: Query, chosen: ExchangeFilter, order: RowOrder | None, most: int) -> RowsPage:
    """Read one page. Raises `BadQuery`, `SettingsError`."""
    browser.check(chosen)
    everything = browser.count()
    counted = browser.count(chosen) if everything <= COUNTED or chosen.is_everything else None
    if order is not None:
        start = ListPlace.read(query.get("after")).beyond(chosen, order) if query.get("after") else chosen
        rows = list(browser.rows(start, order, most + 1))
        return RowsPage(rows[:most], len(rows) > most, False, everything, counted)
    before, after = query.whole("before", 0), query.whole("after", 0)
    if before and after:
        raise BadQuery("before and after are two different pages: leave one of them out")
    if after:
        newer = with_condition(chosen, "number > :web_after", web_after=after)
        rows = list(browser.rows(newer, RowOrder("number"), most + 1))
        return RowsPage(rows[:most][::-1], True, len(rows) > most, everything, counted)
    start = with_condition(chosen, "number < :web_before", web_before=before) if before else chosen
    rows = list(browser.newest_rows(start, most + 1))
    return RowsPage(rows[:most], len(rows) > most, bool(before), everything, counted)


def _view(rows: Sequence[ExchangeRow], query: Query) -> dict[str, Any]:
    """What the table needs besides the rows."""
    longest = max((row["total_s"] or 0.0 for row in rows), default=0.0) or 1.0
    is_newest = not (query.get("before") or query.get("after") or query.get("sort"))
    return {
        "sorts": {name: label for name, (_, label) in SORTS.items()},
        "bars": {row["number"]: _bar(row, longest) for row in rows},
        "endings": {row["number"]: listing.ending(row) for row in rows},
        "has_days": len({row["recorded_at"][:10] for row in rows}) > 1,
        "can_be_live": is_newest,
        "is_live": is_newest and query.get("live") == "1",
    }


def _bar(row: ExchangeRow, longest: float) -> tuple[float, float]:
    """How long an answer waited and streamed, in per cent of the longest on the page."""
    total = row["total_s"] or 0.0
    waiting = min(row["ttft_s"] if row["ttft_s"] is not None else total, total)
    return round(100 * waiting / longest, 1), round(100 * (total - waiting) / longest, 1)
