"""Format 2: its tables as one readable text.

exchange ──┬─ payload ── answer        what the client asked and got
           ├─ bundle                   the same of many exchanges, compressed together; in sealed files
           ├─ leg                      what prefill and decode were asked and answered
           └─ segment                  a stream in flight; folded into payload and answer when it ends
endpoint                               names, so that a row need not repeat them
dictionary                             zstd dictionaries and vocabularies; what needs one names it
                                       (zstd frames stand everywhere without their magic number, 28 b5 2f fd)
dropped                                what was not recorded, and why
meta                                   by name, as JSON: who made it (creator), by which rules (match, redaction), of
                                       what it was merged (merged), what the server said of itself (server_version,
                                       server_models), in how many answers which fields were left out (left_out)
"""

from __future__ import annotations

TABLES = """
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
    kind        TEXT NOT NULL CHECK (kind IN ('request', 'answer', 'vocabulary', 'gaps')),
    content     BLOB NOT NULL              -- zstd of a zstd dictionary, of a vocabulary, or of a code of gaps
) STRICT;

CREATE TABLE exchange (
    id                INTEGER PRIMARY KEY, -- `number` in v_exchange
    key               BLOB NOT NULL CHECK (length(key) = 16),
    occurrence        INTEGER,             -- from 0, by recorded_at, among playable answers; NULL: not playable
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
    request_cut       INTEGER CHECK (request_cut = 1),            -- its body was not read to the end
    client_left       INTEGER CHECK (client_left = 1),            -- before the answer ended
    opaque            INTEGER CHECK (opaque = 1), -- a body is in a coding that nobody can look into
    starved_us        INTEGER,             -- the recorder's largest scheduling delay meanwhile
    transfer          TEXT,                -- names a hand-over from prefill to decode; both legs have it
    digest            BLOB NOT NULL,       -- over everything replay can emit, times included; open: over what it is
    CHECK ((state = 1) = (ending IS NOT NULL)),
    CHECK (occurrence IS NULL OR (state = 1 AND ending IN (0, 2) AND request_cut IS NULL)),
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
    request     BLOB NOT NULL,             -- this and the next two as in payload and answer
    times       BLOB NOT NULL,
    answer      BLOB NOT NULL,
    PRIMARY KEY (exchange, leg)
) STRICT;

CREATE TABLE payload (
    exchange    INTEGER PRIMARY KEY REFERENCES exchange (id) ON DELETE CASCADE,
    request     BLOB NOT NULL,             -- zstd of msgpack [query, headers, body]
    times       BLOB NOT NULL              -- head, chunks, end: gaps of 10 us in Golomb codes, or in
                                           -- a Huffman code trained on the cassette
) STRICT;

CREATE TABLE answer (                      -- apart: smaller rows leave less of a page unused
    exchange    INTEGER PRIMARY KEY REFERENCES payload (exchange) ON DELETE CASCADE,
    answer      BLOB NOT NULL              -- size of codes, codes, zstd of msgpack [headers, coding, shape, content]
) STRICT;

CREATE TABLE bundle (                      -- of many exchanges, in sealed files
    id          INTEGER PRIMARY KEY,       -- of the first exchange
    layout      BLOB NOT NULL,             -- zstd of msgpack [steps from one exchange to the next, and the sizes of
                                           -- its request, times, codes, answer]
    requests    BLOB NOT NULL,             -- zstd of all that stands in the frames of payload
    times       BLOB NOT NULL,             -- as in payload
    codes       BLOB NOT NULL,             -- as in answer
    answers     BLOB NOT NULL              -- zstd of all that stands in the frames of answer
) STRICT;

CREATE TABLE segment (
    exchange    INTEGER NOT NULL REFERENCES exchange (id) ON DELETE CASCADE,
    position    INTEGER NOT NULL,
    heard       BLOB NOT NULL,             -- zstd of msgpack [head or nil, cuts, times, body, continued]
    PRIMARY KEY (exchange, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE dropped (
    dropped_at  INTEGER NOT NULL,          -- ns since the Unix epoch
    reason      TEXT NOT NULL,
    exchanges   INTEGER NOT NULL
) STRICT;
"""

VIEW = """VIEW v_exchange AS
SELECT
    exchange.id AS number,
    lower(hex(substr(digest, 1, 4))) AS id,
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
    CASE ending WHEN 0 THEN 'complete' WHEN 1 THEN 'upstream_cut' WHEN 2 THEN 'client_left' WHEN 3 THEN 'timeout'
        WHEN 4 THEN 'proxy_stopped' WHEN 5 THEN 'proxy_crashed' END AS ending,
    coalesce(client_left, 0) AS client_left,
    coalesce(request_cut, 0) AS request_cut,
    coalesce(opaque, 0) AS opaque,
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
    coalesce(starved_us, 0) / 1e6 AS starved_s,
    transfer,
    (SELECT count(*) FROM leg WHERE leg.exchange = exchange.id) AS legs
FROM exchange
JOIN endpoint ON endpoint.id = exchange.endpoint;
"""

SCHEMA = f"{TABLES}\nCREATE {VIEW}"


EXCHANGE = """
SELECT
    id, key, occurrence, sketch, recorded_at, endpoint, stream, state, status, ending, scope, request_size,
    response_size, chunks, ttft_us, total_us, prompt_tokens, completion_tokens, cached_tokens, finish, stalled,
    request_cut, client_left, opaque, starved_us, transfer, digest
FROM main.exchange
"""
