"""Tests of `cassette/answer_columns`: the columns say what the rows say, part by part, and trust nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from replayproxy.cassette import answer_columns
from replayproxy.cassette.browse import CassetteBrowser
from replayproxy.errors import CassetteError, Damaged, SettingsError
from replayproxy.model import Ending
from replayproxy.views.port import EVERYTHING, ExchangeFilter
from tests.cli.tapes import answer, asked, chat, pair, writing


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of several kinds."""
    path = tmp_path / "a.cassette"
    with writing(path) as keep:
        keep(
            chat("a", started=0),
            chat("b", usage=None, model="other", started=1000),
            chat("c", ending=Ending.CLIENT_LEFT, started=2000),
            answer(asked("d"), b"{}", status=500, started=3000),
            answer(asked("e"), b"{}", started=4000),
            pair(chat("f", started=5000)),
        )
    return path


def columns(browser: CassetteBrowser, chosen: ExchangeFilter = EVERYTHING) -> dict[int, tuple[object, ...]]:
    """What the columns say of measured answers, by number."""
    found: dict[int, tuple[object, ...]] = {}
    for part in browser.answer_columns(chosen):
        if part.is_measured:
            for place, number in enumerate(part.numbers):
                kind = part.kinds[part.codes[place]]
                found[number] = (
                    *(kind.method, kind.path, kind.model, int(kind.stream), kind.status, kind.ending),
                    *(part.at_us[place], part.ttft_us[place], part.total_us[place], part.output_tokens[place]),
                )
    return found


@pytest.mark.parametrize("size", [1, 2, 100])
@pytest.mark.parametrize("chosen", [EVERYTHING, ExchangeFilter("model = 'tiny'"), ExchangeFilter("0")])
def test_columns_say_what_rows_say(
    path: Path, size: int, chosen: ExchangeFilter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In parts of any size, with and without a filter."""
    monkeypatch.setattr(answer_columns, "PART", size)
    with CassetteBrowser.open(path) as browser:
        expected = {
            row["number"]: (
                *(row["method"], row["path"], row["model"], row["stream"], row["status"], row["ending"]),
                row["at"] // 1000,
                None if row["ttft_s"] is None else round(row["ttft_s"] * 1e6),
                *(round(row["total_s"] * 1e6), row["output_tokens"]),
            )
            for row in browser.measured_rows(chosen)
            if row["measured"]
        }
        assert columns(browser, chosen) == expected
        others = [part for part in browser.answer_columns(chosen) if not part.is_measured]
        counted = sum(len(part.codes) for part in others)
        assert counted == browser.count(chosen) - len(expected)


def test_a_condition_that_cannot_run(path: Path) -> None:
    """Is the user's mistake."""
    with CassetteBrowser.open(path) as browser, pytest.raises(SettingsError):
        list(browser.answer_columns(ExchangeFilter("no_such_column > 1")))


DAMAGE = [
    "UPDATE exchange SET endpoint = 99 WHERE id = 1",
    "UPDATE exchange SET endpoint = 9223372036854775807 WHERE id = 1",
    "UPDATE exchange SET total_us = NULL WHERE id = 1",
]


@pytest.mark.parametrize("sql", DAMAGE)
def test_a_damaged_row_is_noticed(path: Path, sql: str) -> None:
    """A sentence, and no figure that is wrong."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(sql)
    connection.close()
    with CassetteBrowser.open(path) as browser, pytest.raises(Damaged, match="restore"):
        list(browser.answer_columns())


def test_numbers_that_are_far_apart_cost_nothing(path: Path) -> None:
    """A stranger's file may have any."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("UPDATE exchange SET id = 9223372036854775807 WHERE id = 2")
    connection.close()
    with CassetteBrowser.open(path) as browser:
        assert sum(len(part.codes) for part in browser.answer_columns()) == 6


def test_legs_by_their_numbers(path: Path) -> None:
    """With their role, and only those of exchanges that meet the filter."""
    with CassetteBrowser.open(path) as browser:
        legs = list(browser.leg_rows())
        assert [(leg["exchange"], leg["role"]) for leg in legs] == [(6, "prefill"), (6, "decode")]
        assert all(leg["head_s"] <= leg["total_s"] for leg in legs)
        assert list(browser.leg_rows(ExchangeFilter("model = 'other'"))) == []


def test_a_closed_cassette_gives_no_columns(path: Path) -> None:
    """Also to the thread that reads ahead."""
    browser = CassetteBrowser.open(path)
    with browser:
        pass
    with pytest.raises(CassetteError, match="closed"):
        list(browser.answer_columns())
