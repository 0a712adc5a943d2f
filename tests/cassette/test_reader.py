"""One cassette or several as a shelf: what stands where, by which rules, and what is no cassette at all."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from replayproxy.cassette import reader as module
from replayproxy.cassette import schema
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.stored_exchanges import StoredExchanges
from replayproxy.core.identity.rules import MatchRules
from replayproxy.errors import CassetteError, Damaged, NewerFormat, NotACassette
from replayproxy.model import Request, Response
from tests.recordings import (
    MATCHER,
    as_stored,
    asked,
    chats,
    execute,
    record,
    samples,
    stored,
)

SEA, SUN = asked("sea"), asked("sun")


def test_a_cassette_says_by_which_rules_it_was_recorded(tmp_path: Path) -> None:
    """They are its own, whatever the reader's are."""
    rules = MatchRules("exact", ("$.a", "$.b[*].c"))
    with CassetteReader(record(tmp_path / "a", samples(), rules=rules)) as cassette:
        assert cassette.rules == rules
        assert cassette.meta["match"] == {"profile": "exact", "ignore": ["$.a", "$.b[*].c"], "tag": "rp1"}


@pytest.mark.parametrize("damage", ["", "UPDATE answer SET answer = x'00'", "DELETE FROM payload"])
def test_warming_up_unpacks_a_few_answers_and_judges_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    """Damage is for whoever asks for what is damaged."""
    path = record(tmp_path / "a.cassette", chats(module.WARMING + 9))
    if damage:
        execute(damage)(path)
    unpacked: list[int] = []

    whole = StoredExchanges.whole

    def counting(exchanges: StoredExchanges, number: int) -> tuple[Request, Response]:
        unpacked.append(number)
        return whole(exchanges, number)

    monkeypatch.setattr(StoredExchanges, "whole", counting)
    with CassetteReader(path) as cassette:
        cassette.warm_up()
    assert len(unpacked) == (1 if damage else module.WARMING)


def test_opening_reads_nothing_that_was_not_asked_for(tmp_path: Path) -> None:
    """It costs the same for few and for many: the number of SQLite's steps does not grow with the exchanges."""
    few, many = samples()[:1], samples() * 15

    def steps(path: Path) -> int:
        counted = 0

        def count() -> int:
            nonlocal counted
            counted += 1
            return 0

        with CassetteReader(path) as cassette:
            cassette._readers.mine()._connection.set_progress_handler(count, 1)
            schema.check(cassette._readers.mine()._connection, str(path))
            cassette.count(MATCHER.key(SEA))
            assert isinstance(cassette.rules, MatchRules)
            return counted

    assert steps(record(tmp_path / "many", many)) == steps(record(tmp_path / "few", few))


# What is no cassette


def rewritten(old: str, new: str) -> Callable[[Path], None]:
    """Somebody who edits the schema's text."""
    update = "UPDATE sqlite_schema SET sql = replace(sql, ?, ?)"
    return execute(f"PRAGMA writable_schema = ON; {update}; PRAGMA writable_schema = RESET; VACUUM", old, new)


def replaced(content: bytes) -> Callable[[Path], object]:
    """Another file in its place."""
    return lambda path: path.write_bytes(content)


def shortened(by: int) -> Callable[[Path], object]:
    """A file whose end is missing; to 60 bytes where `by` is 0."""
    return lambda path: os.truncate(path, path.stat().st_size - by if by else 60)


def foreign(path: Path) -> None:
    """Somebody else's database."""
    path.unlink()
    execute("CREATE TABLE exchange (id INTEGER PRIMARY KEY)")(path)


def folder(path: Path) -> None:
    """No file at all."""
    path.unlink()
    path.mkdir()


IN_BYTES = "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = CAST(sql AS BLOB) WHERE name = 'leg'"
TRIGGER = "CREATE TRIGGER extra AFTER INSERT ON exchange BEGIN DELETE FROM payload"

REFUSED: dict[str, tuple[Callable[[Path], object], type[CassetteError], str]] = {
    "nothing": (Path.unlink, NotACassette, "does not exist: record one with `replayproxy record"),
    "a folder": (folder, NotACassette, "is a folder: name a cassette"),
    "a text": (replaced(b"long enough to be one" * 99), NotACassette, "is not a cassette: give a file written by"),
    "a short text": (replaced(b"hello"), NotACassette, "is not a cassette"),
    "an empty file": (replaced(b""), NotACassette, "is empty: nothing was recorded on it"),
    "a foreign database": (foreign, NotACassette, "is an SQLite file but not a cassette"),
    "another application": (execute("PRAGMA application_id = 0"), NotACassette, "SQLite file but not a cassette"),
    "a newer format": (
        execute(f"PRAGMA user_version = {schema.FORMAT + 1}"),
        NewerFormat,
        "has cassette format 4, this replayproxy reads up to 3: update replayproxy",
    ),
    "format 0": (execute("PRAGMA user_version = 0"), Damaged, "says it has cassette format 0"),
    "some pages missing": (shortened(10_000), Damaged, "Restore it from a copy"),
    "a byte missing": (shortened(1), Damaged, "Restore it from a copy"),
    "half a header": (shortened(0), CassetteError, "cassette"),
    "a table spelled in bytes": (lambda path: scripted(path, IN_BYTES), Damaged, "its tables are others"),
    "a trigger": (lambda path: scripted(path, f"{TRIGGER}; END"), Damaged, "has a trigger, '.*', which would run by"),
    "an index that forbids": (execute("CREATE UNIQUE INDEX extra ON exchange (scope)"), Damaged, "an index, 'extra'"),
    "an index that computes": (execute("CREATE INDEX extra ON meta (length(value))"), Damaged, "computes something"),
    "an index with a condition": (execute("CREATE INDEX extra ON leg (role) WHERE leg > 1"), Damaged, "an index"),
    "no view": (execute("DROP VIEW v_exchange"), Damaged, "its tables are others"),
    "another index": (
        execute("DROP INDEX IF EXISTS exchange_place; CREATE INDEX exchange_place ON exchange (length(key))"),
        Damaged,
        "computes something",
    ),
    "another view": (execute("DROP VIEW v_exchange; CREATE VIEW v_exchange AS SELECT 1"), Damaged, "tables are others"),
    "a check less": (rewritten("CHECK (length(key) = 16)", ""), Damaged, "its tables are others"),
    "a column more": (rewritten("digest            BLOB", "more BLOB, digest BLOB"), Damaged, "its tables are others"),
}


def scripted(path: Path, sql: str) -> None:
    """A statement with statements in it."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(sql)
    connection.close()


@pytest.mark.parametrize(("change", "kind", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused_and_why(
    tmp_path: Path, change: Callable[[Path], object], kind: type[CassetteError], words: str
) -> None:
    """A sentence with the name of the file and a way out; nothing appears beside it."""
    path = record(tmp_path / "a.cassette", samples())
    change(path)
    with pytest.raises(kind, match=words) as caught:
        CassetteReader(path)
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == (6 if kind is Damaged else 2)
    assert [file.name for file in tmp_path.iterdir()] in ([], ["a.cassette"])


def test_comments_and_spaces_in_the_schema_may_be_improved(tmp_path: Path) -> None:
    """They are for people: a file written before or after such a change is of the same format."""
    path = record(tmp_path / "a.cassette", samples())
    rewritten("-- from 0, by recorded_at, among playable answers; NULL: not playable", "-- said better" + chr(10))(path)
    rewritten("NOT NULL,", "NOT   NULL, -- never" + chr(10))(path)
    with CassetteReader(path) as cassette:
        assert "said better" in str(cassette.all("SELECT sql FROM sqlite_schema"))
        assert [item for _, item in stored(cassette)] == [as_stored(item) for item in samples()]


def test_a_cassette_with_an_odd_name(tmp_path: Path) -> None:
    """SQLite takes names for URIs; ours are names."""
    folder = tmp_path / "a b?c=d&mode=rwc#%41"
    folder.mkdir()
    path = record(folder / "e?mode=memory", samples())
    with CassetteReader(path) as cassette:
        assert cassette.count(MATCHER.key(samples()[0].request)) == 3
    assert [file.name for file in folder.iterdir()] == ["e?mode=memory"]


RULELESS = [
    "[]",
    '{"profile":"default"}',
    '{"profile":"fuzzy","ignore":[],"tag":"rp1"}',
    '{"profile":"default","ignore":[1],"tag":"rp1"}',
    '{"profile":"default","ignore":[],"tag":"rp2"}',
    "no json",
]


@pytest.mark.parametrize("value", RULELESS)
def test_rules_that_do_not_exist_are_damage(tmp_path: Path, value: str) -> None:
    """Keys made by them mean nothing to us."""
    path = record(tmp_path / "a.cassette", samples())
    execute("UPDATE meta SET value = ? WHERE name = 'match'", value)(path)
    with CassetteReader(path) as cassette, pytest.raises(Damaged, match=r"rules|cannot be read"):
        cassette.rules  # noqa: B018  it is asked for, and refused
