"""Payloads of many exchanges in one value: SQLite leaves a tenth of each page unused where a page holds few long rows.

    payload, answer ── gather, when a file is sealed ──▶ bundle: request, times, answer, request, times, answer, …
                    ◀── scatter, before rows change ───  bundled: where those of an exchange stand

Long payloads stay where they are, and all those of a small file. Reading one takes one more look-up and copies a bundle
(20 us). Works within the transaction of whoever asks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from replayproxy.errors import Damaged

BUNDLE = 32 * 1024
"""Bytes after which a bundle is full."""

LONGEST = 8 * 1024
"""Bytes of a payload that is put into one; of a longer one little of a page stays unused."""

FEWEST = 24
"""Payloads below which bundles do not pay."""

_STORED = (
    "SELECT payload.exchange, request, times, answer FROM payload JOIN answer USING (exchange)"
    " JOIN exchange ON exchange.id = payload.exchange AND state = 1"
    f" WHERE length(request) + length(times) + length(answer) <= {LONGEST} ORDER BY payload.exchange"
)


class Packed(NamedTuple):
    """What is stored of an exchange."""

    request: bytes
    times: bytes
    answer: bytes


def gather(connection: sqlite3.Connection) -> None:
    """Put the payloads of finished exchanges into bundles."""
    rows = connection.execute(_STORED).fetchall()
    if len(rows) < FEWEST:
        return
    (number,) = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM bundle").fetchone()
    content, places = bytearray(), []
    for exchange, *parts in rows:
        places.append((exchange, number, len(content), *map(len, parts)))
        content += b"".join(parts)
        if len(content) >= BUNDLE:
            connection.execute("INSERT INTO bundle VALUES (?, ?)", (number, bytes(content)))
            number, content = number + 1, bytearray()
    if content:
        connection.execute("INSERT INTO bundle VALUES (?, ?)", (number, bytes(content)))
    connection.executemany("INSERT INTO bundled VALUES (?, ?, ?, ?, ?, ?)", places)
    for table in ("answer", "payload"):
        connection.execute(f"DELETE FROM {table} WHERE exchange IN (SELECT exchange FROM bundled)")


def scatter(connection: sqlite3.Connection) -> None:
    """Give every payload its own row again. Raises `Damaged`."""
    for (exchange,) in connection.execute("SELECT exchange FROM bundled ORDER BY exchange").fetchall():
        packed = find(lambda sql, *parameters: connection.execute(sql, parameters).fetchone(), exchange)
        if packed is None:
            raise Damaged(f"a stored bundle has lost the payload of exchange {exchange}")
        connection.execute("INSERT INTO payload VALUES (?, ?, ?)", (exchange, packed.request, packed.times))
        connection.execute("INSERT INTO answer VALUES (?, ?)", (exchange, packed.answer))
    connection.execute("DELETE FROM bundled")
    connection.execute("DELETE FROM bundle")


def find(first: Callable[..., Sequence[Any] | None], exchange: int) -> Packed | None:
    """The payload of an exchange, if it is in a bundle; `first` gives the first row of a query. Raises `Damaged`."""
    place = first("SELECT bundle, start, request, times, answer FROM bundled WHERE exchange = ?", exchange)
    if place is None:
        return None
    if not all(type(number) is int and 0 <= number < 2**31 for number in place):
        raise Damaged(f"the payload of exchange {exchange} stands where there is nothing")
    number, start, *sizes = place
    # What a stranger says is a bundle may be as long as the file, and many rows may refer to it.
    found = first("SELECT content FROM bundle WHERE id = ? AND length(content) <= ?", number, BUNDLE + LONGEST)
    if found is None or not isinstance(found[0], bytes) or start + sum(sizes) > len(found[0]):
        raise Damaged(f"the payload of exchange {exchange} stands in a bundle that is not there, or behind its end")
    content, parts = found[0], []
    for size in sizes:
        parts.append(content[start : start + size])
        start += size
    return Packed(*parts)
