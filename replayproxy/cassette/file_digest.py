"""SHA-256 of cassette files: a report names the files that it is about by it, so that it is not applied to others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hex. Raises `OSError`.

    A file whose inode, size and time of change are those of the last call is not read again: `/report` may be polled.
    """
    found = path.stat()
    return _digest(path, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def file_digests(paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 by path, of the files that exist."""
    return {str(path): file_digest(path) for path in paths if path.is_file()}


@lru_cache(maxsize=64)
def _digest(path: Path, *_: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
