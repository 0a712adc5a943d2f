"""Older formats become the newest one by numbered migrations, each from one format to the next.

    old file ──▶ a copy beside it ──▶ migration 1 to 2 ──▶ … ──▶ sealed, verified, compared ──▶ in its place

The old file stays as it is until the new one has been proved: nothing is migrated in place. What is not ours goes
along: tables and views of others stay, their indexes on tables that are made anew go. A new format adds a migration
and a reader to `schema.FORMATS`, and changes none that is there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from replayproxy.cassette import database, schema
from replayproxy.cassette.coding import digests
from replayproxy.cassette.columns import derived_columns, model_of
from replayproxy.cassette.editing import to_format_2, to_format_3
from replayproxy.cassette.editing.replace import copy_into
from replayproxy.cassette.editing.rewrite import prove, refuse_existing, rewriting, sealed_at_end
from replayproxy.cassette.numbering import number_anew
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.stored_keys import key_bytes
from replayproxy.cassette.watched import Watch, unwatched, watched
from replayproxy.core.dialects.facts import facts_of
from replayproxy.core.identity.rules import Matcher
from replayproxy.core.identity.sketch import sketch
from replayproxy.errors import Damaged
from replayproxy.model import Exchange


@dataclass(frozen=True, slots=True)
class Migrated:
    """What became of it. `kept` and `left`: kind and name of what is not ours, on the new file or not on it.

    `before` and `after` are sizes in bytes, `old` and `new` formats; where these are the same nothing was done.
    """

    exchanges: int
    old: int
    new: int
    before: int
    after: int
    kept: tuple[tuple[str, str], ...] = ()
    left: tuple[tuple[str, str], ...] = ()


Sketches = Callable[[int], bytes]
"""The sketch of an exchange's request, by its number."""

Migration = Callable[[sqlite3.Connection, Sketches], None]
"""Changes a copy in one transaction, from its format to the next."""

MIGRATIONS: dict[int, Migration] = {1: to_format_2.upgrade, 2: to_format_3.upgrade}
"""By the format that they begin with."""


def migrate(path: Path, out: Path | None = None, watch: Watch = unwatched) -> Migrated:
    """Rewrite `path`, or write `out`, in the newest format.

    Raises `CassetteError` where a file cannot be read or written, somebody records on it, or the result does not hold.
    """
    refuse_existing(out)
    before = path.stat().st_size if path.exists() else 0
    with CassetteReader(path) as cassette:
        old, foreign = cassette.stored.number, cassette.foreign
        (exchanges,) = cassette.one("SELECT count(*) FROM exchange")
    if old == schema.FORMAT and out is None:
        return Migrated(exchanges, old, old, before, before, kept=foreign)
    with rewriting(path, out) as fresh:
        copy_into(path, fresh)
        with sealed_at_end(fresh, _apply(path, fresh, watch)):
            pass  # sealing packs it
        prove(fresh, lambda _: _difference(path, fresh), watch)
        after = fresh.stat().st_size
        with CassetteReader(fresh) as cassette:
            kept = cassette.foreign
    left = tuple(thing for thing in foreign if thing not in kept)
    return Migrated(exchanges, old, schema.FORMAT, before, after, kept, left)


def _apply(path: Path, fresh: Path, watch: Watch) -> Matcher:
    """Each migration after the other."""
    with (
        CassetteReader(path, abandoned=False) as cassette,
        database.translated(str(fresh)),
        closing(sqlite3.connect(fresh, isolation_level=None)) as copy,
    ):
        matcher = Matcher(cassette.rules, cassette.redactor)

        def sketch_of(row: int) -> bytes:
            return sketch(matcher.compared(cassette.request(row)))

        for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "temp_store = MEMORY", "journal_mode = DELETE"):
            copy.execute(f"PRAGMA {pragma}")
        for number in range(cassette.stored.number, schema.FORMAT):
            MIGRATIONS[number](copy, sketch_of)
        copy.execute("BEGIN IMMEDIATE")
        rows = cassette.all("SELECT id, state FROM exchange ORDER BY id")
        for number, done in watched(rows, "exchanges migrated", len(rows), watch):
            with suppress(Damaged):  # the proof says so
                _give_key(copy, cassette, matcher, number, done=bool(done))
                if done:
                    _derive_columns(copy, cassette.exchange(number), number)
        for (key,) in copy.execute("SELECT DISTINCT key FROM exchange WHERE occurrence IS NULL").fetchall():
            number_anew(copy, key, sketch_of)
        copy.execute("COMMIT")
        schema.check(copy, str(fresh))
    return matcher


def _give_key(copy: sqlite3.Connection, cassette: CassetteReader, matcher: Matcher, number: int, *, done: bool) -> None:
    """The key that its request has today. Those who wrote older formats compared some requests otherwise
    (see `verifying`). The digests follow, as they are over the key too."""
    key = matcher.key(cassette.request(number))
    (stored, recorded_at) = cassette.one("SELECT key, recorded_at FROM exchange WHERE id = ?", number)
    if key_bytes(key) == stored:
        return
    exchange = cassette.exchange(number)  # raises where the stored key is damage: it does not fit the digest
    new = key_bytes(key)
    digest = (
        digests.digest(key, exchange.request, exchange.response)
        if done
        else schema.provisional_digest(new, recorded_at, number)
    )
    change = "UPDATE exchange SET key = ?, digest = ?, occurrence = NULL, sketch = NULL WHERE id = ?"
    copy.execute(change, (new, digest, number))
    copy.execute("UPDATE exchange SET occurrence = NULL, sketch = NULL WHERE key IN (?, ?)", (stored, new))
    for position, leg in enumerate(exchange.legs, 1):
        change = "UPDATE leg SET digest = ? WHERE exchange = ? AND leg = ?"
        copy.execute(change, (digests.digest_of_leg(key, leg), number, position))


def _derive_columns(copy: sqlite3.Connection, exchange: Exchange, number: int) -> None:
    """What its row repeats of its payload, as it is read today: a coded request has a model since format 2."""
    request, response = exchange.request, exchange.response
    facts = facts_of(request, response)
    derived = derived_columns(request, response, facts)
    changes = ", ".join(f"{name} = :{name}" for name in derived)
    copy.execute(f"UPDATE exchange SET {changes} WHERE id = :number", {**derived, "number": number})
    endpoint = (request.method, request.path, model_of(facts))
    found = copy.execute("SELECT id FROM endpoint WHERE (method, path) = (?, ?) AND model IS ?", endpoint).fetchone()
    if found is None:
        found = (copy.execute("INSERT INTO endpoint VALUES (NULL, ?, ?, ?)", endpoint).lastrowid,)
    copy.execute("UPDATE exchange SET endpoint = ? WHERE id = ?", (found[0], number))


def _difference(path: Path, fresh: Path) -> str | None:
    """Return what differs between the exchanges of the old file and those of the new one, or None."""
    with CassetteReader(path, abandoned=True) as old, CassetteReader(fresh) as new:
        numbers = [number for (number,) in old.all("SELECT id FROM exchange ORDER BY id")]
        if [number for (number,) in new.all("SELECT id FROM exchange ORDER BY id")] != numbers:
            return "it has other exchanges"
        changed = next((number for number in numbers if old.exchange(number) != new.exchange(number)), None)
        return None if changed is None else f"exchange {changed} is not what it was"
