"""Which recordings answer a key, and in which order: the first request gets occurrence 0, the second one occurrence 1.

    key ──▶ 0, 1, 2, …  ──▶ numbers of exchanges

As the file says, or as numbered in memory (`number`): by other match rules, or with broken answers among them. Unpacks
nothing.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import itemgetter
from typing import Any

from replayproxy.cassette.queries import Queries, typed
from replayproxy.cassette.readers import Readers
from replayproxy.cassette.stored_keys import key_bytes, key_text
from replayproxy.errors import Damaged
from replayproxy.model import Ending, Key, RecordingRef, is_playable

MANY = 100_000
"""Keys whose number of recordings is cached: 20 MB."""

MOST_LISTED = 10_000
"""Recordings among which those of preflights are looked for."""

_ENDINGS = frozenset(Ending)

_FOUND = (
    "SELECT id, key, occurrence, response_size, EXISTS (SELECT 1 FROM leg WHERE leg.exchange = exchange.id)"
    " FROM exchange WHERE id ="
)


class Occurrences:
    """The recordings of one cassette by key and occurrence."""

    def __init__(self, queries: Queries, readers: Readers, *, sealed: bool, allow_incomplete: bool = False) -> None:
        """`sealed`: nobody records on the cassette, so what was counted once holds (a look-up is a fifth of a replay).

        `allow_incomplete`: answers that broke off have an occurrence too.
        """
        self._queries = queries
        self._readers = readers
        self._sealed = sealed
        self._allow_incomplete = allow_incomplete
        self._table = "exchange"
        self._counts: dict[Key, int] = {}
        self._order: OrderedDict[Key, list[int]] = OrderedDict()
        self._newest = typed(queries.one("SELECT coalesce(max(id), 0) FROM exchange"), int)[0]

    @property
    def size(self) -> int:
        """About how many bytes of memory are kept for coming requests."""
        return 200 * (len(self._counts) + len(self._order)) + 32 * sum(map(len, self._order.values()))

    def number(self, key_of: Callable[[int, bytes], bytes] = lambda _, key: key) -> None:
        """Number all recordings anew, in memory, in the order of their requests.

        `key_of` gives the key of an exchange from its number and its stored key. What cannot be played has a key there
        too, and no occurrence.
        """
        next_occurrence = Counter[bytes]()
        rows = []
        for row in self._queries.each(
            "SELECT id, key, occurrence, status, ending, request_cut FROM exchange WHERE state = 1"
            " ORDER BY recorded_at, id"
        ):
            number, stored, occurrence, status, ending, request_cut = typed(
                row, int, bytes, int | None, int, int, int | None
            )
            key = key_of(number, stored)
            allowed = (
                status > 0 if self._allow_incomplete else ending in _ENDINGS and is_playable(status, Ending(ending))
            )
            playable = occurrence is not None or (allowed and not request_cut)
            rows.append((number, key, next_occurrence[key] if playable else None))
            next_occurrence[key] += playable
        self._share(rows)
        self._counts.clear()
        self._order.clear()

    def _share(self, rows: Sequence[tuple[Any, ...]]) -> None:
        self._readers.share(
            "CREATE TABLE place (id INTEGER, key BLOB, occurrence INTEGER, state DEFAULT 1, UNIQUE (key, occurrence))",
            "INSERT OR IGNORE INTO place (id, key, occurrence) VALUES (?, ?, ?)",
            rows,
        )
        self._table = "places.place"

    def index(self) -> None:
        """Make an index of keys in memory, for a file that has none.

        A row that is damaged is not found by its key; `verify` names it.
        """
        self._share(
            self._queries.all(
                "SELECT id, key, occurrence FROM exchange WHERE state = 1 AND typeof(key) = 'blob'"
                " AND typeof(occurrence) IN ('integer', 'null')"
            )
        )

    def forget_new(self, other: Occurrences) -> None:
        """Take as new what was recorded since the other one, of the same cassette, was made."""
        self._newest = other._newest

    # One key

    def count(self, key: Key) -> int:
        """Return the number of recordings of a key."""
        if (cached := self._counts.get(key)) is not None:
            return cached
        row = self._queries.one(f"SELECT max(occurrence) FROM {self._table} WHERE key = ?", key_bytes(key))
        (last,) = typed(row, int | None)
        count = 0 if last is None else last + 1
        if self._sealed and len(self._counts) < MANY:
            self._counts[key] = count
        elif not self._sealed:
            return len(self._steady(key, count))
        return count

    def find(self, ref: RecordingRef) -> tuple[int, int, bool]:
        """Return number, size of the body in bytes, and whether it has legs. Raises `Damaged` if it is not there."""
        if self._sealed:
            row = self._queries.first(
                f"{_FOUND} (SELECT id FROM {self._table} WHERE key = ? AND occurrence = ?)",
                *(key_bytes(ref.key), ref.occurrence),
            )
        else:
            row = self._queries.first(f"{_FOUND} ?", self._number_at(ref))
        name = self._queries.name
        if row is None:
            raise Damaged(f"{name} has no recording {ref.occurrence} of {ref.key}")
        number, key, occurrence, size, has_legs = typed(row, int, bytes, int | None, int, int)
        expected = key_bytes(ref.key), ref.occurrence if self._sealed else occurrence
        # An index of SQLite's is content too: a damaged one leads to another request's answer.
        if self._table == "exchange" and (key, occurrence) != expected:
            raise Damaged(f"the index of {name} takes recording {number} for another one: restore it from a copy")
        return number, size, bool(has_legs)

    def with_transfer(self, key: Key, transfer: str) -> int | None:
        """Return the occurrence that was recorded with this hand-over from prefill to decode."""
        row = self._queries.first(
            f"SELECT place.id, place.occurrence FROM {self._table} AS place JOIN exchange USING (id)"
            " WHERE place.key = ? AND place.occurrence IS NOT NULL AND exchange.transfer = ? LIMIT 1",
            *(key_bytes(key), transfer),
        )
        if row is None:
            return None
        number, occurrence = typed(row, int, int)
        return int(occurrence if self._sealed else self._steady(key).index(number))

    def count_broken(self, key: Key) -> int:
        """Return how many answers to a key broke off."""
        row = self._queries.one(
            f"SELECT count(*) FROM {self._table} AS place JOIN exchange USING (id) WHERE place.key = ?"
            " AND place.occurrence IS NULL AND exchange.state = 1 AND exchange.request_cut IS NULL",
            key_bytes(key),
        )
        return int(row[0])

    def _steady(self, key: Key, count: int | None = None) -> list[int]:
        """Return the numbers of the recordings of a key, each at the occurrence at which it was first seen here.

        `count`: how many there are, where known.
        """
        # While somebody records, an answer whose request came earlier and which ends later moves others up in the file.
        # A client that had occurrence 0 would then get the same recording again as occurrence 1. So an occurrence keeps
        # its meaning for as long as the cassette is open, and new recordings follow behind.
        cached = self._order.get(key, [])
        if len(cached) != count:
            sql = f"SELECT id FROM {self._table} WHERE key = ? AND occurrence IS NOT NULL ORDER BY occurrence"
            there = [typed(row, int)[0] for row in self._queries.all(sql, key_bytes(key))]
            # What is gone stays where it was, for the others to stay where they are.
            cached = [*cached, *(number for number in there if number not in cached)]
        if cached:
            self._order[key] = cached
            self._order.move_to_end(key)
            if len(self._order) > MANY:
                self._order.popitem(last=False)
        return cached

    def _number_at(self, ref: RecordingRef) -> int | None:
        """Return the number of a recording on a cassette that somebody may be recording on."""
        numbers = self._order.get(ref.key, [])
        if ref.occurrence >= len(numbers):
            numbers = self._steady(ref.key)
        return numbers[ref.occurrence] if 0 <= ref.occurrence < len(numbers) else None

    # All keys

    def all(self) -> Iterator[tuple[int, RecordingRef, str]]:
        """Yield number, reference and short id of each recording, the oldest first."""
        rows = self._queries.all(
            f"SELECT id, place.key, place.occurrence, exchange.digest FROM {self._table} AS place JOIN exchange"
            " USING (id) WHERE place.occurrence IS NOT NULL ORDER BY id"
        )
        for row in rows:
            number, key, occurrence, digest = typed(row, int, bytes, int, bytes)
            yield number, RecordingRef(key_text(key), occurrence), digest[:4].hex()

    def with_endpoints(self, *, new: bool = False) -> Iterator[tuple[RecordingRef, str, str, str]]:
        """Yield reference, short id, method and path of each recording, the oldest first.

        `new`: only what has been recorded since this was opened.
        """
        rows = self._queries.each(
            f"SELECT id, place.key, place.occurrence, exchange.digest, method, path FROM {self._table} AS place"
            " JOIN exchange USING (id) JOIN (SELECT id AS endpoint, method, path FROM endpoint) USING (endpoint)"
            " WHERE place.occurrence IS NOT NULL AND id > ? ORDER BY id",
            self._newest if new else -1,
        )
        for row in rows:
            number, stored, occurrence, digest, method, path = typed(row, int, bytes, int, bytes, str, str)
            key = key_text(stored)
            if number in (steady := self._order.get(key, ())):
                occurrence = steady.index(number)
            yield RecordingRef(key, occurrence), digest[:4].hex(), method, path

    def some(self, limit: int) -> list[RecordingRef]:
        """Return at most so many recordings, those of preflights first."""
        listed = [(method != "OPTIONS", ref) for ref, _, method, _ in islice(self.with_endpoints(), MOST_LISTED)]
        return [ref for _, ref in sorted(listed, key=itemgetter(0))[:limit]]
