"""From format 2 to format 3: the same tables; bundles are made anew when the file is sealed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from replayproxy.cassette import bundles


def upgrade(copy: sqlite3.Connection, sketch_of: Callable[[int], bytes]) -> None:  # noqa: ARG001  # sketches stay
    """Change a copy of a file of format 2, in one transaction. Raises SQLite's errors, and `Damaged`."""
    copy.execute("BEGIN IMMEDIATE")
    bundles.scatter(copy)
    copy.execute("PRAGMA user_version = 3")
    copy.execute("COMMIT")
