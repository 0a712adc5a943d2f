"""Tests of `cassette/editing/compact`: smaller, the same to everybody who reads it, or left as it was."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from replayproxy.cassette import database
from replayproxy.cassette.checking.verify import verify
from replayproxy.cassette.editing import compact as compacting
from replayproxy.cassette.editing.compact import compact
from replayproxy.cassette.reader import CassetteReader
from replayproxy.errors import CassetteError, Locked
from replayproxy.model import Exchange
from tests.cli.tapes import chat, pair, writing


def exchanges(path: Path) -> dict[int, Exchange]:
    """All of them, by number."""
    with CassetteReader(path) as cassette:
        return {number: cassette.exchange(number) for (number,) in cassette.all("SELECT id FROM exchange ORDER BY id")}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Recorded in many short runs, too short for dictionaries; with pairs, and a table of its owner."""
    path = tmp_path / "a.cassette"
    for run in range(4):
        with writing(path, sealed=run == 3) as keep:
            keep(*(chat(f"question {run} {n}", words=[f" word{n}"] * 40, started=100 * run + n) for n in range(12)))
            keep(pair(chat(f"pair {run}", started=100 * run + 99)))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE x_notes (exchange INTEGER, note TEXT)")
        connection.execute("INSERT INTO x_notes VALUES (1, 'look here')")
    return path


def loosened(path: Path) -> None:
    """Packed with nothing, as a recorder that died at once leaves it."""
    with writing(path) as keep:
        keep(*(chat(os.urandom(300).hex(), started=10_000 + n) for n in range(40)))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE x_waste (content BLOB)")
        connection.execute("INSERT INTO x_waste VALUES (zeroblob(200000))")
        connection.commit()
        connection.execute("DROP TABLE x_waste")
        connection.commit()


@pytest.mark.parametrize("sample", [5, 50, 5000])
def test_everything_is_as_it_was_and_smaller(path: Path, sample: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exchanges with their numbers, ids and times, pairs, tables of the owner; whatever the sample is."""
    monkeypatch.setattr(compacting, "SAMPLE", sample)
    monkeypatch.setattr(compacting, "BATCH", 7)
    loosened(path)
    before, size = exchanges(path), path.stat().st_size
    found = compact(path)
    assert (found.before, found.after, found.is_smaller) == (size, path.stat().st_size, True)
    assert found.after < size
    assert exchanges(path) == before
    assert verify(path) == (len(before), [])
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM x_notes").fetchall() == [(1, "look here")]


def test_what_cannot_be_made_smaller_is_left_alone(path: Path) -> None:
    """Not a byte of it is changed. A file that has become small gets smaller pages the next time."""
    loosened(path)
    assert any(not compact(path).is_smaller for _ in range(3))
    before = path.read_bytes()
    found = compact(path)
    assert not found.is_smaller
    assert path.read_bytes() == before


def test_another_file(path: Path, tmp_path: Path) -> None:
    """The cassette stays as it is; a file that is there is never replaced."""
    before, out = path.read_bytes(), tmp_path / "out.cassette"
    compact(path, out)
    assert path.read_bytes() == before
    assert exchanges(out) == exchanges(path)
    with pytest.raises(CassetteError, match="is there already"):
        compact(path, out)


def test_an_interruption_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither half a file nor another one."""
    monkeypatch.setattr(compacting, "SAMPLE", 10)
    before = path.read_bytes()

    def press(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compact(path, watch=press)
    assert path.read_bytes() == before
    assert sorted(file.name for file in path.parent.iterdir()) == ["a.cassette"]


def test_a_recorder_at_work_is_not_disturbed(path: Path) -> None:
    """Its file is its own."""
    lock = database.Lock(path)
    try:
        with pytest.raises(Locked):
            compact(path)
    finally:
        lock.release()


def test_damage_is_no_reason_to_replace(path: Path) -> None:
    """What does not hold is told, and the file stays."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE exchange SET digest = x'0011223344556677' WHERE id = 3")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(CassetteError, match="does not hold"):
        compact(path)
    assert path.read_bytes() == before
