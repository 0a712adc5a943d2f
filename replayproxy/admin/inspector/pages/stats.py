"""Percentiles of one cassette by group, as `stats` prints them, and a histogram of each measure.

Of many exchanges every n-th is read, unless `exact=1` asks for all of them; histograms are always of a sample.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from replayproxy.admin.inspector.page import Page, Visitor
from replayproxy.admin.inspector.query import BadQuery
from replayproxy.admin.inspector.sample import Sample
from replayproxy.views import statistics
from replayproxy.views.charts.distribution import histogram
from replayproxy.views.port import Browser, ExchangeFilter, MeasuredRow
from replayproxy.views.units import count, duration

STREAMS = 1_000
"""Streams whose gaps the histogram of gaps has."""

MEASURES: Mapping[str, tuple[str, str]] = {
    "ttft_s": ("TTFT", "answer"),
    "chunk_gap_s": ("Chunk gap", "gap"),
    "tpot_s": ("TPOT", "answer"),
    "total_s": ("Total", "answer"),
    "output_tokens": ("Output tokens", "answer"),
    "prefill_s": ("Prefill", "answer"),
    "handover_s": ("Hand-over", "answer"),
    "decode_ttft_s": ("Decode TTFT", "answer"),
}
"""The measures in the order of the page: a name for people, and what is counted."""


@dataclass(frozen=True, slots=True)
class _Read:
    sample: Sample
    rows: list[dict[str, Any]]
    values: dict[str, Counter[float]]


async def page(visitor: Visitor) -> Page:
    """The statistics of one cassette."""
    name, query = visitor.cassette(), visitor.query
    chosen, by, is_exact = query.chosen(), query.get("by") or "model", query.get("exact") == "1"
    if by not in statistics.GROUPINGS:
        raise BadQuery(f"answers cannot be grouped by {by!r}: choose one of {', '.join(statistics.GROUPINGS)}")

    def read(browser: Browser) -> _Read:
        sample = Sample.of(browser, chosen)
        selected = chosen if is_exact else sample.chosen
        groups = statistics.gather([browser], selected, by)
        return _Read(sample, list(statistics.data_rows(groups)), _values(browser, sample.chosen))

    found = await visitor.library.ask(name, read)
    each = 1 if is_exact else found.sample.each
    data = {
        "cassette": name,
        "filters": query.filters,
        "by": by,
        "exchanges": found.sample.count,
        "each": each,
        "rows": found.rows,
        "definitions": statistics.EXPLAINED,
    }
    return Page(
        "stats.html",
        data,
        {
            "groups": _by_group(found.rows),
            "groupings": [name for name in statistics.GROUPINGS if name != "cassette"],
            "measures": MEASURES,
            "charts": _charts(found.values),
            "cassettes": list(visitor.library.names()),
            "formats": {name: unit_of(name) for name in MEASURES},
        },
    )


def unit_of(measure: str) -> Callable[[float], str]:
    """How a measure is written for people."""
    return count if measure.endswith("tokens") else duration


def _values(browser: Browser, chosen: ExchangeFilter) -> dict[str, Counter[float]]:
    """How often each value of each measure occurs among measured answers."""
    values: dict[str, Counter[float]] = {name: Counter() for name in MEASURES}
    streams: list[int] = []
    for row in browser.measured_rows(chosen):
        if not row["measured"]:
            continue
        _add(values, row)
        if row["stream"] and row["chunks"] > 1 and len(streams) < STREAMS:
            streams.append(row["number"])
    for _, timeline in browser.timelines(streams):
        values["chunk_gap_s"].update(gap / 1e9 for gap in timeline.gaps())
    return values


def _add(values: Mapping[str, Counter[float]], row: MeasuredRow) -> None:
    fields: Mapping[str, Any] = row
    for name, counted in values.items():
        if name != "chunk_gap_s" and (value := fields[name]) is not None:
            counted[value] += 1


def _charts(values: Mapping[str, Counter[float]]) -> dict[str, Any]:
    """A histogram of each measure that has values."""
    charts = {}
    for name, counted in values.items():
        if counted:
            title, things = MEASURES[name]
            charts[name] = histogram(f"Histogram of {title}", list(counted.items()), unit_of(name), things=things)
    return charts


def _by_group(rows: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """The rows by group and measure, in their order."""
    groups: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["group"], {})[row["measure"]] = row
    return groups
