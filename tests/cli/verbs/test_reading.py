"""Tests of `cli/verbs/reading`: what all four verbs do with files that are no good, and what they leave alone."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.tapes import Read, chat, writing

VERBS = ("ls", "show", "stats", "info")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A sealed cassette of some pages."""
    path = tmp_path / "a.cassette"
    with writing(path) as keep:
        keep(*(chat(os.urandom(400).hex(), started=number) for number in range(30)))
    return path


def missing(path: Path) -> None:
    """It is not there."""
    path.unlink()


def text(path: Path) -> None:
    """It is something else."""
    path.write_text("hello\n" * 1000)


def foreign(path: Path) -> None:
    """Another program's database."""
    path.unlink()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE a (b)")
    connection.close()


def newer(path: Path) -> None:
    """Of a later format."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


def truncated(path: Path) -> None:
    """The end is missing."""
    os.truncate(path, path.stat().st_size // 2)


FILES: list[tuple[Callable[[Path], None], int, str]] = [
    (missing, 2, "does not exist"),
    (text, 2, "is not a cassette"),
    (foreign, 2, "not a cassette"),
    (newer, 2, "has cassette format 99"),
    (truncated, 6, "Restore it from a copy"),
]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(("spoil", "code", "sentence"), FILES)
def test_a_file_that_is_no_good(
    read: Read, path: Path, verb: str, spoil: Callable[[Path], None], code: int, sentence: str
) -> None:
    """A sentence that names it, the right exit code, and nothing on stdout."""
    spoil(path)
    ran = read(verb, path)
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.startswith(f"replayproxy: {path} ")
    assert sentence in ran.err


def test_a_damaged_answer_is_not_shown(read: Read, path: Path) -> None:
    """Exit code 6; the others can be."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE answer SET answer = x'00' WHERE exchange = 30")
    connection.close()
    ran = read("show", path)
    assert (ran.code, ran.out) == (6, "")
    assert read("ls", path).code == 0


def test_damaged_times(read: Read, path: Path) -> None:
    """Are noticed where they are read."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE payload SET times = x'ffffffffffffffffffff' WHERE exchange = 30")
    connection.close()
    for verb in ("ls", "show", "stats"):
        assert read(verb, path).code == 6, verb


@pytest.mark.parametrize(
    ("column", "value"),
    [("status", "'many'"), ("total_us", "'long'"), ("recorded_at", "'once'"), ("chunks", "x'00'"), ("finish", "x'ff'")],
)
@pytest.mark.parametrize("verb", VERBS)
def test_a_row_of_another_kind_is_damage(read: Read, path: Path, verb: str, column: str, value: str) -> None:
    """A stranger's file may hold what SQLite would not have written: a sentence, never a traceback."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        sql = connection.execute("SELECT sql FROM sqlite_schema WHERE name = 'exchange'").fetchone()[0]
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'exchange'", (sql.removesuffix(" STRICT"),))
    connection.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(f"UPDATE exchange SET {column} = {value} WHERE id = 30")  # noqa: S608  from the table above
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'exchange'", (sql,))
    connection.close()
    for flags in ((), ("--json",)):
        ran = read(verb, path, *flags)
        assert ran.code in (0, 6), ran.err
        assert "Traceback" not in ran.err


def test_reading_changes_nothing(read: Read, path: Path) -> None:
    """Not a byte, and nothing is left beside."""
    before = (path.read_bytes(), sorted(path.parent.iterdir()))
    for verb in VERBS:
        assert read(verb, path).code == 0
    assert (path.read_bytes(), sorted(path.parent.iterdir())) == before


def test_reading_while_it_is_recorded(read: Read, tmp_path: Path) -> None:
    """Any number of readers; they see what was committed."""
    path = tmp_path / "live.cassette"
    with writing(path) as keep:
        keep(chat("1"))
        assert len(read("ls", path, "--nl").out.splitlines()) == 1
        keep(chat("2", started=1))
        assert len(read("ls", path, "--nl").out.splitlines()) == 2
        for verb in VERBS:
            assert read(verb, path).code == 0
