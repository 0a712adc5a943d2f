"""From format 1 to format 2: the same frames in other tables; `miss`, which was never written, goes.

A payload belongs to its exchange by a foreign key instead of by arithmetic, a leg has its own. Open rows get the name
that they have until they end. Equal requests are numbered by the time of asking, and an answer whose client had left
gets its place among them. The texts of the tables must be those of format 2 for ever: when a later format changes them,
`format_2` keeps them.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable

from replayproxy.cassette import format_2
from replayproxy.cassette.numbering import number_anew
from replayproxy.cassette.schema import provisional_digest

_MADE_ANEW = ("dictionary", "exchange", "leg", "payload", "answer")
_CREATED = "|".join((*_MADE_ANEW, "bundle", "v_exchange", "exchange_place"))

_FILL = """
INSERT INTO dictionary SELECT id, kind, content FROM format_1_dictionary ORDER BY id;

INSERT INTO exchange
SELECT
    id, key, NULL, NULL, recorded_at, endpoint, stream, state, status, ending, scope, request_size, response_size,
    chunks, ttft_us, total_us, prompt_tokens, completion_tokens, cached_tokens, finish, stalled, NULL, NULL, NULL, NULL,
    transfer, coalesce(digest, provisional_digest(key, recorded_at, id))
FROM format_1_exchange ORDER BY id;

INSERT INTO payload SELECT id / 16, request, times FROM format_1_payload WHERE id % 16 = 0 ORDER BY id;

INSERT INTO answer SELECT id / 16, answer FROM format_1_answer WHERE id % 16 = 0 ORDER BY id;

INSERT INTO leg
SELECT
    exchange, leg, role, upstream, method, path, status, ending, started_us, head_us, total_us, digest,
    request, times, answer
FROM format_1_leg AS stored
JOIN format_1_payload AS payload ON payload.id = 16 * exchange + leg
JOIN format_1_answer AS answer ON answer.id = payload.id
ORDER BY exchange, leg;
"""


def upgrade(copy: sqlite3.Connection, sketch_of: Callable[[int], bytes]) -> None:
    """Change a copy of a file of format 1, in one transaction. Raises SQLite's errors."""
    import sqlite_utils  # 84 ms, and only a migration needs it

    copy.create_function("provisional_digest", 3, provisional_digest, deterministic=True)
    # Foreign keys and views of other programs keep the names that they refer to: tables of these names come back.
    for pragma in ("foreign_keys = OFF", "legacy_alter_table = ON"):
        copy.execute(f"PRAGMA {pragma}")
    tables = sqlite_utils.Database(copy, execute_plugins=False)
    with tables.atomic():
        tables.view("v_exchange").drop()
        tables.table("miss").drop()
        copy.execute("DROP INDEX exchange_place")
        for name in _MADE_ANEW:
            tables.rename_table(name, f"format_1_{name}")
        for statement in _statements(format_2.SCHEMA):
            if re.match(rf"CREATE (TABLE|VIEW|UNIQUE INDEX) ({_CREATED})\b", statement):
                copy.execute(statement)
        for statement in _statements(_FILL):
            copy.execute(statement)
        for name in _MADE_ANEW:
            tables.table(f"format_1_{name}").drop()
        for (key,) in copy.execute("SELECT DISTINCT key FROM exchange WHERE state = 1").fetchall():
            number_anew(copy, key, sketch_of)
        copy.execute("PRAGMA user_version = 2")


def _statements(script: str) -> list[str]:
    """Of texts of ours, which hold a semicolon nowhere but at the end of a line."""
    return [statement.strip() for statement in re.split(r";\s*\n", script) if statement.strip()]
