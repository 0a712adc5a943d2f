"""Replace a file in one step: the new one is written beside it, synced, and renamed over it.

A program that has the old file open continues to read the old one; a program that opens it later gets the new one, and
none ever sees a part of either. Does not know what is written.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from replayproxy.cassette import database
from replayproxy.cassette.naming import part_beside
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.schema import FORMAT
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.core.identity.rules import Matcher
from replayproxy.errors import CassetteError


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a path to write to. Its file replaces the target when the block ends without an error; else it is removed.

    Raises `CassetteError` if the file system does not allow it.
    """
    target = Path(os.path.realpath(target))  # `resolve` raises RuntimeError for a loop of links
    fresh = part_beside(target)
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
    """Copy a cassette through SQLite: a copy of its bytes could miss what is still in the log."""
    os.close(os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, path.stat().st_mode & 0o777))
    with closing(database.read(path)) as source, closing(sqlite3.connect(fresh)) as copy:
        source.backup(copy)


def fold(path: Path) -> None:
    """Move into the file what a crashed recorder has left in the log, which would be lost when the file is replaced.

    Raises `CassetteError` if another program has the file open.
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


def _remove(fresh: Path) -> None:
    for name in (fresh, *(Path(f"{fresh}{tail}") for tail in ("-wal", "-shm", "-journal"))):
        with suppress(FileNotFoundError):
            name.unlink()


def _sync(path: Path) -> None:
    """Make content and name survive a power failure."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
