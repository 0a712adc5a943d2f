"""One cassette that is asked in SQL by the person at the keyboard: read-only, with our functions and views.

with SqlSession(path) as session:        names, rows = session.run("SELECT … WHERE id = :id", {"id": "7f3a1c02"})
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from replayproxy.cassette import database
from replayproxy.cassette.sql_functions import SqlFunctions
from replayproxy.errors import Damaged, SettingsError

FETCHED = 256
"""Rows that are fetched at a time."""

STEPS = 10_000
"""SQLite's steps between two looks at whether Ctrl-C was pressed: some ms at most."""


class SqlSession:
    """A connection that cannot write. A context manager. Raises as `database.read`."""

    def __init__(self, path: Path, stop: Callable[[], bool] = lambda: False) -> None:
        """`stop` is asked every few ms, while a query runs, whether to end it."""
        self._path = path
        self._stop = stop
        self._connection = database.read(path)
        self._functions = SqlFunctions(path)
        try:
            with database.translated(str(path)):
                self._connection.execute("PRAGMA query_only = OFF")  # for temporary views; the file is opened read-only
                self._functions.install(self._connection)
                self._connection.execute("PRAGMA query_only = ON")
            # Python runs signal handlers between its own instructions, of which a long query has none.
            self._connection.set_progress_handler(lambda: int(stop()), STEPS)
            # ATTACH would create a file that is not there.
            self._connection.set_authorizer(_refuse_attach)
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._functions.close()
        self._connection.close()

    def run(self, sql: str, values: Mapping[str, Any]) -> tuple[list[str], Iterator[Sequence[Any]]]:
        """The names of the columns, each once, and the rows of one statement.

        Raises `SettingsError` for SQL that cannot run, `CassetteError` for what is damaged, and `KeyboardInterrupt`.
        """
        if "\0" in sql:
            raise SettingsError("this SQL cannot be run: it holds a NUL character")
        with self._errors():
            cursor = self._connection.execute(sql, values)
            description = cursor.description or ()
            return _unique([str(column[0]) for column in description]), self._rows(cursor)

    def _rows(self, cursor: sqlite3.Cursor) -> Iterator[Sequence[Any]]:
        while True:
            with self._errors():
                some = cursor.fetchmany(FETCHED)
            if not some:
                return
            yield from some

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, sqlite3.Warning) as error:
            if self._functions.error is not None:
                raise self._functions.error from error
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
            if code == sqlite3.SQLITE_INTERRUPT or self._stop():
                raise KeyboardInterrupt from error
            if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise Damaged(f"{self._path} is damaged: {error}. Restore it from a copy.") from error
            if code == sqlite3.SQLITE_AUTH:
                raise SettingsError(
                    "`sql` reads one cassette: to see two together, `replayproxy merge` them, or use sqlite3"
                ) from error
            if code == sqlite3.SQLITE_READONLY:
                raise SettingsError("this SQL would change the cassette, which `sql` opens to read only") from error
            what = str(error).rstrip(".")
            raise SettingsError(f"this SQL cannot be run: {what}. {self._hint(what)}") from error
        except UnicodeDecodeError as error:
            raise Damaged(f"{self._path} is damaged: {error}. Restore it from a copy.") from error

    def _hint(self, what: str) -> str:
        """What is there, where a table or a column is not."""
        if what.startswith("no such table"):
            rows = self._connection.execute(
                "SELECT name FROM (SELECT name FROM main.sqlite_schema WHERE type IN ('table', 'view') UNION"
                " SELECT name FROM temp.sqlite_schema WHERE type = 'view') ORDER BY substr(name, 1, 2) <> 'v_', name"
            )
            return f"Views and tables are {', '.join(str(name) for (name,) in rows)}."
        if what.startswith("no such column"):
            return "`replayproxy sql CASSETTE 'PRAGMA table_info(v_exchange)'` lists the columns of a view."
        return "Views are v_exchange, v_message, v_chunk and v_leg."


def _refuse_attach(action: int, *_: object) -> int:
    return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_ATTACH else sqlite3.SQLITE_OK


def _unique(names: Sequence[str]) -> list[str]:
    """Each name once: a second `id` becomes `id_2`, as in sqlite-utils."""
    found: list[str] = []
    for name in names:
        place, fresh = 1, name
        while fresh in found:
            place += 1
            fresh = f"{name}_{place}"
        found.append(fresh)
    return found
