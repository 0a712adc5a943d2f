"""Which of several equal requests an answer belongs to: occurrences, from 0, in the order in which they were asked.

The order is `recorded_at`, which a recorder never gives twice, and then the row. Who asked first may end last; then
those behind it move up by one, in the same transaction. Works within the transaction of whoever asks.

    asked     A ────────────────────▶ 0        when A ends, B moves from 0 to 1 and C from 1 to 2
                B ──▶ 0 … 1
                  C ──────▶ 1 … 2
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from replayproxy.errors import Damaged

_LAST = "SELECT occurrence, recorded_at FROM exchange WHERE key = ? ORDER BY occurrence DESC LIMIT 1"

_LATER = (
    "SELECT id, occurrence FROM exchange WHERE key = ? AND occurrence IS NOT NULL"
    " AND (recorded_at > ? OR (recorded_at = ? AND id > ?)) ORDER BY occurrence DESC"
)

_NEWEST = 2**63 - 1
"""A row that is about to be added has a higher number than all others."""


def make_room(
    connection: sqlite3.Connection, key: bytes, recorded_at: int, row: int | None
) -> tuple[int, bytes | None]:
    """The occurrence of an answer that has ended now; those that were asked later move up.

    Gives also the sketch that the first one had, where this one takes its place. Costs one look-up where nothing that
    was asked later has ended before.
    """
    last = connection.execute(_LAST, (key,)).fetchone()
    if last is None or last[0] is None:
        return 0, None
    occurrence, newest = last
    if not (isinstance(occurrence, int) and isinstance(newest, int)):
        raise Damaged("a stored occurrence is not a number")
    if newest < recorded_at:
        return occurrence + 1, None
    place, sketch = occurrence + 1, None
    # From the last one down, so that no two are ever in one place.
    for number, there in connection.execute(_LATER, (key, recorded_at, recorded_at, row or _NEWEST)).fetchall():
        place = there
        if not there:
            (sketch,) = connection.execute("SELECT sketch FROM exchange WHERE id = ?", (number,)).fetchone()
        connection.execute("UPDATE exchange SET occurrence = occurrence + 1, sketch = NULL WHERE id = ?", (number,))
    return place, sketch


def number_anew(connection: sqlite3.Connection, key: bytes, sketch_of: Callable[[int], bytes]) -> None:
    """Give all playable answers to this key their occurrences again: they have lost some, or others have become one.

    `sketch_of` gives the sketch of a row's request; it is called where the first of them has none yet.
    """
    rows = connection.execute(
        "SELECT id, sketch FROM exchange WHERE key = ? AND state = 1 AND request_cut IS NULL"
        " AND (ending = 0 OR (ending = 2 AND status > 0)) ORDER BY recorded_at, id",
        (key,),
    ).fetchall()
    connection.execute("UPDATE exchange SET occurrence = NULL, sketch = NULL WHERE key = ?", (key,))
    for place, (number, sketch) in enumerate(rows):
        drawn = None if place else sketch or sketch_of(number)
        connection.execute("UPDATE exchange SET occurrence = ?, sketch = ? WHERE id = ?", (place, drawn, number))
