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

from replayproxy.cassette import connection
from replayproxy.cassette.cassette import payload_id
from replayproxy.cassette.replacing import fold, replacing
from replayproxy.errors import CassetteError


@dataclass(frozen=True, slots=True)
class Pruned:
    """What became of it. `before` and `after` are sizes in bytes."""

    deleted: int
    kept: int
    before: int
    after: int


def prune(path: Path, numbers: Iterable[int], out: Path | None = None) -> Pruned:
    """Delete the exchanges of these numbers; with `out`, write that instead of changing `path`.

    Raises `CassetteError` where somebody records on it, where it cannot be read, or where `out` is there already.
    """
    if out is not None and out.exists():
        raise CassetteError(f"{out} is there already: name another file, or remove it")
    fold(path)
    target = path if out is None else out
    lock = connection.Lock(path)
    try:
        before = path.stat().st_size
        with replacing(target) as fresh, closing(connection.read(path)) as source:
            deleted, kept = _write_without(set(numbers), source, fresh, path.stat().st_mode & 0o777)
    finally:
        lock.release()
    return Pruned(deleted, kept, before, target.stat().st_size)


def _write_without(gone: set[int], source: sqlite3.Connection, part: Path, mode: int) -> tuple[int, int]:
    """Copy all, delete, number anew, and leave no free page behind. Gives how many went and how many are left."""
    os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode))
    with connection.translated(str(part)), closing(sqlite3.connect(part, isolation_level=None)) as copy:
        source.backup(copy)
        for pragma in ("trusted_schema = OFF", "foreign_keys = ON", "temp_store = MEMORY", "journal_mode = DELETE"):
            copy.execute(f"PRAGMA {pragma}")
        copy.execute("BEGIN IMMEDIATE")
        keys = {key for number in gone for (key,) in copy.execute("SELECT key FROM exchange WHERE id = ?", (number,))}
        sketches = {
            key: sketch
            for key in keys
            for (sketch,) in copy.execute("SELECT sketch FROM exchange WHERE key = ? AND occurrence = 0", (key,))
        }
        payloads = ((payload_id(number), payload_id(number, 15)) for number in gone)
        copy.executemany("DELETE FROM payload WHERE id BETWEEN ? AND ?", payloads)
        deleted = copy.executemany("DELETE FROM exchange WHERE id = ?", ((number,) for number in gone)).rowcount
        for key in keys:
            _number_anew(copy, key, sketches.get(key))
        copy.execute("DELETE FROM endpoint WHERE id NOT IN (SELECT endpoint FROM exchange)")
        copy.execute("COMMIT")
        copy.execute("VACUUM")
        (kept,) = copy.execute("SELECT count(*) FROM exchange").fetchone()
    return max(0, deleted), int(kept)


def _number_anew(copy: sqlite3.Connection, key: bytes, sketch: bytes | None) -> None:
    """In their order, from 0. Each goes down or stays, so no two are ever in one place.

    Equal requests look alike: who is the first of them now looks as the one did who was it.
    """
    rows = copy.execute(
        "SELECT id FROM exchange WHERE key = ? AND occurrence IS NOT NULL ORDER BY occurrence", (key,)
    ).fetchall()
    copy.executemany(
        "UPDATE exchange SET occurrence = ?, sketch = ? WHERE id = ?",
        [(place, None if place else sketch, number) for place, (number,) in enumerate(rows)],
    )
