"""How a file is opened: by readers who cannot write, by one recorder who holds the lock, and in our words."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from replayproxy.cassette import database, schema
from replayproxy.cassette.database import Lock
from replayproxy.errors import CassetteError, Damaged, Locked, NotACassette


def error(kind: type[sqlite3.Error], code: int | None) -> sqlite3.Error:
    """As SQLite raises it; without a code, as Python does."""
    made = kind("no luck")
    if code is not None:
        made.sqlite_errorcode = code
    return made


SPOKEN: list[tuple[Exception, type[CassetteError], str]] = [
    (error(sqlite3.OperationalError, sqlite3.SQLITE_CANTOPEN), CassetteError, "cannot be used: no luck. Look at the"),
    (error(sqlite3.OperationalError, sqlite3.SQLITE_FULL), CassetteError, "cannot be used"),
    (error(sqlite3.OperationalError, sqlite3.SQLITE_READONLY), CassetteError, "cannot be used"),
    (error(sqlite3.OperationalError, None), Damaged, "is damaged: no luck. Restore it from a copy."),
    (error(sqlite3.DatabaseError, sqlite3.SQLITE_CORRUPT), Damaged, "is damaged"),
    (error(sqlite3.DatabaseError, None), Damaged, "is damaged"),
    (error(sqlite3.DatabaseError, sqlite3.SQLITE_NOTADB), NotACassette, "is not a cassette: give a file written by"),
    (UnicodeDecodeError("utf-8", b"\x9b", 0, 1, "invalid start byte"), Damaged, "is damaged"),
]


@pytest.mark.parametrize(("raised", "kind", "words"), SPOKEN)
def test_what_sqlite_says_is_said_in_our_words(raised: Exception, kind: type[CassetteError], words: str) -> None:
    """Who is to blame, with the name of the file and what to do; the cause is kept."""
    with pytest.raises(CassetteError, match=words) as caught, database.translated("the.cassette"):
        raise raised
    assert type(caught.value) is kind
    assert str(caught.value).startswith("the.cassette ")
    assert caught.value.__cause__ is raised


def test_what_is_not_sqlites_passes() -> None:
    """A bug stays a bug."""
    with pytest.raises(KeyError), database.translated("the.cassette"):
        raise KeyError


# Writing


@pytest.mark.parametrize("full", [False, True])
def test_a_recorders_connection(tmp_path: Path, full: bool) -> None:
    """WAL, its own checkpoints, foreign keys, nothing of a stranger's schema is run; and durable as asked for."""
    opened = database.write(tmp_path / "a.cassette", full=full)
    settings = {
        name: opened.execute(f"PRAGMA {name}").fetchone()[0]
        for name in (
            *("journal_mode", "synchronous", "wal_autocheckpoint", "foreign_keys", "trusted_schema", "cell_size_check"),
            *("mmap_size", "application_id", "user_version", "page_size", "temp_store"),
        )
    }
    opened.close()
    assert settings == {
        "journal_mode": "wal",
        "synchronous": 2 if full else 1,
        "wal_autocheckpoint": 0,
        "foreign_keys": 1,
        "trusted_schema": 0,
        "cell_size_check": 1,
        "mmap_size": 0,
        "temp_store": 2,
        "application_id": 0x52504C59,
        "user_version": schema.FORMAT,
        "page_size": 4096,
    }
    assert (tmp_path / "a.cassette").read_bytes()[68:72] == b"RPLY"


def test_a_new_cassette_is_its_owners(tmp_path: Path) -> None:
    """0600 from its first moment, whatever the umask; one that is there keeps its rights."""
    before = os.umask(0)
    try:
        database.write(tmp_path / "new", full=False).close()
        (tmp_path / "old").touch(0o640)
        database.write(tmp_path / "old", full=False).close()
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("new", "old")] == [0o600, 0o640]


def test_tables_are_made_at_once_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recorder that dies while it makes a cassette leaves an empty file, which the next one takes."""
    path = tmp_path / "a.cassette"
    newest = schema.FORMATS[schema.FORMAT]
    wrong = replace(newest, schema=newest.schema + "CREATE TABLE nonsense (")
    monkeypatch.setitem(schema.FORMATS, schema.FORMAT, wrong)
    with pytest.raises(CassetteError):
        database.write(path, full=False)
    monkeypatch.undo()
    database.write(path, full=False).close()
    database.read(path).close()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """Said before anything is recorded."""
    with pytest.raises(CassetteError, match=r"cannot be created: No such file or directory. Name a file in a folder"):
        database.write(tmp_path / "none" / "a.cassette", full=False)


# Reading


def test_a_readers_connection(tmp_path: Path) -> None:
    """Cannot write, runs nothing of a stranger's schema, and leaves nothing beside a sealed file."""
    path = tmp_path / "a.cassette"
    database.write(path, full=False).close()
    opened = database.read(path)
    names = ("query_only", "trusted_schema", "cell_size_check", "mmap_size", "busy_timeout")
    assert [opened.execute(f"PRAGMA {name}").fetchone()[0] for name in names] == [1, 0, 1, 0, 5000]
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        opened.execute("DELETE FROM meta")
    opened.execute("PRAGMA query_only = OFF")
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        opened.execute("DELETE FROM meta")
    opened.close()


def test_a_reader_sees_what_a_recorder_has_committed(tmp_path: Path) -> None:
    """Any number of them, while it is recorded."""
    path = tmp_path / "a.cassette"
    recorder = database.write(path, full=False)
    readers = [database.read(path) for _ in range(3)]
    recorder.execute("INSERT INTO meta VALUES ('a', '1')")
    assert [reader.execute("SELECT value FROM meta").fetchall() for reader in readers] == [[("1",)]] * 3
    recorder.execute("BEGIN")
    recorder.execute("INSERT INTO meta VALUES ('b', '2')")
    assert [len(reader.execute("SELECT value FROM meta").fetchall()) for reader in readers] == [1] * 3
    for each in (*readers, recorder):
        each.close()


def test_a_short_file_beside_its_log_is_in_order(tmp_path: Path) -> None:
    """What is missing in the file stands in the log; without the log it is missing."""
    path = tmp_path / "a.cassette"
    recorder = database.write(path, full=False)
    recorder.execute("INSERT INTO meta VALUES ('a', ?)", ("x" * 100_000,))
    database.read(path).close()
    recorder.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    recorder.close()
    os.truncate(path, path.stat().st_size - 4096)
    with pytest.raises(Damaged):
        database.read(path)


# The lock


def test_one_holds_the_lock(tmp_path: Path) -> None:
    """It says who; given back, it is gone and may be had."""
    path = tmp_path / "a.cassette"
    lock = Lock(path)
    assert path.with_name("a.cassette.lock").read_text() == f"{os.getpid()}\n"
    with pytest.raises(
        Locked, match=f"is being recorded by process {os.getpid()}: stop that one, or take another"
    ) as told:
        Lock(path)
    assert told.value.exit_code == 2
    lock.release()
    assert list(tmp_path.iterdir()) == []
    Lock(path).release()


def test_the_lock_is_of_the_file_and_not_of_its_name(tmp_path: Path) -> None:
    """Through a link, and by a path with detours."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a.cassette")
    lock = Lock(tmp_path / "a.cassette")
    for name in (tmp_path / "link", tmp_path / "sub" / ".." / "a.cassette"):
        with pytest.raises(Locked):
            Lock(name)
    lock.release()


def test_a_lock_that_its_holder_left_behind(tmp_path: Path) -> None:
    """The kernel has given it back; what stands in the file does not matter."""
    path = tmp_path / "a.cassette"
    path.with_name("a.cassette.lock").write_text("12345\nwhatever else stands there")
    lock = Lock(path)
    assert path.with_name("a.cassette.lock").read_text() == f"{os.getpid()}\n"
    lock.release()


def test_a_holder_that_has_not_said_who_it_is(tmp_path: Path) -> None:
    """It has the lock, and has not written yet."""
    path = tmp_path / "a.cassette"
    file = os.open(path.with_name("a.cassette.lock"), os.O_RDWR | os.O_CREAT)
    fcntl.flock(file, fcntl.LOCK_EX)
    with pytest.raises(Locked, match="by process unknown"):
        Lock(path)
    os.close(file)


def test_a_lock_that_was_removed_meanwhile_is_taken_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening and locking, the one before us may give it back: then we hold a file that is nobody's."""
    path = tmp_path / "a.cassette"
    name = path.with_name("a.cassette.lock")
    taken: list[int] = []
    real = fcntl.flock

    def flock(file: int, how: int) -> None:
        if not taken:
            name.unlink()
        taken.append(file)
        real(file, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    lock = Lock(path)
    assert len(taken) == 2
    with pytest.raises(Locked):
        Lock(path)
    lock.release()


def test_a_lock_outlives_no_process(tmp_path: Path) -> None:
    """However the process ends."""
    path = tmp_path / "a.cassette"
    script = (
        "import os, sys; from pathlib import Path; from replayproxy.cassette.database import Lock;"
        "lock = Lock(Path(sys.argv[1])); print(os.getpid(), flush=True); sys.stdin.read(1); os.abort()"
    )
    with subprocess.Popen(
        [sys.executable, "-X", "faulthandler=0", "-c", script, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        pid = int(holder.stdout.readline())
        with pytest.raises(Locked, match=f"by process {pid}:"):
            Lock(path)
        holder.communicate("x")
    Lock(path).release()


def test_where_no_lock_can_be(tmp_path: Path) -> None:
    """Said with the reason."""
    with pytest.raises(CassetteError, match=r"the folder .* does not exist. Name a file in"):
        Lock(tmp_path / "none" / "a.cassette")
