"""Tests of `cassette/browse`: each question, asked of a file on disk; what `ls`, `show`, `stats`, `info` print of the
answers is tested with these verbs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from replayproxy.cassette.browse import CassetteBrowser, condition_of
from replayproxy.errors import SettingsError
from replayproxy.model import Ending, Request
from replayproxy.views.port import EVERYTHING, ExchangeFilter, ExchangeRow, MeasuredRow, RowOrder, Value
from tests.cli.tapes import DAY, answer, asked, chat, writing


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[CassetteBrowser]:
    """Four exchanges, a minute apart: two models, a refusal, and a list of models."""
    path = tmp_path / "four.cassette"
    with writing(path) as keep:
        keep(
            chat("one", model="a", usage=(10, 3)),
            chat("two", model="b", usage=None, started=60_000),
            answer(asked("bad"), b'{"error":{"message":"no"}}', status=400, started=120_000),
            answer(Request("GET", "/v1/models"), b'{"data":[]}', started=180_000),
        )
    with CassetteBrowser.open(path) as opened:
        yield opened


def numbers(rows: Iterator[ExchangeRow]) -> list[int]:
    """Their numbers."""
    return [row["number"] for row in rows]


FILTERS: list[tuple[ExchangeFilter, list[int]]] = [
    (EVERYTHING, [1, 2, 3, 4]),
    (ExchangeFilter(model="b"), [2]),
    (ExchangeFilter(model="no such model"), []),
    (ExchangeFilter(endpoint="/v1/chat/completions"), [1, 2, 3]),
    (ExchangeFilter(endpoint="POST /v1/chat/completions", status=200), [1, 2]),
    (ExchangeFilter(endpoint="POST /v1/models"), []),
    (ExchangeFilter(endpoint="GET /v1/models"), [4]),
    (ExchangeFilter(status=400), [3]),
    (ExchangeFilter(since=DAY + 60 * 10**9, until=DAY + 120 * 10**9), [2]),
    (ExchangeFilter("prompt_tokens > :n OR 0 -- a comment", (("n", 5),), status=200), [1]),
    (ExchangeFilter("model = :m", (("m", "a' OR '1'='1"),)), []),
    (ExchangeFilter("1 OR 1", status=400), [3]),
    (ExchangeFilter(finished=True), [1, 2, 3, 4]),
]


@pytest.mark.parametrize(("chosen", "expected"), FILTERS)
def test_an_exchange_meets_all_conditions(
    browser: CassetteBrowser, chosen: ExchangeFilter, expected: list[int]
) -> None:
    """By time; and they are counted, and measured, by the same conditions."""
    browser.check(chosen)
    assert numbers(browser.rows(chosen)) == expected
    assert browser.count(chosen) == len(expected)
    assert sorted(row["number"] for row in browser.measured_rows(chosen)) == expected


def test_a_condition_is_closed_whatever_was_left_open() -> None:
    """A comment at the end of --where comments nothing else out."""
    chosen = ExchangeFilter("status = 200 -- fine", since=5)
    assert condition_of(chosen).splitlines()[1].startswith(") AND number IN (SELECT")
    assert condition_of(EVERYTHING) == "1"
    assert EVERYTHING.is_everything
    assert not chosen.is_everything


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        (ExchangeFilter("modle = 1"), "did you mean model"),
        (ExchangeFilter("1); DELETE FROM exchange; SELECT (1"), r"a \) too many"),
        (ExchangeFilter("status = :s"), ":s has no value"),
        (ExchangeFilter("1", (("s", 5),)), "has no :s in it to bind"),
        (ExchangeFilter(""), "it is empty"),
        (ExchangeFilter("model = '\udcff'"), "where: .* is not UTF-8"),
        (ExchangeFilter(model="\udcff"), "model: .* is not UTF-8"),
        (ExchangeFilter("model = :m", (("m", "\udcff"),)), "m: .* is not UTF-8"),
        (ExchangeFilter("status = :s", (("s", 2**63),)), "s: 9223372036854775808 has more than 64 bits"),
        (ExchangeFilter("status = :s", (("s", cast(Value, [200])),)), "s: .* is of type list"),
        (ExchangeFilter("status = 200\0"), "holds a NUL"),
    ],
)
def test_sql_that_is_not_a_condition_is_refused(
    browser: CassetteBrowser, chosen: ExchangeFilter, sentence: str
) -> None:
    """Before it stands among ours, with what to do."""
    with pytest.raises(SettingsError, match=sentence):
        browser.check(chosen)


def test_rows_come_in_the_order_of_a_column(browser: CassetteBrowser) -> None:
    """Without a value is last, whichever way; a name that is not a column never reaches SQL."""
    assert numbers(browser.rows(order=RowOrder("prompt_tokens"))) == [1, 2, 3, 4]
    assert numbers(browser.rows(order=RowOrder("prompt_tokens", descending=True))) == [1, 2, 3, 4]
    assert numbers(browser.rows(order=RowOrder("status", descending=True), limit=2)) == [3, 1]
    assert numbers(browser.newest_rows(EVERYTHING, 2)) == [4, 3]
    with pytest.raises(SettingsError, match="no column"):
        browser.rows(order=RowOrder("1; DROP TABLE exchange"))


def test_rows_have_the_types_that_they_say(browser: CassetteBrowser) -> None:
    """The fields of a row are the columns of the view, in their order."""
    assert browser.columns() == list(ExchangeRow.__annotations__)
    assert [list(row) for row in browser.measured_rows()] == [list(MeasuredRow.__annotations__)] * 4


def test_an_exchange_is_found_by_the_beginning_of_its_id(browser: CassetteBrowser) -> None:
    """The newest ones, and those with a prefix."""
    newest = browser.newest_ids(2)
    assert [one.number for one in newest] == [4, 3]
    assert browser.newest() == 4
    assert browser.find(newest[1].digest[:8]) == [newest[1]]
    assert browser.count_ids(newest[1].digest[:8]) == 1
    assert browser.find("") == [*reversed(browser.newest_ids(9))]


def test_one_exchange_is_whole(browser: CassetteBrowser) -> None:
    """Its row, itself, its size, its times; what replays to its request."""
    row, exchange = browser.row(1), browser.exchange(1)
    assert (row["model"], exchange.response.status) == ("a", 200)
    assert dict(browser.timelines([1, 2]))[1] == exchange.response.timeline
    assert browser.playable(row["key"]) == 1
    sizes = browser.stored_sizes(1)
    assert min(sizes.request, sizes.answer, sizes.times) > 0


def test_many_timelines_are_read_in_batches(browser: CassetteBrowser, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as are asked for."""
    monkeypatch.setattr("replayproxy.cassette.browse.BATCH", 2)
    assert sorted(number for number, _ in browser.timelines([1, 2, 3])) == [1, 2, 3]


def test_each_thread_may_ask(browser: CassetteBrowser) -> None:
    """On a connection of its own, while another one reads."""
    reading, found = browser.rows(), list[int]()
    next(reading)
    thread = threading.Thread(target=lambda: found.extend(numbers(browser.rows(ExchangeFilter(status=400)))))
    thread.start()
    thread.join()
    assert (found, numbers(reading)) == ([3], [2, 3, 4])


def test_a_request_that_was_cut_is_counted(tmp_path: Path) -> None:
    """It is no damage, and answers nothing."""
    path = tmp_path / "cut.cassette"
    with writing(path) as keep:
        keep(chat("whole"), replace(chat("cut", ending=Ending.CLIENT_LEFT), request_cut=True))
    with CassetteBrowser.open(path) as browser:
        assert browser.count_cut_requests() == 1
