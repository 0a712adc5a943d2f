"""Open an SQLite file as a cassette: for reading, or for its one recorder.

A cassette is never opened with `open()`: closing it would release the locks that SQLite has on it
(sqlite.org/howtocorrupt.html §2.2). Errors of SQLite are translated here: callers get only errors of this package.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from replayproxy.cassette import large_indexes, naming, packing, schema
from replayproxy.cassette.budget import Budget
from replayproxy.errors import CassetteError, Damaged, Locked, NotACassette, OlderFormat

_DEFENCES = (
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA mmap_size = 0",
    "PRAGMA foreign_keys = ON",
    "PRAGMA temp_store = MEMORY",
)


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Raise errors of this package for those of SQLite."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        # Without a code it is Python's own: text that is no UTF-8, a number beyond 64 bit.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
        if isinstance(error, sqlite3.OperationalError) and code != sqlite3.SQLITE_CORRUPT:
            raise CassetteError(
                f"{name} cannot be used: {error}. Look at the file's rights and at the disk."
            ) from error
        if code == sqlite3.SQLITE_NOTADB:
            raise NotACassette(f"{name} is not a cassette: give a file written by `replayproxy record`") from error
        raise Damaged(f"{name} is damaged: {error}. Restore it from a copy.") from error
    except UnicodeDecodeError as error:  # SQLite quotes what it cannot read, and Python cannot read that
        raise Damaged(f"{name} is damaged: {error}. Restore it from a copy.") from error


def read(
    path: Path, *, checked: bool = False, abandoned: bool | None = None, budget: Budget | None = None
) -> sqlite3.Connection:
    """Return a connection that cannot write. `checked`: the tables of this file were checked before.

    `abandoned`: no recorder is alive, so streams in flight are exchanges that a crash cut; None: find out.
    `budget`: the budget of the file, if there is one already.
    Raises `NotACassette`, `NewerFormat`, `Damaged`, `CassetteError`.
    """
    name = str(path)
    if (why := naming.why_unreadable(path)) is not None:
        raise NotACassette(why)
    # A sealed file on read-only media has no -wal and needs none; SQLite must be told not to look for locks there.
    immutable = "&immutable=1" if not os.access(path.parent, os.W_OK) and not Path(f"{name}-wal").exists() else ""
    with translated(name):
        connection = sqlite3.connect(
            f"file:{quote(str(path.absolute()))}?mode=ro{immutable}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            for pragma in (*_DEFENCES, "PRAGMA busy_timeout = 5000"):
                connection.execute(pragma)
            found = schema.format_of(connection) if checked else schema.check(connection, name).format
            schema.prepare(connection, found)
            if connection.execute("SELECT 1 FROM segment LIMIT 1").fetchone() and (
                not is_recorded(path) if abandoned is None else abandoned
            ):
                from replayproxy.cassette import recovering

                recovering.install(connection, found, budget or Budget.of(path))
            connection.execute("PRAGMA query_only = ON")
            if not checked:
                _refuse_truncated(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def write(path: Path, *, full: bool) -> sqlite3.Connection:
    """Return a connection for the one recorder, which holds the `Lock`. Creates the file, mode 0600, if there is none.

    `full`: every commit survives a power failure (`--durability full`); else it may lose about the last second.
    """
    name = str(path)
    new = not path.exists()
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)) if new else None
    except OSError as error:
        raise CassetteError(
            f"{name} cannot be created: {error.strerror}. Name a file in a folder you may write."
        ) from error
    with translated(name):
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            for pragma in (*_DEFENCES, "PRAGMA busy_timeout = 5000"):
                connection.execute(pragma)
            if new or path.stat().st_size == 0:
                schema.create(connection)
            schema.check(connection, name)
            refuse_old(connection, path)
            with suppress(sqlite3.OperationalError):  # somebody reads it: then its pages stay small
                packing.unpack(connection)
            connection.execute("PRAGMA journal_mode = WAL")
            large_indexes.add_place(connection)
            connection.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
            connection.execute("PRAGMA wal_autocheckpoint = 0")  # the writer makes its own
            connection.execute("PRAGMA journal_size_limit = 67108864")
        except BaseException:
            connection.close()
            raise
    return connection


def refuse_old(connection: sqlite3.Connection, path: Path) -> None:
    """Raise `OlderFormat` if a file, which has been checked, cannot be recorded on."""
    found = schema.format_of(connection)
    if found.number < schema.FORMAT:
        raise OlderFormat(
            f"{path} has cassette format {found.number}, which can be read and replayed, but not recorded on:"
            f" run `replayproxy migrate {path}` first, or record to another file"
        )


def fold(path: Path) -> None:
    """Move the log into the file, and leave WAL mode. Raises as `Lock` and `write` do."""
    lock = Lock(path)
    try:
        with translated(str(path)), closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for pragma in (*_DEFENCES, "PRAGMA busy_timeout = 5000"):
                connection.execute(pragma)
            schema.check(connection, str(path))
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("PRAGMA journal_mode = DELETE")
    finally:
        lock.release()


def _refuse_truncated(connection: sqlite3.Connection, path: Path) -> None:
    """Raise `Damaged` for a truncated file: SQLite notices only when it reads there. Beside a log it may be short."""
    if Path(f"{path}-wal").exists():
        return
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    size = connection.execute("PRAGMA page_size").fetchone()[0]
    if path.stat().st_size < pages * size:
        raise Damaged(
            f"{path} is cut off: {path.stat().st_size} of {pages * size} bytes are there. Restore it from a copy."
        )


def is_recorded(path: Path) -> bool:
    """Return whether a living recorder has this file. Tries its lock for a moment, and creates no file."""
    try:
        file = os.open(f"{os.path.realpath(path)}.lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False


class Lock:
    """One recorder per file: `flock` on `<cassette>.lock`, which the kernel releases however the process ends."""

    def __init__(self, path: Path) -> None:
        if (why := naming.why_unwritable(path)) is not None:
            raise CassetteError(why)
        self._path = Path(f"{os.path.realpath(path)}.lock")
        self._file = self._acquire(path)

    def _acquire(self, path: Path) -> int:
        while True:
            try:
                file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise CassetteError(
                    f"{self._path} cannot be created: {error.strerror}. Name a file in a folder you may write."
                ) from error
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = os.read(file, 32).decode("ascii", "replace").strip() or "unknown"
                os.close(file)
                raise Locked(
                    f"{path} is being recorded by process {pid}: stop that one, or take another file"
                ) from None
            except OSError as error:
                os.close(file)
                raise CassetteError(
                    f"{self._path} cannot be locked: {error.strerror}. Record to a local disk."
                ) from error
            with suppress(FileNotFoundError):
                if os.fstat(file).st_ino == self._path.stat().st_ino:
                    os.truncate(file, 0)
                    os.write(file, f"{os.getpid()}\n".encode())
                    return file
            os.close(file)  # it was given back, and removed, between our open and our flock

    @property
    def is_held(self) -> bool:
        """Whether the lock file still has its name: without it a second recorder would not see this lock."""
        try:
            return os.fstat(self._file).st_ino == self._path.stat().st_ino
        except OSError:
            return False

    def release(self) -> None:
        """Remove the lock file if it is still ours, then release it. A second call does nothing."""
        if self._file < 0:
            return
        if self.is_held:
            with suppress(OSError):  # what is left of it locks nobody out
                self._path.unlink()
        file, self._file = self._file, -1
        os.close(file)
