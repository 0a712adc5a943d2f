"""Tests of `cassette/sql_session`: read-only SQL, whose mistakes become sentences."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from replayproxy.cassette.sql_session import SqlSession
from replayproxy.errors import Damaged, SettingsError
from tests.cli.tapes import chat, writing


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two chats."""
    path = tmp_path / "a.cassette"
    with writing(path) as keep:
        keep(chat("hello", started=0), chat("again", started=1000))
    return path


def test_names_and_rows(path: Path) -> None:
    """A value is bound by its name; columns of one name are told apart."""
    with SqlSession(path) as session:
        names, rows = session.run(
            "SELECT 1 AS a, 2 AS a, rp_prompt(number) FROM v_exchange WHERE number = :n", {"n": 2}
        )
        assert names == ["a", "a_2", "rp_prompt(number)"]
        assert list(rows) == [(1, 2, "again")]


MISTAKES = [
    ("SELECT * FROM bar", "no such table: bar. Views and tables are v_chunk, v_exchange, v_leg, v_message, answer"),
    ("SELECT foo FROM v_exchange", "no such column: foo"),
    ("SELEC 1", "syntax error"),
    ("SELECT 1; SELECT 2", "one statement"),
    ("SELECT :x", "parameter"),
    ("DELETE FROM exchange", "would change the cassette"),
    ("CREATE TABLE a (b)", "would change the cassette"),
    ("PRAGMA user_version = 7", "would change the cassette"),
    ("ATTACH 'other.db' AS other", "reads one cassette"),
    ("SELECT \0", "NUL"),
]


@pytest.mark.parametrize(("sql", "sentence"), MISTAKES)
def test_mistakes(path: Path, sql: str, sentence: str) -> None:
    """Named, with a way out; and the file stays as it is."""
    before = path.read_bytes()
    with SqlSession(path) as session:
        with pytest.raises(SettingsError) as raised:
            list(session.run(sql, {})[1])
        assert sentence in str(raised.value)
        assert ".." not in str(raised.value)
    assert path.read_bytes() == before


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # sqlite_utils wants it shown
def test_damage_is_named(path: Path) -> None:
    """By the function that met it: exit code 6 elsewhere."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE exchange SET digest = x'0011223344556677' WHERE id = 1")
    connection.close()
    with SqlSession(path) as session, pytest.raises(Damaged, match="digest differs"):
        list(session.run("SELECT rp_text(number) FROM v_exchange", {})[1])


def test_a_long_query_can_be_stopped(path: Path) -> None:
    """While SQLite is at work; the session can be used afterwards."""
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    answers = iter([False, False, True])
    with SqlSession(path, lambda: next(answers, False)) as session:
        with pytest.raises(KeyboardInterrupt):
            list(session.run(endless, {})[1])
        assert list(session.run("SELECT 1", {})[1]) == [(1,)]
