"""Delete recordings from a cassette: a copy without them replaces it.

The remaining recordings of equal requests are numbered anew from 0, so that a replay finds no gap. A digest does not
cover that number and stays as it was written. The caller chooses the recordings.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from replayproxy.cassette import bundles, database, packing
from replayproxy.cassette.editing.replace import copy_into
from replayproxy.cassette.editing.rewrite import refuse_existing, rewriting
from replayproxy.cassette.numbering import number_anew
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.schema import FORMAT
from replayproxy.cassette.watched import Watch, unwatched, watched
from replayproxy.errors import OlderFormat


@dataclass(frozen=True, slots=True)
class Pruned:
    """The result. `before` and `after` are sizes in bytes; `foreign`: kind and name of tables and views of other
    programs, which stay."""

    deleted: int
    kept: int
    before: int
    after: int
    foreign: tuple[tuple[str, str], ...] = ()


def prune(path: Path, numbers: Iterable[int], out: Path | None = None, watch: Watch = unwatched) -> Pruned:
    """Delete the exchanges of these numbers; with `out`, write that instead of changing `path`.

    Raises `CassetteError` if it is recorded on, if it cannot be read, or if `out` exists.
    """
    refuse_existing(out)
    with CassetteReader(path) as cassette:
        if cassette.stored.number < FORMAT:
            raise OlderFormat(
                f"{path} has cassette format {cassette.stored.number}, which can only be read: run"
                f" `replayproxy migrate {path}` first"
            )
        foreign = cassette.foreign
    # Not proved: the exchange that is deleted may be there to cure a damaged file, and another one may be damaged too.
    with rewriting(path, out) as fresh:
        before = path.stat().st_size
        copy_into(path, fresh)
        deleted, kept = _delete(set(numbers), fresh, watch)
        after = fresh.stat().st_size
    return Pruned(deleted, kept, before, after, foreign)


def _delete(gone: set[int], fresh: Path, watch: Watch) -> tuple[int, int]:
    """Delete, number anew, and leave no free page. Return how many were deleted and how many are left."""
    with database.translated(str(fresh)), closing(sqlite3.connect(fresh, isolation_level=None)) as copy:
        for pragma in ("trusted_schema = OFF", "foreign_keys = ON", "temp_store = MEMORY", "journal_mode = DELETE"):
            copy.execute(f"PRAGMA {pragma}")
        copy.execute("BEGIN IMMEDIATE")
        bundles.scatter(copy)  # what is deleted is nowhere left
        keys = {key for number in gone for (key,) in copy.execute("SELECT key FROM exchange WHERE id = ?", (number,))}
        sketches = {
            key: sketch
            for key in keys
            for (sketch,) in copy.execute("SELECT sketch FROM exchange WHERE key = ? AND occurrence = 0", (key,))
        }
        deleted = copy.executemany("DELETE FROM exchange WHERE id = ?", ((number,) for number in gone)).rowcount
        for key in watched(keys, "requests numbered anew", len(keys), watch):
            # Equal requests look alike: who is the first of them now looks as the one did who was it.
            number_anew(copy, key, lambda _: sketches[key])  # noqa: B023  it is called before the next key
        copy.execute("DELETE FROM endpoint WHERE id NOT IN (SELECT endpoint FROM exchange)")
        copy.execute("COMMIT")
        packing.pack(copy)
        (kept,) = copy.execute("SELECT count(*) FROM exchange").fetchone()
    return max(0, deleted), int(kept)
