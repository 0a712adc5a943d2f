"""Write the rows of one exchange: those of a stream in flight, and those of an exchange that has ended.

    in flight   exchange (state 0) ── payload (request) ── segment, segment, …
    ended       exchange (state 1) ── payload (request, times) ── answer ── leg, leg

Works within the transaction of the caller. Knows no file, no thread and no exchange but the one it is given.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from replayproxy.cassette import recovering
from replayproxy.cassette.coding import digests
from replayproxy.cassette.coding.times import as_read, ticks_of
from replayproxy.cassette.columns import derived_columns, model_of
from replayproxy.cassette.dictionaries import Dictionaries
from replayproxy.cassette.numbering import make_room
from replayproxy.cassette.queries import typed
from replayproxy.cassette.schema import provisional_digest
from replayproxy.cassette.stored_keys import key_bytes
from replayproxy.core.coding import decoded_chunks
from replayproxy.core.dialects.facts import Facts, facts_of
from replayproxy.core.dialects.opening import first_words
from replayproxy.core.headers import is_event_stream
from replayproxy.core.identity.rules import Matcher
from replayproxy.core.identity.sketch import Sketch
from replayproxy.core.preparing import sketch_of
from replayproxy.errors import Damaged
from replayproxy.model import KEY_TAG, Chunks, Head, Key, Leg, Request, Response, is_playable
from replayproxy.ports import ExchangePart
from replayproxy.views.access import AccessEntry, Outcome

_FIRST_OF_KEY = "SELECT count(*) FROM exchange WHERE key = ? AND occurrence = 0"

_IN_FLIGHT = (
    "SELECT key, recorded_at, scope, method, path, request FROM exchange"
    " JOIN endpoint ON endpoint.id = endpoint JOIN payload ON payload.exchange = exchange.id"
    " WHERE exchange.id = ?"
)

MOST_ENDPOINTS = 10_000
"""Numbers of endpoints that are cached: a client may invent paths and models."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A stream in flight whose row and request are written. `sketch` is None if a recording of this key has one."""

    row: int
    request: Request
    key: Key = ""
    sketch: Sketch | None = None


class ExchangeRows:
    """Writes through one connection, with the dictionaries of its cassette."""

    def __init__(
        self, connection: sqlite3.Connection, dictionaries: Dictionaries, matcher: Matcher, path: Path
    ) -> None:
        self._connection = connection
        self._dictionaries = dictionaries
        self._matcher = matcher
        self._path = path
        self.endpoints: dict[tuple[str, str, str | None], int] = {}
        """Numbers of (method, path, model). A rollback must put it back too."""

    def count(self, sql: str, *parameters: object) -> int:
        """Return the one number that a query gives. Raises `Damaged`."""
        row = self._connection.execute(sql, parameters).fetchone()
        if row is None:
            raise Damaged(f"{self._path} has lost a row that it had a moment ago")
        (number,) = typed(row, int)
        return int(number)

    # In flight

    def begin(self, part: ExchangePart) -> Begun:
        """Write the row and the request of a stream that goes on."""
        key = part.key or self._matcher.key(part.request)
        # Its form is cached now, and will not be when it ends.
        sketch = None if self.count(_FIRST_OF_KEY, key_bytes(key)) else sketch_of(self._matcher, part.request)
        number = self.count("SELECT coalesce(max(id), 0) + 1 FROM exchange")
        cursor = self._connection.execute(
            "INSERT INTO exchange (id, key, recorded_at, endpoint, stream, state, status, request_size, response_size,"
            " chunks, scope, digest) VALUES (?, ?, ?, ?, 1, 0, ?, ?, 0, 0, ?, ?)",
            (
                number,
                key_bytes(key),
                part.recorded_at,
                self._endpoint(part.request, None),
                part.head.status if part.head else 0,
                len(part.request.body),
                part.scope or None,
                provisional_digest(key_bytes(key), part.recorded_at, number),
            ),
        )
        row = int(cursor.lastrowid or 0)
        self._connection.execute(
            "INSERT INTO payload VALUES (?, ?, x'')", (row, self._dictionaries.codec.pack_request(part.request))
        )
        return Begun(row, part.request, key, sketch)

    def add_segment(self, row: int, position: int, head: Head | None, chunks: Chunks) -> None:
        """Write what was received since the segment before; the first one (position 0) has the head."""
        packed = self._dictionaries.codec.pack_segment(head if position == 0 else None, chunks)
        self._connection.execute("INSERT INTO segment VALUES (?, ?, ?)", (row, position, packed))

    def count_segments(self, row: int) -> int:
        """Return the number of segments of a stream in flight."""
        return self.count("SELECT count(*) FROM segment WHERE exchange = ?", row)

    def segments(self, row: int) -> tuple[Head | None, Chunks]:
        """Read a stream in flight, as far as it was written. Raises `Damaged`."""
        return recovering.segments(self._dictionaries.codec, self._connection, row)

    def so_far(self, row: int) -> ExchangePart:
        """Read what was written of a stream in flight, as one part without an end. Raises `Damaged`."""
        found = self._connection.execute(_IN_FLIGHT, (row,)).fetchone()
        if found is None:
            raise Damaged(f"{self._path} has lost a request that it had begun to answer: restore it from a copy")
        key, recorded_at, scope, method, path, frame = typed(found, bytes, int, str | None, str, str, bytes)
        head, chunks = self.segments(row)
        self._dictionaries.codec.row = "request", row
        return ExchangePart(
            number=0,
            request=self._dictionaries.codec.unpack_request(frame, method, path),
            recorded_at=recorded_at,
            head=head,
            chunks=chunks,
            key=f"{KEY_TAG}:{key.hex()}",
            scope=scope or "",
        )

    # Ended

    def finish(self, row: int | None, begun: Begun | None, part: ExchangePart) -> Callable[[], AccessEntry]:
        """Write a whole exchange, in the place of its stream in flight if there was one (`row`).

        `begun` is what is known of that row without reading it; None after a rollback. Returns what makes its entry of
        an access log, which takes time and which few want.
        """
        assert part.end is not None
        response = Response.of(part.head, part.chunks, part.end)
        ticks = ticks_of(response.timeline)
        response = as_read(response, ticks)
        request = part.request
        if begun is not None and begun.request != request:  # an upload may have been completed since
            begun = None
        key = part.key or (begun.key if begun is not None else "") or self._matcher.key(request)
        occurrence, sketch = None, None
        # A request that was not read to its end has a key that no other request would have, or the wrong one's.
        if is_playable(response.status, response.ending) and not part.request_cut:
            occurrence, sketch = make_room(self._connection, key_bytes(key), part.recorded_at, row)
        if sketch is None and begun is not None:
            sketch = begun.sketch
        facts = facts_of(request, response)
        written = digests.digest(key, request, response, ticks)
        columns = {
            "id": row,
            "key": key_bytes(key),
            "occurrence": occurrence,
            "recorded_at": part.recorded_at,
            "sketch": (sketch or sketch_of(self._matcher, request)) if occurrence == 0 else None,
            "endpoint": self._endpoint(request, model_of(facts)),
            "state": 1,
            "scope": part.scope or None,
            "stalled": part.stalled or None,
            "request_cut": part.request_cut or None,
            "client_left": part.client_left or None,
            "starved_us": part.starved // 1000 or None,
            "digest": written,
            **derived_columns(request, response, facts),
        }
        if row is not None:
            changes = ", ".join(f"{name} = :{name}" for name in columns if name != "id")
            self._connection.execute(f"UPDATE exchange SET {changes} WHERE id = :id", columns)
            self._connection.execute("DELETE FROM segment WHERE exchange = ?", (row,))
        else:
            names, marks = ", ".join(columns), ", ".join(f":{name}" for name in columns)
            inserted = self._connection.execute(f"INSERT INTO exchange ({names}) VALUES ({marks})", columns)
            row = int(inserted.lastrowid or 0)
        self._store(row, None if begun is not None else request, response, ticks)
        for position, leg in enumerate(part.legs, 1):
            self._store_leg(row, position, key, leg)
        return partial(_entry, part.recorded_at, request, response, facts, written)

    def _store(self, row: int, request: Request | None, response: Response, ticks: Sequence[int]) -> None:
        """Write request, times and answer; without a request if it is written already."""
        times = self._dictionaries.codec.pack_times(ticks)
        if request is None:
            self._connection.execute("UPDATE payload SET times = ? WHERE exchange = ?", (times, row))
        else:
            packed = self._dictionaries.codec.pack_request(request)
            self._connection.execute("INSERT OR REPLACE INTO payload VALUES (?, ?, ?)", (row, packed, times))
        self._connection.execute("INSERT INTO answer VALUES (?, ?)", (row, self._packed(response)))

    def _store_leg(self, row: int, position: int, key: Key, leg: Leg) -> None:
        ticks = ticks_of(leg.response.timeline)
        response = as_read(leg.response, ticks)
        self._connection.execute(
            "INSERT INTO leg VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(row, position, leg.role, leg.upstream, leg.request.method, leg.request.path),
                *(response.status, int(response.ending), leg.started // 1000),
                *(response.timeline.head // 1000, response.timeline.end // 1000),
                digests.digest_of_leg(key, leg),
                self._dictionaries.codec.pack_request(leg.request),
                self._dictionaries.codec.pack_times(ticks),
                self._packed(response),
            ),
        )

    def _packed(self, response: Response) -> bytes:
        chunks = response.chunks()
        return self._dictionaries.codec.pack_answer(response.headers, chunks.data(), chunks.continued)

    def _endpoint(self, request: Request, model: str | None) -> int:
        """Return the number of an endpoint and a model; a new one for new ones."""
        endpoint = request.method, request.path, model
        if endpoint not in self.endpoints:
            if len(self.endpoints) > MOST_ENDPOINTS:
                self.endpoints.clear()
            find = "SELECT id FROM endpoint WHERE method = ? AND path = ? AND model IS ?"
            found = self._connection.execute(find, endpoint).fetchone()
            if found is None:
                insert = "INSERT INTO endpoint (method, path, model) VALUES (?, ?, ?) RETURNING id"
                found = self._connection.execute(insert, endpoint).fetchone()
            self.endpoints[endpoint] = int(found[0])
        return self.endpoints[endpoint]


def _entry(at: int, request: Request, response: Response, facts: Facts, digest: bytes) -> AccessEntry:
    """Return the entry of an exchange that was written, as an access log shows it."""
    return AccessEntry(
        at=at,
        method=request.method,
        path=request.path,
        outcome=Outcome.RECORDED,
        status=response.status,
        total_s=response.timeline.end / 1e9,
        model=model_of(facts),
        tokens=facts.completion_tokens,
        ttft_s=None if facts.first_content is None else facts.first_content / 1e9,
        first_words=first_words(decoded_chunks(response), streamed=is_event_stream(response.headers)),
        id=digest[:4].hex(),
        ending=response.ending.name.lower(),
    )
