"""Notice that another program has changed the files of a cassette that is being written, and save the content.

A file that was deleted, renamed or replaced is still open: SQLite continues to read and write it, but nobody can find
it by its name. Its content is copied to that name again, or to a new name if another file is there. The content of a
file that was truncated or overwritten is lost; the caller reports and counts that.

Knows the files and a connection, not the tables.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sqlite3
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from typing import NamedTuple

from replayproxy.cassette.naming import part_beside
from replayproxy.errors import CassetteError


class FileLost(OSError):
    """Nobody could find what is written now. The text says what happened to the file, as the end of a sentence."""


class _File(NamedTuple):
    """The identity of a file, and its size and time of change when it was last checked."""

    device: int
    inode: int
    size: int
    changed: int

    def is_same(self, other: _File | None) -> bool:
        """Return whether both are the same file, whatever it contains."""
        return other is not None and (self.device, self.inode) == (other.device, other.inode)


class FileGuard:
    """The files of one cassette, as its only writer left them. Opens none: closing one would release SQLite's locks.

    Call `find` before each write, and `note` after it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._names = (path, Path(f"{path}-wal"), Path(f"{path}-shm"))
        self._noted: list[_File | None] = [None, None, None]
        self.note()

    def note(self) -> None:
        """Take the present state of the files as the expected one."""
        self._noted = [noted if (found := _look(name)) is None else found for name, noted in self._files()]

    def find(self) -> str | None:
        """Return what happened to the files, as the end of a sentence, or None if they are as expected."""
        return self.find_missing() or self._find_cut_off()

    def find_missing(self) -> str | None:
        """Return what happened to the names, if they lead to other files: the open files still have all content."""
        for name, noted in self._files():
            found = _look(name)
            if noted is None or noted.is_same(found):
                continue
            if found is not None:
                return f"{name} has been replaced by another file"
            return f"{name} is not there any more" if name.parent.is_dir() else f"the folder {name.parent} is gone"
        return None

    def _find_cut_off(self) -> str | None:
        for name, noted in list(self._files())[:2]:
            found = _look(name)
            if noted is not None and found is not None and found.size < noted.size:
                return f"{name} has been cut off: it had {noted.size} bytes and has {found.size}"
        return None

    def was_written_to(self) -> bool:
        """Return whether another program has written to the cassette, through SQLite or over it (`cp`)."""
        noted, found = self._noted[0], _look(self._path)
        return noted is not None and found is not None and noted.changed != found.changed

    def is_there(self) -> bool:
        """Return whether the file of the cassette still has its name."""
        noted = self._noted[0]
        return noted is not None and noted.is_same(_look(self._path))

    def is_free(self) -> bool:
        """Return whether no other file is where the cassette was."""
        return all(
            noted is None or (found := _look(name)) is None or noted.is_same(found) for name, noted in self._files()
        )

    def remove_log(self) -> None:
        """Remove the log of a file that is given up: another file may get its name."""
        for name, noted in list(self._files())[1:]:
            if noted is not None and noted.is_same(_look(name)):
                with suppress(OSError):
                    name.unlink()

    def _files(self) -> zip[tuple[Path, _File | None]]:
        return zip(self._names, self._noted, strict=True)


def is_sound(path: Path) -> bool:
    """Return whether SQLite finds nothing wrong with this file. Reads all of it."""
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA mmap_size = 0")
            return [row[0] for row in connection.execute("PRAGMA quick_check(1)")] == ["ok"]
    except sqlite3.Error:
        return False


def save(source: sqlite3.Connection, path: Path, guard: FileGuard) -> Path:
    """Copy everything that `source` reads to `path`, or to a name beside it if another file is there. Return the name.

    No file is overwritten. Raises `OSError`, `sqlite3.Error`, and `CassetteError` if the content itself is damaged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part_beside(path)
    os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        with closing(sqlite3.connect(part, isolation_level=None)) as copy:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
        if not is_sound(part):
            raise CassetteError(f"what {path} held cannot be read any more")
        return _name(part, path, guard)
    finally:
        with suppress(OSError):
            part.unlink()


def save_closed(file: int, path: Path, guard: FileGuard) -> Path:
    """Do the same from the descriptor of a complete file that nothing writes to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part_beside(path)
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as copy, os.fdopen(file, "rb", closefd=False) as source:
            source.seek(0)
            shutil.copyfileobj(source, copy)
        return _name(part, path, guard)
    finally:
        with suppress(OSError):
            part.unlink()


def beside(path: Path) -> Path:
    """Return a free name in the same folder, with the next free number at its end."""
    names = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(2))
    return next(name for name in names if _is_free(name))


def _name(part: Path, path: Path, guard: FileGuard) -> Path:
    """Give a finished file its name, or one beside it, even if other programs create files meanwhile."""
    with part.open("rb") as written:
        os.fsync(written.fileno())
    if guard.is_free() and guard.is_there():  # only its log was taken away
        part.replace(path)
        return path
    for attempt in range(10):
        name = path if attempt == 0 and guard.is_free() else beside(path)
        try:
            name.hardlink_to(part)  # in one step; fails where there is something by now
        except FileExistsError:
            continue
        except OSError:  # a file system without links
            try:
                os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            except FileExistsError:
                continue
            part.replace(name)
        return name
    raise OSError(f"no name beside {path} stays free")


def _is_free(path: Path) -> bool:
    return not any(os.path.lexists(f"{path}{tail}") for tail in ("", "-wal", "-journal"))


def abandon(connection: sqlite3.Connection) -> None:
    """Never close this connection, not even at the end of the process.

    SQLite would write the log into the file, and delete the log by its name: both may belong to others by now.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def _look(path: Path) -> _File | None:
    try:
        found = path.lstat() if path.is_symlink() and not path.exists() else path.stat()
    except OSError:
        return None
    return _File(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
