"""Format 1: its tables as they were written until 2026, how today's SQL reads them, and how they become format 2.

Nothing here is ever changed: cassettes of this format are opened for ever (cassettes/README.md).

exchange ──┬─ payload ── answer        what the client asked and got (leg 0)
           ├─ leg ── payload ── answer what prefill and decode were asked and answered (leg 1…)
           └─ segment                  a stream in flight
miss                                   was never written
"""

from __future__ import annotations

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
    sketch            BLOB CHECK (length(sketch) = 12),           -- of the first of these; core/identity/sketch.py
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

EXCHANGE = """
SELECT
    id, key, occurrence, sketch, recorded_at, endpoint, stream, state, status, ending, scope, request_size,
    response_size, chunks, ttft_us, total_us, prompt_tokens, completion_tokens, cached_tokens, finish, stalled,
    NULL AS request_cut, NULL AS client_left, NULL AS opaque, NULL AS starved_us, transfer,
    coalesce(digest, provisional_digest(key, recorded_at, id)) AS digest
FROM main.exchange
"""

READ = """
CREATE TEMP VIEW payload AS
SELECT exchange.id AS exchange, stored.request, stored.times
FROM main.exchange JOIN main.payload AS stored ON stored.id = 16 * exchange.id;

CREATE TEMP VIEW answer AS
SELECT exchange.id AS exchange, stored.answer
FROM main.exchange JOIN main.answer AS stored ON stored.id = 16 * exchange.id;

CREATE TEMP VIEW leg AS
SELECT
    leg.exchange, leg.leg, role, upstream, method, path, status, ending, started_us, head_us, total_us, digest,
    (SELECT request FROM main.payload WHERE id = 16 * leg.exchange + leg.leg) AS request,
    (SELECT times FROM main.payload WHERE id = 16 * leg.exchange + leg.leg) AS times,
    (SELECT answer FROM main.answer WHERE id = 16 * leg.exchange + leg.leg) AS answer
FROM main.leg;
"""
"""Its other tables in the shape of format 2, for a connection that reads. Joins stay look-ups by number."""

ORPHANS = """
SELECT payload.id FROM main.payload LEFT JOIN main.exchange ON exchange.id = payload.id / 16
LEFT JOIN main.leg ON leg.exchange = payload.id / 16 AND leg = payload.id % 16
WHERE exchange.id IS NULL OR (payload.id % 16 <> 0 AND leg.leg IS NULL)
"""
"""Payloads that belong to no exchange or leg: nothing but this format's arithmetic ties them to one."""
