"""Tables that a cassette has only where its recording asked for what they hold.

They do not change the format: a program that does not know them reads everything else, and takes them for a stranger's.
`schema` knows them as ours. What stands in `server_state` is read and written by the module of that name.
"""

from __future__ import annotations

import sqlite3
from functools import cache

from replayproxy.errors import CassetteError

SERVER_STATE = """CREATE TABLE server_state (
    kind    TEXT NOT NULL CHECK (kind IN ('metrics', 'kv_events')),
    at      INTEGER NOT NULL,              -- when it was read, or the first message came; ns since the Unix epoch
    server  TEXT NOT NULL,                 -- URL of the server, or endpoint of its events
    base    INTEGER,                       -- `at` of the page of this server that is the dictionary of this one
    content BLOB NOT NULL,                 -- zstd of a page, or of msgpack [ns since at, topic, number, payload, ...]
    PRIMARY KEY (kind, at, server)
) STRICT, WITHOUT ROWID"""


@cache
def objects() -> frozenset[tuple[str, str, str]]:
    """Kind, name and SQL of what these tables add to a file, as SQLite spells them."""
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute(SERVER_STATE)
        rows = connection.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_schema").fetchall()
    finally:
        connection.close()
    return frozenset((str(kind), str(name), str(sql)) for kind, name, sql in rows)


def has_server_state(connection: sqlite3.Connection) -> bool:
    """Whether the file has the table `server_state`. Raises `CassetteError` where one of this name is not ours."""
    row = connection.execute("SELECT sql FROM main.sqlite_schema WHERE name = 'server_state'").fetchone()
    if row is None:
        return False
    if str(row[0]) != SERVER_STATE:
        raise CassetteError(
            "the cassette has a table server_state that replayproxy did not make, where the state of the server would"
            " be kept: rename that table, or record to another file"
        )
    return True
