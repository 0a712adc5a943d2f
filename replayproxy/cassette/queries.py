"""Run SQL on one cassette, and believe nothing of what it gives: each row is checked column by column.

Each thread that asks reads on a connection of its own (`readers`). Also runs conditions that a user wrote: their errors
are reported as errors of the SQL, not of the file. Knows no exchange.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import UnionType
from typing import Any

from replayproxy.cassette import database
from replayproxy.cassette.readers import Readers
from replayproxy.errors import CassetteError, Damaged, SettingsError

_KINDS: Mapping[str, type | UnionType] = {
    **dict.fromkeys(("number", "stream", "status", "request_size", "response_size", "chunks", "stalled", "legs"), int),
    **dict.fromkeys(("id", "key", "recorded_at", "method", "path", "state", "scope"), str),
    **dict.fromkeys(("client_left", "request_cut", "opaque"), int),
    **dict.fromkeys(("model", "ending", "finish", "transfer"), str | None),
    **dict.fromkeys(("occurrence", "prompt_tokens", "completion_tokens", "cached_tokens"), int | None),
    **dict.fromkeys(("ttft_s", "total_s", "tpot_s"), float | None),
    "starved_s": float,
}
"""Of the columns of `v_exchange`."""


class Queries:
    """The SQL of one cassette. All methods raise `CassetteError` where the file cannot be read."""

    def __init__(self, name: str, readers: Readers) -> None:
        self.name = name
        self._readers = readers

    # Our own SQL

    def one(self, sql: str, *parameters: object) -> tuple[Any, ...]:
        """Return the row of a query that gives one for each recording. Raises `CassetteError` where it gives none."""
        row = self.first(sql, *parameters)
        if row is None:
            raise CassetteError(f"{self.name} has no such recording: {parameters}")
        return row

    def first(self, sql: str, *parameters: object) -> tuple[Any, ...] | None:
        """Return the first row of a query, or None."""
        with database.translated(self.name):
            return self._readers.mine().first(sql, parameters)

    def all(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        return list(self.each(sql, *parameters))

    def each(self, sql: str, *parameters: object) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query, some hundred fetched at a time."""
        with database.translated(self.name):
            reader = self._readers.mine()
            cursor = reader.execute(sql, parameters)
            while some := reader.some(cursor):
                yield from some

    # SQL of a user

    def rows(
        self,
        where: str = "1",
        parameters: Mapping[str, Any] | None = None,
        *,
        columns: str = "*",
        order: str = "recorded_at, number",
        limit: int = -1,
    ) -> Iterator[dict[str, Any]]:
        """Yield rows of `v_exchange`. `where`, `columns` and `order` are SQL that a user may have written; the file is
        open read-only. Raises `SettingsError` for SQL that cannot be run."""
        with self.user_sql():
            reader = self._readers.mine()
            cursor = reader.execute(
                f"SELECT {columns} FROM v_exchange WHERE {where} ORDER BY {order} LIMIT {limit:d}", parameters or {}
            )
            names = [column[0] for column in cursor.description]
            kinds = [_KINDS.get(name, object) for name in names]
            while some := reader.some(cursor):
                for row in some:
                    yield dict(zip(names, typed(row, *kinds), strict=True))

    def select(self, sql: str, parameters: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query with a condition of a user in it. Raises `SettingsError` if it cannot be run."""
        with self.user_sql():
            reader = self._readers.mine()
            cursor = reader.execute(sql, parameters)
            while some := reader.some(cursor):
                yield from some

    def check_condition(self, where: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Raise `SettingsError` unless `where` is a condition on `v_exchange` by itself: what SQLite says of it then
        is said of its own words, and not of those among which `rows` puts it."""
        with self.user_sql():
            self._readers.mine().execute(f"EXPLAIN SELECT 1 FROM v_exchange WHERE {where}", parameters or {})

    @contextmanager
    def user_sql(self) -> Iterator[None]:
        """Run SQL that a user wrote: its errors are reported as errors of the SQL, not of the file."""
        try:
            with database.translated(self.name):
                try:
                    yield
                except sqlite3.OperationalError as error:
                    if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_ERROR:
                        raise
                    raise self._not_sql(error) from error
                except sqlite3.ProgrammingError as error:  # a :name without a value
                    raise self._not_sql(error) from error
        except sqlite3.Warning as error:  # two statements, until Python 3.12
            raise self._not_sql(error) from error

    def _not_sql(self, error: Exception) -> SettingsError:
        names = [column[0] for column in self._readers.mine().execute("SELECT * FROM v_exchange LIMIT 0").description]
        what = str(error).rstrip(".")
        if what.startswith("no such column: "):
            from difflib import get_close_matches

            close = get_close_matches(what.rpartition(" ")[2], names, 1)
            what += f" (did you mean {close[0]}?)" if close else ""
        return SettingsError(f"this SQL cannot be run: {what}. The columns are {', '.join(names)}.")


def typed(row: Sequence[Any], *kinds: type | UnionType) -> Sequence[Any]:
    """Return a row whose columns are of these kinds: STRICT binds writers, not what a damaged page says.

    Raises `Damaged`.
    """
    for value, kind in zip(row, kinds, strict=True):
        if not isinstance(value, kind):
            raise Damaged(f"a stored {type(value).__name__} stands where there are none")
    return row
