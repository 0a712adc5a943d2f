"""The plugin of sqlite-utils: `sqlite-utils chat.cassette 'select id, rp_text(number) from v_exchange'`."""

from __future__ import annotations

import sqlite3

from sqlite_utils import hookimpl

from replayproxy.cassette.sql_functions import install_on


@hookimpl
def prepare_connection(conn: sqlite3.Connection) -> None:
    """Called by sqlite-utils for each connection that it opens."""
    install_on(conn)
