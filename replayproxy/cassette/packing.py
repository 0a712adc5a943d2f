"""The size of a sealed file's pages. A small file has small ones, for each table takes a page at least; and so has one
with long rows, for the end of each page, and of each row that does not fit into one, stays unused.

While it is recorded on a cassette has pages of 4 KiB: smaller ones cost time. Of 600 chats with answers of 300 packed
bytes pages of 4 KiB make the smallest file, of 60 with 1 000 bytes pages of 512 (by a quarter).
"""

from __future__ import annotations

import sqlite3

from replayproxy.cassette import bundles, large_indexes
from replayproxy.cassette.schema import PAGE_SIZE
from replayproxy.errors import Damaged

SMALL_PAGE, MIDDLE_PAGE = 512, 1024

ALWAYS_SMALL, SOMETIMES_SMALL = 96 * 1024, 4 * 1024 * 1024
"""Bytes of a file: up to the first its pages are small; up to the second they are where that makes it smaller. Above
the first, payloads go into bundles."""

MOST_THOROUGH = 8 * 1024 * 1024
"""Bytes of a file: in a larger one times stand by themselves and zstd compresses, as to do better takes seconds."""

MOST_BUNDLED = 64 * 1024 * 1024
"""Bytes of a file: of a larger one to compress payloads together takes half a minute, and dictionaries weigh little."""


def pack(connection: sqlite3.Connection) -> None:
    """Leave no page unused. The file must not be in WAL mode; with readers at work it stays as it is.

    Raises `sqlite3.OperationalError` where it cannot be, also because something of a stranger's cannot be copied.
    """
    large_indexes.remove_needless(connection)
    if _size(connection) <= ALWAYS_SMALL:
        _packed(connection, SMALL_PAGE)
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _size(connection) <= MOST_BUNDLED:
            bundles.gather(connection, thorough=_size(connection) <= MOST_THOROUGH)
        connection.execute("COMMIT")
    except Damaged:  # an old row that cannot be read: the file stays larger
        connection.execute("ROLLBACK")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    sizes = {PAGE_SIZE: _packed(connection, PAGE_SIZE)}
    if sizes[PAGE_SIZE] <= SOMETIMES_SMALL:
        sizes |= {page: _packed(connection, page) for page in (SMALL_PAGE, MIDDLE_PAGE)}
        best = min(sizes, key=lambda page: (sizes[page], -page))
        if best != MIDDLE_PAGE:  # which it has now
            _packed(connection, best)


def _packed(connection: sqlite3.Connection, page: int) -> int:
    """The size of the file with such pages, which it now has."""
    connection.execute(f"PRAGMA page_size = {page}")
    connection.execute("VACUUM")
    return _size(connection)


def _size(connection: sqlite3.Connection) -> int:
    pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    return int(pages * size)


def unpack(connection: sqlite3.Connection) -> None:
    """Give a file that is to be recorded on pages that are good for that. It must not be in WAL mode."""
    if connection.execute("PRAGMA page_size").fetchone()[0] < PAGE_SIZE:
        connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        connection.execute("VACUUM")
