"""Tests of `cassette/large_indexes`: a large file finds an id at once, and a small one stays small."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from replayproxy.cassette import large_indexes
from replayproxy.cassette.browse import CassetteBrowser
from replayproxy.cassette.checking.verify import verify
from replayproxy.cassette.reader import CassetteReader
from tests.cli.tapes import chat, writing


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One that counts as large."""
    monkeypatch.setattr(large_indexes, "MANY", 20)
    path = tmp_path / "large.cassette"
    with writing(path) as keep:
        keep(*(chat(str(number), started=number) for number in range(40)))
    return path


def indexes(path: Path) -> set[str]:
    """The names of the indexes that SQLite did not make by itself."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL")
        return {name for (name,) in rows}


def test_a_large_file_is_sealed_with_them(large: Path) -> None:
    """They are ours, not a stranger's, and the file is in order."""
    assert indexes(large) == set(large_indexes.INDEXES)
    with CassetteBrowser.open(large) as browser:
        assert list(browser.summary().foreign) == []
    assert verify(large) == (40, [])


def test_a_small_file_has_none(tmp_path: Path) -> None:
    """Each would take a page."""
    path = tmp_path / "small.cassette"
    with writing(path) as keep:
        keep(*(chat(str(number), started=number) for number in range(40)))
    assert indexes(path) == set()


@pytest.mark.parametrize(("few", "sealed"), [(9, set()), (8, {"exchange_place"})])
def test_a_sealed_file_of_few_has_no_index_of_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int, sealed: set[str]
) -> None:
    """It is there while a file is recorded on; a reader of one that lacks it finds every key all the same."""
    monkeypatch.setattr(large_indexes, "FEW", few)
    path = tmp_path / "a.cassette"
    for first in (0, 4):
        with writing(path) as keep:
            assert indexes(path) == {"exchange_place"}
            keep(*(chat(str(number), started=number) for number in range(first, first + 4 + first // 4)))
    assert indexes(path) == sealed
    with CassetteReader(path) as cassette:
        assert [cassette.count(ref.key) for _, ref, _ in cassette.places()] == [1] * 9
    assert verify(path) == (9, [])


def test_a_file_that_is_recorded_on_again_keeps_them(large: Path) -> None:
    """And finds the new exchanges by them."""
    with writing(large) as keep:
        keep(chat("new", started=10_000))
    assert "exchange_digest" in indexes(large)
    with CassetteBrowser.open(large) as browser:
        newest = browser.newest_ids(1)[0]
        assert browser.find(newest.digest) == [newest]
    assert verify(large)[1] == []


def test_an_id_is_looked_up_in_the_index(large: Path) -> None:
    """Not by a scan of all rows."""
    with closing(sqlite3.connect(large)) as connection:
        sql = "EXPLAIN QUERY PLAN SELECT id FROM exchange WHERE digest >= x'70' AND digest < x'71' LIMIT 9"
        plan = " ".join(str(row[3]) for row in connection.execute(sql))
    assert "exchange_digest" in plan


def test_a_stranger_may_not_take_the_name(large: Path) -> None:
    """An index of ours that is another one is foreign; one that forbids is damage, as any."""
    with closing(sqlite3.connect(large)) as connection, connection:
        connection.execute("DROP INDEX exchange_digest")
        connection.execute("CREATE INDEX exchange_digest ON exchange (status)")
    with CassetteBrowser.open(large) as browser:
        assert list(browser.summary().foreign) == [("index", "exchange_digest")]


@pytest.mark.parametrize("length", range(1, 17))
def test_a_prefix_of_any_length_finds_what_begins_so(large: Path, length: int) -> None:
    """Also an odd number of digits, and capital ones."""
    with CassetteBrowser.open(large) as browser:
        every = browser.newest_ids(100)
        for one in every[:10]:
            prefix = one.digest[:length]
            expected = {other.number for other in every if other.digest.startswith(prefix)}
            found = {other.number for other in browser.find(prefix.upper())}
            assert found <= expected
            assert len(found) == min(9, len(expected))
            assert browser.count_ids(prefix) == len(expected)


def test_a_prefix_of_the_highest_digits(large: Path) -> None:
    """There is no number after it."""
    with closing(sqlite3.connect(large)) as connection, connection:
        connection.execute("UPDATE exchange SET digest = x'ffffffffffffff01' WHERE id = 3")
    with CassetteBrowser.open(large) as browser:
        for length in range(1, 15):
            assert 3 in {one.number for one in browser.find("f" * length)}
