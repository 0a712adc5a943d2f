"""The connections to one cassette that is read: each thread has its own, with a codec of its own.

    thread ── mine() ──▶ Reader (SQLite connection, codec)     a second call from the same thread gives the same one

A connection or a zstd decompressor that two threads use at once gives one of them the rows or the bytes of the other
one, or an error. Some readers are opened in advance (`spares`): they read on in this file even when another one has
taken its name. Does not know what is read.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any
from weakref import WeakSet

from replayproxy.cassette import database
from replayproxy.cassette.budget import Budget
from replayproxy.cassette.bundles import Bundles
from replayproxy.cassette.coding.codec import Codec, Kind
from replayproxy.errors import CassetteError

FETCHED = 256
"""Rows that are fetched at a time, so that closing never waits for longer than these take."""

_PLACES = count(1)
"""Numbers of shared tables in memory; unique within the process."""

Fetch = Callable[["Reader", int], tuple[Kind, bytes] | None]


class _Cursor(sqlite3.Cursor):
    """A cursor to which there can be weak references."""


class Reader:
    """One thread's connection and codec. Another thread may only `close` it."""

    def __init__(self, name: str, opened: sqlite3.Connection, fetch: Fetch, budget: Budget) -> None:
        self._name = name
        self._connection = opened
        self._lock = threading.Lock()
        self._closed = False
        self._cursors: WeakSet[_Cursor] = WeakSet()
        self.codec = Codec(lambda number: fetch(self, number), budget)
        self.bundles = Bundles(lambda sql, *parameters: self.first(sql, parameters), self.codec)
        self.attached: str | None = None

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        """Run a statement. Raises SQLite's errors, and `CassetteError` where the cassette has been closed."""
        with self._lock:
            self._refuse_closed()
            cursor = self._connection.cursor(_Cursor)
            self._cursors.add(cursor)
            return cursor.execute(sql, parameters)

    def first(self, sql: str, parameters: Any = ()) -> tuple[Any, ...] | None:
        """The first row of a query, or None."""
        with self._lock:
            self._refuse_closed()
            row: tuple[Any, ...] | None = self._connection.execute(sql, parameters).fetchone()
            return row

    def some(self, cursor: sqlite3.Cursor) -> Sequence[tuple[Any, ...]]:
        """The next rows of a cursor of this reader; none at its end."""
        with self._lock:
            self._refuse_closed()
            return cursor.fetchmany(FETCHED)

    def attach(self, uri: str) -> None:
        """See the tables of this shared database, in the place of the one before."""
        with self._lock:
            self._refuse_closed()
            if self.attached is not None:
                self._connection.execute("DETACH places")
            self._connection.execute("ATTACH ? AS places", (uri,))
            self.attached = uri

    def interrupt(self) -> None:
        """End the statement that runs, with an error. May be called from any thread."""
        if not self._closed:
            self._connection.interrupt()

    def close(self) -> None:
        """Let go of the file. May be called from any thread: a statement that runs is interrupted first."""
        if not self._closed:
            self._connection.interrupt()
        with self._lock:
            if self._closed:
                return
            self._closed = True
            # From Python 3.13 on the file stays open until its last cursor is gone, and an error's traceback keeps one.
            for cursor in list(self._cursors):
                cursor.close()
            self._connection.close()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise CassetteError(f"{self._name} has been closed: open it again")


class Readers:
    """Those of one cassette. Raises as `connection.read` does."""

    def __init__(self, path: Path, fetch: Fetch, *, spares: int = 0, abandoned: bool | None = None) -> None:
        self._path = path
        self._name = str(path)
        self._fetch = fetch
        self._lock = threading.Lock()
        self._closed = False
        self._identity = _identity(path)
        self.budget = Budget.of(path)
        self._places: tuple[str, sqlite3.Connection] | None = None
        self._abandoned = not database.is_recorded(path) if abandoned is None else abandoned
        self._spares: list[Reader] = []
        self._of: dict[int, tuple[threading.Thread, Reader]] = {}
        """By the number of the thread."""
        first = self._open()
        self._of[threading.get_ident()] = threading.current_thread(), first
        try:
            for _ in range(spares):
                self._spares.append(self._open(checked=True))
        except BaseException:
            self.close()
            raise

    def mine(self) -> Reader:
        """The reader of the thread that calls."""
        found = self._of.get(threading.get_ident())
        reader = found[1] if found is not None else self._for_this_thread()
        while (places := self._places) is not None and reader.attached != places[0]:
            try:
                with database.translated(self._name):
                    reader.attach(places[0])
            except CassetteError:
                if self._closed:  # SQLite calls an interrupted ATTACH a database that cannot be opened
                    raise self._has_been_closed() from None
                if self._places is places:
                    raise
        return reader

    def interrupt(self, thread: int) -> None:
        """End the statement that the thread of this number runs, if it runs one."""
        found = self._of.get(thread)
        if found is not None:
            found[1].interrupt()

    def share(self, script: str, insert: str, rows: Sequence[Sequence[object]]) -> None:
        """Make a table that all readers see, in memory, as `places.…`; it replaces the one before."""
        uri = f"file:/replayproxy-places-{next(_PLACES)}?vfs=memdb"
        owner = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        try:
            owner.execute("BEGIN")
            owner.execute(script)
            owner.executemany(insert, rows)
            owner.execute("COMMIT")
        except BaseException:
            owner.close()
            raise
        before, self._places = self._places, (uri, owner)
        if before is not None:
            before[1].close()  # what is attached keeps the table until its reader comes here

    def close(self) -> None:
        """Close all of them."""
        with self._lock:
            self._closed = True
            readers = [*self._spares, *(reader for _, reader in self._of.values())]
        for reader in readers:
            reader.close()
        if self._places is not None:
            self._places[1].close()

    def __len__(self) -> int:
        return len(self._of) + len(self._spares)

    def _for_this_thread(self) -> Reader:
        with self._lock:
            if self._closed:
                raise self._has_been_closed()
            # A thread that has ended uses its reader no more: another one may have it.
            ended = next((number for number, (thread, _) in self._of.items() if not thread.is_alive()), None)
            if ended is not None:
                reader = self._of.pop(ended)[1]
            else:
                reader = self._spares.pop() if self._spares else self._open_again()
            self._of[threading.get_ident()] = threading.current_thread(), reader
            return reader

    def _has_been_closed(self) -> CassetteError:
        return CassetteError(f"{self._name} has been closed: open it again")

    def _open(self, *, checked: bool = False) -> Reader:
        opened = database.read(self._path, checked=checked, abandoned=self._abandoned, budget=self.budget)
        return Reader(self._name, opened, self._fetch, self.budget)

    def _open_again(self) -> Reader:
        """Another one, of the same file: one that has taken its name since has other recordings by the same numbers."""
        reader = self._open()
        if _identity(self._path) != self._identity:
            reader.close()
            raise CassetteError(f"{self._name} has been replaced since it was opened: start again to read the new one")
        return reader


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file has this name."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
