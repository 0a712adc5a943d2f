"""Streams in flight whose recorder has died: for whoever reads they are exchanges that a crash cut, as far as they were
written. Nothing is written to the file; a recorder that opens it does that.

    exchange, state open ──┐
    segments so far ───────┴──▶ TEMP rows, state done, ending proxy_crashed ──▶ what reads `exchange` finds them too

They keep the id that they had while they were recorded. A file has as many of them as there were streams at a time.
"""

from __future__ import annotations

import sqlite3

from replayproxy.cassette.budget import Budget, OutOfProportion
from replayproxy.cassette.coding.codec import Codec, Kind
from replayproxy.cassette.coding.times import as_read
from replayproxy.cassette.columns import derived_columns, model_of
from replayproxy.cassette.schema import VIEW, Format
from replayproxy.core.dialects.facts import facts_of
from replayproxy.errors import Damaged
from replayproxy.model import Chunks, End, Ending, Head, Response

_REQUEST = (
    "SELECT method, path, request FROM exchange JOIN endpoint ON endpoint.id = exchange.endpoint"
    " JOIN payload ON payload.exchange = exchange.id WHERE exchange.id = ?"
)


def segments(codec: Codec, connection: sqlite3.Connection, number: int) -> tuple[Head | None, Chunks]:
    """A stream in flight, as far as it was written. Raises `Damaged`."""
    stored = connection.execute("SELECT heard FROM segment WHERE exchange = ? ORDER BY position", (number,)).fetchall()
    return joined(codec, stored, number)


def joined(codec: Codec, stored: list[tuple[object]], number: int) -> tuple[Head | None, Chunks]:
    """Stored segments as one. Raises `Damaged`."""
    received = []
    for position, (one,) in enumerate(stored):
        if not isinstance(one, bytes):
            raise Damaged("a stored segment is not one")
        codec.row = "segment", number, position
        received.append(codec.unpack_segment(one))
    return received[0][0] if received else None, Chunks.joined([chunks for _, chunks in received])


def cut_at_last(head: Head | None, chunks: Chunks, ending: Ending = Ending.PROXY_CRASHED) -> Response:
    """An answer that ended with its last chunk, as it will be read again."""
    at = chunks.times[-1] if chunks else head.at if head else 0
    return as_read(Response.of(head, chunks, End(at, ending)))


def install(connection: sqlite3.Connection, stored: Format, budget: Budget) -> None:
    """Let this connection find what a recorder has left open among the others, as rows that are done.

    Where another recorder finishes them later, its rows count. Raises `Damaged`, and SQLite's errors.
    """
    numbers = connection.execute("SELECT DISTINCT exchange FROM segment ORDER BY exchange").fetchall()
    if not numbers:
        return
    codec = Codec(lambda number: _dictionary(connection, number), budget)
    connection.execute(f"CREATE TEMP TABLE recovered AS {stored.exchange} WHERE 0")
    connection.execute("CREATE TEMP TABLE recovered_endpoint (id, method, path, model)")
    for (number,) in numbers:
        try:
            _install_one(connection, stored, codec, number)
        except OutOfProportion:
            raise
        except Damaged:
            continue  # it stays open, and `verify` says what is wrong with it
    connection.executescript(
        f"""
        DROP VIEW IF EXISTS temp.v_exchange;
        DROP VIEW IF EXISTS temp.exchange;
        CREATE TEMP VIEW exchange AS
            {stored.exchange} WHERE state = 1 OR id NOT IN (SELECT id FROM temp.recovered)
            UNION ALL SELECT * FROM temp.recovered
            WHERE 0 = (SELECT state FROM main.exchange AS written WHERE written.id = recovered.id);
        CREATE TEMP VIEW endpoint AS SELECT id, method, path, model FROM main.endpoint
            UNION ALL SELECT id, method, path, model FROM temp.recovered_endpoint;
        CREATE TEMP {VIEW}
        """
    )


def _install_one(connection: sqlite3.Connection, stored: Format, codec: Codec, number: int) -> None:
    found = connection.execute(_REQUEST, (number,)).fetchone()
    if found is None or [type(part) for part in found] != [str, str, bytes]:
        raise Damaged(f"stream {number} has lost its request")
    method, path, packed = found
    codec.row = number
    request = codec.unpack_request(packed, method, path)
    response = cut_at_last(*segments(codec, connection, number))
    facts = facts_of(request, response)
    connection.execute(
        "INSERT INTO temp.recovered_endpoint VALUES (?, ?, ?, ?)", (-number, method, path, model_of(facts))
    )
    connection.execute(f"INSERT INTO temp.recovered {stored.exchange} WHERE id = ?", (number,))
    columns = {**derived_columns(request, response, facts), "state": 1, "endpoint": -number}
    changes = ", ".join(f"{name} = :{name}" for name in columns)
    connection.execute(f"UPDATE temp.recovered SET {changes} WHERE id = :id", {**columns, "id": number})


def _dictionary(connection: sqlite3.Connection, number: int) -> tuple[Kind, bytes] | None:
    found = connection.execute("SELECT kind, content FROM dictionary WHERE id = ?", (number,)).fetchone()
    return found if found is not None and [type(part) for part in found] == [str, bytes] else None
