"""Two cassettes of the same requests, as `diff` compares them; or two exchanges side by side.

`a` and `b` name cassettes, or exchanges as `CASSETTE/ID`; `CASSETTE/ID~NUMBER` also says which of several with one id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from replayproxy.admin.inspector.page import Page, Visitor
from replayproxy.admin.inspector.pages.exchange import numbered
from replayproxy.admin.inspector.query import BadQuery
from replayproxy.core.comparison.agreement_level import AnswerComparison, compare_answers
from replayproxy.errors import SettingsError
from replayproxy.model import Exchange
from replayproxy.views.charts.distribution import cumulative
from replayproxy.views.charts.exchange import Lane, waterfall
from replayproxy.views.comparison import ComparisonPolicy, RunComparison, compare_run, judge
from replayproxy.views.comparison_fields import answers_fields, report_fields
from replayproxy.views.comparison_words import NAMES
from replayproxy.views.conversation import answer_messages, request_messages
from replayproxy.views.joining import joined
from replayproxy.views.pairing import PairedRow
from replayproxy.views.port import Browser, ExchangeFilter, ExchangeRow

MOST_EXCHANGES = 50_000
"""Exchanges of a cassette above which a page does not join it with another one."""

MOST_PAIRS = 1_000
"""Pairs whose answers are read for a page."""

DRAWN = ("ttft", "gap", "tpot", "total")
"""The times that have a chart."""


@dataclass(frozen=True, slots=True)
class ComparedSide:
    """One of two exchanges."""

    cassette: str
    row: ExchangeRow
    exchange: Exchange


async def page(visitor: Visitor) -> Page:
    """The comparison that the URL asks for; without one, a form."""
    first, second = visitor.query.get("a"), visitor.query.get("b")
    names = list(visitor.library.names())
    if not first and not second:
        return Page("compare.html", {"compared": None, "cassettes": names})
    if not first or not second:
        raise BadQuery("a comparison needs two: name a and b, two cassettes or two exchanges")
    sides = [_named(side, names) for side in (first, second)]
    kinds = {id is None for _, id in sides}
    if len(kinds) == 2:
        raise BadQuery("a cassette is compared with a cassette, and an exchange with an exchange")
    if kinds == {True}:
        return await _cassettes(visitor, [name for name, _ in sides])
    return await _exchanges(visitor, [(name, id or "") for name, id in sides])


def _named(text: str, names: Sequence[str]) -> tuple[str, str | None]:
    """The cassette, and the id where there is one."""
    if text in names:
        return text, None
    name, slash, id = text.rpartition("/")
    if not slash:
        raise BadQuery(f"{text!r} is neither a cassette of this inspector nor an exchange, which is CASSETTE/ID")
    return name, id


# Two cassettes


async def _cassettes(visitor: Visitor, names: Sequence[str]) -> Page:
    chosen = visitor.query.chosen()

    def read(browsers: Sequence[Browser]) -> tuple[RunComparison, int]:
        return _compared(browsers[0], browsers[1], (names[0], names[1]), chosen)

    run, pairs = await visitor.library.ask_all(names, read)
    report = judge([run], ComparisonPolicy())
    data = {
        "compared": "cassettes",
        "cassettes": list(visitor.library.names()),
        "a": names[0],
        "b": names[1],
        "filters": visitor.query.filters,
        "joined": pairs,
        "read": run.pairs,
        **report_fields(report),
    }
    charts = {
        NAMES[name]: cumulative(
            f"Share of answers that are not slower: {NAMES[name]}",
            {names[0]: [pair[0] for pair in run.times[name]], f"{names[1]} ": [pair[1] for pair in run.times[name]]},
        )
        for name in DRAWN
        if run.times[name]
    }
    links = [(_place(names[0], pair.first), _place(names[1], pair.second)) for pair in run.differing]
    return Page("compare.html", data, {"charts": charts, "links": links, "times": report.times, "labels": NAMES})


def _compared(
    first: Browser, second: Browser, names: tuple[str, str], chosen: ExchangeFilter
) -> tuple[RunComparison, int]:
    for browser, name in zip((first, second), names, strict=True):
        if browser.count() > MOST_EXCHANGES:
            raise SettingsError(
                f"{name} has more than {MOST_EXCHANGES} exchanges, too many for a page: run"
                f" `replayproxy diff {first.path} {second.path}`"
            )
    pairing = joined(first, second, chosen)
    shown = replace(pairing, pairs=pairing.pairs[:MOST_PAIRS])
    return compare_run(names, shown, first, second), len(pairing.pairs)


def _place(name: str, row: PairedRow) -> str:
    return f"{name}/{row.id}~{row.number}"


# Two exchanges


async def _exchanges(visitor: Visitor, sides: Sequence[tuple[str, str]]) -> Page:
    def read(browsers: Sequence[Browser]) -> list[ComparedSide]:
        found = []
        for browser, (name, text) in zip(browsers, sides, strict=True):
            id, _, number = text.partition("~")
            place = numbered(browser, id, int(number) if number.isascii() and number.isdecimal() else 0)
            found.append(ComparedSide(name, browser.row(place), browser.exchange(place)))
        return found

    first, second = await visitor.library.ask_all([name for name, _ in sides], read)
    comparison = compare_answers(first.exchange.response, second.exchange.response)
    same_request = first.row["key"] == second.row["key"]
    data = {
        "compared": "exchanges",
        "cassettes": list(visitor.library.names()),
        "a": {"cassette": first.cassette, **first.row},
        "b": {"cassette": second.cassette, **second.row},
        "same_request": same_request,
        **answers_fields(comparison),
    }
    view = {
        "sides": [
            {
                "letter": letter,
                "side": side,
                "prompt": () if same_request and letter == "b" else request_messages(side.exchange.request),
                "answer": answer_messages(side.exchange.response),
            }
            for letter, side in zip("ab", (first, second), strict=True)
        ],
        "waterfall": waterfall("Both answers on one axis", [_lane(first, "a"), _lane(second, "b")]),
        "ratios": _ratios(first.row, second.row),
        "places": _places(comparison),
    }
    return Page("compare.html", data, view)


def _lane(side: ComparedSide, kind: str) -> Lane:
    timeline = side.exchange.response.timeline
    return Lane(f"{side.cassette} {side.row['id']}", 0, timeline.first, timeline.end, kind)


def _ratios(first: ExchangeRow, second: ExchangeRow) -> list[tuple[str, float | None, float | None, float | None]]:
    """Each time on both sides, and the second over the first."""
    found = []
    for field, label in (("ttft_s", "TTFT"), ("tpot_s", "TPOT"), ("total_s", "Total")):
        one, other = first[field], second[field]  # type: ignore[literal-required]  # names of columns
        found.append((label, one, other, other / one if one and other is not None else None))
    return found


def _places(comparison: AnswerComparison) -> list[dict[str, Any]]:
    """Where texts begin to differ, as pieces that a template can mark."""
    return [
        {"path": place.path, "token": place.token, "before": place.before, "first": place.first, "second": place.second}
        for difference in comparison.differences
        if (place := difference.place) is not None
    ]
