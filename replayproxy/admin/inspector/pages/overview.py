"""The first page: which cassettes there are, and of one of them latency and requests over time, errors, models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from replayproxy.admin.inspector.page import Page, Visitor
from replayproxy.admin.inspector.query import as_moment
from replayproxy.admin.inspector.sample import Sample
from replayproxy.core.stats import summarise
from replayproxy.errors import CassetteError
from replayproxy.views import listing
from replayproxy.views.charts.over_time import Point, latency, rates
from replayproxy.views.port import Browser, ExchangeRow
from replayproxy.views.units import duration

SLOWEST = 8
MOST_CASSETTES = 200
"""Cassettes whose exchanges are counted for the page."""


@dataclass(frozen=True, slots=True)
class _Read:
    sample: Sample
    rows: list[ExchangeRow]


async def page(visitor: Visitor) -> Page:
    """The overview of one cassette, and the list of all."""
    name, query = visitor.cassette(), visitor.query
    chosen = query.chosen()

    def read(browser: Browser) -> _Read:
        sample = Sample.of(browser, chosen)
        return _Read(sample, list(browser.rows(sample.chosen)))

    found = await visitor.library.ask(name, read)
    rows = found.rows
    data = {
        "cassettes": await _cassettes(visitor),
        "cassette": name,
        "exchanges": found.sample.count,
        "filters": query.filters,
        "read": len(rows),
        "each": found.sample.each,
        **_counted(rows),
        "ttft_s": _percentiles(rows, "ttft_s"),
        "total_s": _percentiles(rows, "total_s"),
        "tpot_s": _percentiles(rows, "tpot_s"),
        "slowest": _slowest(rows),
    }
    points = [_point(row, visitor, name) for row in rows if row["total_s"] is not None]
    start = visitor.link("list")

    def span(since: float, until: float) -> str:
        return f"{start}?{query.only_filters(cassette=name, since=as_moment(since), until=as_moment(until))}"

    charts = {
        "latency": latency("Total time of each answer, by the time of its request", points, span),
        "rates": rates("Requests over time", points, span, each=found.sample.each),
    }
    return Page("overview.html", data, {"charts": charts if points else {}, "span": _span(rows)})


async def _cassettes(visitor: Visitor) -> list[dict[str, Any]]:
    """All cassettes with their sizes; of a damaged one, why it cannot be read."""
    found = []
    for number, (name, path) in enumerate(visitor.library.names().items()):
        one: dict[str, Any] = {"name": name, "path": str(path), "exchanges": None, "bytes": None, "error": None}
        if number < MOST_CASSETTES:
            try:
                one["exchanges"] = await visitor.library.ask(name, lambda browser: browser.count())
                with suppress(OSError):
                    one["bytes"] = path.stat().st_size
            except CassetteError as error:
                one["error"] = str(error)
        found.append(one)
    return found


def is_error(row: ExchangeRow) -> bool:
    """Whether an answer is an error, or was cut. An answer whose client left does not count."""
    return row["state"] == "done" and (
        row["status"] >= 400 or (row["status"] == 0) or row["ending"] not in ("complete", "client_left")
    )


def seconds_of(row: ExchangeRow) -> float:
    """When the request was complete, in seconds since the Unix epoch."""
    try:
        return datetime.fromisoformat(row["recorded_at"]).timestamp()
    except (ValueError, OverflowError, OSError):  # a time that no calendar has
        return 0.0


def _point(row: ExchangeRow, visitor: Visitor, name: str) -> Point:
    took = row["total_s"] or 0.0
    words = [row["id"], row["model"] or row["path"], f"{row['status'] or 'no answer'}", duration(took)]
    return Point(
        seconds_of(row),
        took,
        " · ".join([*words, *([] if row["ending"] == "complete" else [listing.ending(row)])]),
        visitor.link("exchange", cassette=name, id=row["id"]),
        is_error(row),
    )


def _span(rows: Sequence[ExchangeRow]) -> str:
    """How much time lies between the first and the last request."""
    times = [seconds_of(row) for row in rows]
    return duration(max(times) - min(times)) if len(times) > 1 else ""


def _counted(rows: Sequence[ExchangeRow]) -> dict[str, Any]:
    """How often each model, endpoint, status and ending is there, the most frequent first."""
    return {
        "errors": sum(map(is_error, rows)),
        "models": dict(Counter(row["model"] or "" for row in rows).most_common(20)),
        "endpoints": dict(Counter(f"{row['method']} {row['path']}" for row in rows).most_common(20)),
        "statuses": {str(status): times for status, times in Counter(row["status"] for row in rows).most_common(20)},
        "endings": dict(Counter(row["ending"] or "open" for row in rows).most_common()),
        "prompt_tokens": sum(row["prompt_tokens"] or 0 for row in rows),
        "completion_tokens": sum(row["completion_tokens"] or 0 for row in rows),
    }


def _percentiles(rows: Sequence[ExchangeRow], field: str) -> dict[str, float] | None:
    """Of answers that ended complete without an error."""
    values = [
        row[field]  # type: ignore[literal-required]  # a name of a column
        for row in rows
        if row["state"] == "done" and row["ending"] == "complete" and 200 <= row["status"] < 400
    ]
    summary = summarise(value for value in values if value is not None)
    if summary is None:
        return None
    return {"n": summary.n, "p50": summary.p50, "p90": summary.p90, "p99": summary.p99, "max": summary.max}


def _slowest(rows: Sequence[ExchangeRow]) -> list[dict[str, Any]]:
    ended = [row for row in rows if row["total_s"] is not None]
    ended.sort(key=lambda row: -(row["total_s"] or 0.0))
    fields = ("id", "recorded_at", "method", "path", "model", "status", "ttft_s", "total_s", "completion_tokens")
    chosen: Sequence[Mapping[str, Any]] = ended[:SLOWEST]
    return [{field: row[field] for field in fields} for row in chosen]
