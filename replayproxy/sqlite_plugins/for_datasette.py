"""The plugin of datasette: `datasette chat.cassette` shows prompts, answers and chunk times.

Datasette lists tables and views of the file, and our views are not in it: so each cassette gets queries with a name,
`messages`, `chunks`, `legs` and `exchanges`, on its page and at an address of their own.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

from datasette import hookimpl

from replayproxy.cassette.sql_functions import install_on, is_cassette

if TYPE_CHECKING:
    from datasette.app import Datasette

QUERIES: dict[str, dict[str, str]] = {
    "exchanges": {
        "title": "Prompts and answers, the newest first",
        "sql": "select id, recorded_at, model, status, rp_prompt(number) as prompt, rp_text(number) as answer, ttft_s,"
        " total_s, finish from v_exchange order by number desc",
    },
    "messages": {
        "title": "The messages of an exchange, by the first digits of its id; or of all",
        "sql": "select id, side, role, text, reasoning, tool_calls, finish from v_message where id like :id || '%'",
    },
    "chunks": {
        "title": "The chunks of an exchange with their times",
        "sql": "select id, chunk, at_s, gap_s, bytes, text, data from v_chunk where id like :id || '%'",
    },
    "legs": {
        "title": "What the servers of a prefill/decode pair answered",
        "sql": "select id, leg, role, upstream, status, ending, started_s, head_s, total_s from v_leg"
        " where id like :id || '%'",
    },
}


@hookimpl  # type: ignore[untyped-decorator]  # datasette ships no types
def prepare_connection(conn: sqlite3.Connection) -> None:
    """Called by datasette for each connection that it opens."""
    install_on(conn)


@hookimpl  # type: ignore[untyped-decorator]  # datasette ships no types
def canned_queries(datasette: Datasette, database: str) -> dict[str, dict[str, Any]]:
    """The queries with a name, where a database is a cassette."""
    path = datasette.databases[database].path
    if path is None:
        return {}
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return {name: dict(query) for name, query in QUERIES.items()} if is_cassette(connection) else {}
