"""Make a cassette smaller: train dictionaries on all of it, and pack every payload again with them.

    a copy beside it ──▶ train on a sample ──▶ pack each payload again ──▶ pages ──▶ verify, compare ──▶ in its place

The old file is replaced only if the new one was proved and is smaller. Exchanges keep their numbers, ids and times, and
tables of other programs stay, because the new file begins as a copy.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from replayproxy.cassette import bundles, database, large_indexes, packing
from replayproxy.cassette.dictionaries import Dictionaries
from replayproxy.cassette.editing.replace import copy_into
from replayproxy.cassette.editing.rewrite import prove, rewriting
from replayproxy.cassette.queries import typed
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.watched import Watch, unwatched

SAMPLE = 2_000
"""Most exchanges on which dictionaries are trained, evenly spread: more take minutes and gain nothing."""

LONGEST = 256 * 1024
"""Answers of so many bytes and more are not part of the sample."""

FEWEST = 24
"""Exchanges below which a dictionary would not pay for itself."""

BATCH = 500
"""Exchanges of one transaction."""


@dataclass(frozen=True, slots=True)
class Compacted:
    """The result. `before` and `after` are bytes. If the file could not be made smaller, it is unchanged."""

    exchanges: int
    before: int
    after: int
    is_smaller: bool


class _NotSmaller(Exception):
    """Ends the block that would replace the file."""


def compact(path: Path, out: Path | None = None, watch: Watch = unwatched) -> Compacted:
    """Make `path` smaller, or write `out`. `watch` is called with what was done, how many, of how many.

    Raises `CassetteError` if a file cannot be read or written, is recorded on, or the result is not as it should be.
    """
    before = after = exchanges = 0
    try:
        with rewriting(path, out) as fresh:
            before = path.stat().st_size
            copy_into(path, fresh)
            _pack_again(fresh, watch)
            exchanges = prove(fresh, lambda _: _difference(path, fresh), watch)
            after = fresh.stat().st_size
            if out is None and after >= before:
                raise _NotSmaller
    except _NotSmaller:
        return Compacted(exchanges, before, before, False)
    return Compacted(exchanges, before, after, after < before)


def _pack_again(fresh: Path, watch: Watch) -> None:
    with database.translated(str(fresh)), closing(database.write(fresh, full=False)) as connection:
        dictionaries = Dictionaries(connection, fresh)
        numbers = [n for (n,) in connection.execute("SELECT id FROM exchange WHERE state = 1 ORDER BY id")]
        if len(numbers) >= FEWEST:
            before = dictionaries.next
            connection.execute("BEGIN IMMEDIATE")
            bundles.scatter(connection)
            short = f"SELECT id FROM exchange WHERE state = 1 AND response_size < {LONGEST} ORDER BY id"
            candidates = [n for (n,) in connection.execute(short)]
            sample = set(candidates[:: -(-len(candidates) // SAMPLE) or 1])
            dictionaries.train(f"WHERE exchange.id IN ({_listed(sorted(sample))})")
            connection.execute("COMMIT")
            rest = [number for number in numbers if number not in sample]
            for first in range(0, len(rest), BATCH):
                connection.execute("BEGIN IMMEDIATE")
                _repack(connection, dictionaries, rest[first : first + BATCH])
                connection.execute("COMMIT")
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
                watch("exchanges packed", len(sample) + first, len(numbers))
            connection.execute("BEGIN IMMEDIATE")
            # Where the sample gave no dictionary of a kind, everything was packed with the old one.
            trained = "SELECT kind FROM dictionary WHERE id >= ?"
            connection.execute(f"DELETE FROM dictionary WHERE id < ? AND kind IN ({trained})", (before, before))
            connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode = DELETE")
        large_indexes.add(connection)
        packing.pack(connection)


def _listed(numbers: Sequence[int]) -> str:
    return ",".join(f"{number:d}" for number in numbers)


def _repack(connection: sqlite3.Connection, dictionaries: Dictionaries, numbers: Sequence[int]) -> None:
    """Pack payloads and legs of these exchanges with the newest dictionaries."""
    chosen, codec = _listed(numbers), dictionaries.codec
    rows = connection.execute(
        "SELECT payload.exchange, 0, request, answer, times FROM payload JOIN answer USING (exchange)"
        f" WHERE payload.exchange IN ({chosen})"
        f" UNION ALL SELECT exchange, leg, request, answer, times FROM leg WHERE exchange IN ({chosen})"
    ).fetchall()
    with dictionaries.budgeted():
        for row in rows:
            number, leg, request, answer, times = typed(row, int, int, bytes, bytes, bytes)
            codec.row = "packed again", number, leg
            packed_request = codec.squeeze("request", codec.expand(request))
            packed_times = codec.pack_times(codec.unpack_times(times))
            packed_answer = codec.squeeze_answer(codec.plain_answer(*codec.unpack_answer(answer)))
            if leg:
                change = "UPDATE leg SET request = ?, times = ?, answer = ? WHERE exchange = ? AND leg = ?"
                connection.execute(change, (packed_request, packed_times, packed_answer, number, leg))
            else:
                change = "UPDATE payload SET request = ?, times = ? WHERE exchange = ?"
                connection.execute(change, (packed_request, packed_times, number))
                connection.execute("UPDATE answer SET answer = ? WHERE exchange = ?", (packed_answer, number))


def _difference(path: Path, fresh: Path) -> str | None:
    """Return how the new file differs from the old one, or None if each exchange has its id, digest and time."""
    with CassetteReader(path, abandoned=True) as old, CassetteReader(fresh) as new:
        return None if list(_ids(old)) == list(_ids(new)) else "it has other exchanges"


def _ids(cassette: CassetteReader) -> Iterator[tuple[object, ...]]:
    yield from cassette.all("SELECT id, digest, recorded_at, occurrence FROM exchange ORDER BY id")
