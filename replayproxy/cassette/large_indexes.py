"""Indexes of a large cassette: what a reader looks up in a file of a million exchanges, and scans in a small one.

They are plain indexes: a program that does not know them reads the file as before, and SQLite uses them wherever they
help. A small file has none when it is sealed, since they take 27 bytes per exchange and a page at least; while it is
recorded on, it has the one that finds a key.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Protocol


class Executing(Protocol):
    """What runs SQL: a connection, or one thread's reader."""

    def execute(self, sql: str, parameters: Any = ..., /) -> sqlite3.Cursor:
        """Run a statement."""
        ...


MANY = 10_000
"""Exchanges from which a file has them: to scan fewer takes some ms."""

INDEXES = {"exchange_digest": "CREATE INDEX exchange_digest ON exchange (digest)"}
"""By name. `exchange_digest`: ids are digests, of which people type a prefix; 16 bytes per exchange."""


FEW = 1024
"""Exchanges up to which a sealed file has no index of keys: who looks up keys makes one in memory, in 3 ms."""

PLACE = "CREATE UNIQUE INDEX exchange_place ON exchange (key, occurrence)"
"""Finds the recordings of a key. As it stands in the schema of the format."""


def has_place(connection: Executing) -> bool:
    """Whether keys can be found in a file without reading all of it."""
    sql = "SELECT 1 FROM main.sqlite_schema WHERE type = 'index' AND name = 'exchange_place'"
    return connection.execute(sql).fetchone() is not None


def add_place(connection: sqlite3.Connection) -> None:
    """Let keys be found while a file is recorded on. Raises SQLite's errors."""
    if not has_place(connection):
        connection.execute(PLACE)


def remove_needless(connection: sqlite3.Connection) -> None:
    """Remove the index of keys of a file of few exchanges, which is sealed."""
    if connection.execute("SELECT 1 FROM exchange LIMIT 1 OFFSET ?", (FEW,)).fetchone() is None:
        connection.execute("DROP INDEX IF EXISTS exchange_place")


def add(connection: sqlite3.Connection) -> None:
    """Give a file with many exchanges the indexes that it lacks."""
    (exchanges,) = connection.execute("SELECT count(*) FROM (SELECT 1 FROM exchange LIMIT ?)", (MANY,)).fetchone()
    if exchanges < MANY:
        return
    there = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'index'")}
    for name, sql in INDEXES.items():
        if name not in there:
            connection.execute(sql)
