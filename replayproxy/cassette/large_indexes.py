"""Indexes of a large cassette: what a reader looks up in a file of a million exchanges, and scans in a small one.

They are plain indexes, so the format stays what it is: a program that does not know them reads the file as before, and
SQLite uses them wherever they help. A small file has none, since each takes a page at least.
"""

from __future__ import annotations

import sqlite3

MANY = 10_000
"""Exchanges from which a file has them: to scan fewer takes some ms."""

INDEXES = {"exchange_digest": "CREATE INDEX exchange_digest ON exchange (digest)"}
"""By name. `exchange_digest`: ids are digests, of which people type a prefix; 16 bytes per exchange."""


def add(connection: sqlite3.Connection) -> None:
    """Give a file with many exchanges the indexes that it lacks."""
    (exchanges,) = connection.execute("SELECT count(*) FROM (SELECT 1 FROM exchange LIMIT ?)", (MANY,)).fetchone()
    if exchanges < MANY:
        return
    there = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'index'")}
    for name, sql in INDEXES.items():
        if name not in there:
            connection.execute(sql)
