"""The size of a sealed file's pages. A small file has small ones, for each table takes a page at least; a large one has
large ones, for at the end of each page, and of each long row, some bytes stay unused.

While it is recorded on a cassette has pages of 4 KiB: smaller ones cost time, larger ones cost bytes in the log.
"""

from __future__ import annotations

import sqlite3

from replayproxy.cassette.schema import PAGE_SIZE

_SIZES = ((96 * 1024, 512), (512 * 1024, 2048))
"""Bytes of a file, and the page that makes those up to this size smallest."""

LARGE_PAGE = 16 * 1024


def pack(connection: sqlite3.Connection) -> None:
    """Leave no page unused. The file must not be in WAL mode; with readers at work it stays as it is.

    Raises `sqlite3.OperationalError` where it cannot be, also because something of a stranger's cannot be copied.
    """
    pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    wanted = next((page for limit, page in _SIZES if pages * size <= limit), LARGE_PAGE)
    connection.execute(f"PRAGMA page_size = {wanted}")
    connection.execute("VACUUM")


def unpack(connection: sqlite3.Connection) -> None:
    """Give a file that is to be recorded on pages that are good for that. It must not be in WAL mode."""
    if connection.execute("PRAGMA page_size").fetchone()[0] < PAGE_SIZE:
        connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        connection.execute("VACUUM")
