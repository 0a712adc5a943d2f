"""The arguments of a URL as a filter, an order, a place in a list; and back."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from replayproxy.admin.inspector.query import SORTS, BadQuery, ListPlace, Query, as_moment, with_condition
from replayproxy.cassette.browse import CassetteBrowser
from replayproxy.views.port import ExchangeFilter, ExchangeRow, RowOrder


def ids(path: Path, **arguments: str) -> int:
    """How many exchanges meet the filters of these arguments."""
    with CassetteBrowser.open(path) as browser:
        chosen = Query(arguments).chosen()
        browser.check(chosen)
        return browser.count(chosen)


def test_filters_choose(traffic: Path) -> None:
    """Each argument alone, and together."""
    everything = ids(traffic)
    assert everything == 120
    assert ids(traffic, model="chat-70b") + ids(traffic, model="chat-8b") + ids(traffic, model="embed") == everything
    errors = ids(traffic, status="errors")
    assert 0 < errors == ids(traffic, status="4xx") + ids(traffic, status="5xx")
    assert ids(traffic, status="200") == ids(traffic, status="2xx") == everything - errors
    assert ids(traffic, endpoint="POST /v1/embeddings") == ids(traffic, model="embed") > 0
    assert ids(traffic, ending="upstream_cut") > 0
    assert ids(traffic, ending="open") == 0
    assert ids(traffic, scope="evaluation") > 0
    assert ids(traffic, ttft="100ms") == ids(traffic, ttft="0.1") == ids(traffic, where="ttft_s >= 0.1")
    assert ids(traffic, total="1s", model="chat-70b") < ids(traffic, total="1ms")
    assert ids(traffic, since="2026-11-18T11:20", until="2026-11-18T11:30Z") == 30


def test_a_condition_stands_by_itself(traffic: Path) -> None:
    """An OR in it does not reach the other filters, nor does a comment."""
    assert ids(traffic, where="1 = 1 OR 1 = 1 --", model="embed") == ids(traffic, model="embed")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"status": "fine"}, "4xx"),
        ({"status": "\u0664\u0660\u0664"}, "number"),
        ({"ending": "happy"}, "upstream_cut"),
        ({"ttft": "soon"}, "500ms"),
        ({"ttft": "nan"}, "500ms"),
        ({"since": "yesterday"}, "2026-11-18T09:14"),
    ],
)
def test_what_makes_no_sense_is_an_error_with_a_way_out(arguments: dict[str, str], words: str) -> None:
    """And is not ignored."""
    with pytest.raises(BadQuery, match=words):
        Query(arguments).chosen()


def test_orders_and_whole_numbers() -> None:
    """By a name of the list; numbers within bounds."""
    assert Query({"sort": "-ttft"}).order() == RowOrder("ttft_s", descending=True)
    assert Query({}).order() is None
    with pytest.raises(BadQuery, match="sorted"):
        Query({"sort": "id; DROP TABLE"}).order()
    assert Query({"n": "7"}).whole("n", 1) == 7
    for text in ("-1", "1.5", "x", "9" * 30, "²"):
        with pytest.raises(BadQuery, match="whole number"):
            Query({"n": text}).whole("n", 1)


def test_links_keep_the_filters() -> None:
    """And change only what they name."""
    query = Query({"cassette": "a", "model": "m&m", "before": "9", "live": "1"})
    assert query.link(before=None, live=None, n=5) == "cassette=a&model=m%26m&n=5"
    assert query.only_filters(status="errors") == "cassette=a&model=m%26m&status=errors"
    assert query.filters == {"model": "m&m"}
    assert as_moment(1_795_000_000.25) == "2026-11-18T11:06:40.250"


def test_a_place_survives_its_link() -> None:
    """Whatever the value, and none."""
    for value, text in ((0.125, "0.125~7"), (3, "3~7"), (None, "null~7")):
        row = cast(ExchangeRow, {"number": 7, "ttft_s": value})
        place = ListPlace.of(row, RowOrder("ttft_s"))
        assert (str(place), ListPlace.read(text)) == (text, place)
    for text in ("", "x", "~", "1~x", "1~" + "9" * 30):
        with pytest.raises(BadQuery):
            ListPlace.read(text)
    with pytest.raises(BadQuery):
        ListPlace.read("x~1").beyond(ExchangeFilter(), RowOrder("ttft_s"))


@pytest.mark.parametrize("name", SORTS)
@pytest.mark.parametrize("descending", [False, True])
def test_every_row_is_on_one_page(traffic: Path, name: str, descending: bool) -> None:
    """Page by page in any order: the same as all at once, with the rows that have no value at the end."""
    order = RowOrder(SORTS[name][0], descending)
    with CassetteBrowser.open(traffic) as browser:
        expected = [row["number"] for row in browser.rows(ExchangeFilter(), order)]
        found: list[int] = []
        chosen = ExchangeFilter()
        while rows := list(browser.rows(chosen, order, 17)):
            found += [row["number"] for row in rows]
            chosen = ListPlace.read(str(ListPlace.of(rows[-1], order))).beyond(ExchangeFilter(), order)
    assert found == expected


def test_one_more_condition() -> None:
    """Beside that of the filter, with its values."""
    chosen = with_condition(ExchangeFilter("a OR b", (("x", 1),), status=200), "number < :n", n=5)
    assert chosen == ExchangeFilter("(a OR b\n) AND number < :n", (("x", 1), ("n", 5)), status=200)
