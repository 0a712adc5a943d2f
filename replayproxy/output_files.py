"""Write the files that a run leaves behind: `-o`, `--report`, `--junit`, `--ready-file`, a summary in CI.

The only place where the package opens such a file. A cassette cannot be made again, so none is ever replaced: not by
its own name, a link to it, or a name that SQLite or a recorder uses beside it. Everything else is replaced in one step,
so that a reader sees the old file or the new one. Knows nothing of what is written, and opens no cassette by SQLite.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from replayproxy.errors import ReplayProxyError, SettingsError

SQLITE = b"SQLite format 3\0"
"""The first 16 bytes of every SQLite database (sqlite.org/fileformat2.html, 1.3)."""

CASSETTE_ID = b"RPLY"
"""The application id of a cassette of any format, at `CASSETTE_ID_AT`; left where the first bytes are damaged."""

CASSETTE_ID_AT = 68

COMPANIONS = ("-wal", "-shm", "-journal", ".lock", ".part")
"""Names beside a cassette: of SQLite's log, its index and its journal, of the recorder's lock, of a copy in the making.
A stranger's bytes under one of these names damage the cassette when it is opened next."""

_NOT_BY_RENAMING = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.EXDEV, errno.ENOTSUP}
"""Where the file may be written but its folder may not, or the file is a mount of its own (a container's volume)."""


def refuse(path: Path, flag: str, own: Collection[Path] = ()) -> None:
    """Raise `SettingsError` unless `path` may be written: call it before a run begins.

    `own` are cassettes of this run, which need not be there yet. `flag` is what named the path.
    """
    refuse_cassette(path, flag, own)
    with _explained(path, flag):
        if not _is_special(path):
            _refuse_unwritable(path, flag)


def refuse_cassette(path: Path, flag: str, own: Collection[Path] = ()) -> None:
    """Raise `SettingsError` where writing `path` would damage a cassette; whether it can be written is not asked."""
    try:
        _refuse_cassette(path, flag, own)
    except OSError as error:
        raise SettingsError(f"{flag} {path} cannot be written: {error.strerror}") from error
    except ValueError as error:  # a NUL in the name
        raise SettingsError(f"{flag} {path!s} cannot be written: {error}") from error


def refuse_all(named: Collection[tuple[str, Path | None]], own: Collection[Path] = ()) -> None:
    """`refuse` for each flag that names a file; two flags may not name the same one. Raises `SettingsError`."""
    seen: dict[Path, str] = {}
    for flag, path in named:
        if path is None:
            continue
        refuse(path, flag, own)
        if not _is_special(path) and (other := seen.setdefault(_resolved(path), flag)) != flag:
            raise SettingsError(f"{other} and {flag} both name {path}: give each a file of its own")


@contextmanager
def writing(path: Path, flag: str, own: Collection[Path] = ()) -> Iterator[BinaryIO]:
    """A stream whose bytes become the file when the block ends well; else the file stays as it was.

    A device, a FIFO, or a path such as /dev/stdout is written to as it is. Raises `SettingsError` where the file may
    not be written, `ReplayProxyError` where writing fails.
    """
    refuse(path, flag, own)
    with _explained(path, flag):
        if _is_special(path):
            with path.open("ab") as stream:
                yield stream
            return
        target = _resolved(path)
        part = _create_part(target)
        try:
            with part.open("r+b") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            # The run may have taken hours: what is there now is looked at again.
            _refuse_cassette(path, flag, own)
            _move(part, target)
        finally:
            with suppress(FileNotFoundError):
                part.unlink()


def write(path: Path, content: bytes, flag: str, own: Collection[Path] = ()) -> None:
    """Write a file whole. Raises as `writing` does."""
    with writing(path, flag, own) as stream:
        stream.write(content)


def append(path: Path, content: bytes, flag: str) -> None:
    """Add to the end of a file, which need not be there. Raises as `writing` does."""
    refuse(path, flag)
    with _explained(path, flag), path.open("ab") as stream:
        stream.write(content)


def is_cassette(path: Path) -> bool:
    """Whether the bytes of a file say so, whatever its format, its name and its state. Raises `OSError`."""
    return CASSETTE_ID in _kind(path)


def is_terminal(path: Path) -> bool:
    """Whether this leads to a terminal: /dev/tty, or /dev/stdout where it is one."""
    try:
        if not stat.S_ISCHR(path.stat().st_mode):
            return False
        opened = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.isatty(opened)
    finally:
        os.close(opened)


# What is refused


def _refuse_cassette(path: Path, flag: str, own: Collection[Path]) -> None:
    target = _resolved(path)
    for cassette in own:
        if _same(target, _resolved(cassette)):
            raise SettingsError(f"{flag} {path} is the cassette itself: name another file")
    kind = _kind(target)
    if CASSETTE_ID in kind:
        raise SettingsError(f"{flag} {path} is a cassette, and a cassette is never replaced: name another file")
    if SQLITE in kind:
        raise SettingsError(f"{flag} {path} is an SQLite database, which is not replaced: name another file")
    if beside := _in_use(target):  # a cassette that is being made is empty for a moment
        raise SettingsError(f"{flag} {path} is in use as a cassette ({beside} is there): name another file")
    for base in _bases(target):
        if any(_same(base, _resolved(cassette)) for cassette in own) or CASSETTE_ID in _kind(base):
            raise SettingsError(f"{flag} {path} is a name that the cassette {base.name} needs: name another file")


def _refuse_unwritable(path: Path, flag: str) -> None:
    target = _resolved(path)
    if target.is_dir():
        raise SettingsError(f"{flag} {path} is a folder: name a file in it")
    if not target.parent.is_dir():
        why = "Not a directory" if target.parent.exists() else "No such file or directory"
        raise SettingsError(f"{flag} {path} cannot be written: {why}: make the folder {path.parent} first")
    if not os.access(target if target.exists() else target.parent, os.W_OK):
        raise SettingsError(f"{flag} {path} cannot be written: Permission denied: name a file that you may write")


def _kind(path: Path) -> set[bytes]:
    """`SQLITE` and `CASSETTE_ID`, whichever the first bytes of a regular file show."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return set()
        with path.open("rb") as file:
            head = file.read(100)
    except FileNotFoundError:
        return set()
    found = {SQLITE} if head.startswith(SQLITE) else set()
    return found | ({CASSETTE_ID} if head[CASSETTE_ID_AT:].startswith(CASSETTE_ID) else set())


def _in_use(target: Path) -> str | None:
    """The file beside it that tells of a database at work: a log with something in it, or a lock that is held."""
    for companion in ("-wal", "-journal"):
        beside = Path(f"{target}{companion}")
        with suppress(FileNotFoundError):
            if beside.stat().st_size:
                return beside.name
    lock = Path(f"{target}.lock")
    with suppress(FileNotFoundError), lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return lock.name
    return None


def _bases(target: Path) -> Iterator[Path]:
    """What this would stand beside: of `a.cassette.part-wal` also `a.cassette`."""
    for companion in COMPANIONS:
        if target.name.endswith(companion) and target.name != companion:
            base = target.with_name(target.name.removesuffix(companion))
            yield base
            yield from _bases(base)


def _resolved(path: Path) -> Path:
    """Where its links lead. (`Path.resolve` raises RuntimeError for a loop of links; what opens it raises OSError.)"""
    return Path(os.path.realpath(path))


def _same(left: Path, right: Path) -> bool:
    if left == right:
        return True
    try:
        return left.samefile(right)
    except OSError:
        return False


# How it is written


def _is_special(path: Path) -> bool:
    """Whether a path is not replaced by renaming: a device, a FIFO, or what another process has open.

    `/dev/stdout` may be a log that others write to. `/dev/shm` holds ordinary files.
    """
    parts = path.absolute().parts
    if not path.exists():
        return False
    is_of_process = parts[1:2] in (("dev",), ("proc",)) and "shm" not in parts
    return is_of_process or not (path.is_file() or path.is_dir())


def _create_part(target: Path) -> Path:
    """An empty file beside the target, with the rights that the target has or would get."""
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
    import secrets  # loads hashlib and random, which those who write no file need not wait for

    name = f".replayproxy-{secrets.token_hex(8)}.tmp"
    try:
        part = target.with_name(name)
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
        if mode is not None:
            part.chmod(mode)
    except OSError as error:
        if mode is None or error.errno not in _NOT_BY_RENAMING:
            raise
        import tempfile

        handle, elsewhere = tempfile.mkstemp(prefix=".replayproxy-")
        os.close(handle)
        return Path(elsewhere)
    return part


def _move(part: Path, target: Path) -> None:
    try:
        part.replace(target)
    except OSError as error:
        if error.errno not in _NOT_BY_RENAMING or not target.is_file():
            raise
        with target.open("r+b") as old, part.open("rb") as new:
            old.truncate()
            while block := new.read(1 << 20):
                old.write(block)


@contextmanager
def _explained(path: Path, flag: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise  # the reader of a pipe has left: that is for the caller
    except OSError as error:
        raise ReplayProxyError(f"{flag} {path} cannot be written: {error.strerror}") from error
