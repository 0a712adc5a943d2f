"""Put a new cassette in the place of another: written whole beside it, synced, and then renamed over it in one step.

Whoever has the old file open reads on in it; whoever opens it later gets the new one, and nobody ever half of either.
Knows nothing of what is written.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from replayproxy.cassette import database
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.schema import FORMAT
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.core.identity.rules import Matcher
from replayproxy.errors import CassetteError


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A path to write to. What is there when the block ends well takes the target's place; else nothing of it stays.

    Raises `CassetteError` where the file system does not let it.
    """
    target = Path(os.path.realpath(target))  # `resolve` raises RuntimeError for a loop of links
    fresh = _part_beside(target)
    try:
        yield fresh
        try:
            _sync(fresh)
            fresh.replace(target)
            _sync(target.parent)
        except OSError as error:
            raise CassetteError(
                f"{target} cannot be written: {error.strerror}. Look at the folder's rights."
            ) from error
    finally:
        _remove(fresh)


def copy_into(path: Path, fresh: Path) -> None:
    """Make a copy of a cassette, through SQLite: a copy of the bytes could miss what stands in a log."""
    os.close(os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, path.stat().st_mode & 0o777))
    with closing(database.read(path)) as source, closing(sqlite3.connect(fresh)) as copy:
        source.backup(copy)


def fold(path: Path) -> None:
    """Fold in what a recorder that died has left in the log: it belongs to this file, and not to one in its place.

    Raises `CassetteError` where somebody else has it open.
    """
    log = Path(f"{path}-wal")
    with CassetteReader(path) as cassette:
        matcher = Matcher(cassette.rules, cassette.redactor)
        old = cassette.stored.number < FORMAT
        (mode,) = cassette.one("PRAGMA journal_mode")
        (open_rows,) = cassette.one("SELECT count(*) FROM segment")
    if mode == "wal" or open_rows or log.exists():
        if old:
            database.fold(path)
        else:
            CassetteWriter(path, matcher).seal()
    if log.exists():
        raise CassetteError(f"{path} is open elsewhere, and its log {log} cannot be folded in: close it there first")


def _part_beside(target: Path) -> Path:
    """Return an unused name beside it: `a.cassette.part` may be a file of the user's."""
    return target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")


def _remove(fresh: Path) -> None:
    for name in (fresh, *(Path(f"{fresh}{tail}") for tail in ("-wal", "-shm", "-journal"))):
        with suppress(FileNotFoundError):
            name.unlink()


def _sync(path: Path) -> None:
    """A power cut after this finds what was written, under its name."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
