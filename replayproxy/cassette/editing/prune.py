"""Take recordings off a cassette: a copy without them takes its place.

What is left of equal requests is numbered anew from 0, so that a replay finds no gap; a digest does not cover that
number, and stays as it was written. Knows which recordings by their numbers alone, not why.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from replayproxy.cassette import bundles, database, packing
from replayproxy.cassette.editing.replace import fold, replacing
from replayproxy.cassette.numbering import number_anew
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.schema import FORMAT
from replayproxy.errors import CassetteError, OlderFormat


@dataclass(frozen=True, slots=True)
class Pruned:
    """What became of it. `before` and `after` are sizes in bytes; `foreign`: kind and name of what is not ours, which
    stays as it is."""

    deleted: int
    kept: int
    before: int
    after: int
    foreign: tuple[tuple[str, str], ...] = ()


def prune(path: Path, numbers: Iterable[int], out: Path | None = None) -> Pruned:
    """Delete the exchanges of these numbers; with `out`, write that instead of changing `path`.

    Raises `CassetteError` where somebody records on it, where it cannot be read, or where `out` is there already.
    """
    if out is not None and out.exists():
        raise CassetteError(f"{out} is there already: name another file, or remove it")
    with CassetteReader(path) as cassette:
        if cassette.stored.number < FORMAT:
            raise OlderFormat(
                f"{path} has cassette format {cassette.stored.number}, which can only be read: run"
                f" `replayproxy migrate {path}` first"
            )
        foreign = cassette.foreign
    fold(path)
    target = path if out is None else out
    lock = database.Lock(path)
    try:
        before = path.stat().st_size
        with replacing(target) as fresh, closing(database.read(path)) as source:
            deleted, kept = _write_without(set(numbers), source, fresh, path.stat().st_mode & 0o777)
    finally:
        lock.release()
    return Pruned(deleted, kept, before, target.stat().st_size, foreign)


def _write_without(gone: set[int], source: sqlite3.Connection, part: Path, mode: int) -> tuple[int, int]:
    """Copy all, delete, number anew, and leave no free page behind. Gives how many went and how many are left."""
    os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode))
    with database.translated(str(part)), closing(sqlite3.connect(part, isolation_level=None)) as copy:
        source.backup(copy)
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
        for key in keys:
            # Equal requests look alike: who is the first of them now looks as the one did who was it.
            number_anew(copy, key, lambda _: sketches[key])  # noqa: B023  it is called before the next key
        copy.execute("DELETE FROM endpoint WHERE id NOT IN (SELECT endpoint FROM exchange)")
        copy.execute("COMMIT")
        packing.pack(copy)
        (kept,) = copy.execute("SELECT count(*) FROM exchange").fetchone()
    return max(0, deleted), int(kept)
