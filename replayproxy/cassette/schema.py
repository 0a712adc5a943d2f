"""The tables of format 1 as one readable text, and whether a file has them.

exchange ──┬─ payload ── answer        what the client asked and got (leg 0)
           ├─ leg ── payload ── answer what prefill and decode were asked and said (leg 1…)
           └─ segment                  a stream in flight; folded into payload and answer when it ends
endpoint                               names, so that a row need not repeat them
dictionary                             zstd dictionaries and vocabularies; what needs one names it
                                       (zstd frames stand everywhere without their magic number, 28 b5 2f fd)
miss, dropped                          what was asked and not found; what was not recorded, and why
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from functools import cache

import sqlite_utils

from replayproxy.errors import Damaged, NewerFormat, NotACassette

APPLICATION_ID = 0x52504C59
"""`RPLY`, in the SQLite header at offset 68."""

FORMAT = 1
"""`user_version` in the SQLite header."""

PAGE_SIZE = 4096

SCHEMA = """
CREATE TABLE meta (
    name        TEXT PRIMARY KEY,
    value       TEXT NOT NULL              -- JSON
) STRICT, WITHOUT ROWID;

CREATE TABLE endpoint (
    id          INTEGER PRIMARY KEY,
    method      TEXT NOT NULL,
    path        TEXT NOT NULL,             -- without the query
    model       TEXT                       -- that was asked for there, if any was
) STRICT;

CREATE TABLE dictionary (
    id          INTEGER PRIMARY KEY,       -- named in the headers of zstd frames
    kind        TEXT NOT NULL CHECK (kind IN ('request', 'answer', 'vocabulary')),
    content     BLOB NOT NULL              -- zstd of a zstd dictionary, or of msgpack [lengths, escape, words]
) STRICT;

CREATE TABLE exchange (
    id                INTEGER PRIMARY KEY,
    key               BLOB NOT NULL CHECK (length(key) = 16),
    occurrence        INTEGER,             -- from 0, among complete answers with this key; NULL: not playable
    sketch            BLOB CHECK (length(sketch) = 12),           -- of the first of these; core/sketch.py
    recorded_at       INTEGER NOT NULL,    -- when the request was complete, ns since the Unix epoch
    endpoint          INTEGER NOT NULL REFERENCES endpoint (id),
    stream            INTEGER NOT NULL CHECK (stream IN (0, 1)),
    state             INTEGER NOT NULL CHECK (state IN (0, 1)),   -- 0 open, 1 done
    status            INTEGER NOT NULL,    -- HTTP; 0: ended before the head
    ending            INTEGER,             -- model.Ending; v_exchange spells it
    scope             TEXT,
    request_size      INTEGER NOT NULL,    -- bytes of the body
    response_size     INTEGER NOT NULL,
    chunks            INTEGER NOT NULL,
    ttft_us           INTEGER,             -- first event with content
    total_us          INTEGER,
    prompt_tokens     INTEGER,
    completion_tokens INTEGER,
    cached_tokens     INTEGER,
    finish            TEXT,
    stalled           INTEGER,             -- pauses forced on the upstream by a slow client
    transfer          TEXT,                -- names a hand-over from prefill to decode; both legs have it
    digest            BLOB,                -- over everything replay can emit, times included
    CHECK ((state = 1) = (digest IS NOT NULL)),
    CHECK (occurrence IS NULL OR (state = 1 AND ending = 0)),
    CHECK ((occurrence IS 0) = (sketch IS NOT NULL))
) STRICT;
CREATE UNIQUE INDEX exchange_place ON exchange (key, occurrence);

CREATE TABLE leg (
    exchange    INTEGER NOT NULL REFERENCES exchange (id) ON DELETE CASCADE,
    leg         INTEGER NOT NULL CHECK (leg > 0),
    role        TEXT NOT NULL CHECK (role IN ('prefill', 'decode')),
    upstream    TEXT NOT NULL,
    method      TEXT NOT NULL,
    path        TEXT NOT NULL,
    status      INTEGER NOT NULL,
    ending      INTEGER NOT NULL,
    started_us  INTEGER NOT NULL,          -- since the client's request was complete
    head_us     INTEGER NOT NULL,
    total_us    INTEGER NOT NULL,
    digest      BLOB NOT NULL,             -- as of an exchange, with the exchange's key
    PRIMARY KEY (exchange, leg)
) STRICT, WITHOUT ROWID;

CREATE TABLE payload (
    id          INTEGER PRIMARY KEY,       -- 16 * exchange + leg; leg 0 is the client's view
    request     BLOB NOT NULL,             -- zstd of msgpack [query, headers, body]
    times       BLOB NOT NULL              -- head, chunks, end: gaps of 10 us in Golomb codes
) STRICT;

CREATE TABLE answer (                      -- apart: smaller rows leave less of a page unused
    id          INTEGER PRIMARY KEY REFERENCES payload (id) ON DELETE CASCADE,
    answer      BLOB NOT NULL              -- size of codes, codes, zstd of msgpack [headers, coding, shape, content]
) STRICT;

CREATE TABLE segment (
    exchange    INTEGER NOT NULL REFERENCES exchange (id) ON DELETE CASCADE,
    position    INTEGER NOT NULL,
    heard       BLOB NOT NULL,             -- zstd of msgpack [head or nil, cuts, times, body]
    PRIMARY KEY (exchange, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE miss (
    id          INTEGER PRIMARY KEY,
    asked_at    INTEGER NOT NULL,          -- ns since the Unix epoch
    code        TEXT NOT NULL,
    scope       TEXT,
    key         BLOB NOT NULL,
    method      TEXT NOT NULL,
    path        TEXT NOT NULL,
    nearest     INTEGER REFERENCES exchange (id) ON DELETE SET NULL,
    request     BLOB                       -- as in payload
) STRICT;

CREATE TABLE dropped (
    dropped_at  INTEGER NOT NULL,          -- ns since the Unix epoch
    reason      TEXT NOT NULL,
    exchanges   INTEGER NOT NULL
) STRICT;

CREATE VIEW v_exchange AS
SELECT
    exchange.id,
    lower(hex(substr(digest, 1, 4))) AS short_id,
    'rp1:' || lower(hex(key)) AS key,
    occurrence,
    strftime('%Y-%m-%dT%H:%M:', recorded_at / 1000000000, 'unixepoch')
        || printf('%06.3fZ', (recorded_at / 1000000) % 60000 / 1000.0) AS recorded_at,
    method,
    path,
    model,
    stream,
    status,
    CASE state WHEN 0 THEN 'open' ELSE 'done' END AS state,
    CASE ending WHEN 0 THEN 'complete' WHEN 1 THEN 'upstream cut' WHEN 2 THEN 'client gone' WHEN 3 THEN 'timeout'
        WHEN 4 THEN 'proxy stopped' WHEN 5 THEN 'proxy crashed' END AS ending,
    coalesce(scope, '') AS scope,
    request_size,
    response_size,
    chunks,
    ttft_us / 1e6 AS ttft_s,
    total_us / 1e6 AS total_s,
    CASE WHEN completion_tokens > 1 THEN (total_us - ttft_us) / 1e6 / (completion_tokens - 1) END AS tpot_s,
    prompt_tokens,
    completion_tokens,
    cached_tokens,
    finish,
    coalesce(stalled, 0) AS stalled,
    transfer,
    (SELECT count(*) FROM leg WHERE leg.exchange = exchange.id) AS legs
FROM exchange
JOIN endpoint ON endpoint.id = exchange.endpoint;
"""


def create(connection: sqlite3.Connection) -> None:
    """Make an empty file a cassette, or leave it empty. The caller has set nothing but the connection."""
    connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
    sqlite_utils.Database(connection).executescript(
        f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; {SCHEMA} PRAGMA user_version = {FORMAT}; COMMIT;"
    )


def check(connection: sqlite3.Connection, name: str) -> None:
    """Raise unless the file is a cassette of this format with exactly these tables (a stranger may have added some)."""
    if _number(connection, "application_id") != APPLICATION_ID:
        raise NotACassette(f"{name} is an SQLite file but not a cassette: give a file written by `replayproxy record`")
    version = _number(connection, "user_version")
    if version > FORMAT:
        raise NewerFormat(
            f"{name} has cassette format {version}, this replayproxy reads up to {FORMAT}: update replayproxy"
        )
    if version < 1 or _objects(connection) != _own_objects():
        raise Damaged(
            f"{name} says it has cassette format {version}, but its tables are others: restore it from a copy"
        )


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


@cache
def _own_objects() -> set[tuple[str, str, str]]:
    """As SQLite itself spells them."""
    with closing(sqlite3.connect(":memory:")) as connection:
        create(connection)
        return _objects(connection)


def _objects(connection: sqlite3.Connection) -> set[tuple[str, str, str]]:
    rows = connection.execute("SELECT type, name, sql FROM sqlite_schema")
    return {(kind, name, _bare(str(sql or ""))) for kind, name, sql in rows}  # bytes, where it is damaged


def _bare(sql: str) -> str:
    """Without comments and white space: they may be improved without a new format."""
    return " ".join(re.sub(r"--[^\n]*", "", sql).split())
