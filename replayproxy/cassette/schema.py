"""The formats that can be read, whether a file has the tables of its own, and how it gets today's.

The newest is written; an older one is read as it is, through temporary views, and migrated by `migrating`. What the
tables mean stands in `format_2`, what a bundle holds in `format_3`.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import cache

from replayproxy.cassette import format_1, format_2, format_3, large_indexes, optional_tables
from replayproxy.cassette.large_indexes import Executing
from replayproxy.errors import Damaged, NewerFormat, NotACassette

APPLICATION_ID = 0x52504C59
"""`RPLY`, in the SQLite header at offset 68."""

FORMAT = 3
"""`user_version` in the SQLite header."""

PAGE_SIZE = 4096
"""Bytes, while it is recorded on; `packing` chooses another when the file is sealed."""


@dataclass(frozen=True, slots=True)
class Format:
    """One that can be read: its tables, and how they get the shape of the newest format."""

    number: int
    schema: str
    exchange: str
    """Rows of the table `exchange` as today's."""
    views: str = ""
    """Temporary views instead of its other tables; none where the tables are today's."""
    orphans: str = ""
    """Numbers of payloads that belong to nothing, where no foreign key says so."""
    optional: frozenset[str] = frozenset()
    """Names of indexes that a sealed file may lack."""

    @property
    def tables(self) -> list[str]:
        """Their names."""
        return re.findall(r"^CREATE TABLE (\w+)", self.schema, re.MULTILINE)


FORMATS = {
    1: Format(1, format_1.SCHEMA, format_1.EXCHANGE, format_1.READ, format_1.ORPHANS),
    2: Format(2, format_2.SCHEMA, format_2.EXCHANGE),
    3: Format(3, format_3.SCHEMA, format_2.EXCHANGE, optional=format_3.OPTIONAL),
}


@dataclass(frozen=True, slots=True)
class Checked:
    """A file whose tables are those of its format. `foreign`: kind and name of what else stands in it."""

    format: Format
    foreign: tuple[tuple[str, str], ...]


VIEW = format_2.VIEW
"""`v_exchange`, over the tables of the newest format or what stands for them."""


def create(connection: sqlite3.Connection, number: int = FORMAT) -> None:
    """Make an empty file a cassette, or leave it empty. The caller has set nothing but the connection."""
    connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
    tables = f"PRAGMA application_id = {APPLICATION_ID}; {FORMATS[number].schema} PRAGMA user_version = {number};"
    # Not by sqlite-utils: it loads pandas where that is installed, which takes 80 MB of every process that records.
    connection.executescript(f"BEGIN; {tables} COMMIT;")


def prepare(connection: sqlite3.Connection, stored: Format) -> None:
    """Let a connection that reads find today's tables in a file of an older format."""
    if stored.views:
        connection.create_function("provisional_digest", 3, provisional_digest, deterministic=True)
        connection.executescript(f"CREATE TEMP VIEW exchange AS {stored.exchange}; {stored.views} CREATE TEMP {VIEW}")


def provisional_digest(*row: object) -> bytes:
    """Names an exchange (key, recorded_at, number) that has no digest yet, for as long as its answer runs."""
    return hashlib.blake2b(repr(row).encode(), digest_size=8).digest()


# Whether a file is a cassette


def format_of(connection: Executing) -> Format:
    """The format of a file that has been checked."""
    return FORMATS[_number(connection, "user_version")]


def check(connection: Executing, name: str) -> Checked:
    """Raise unless the file is a cassette with exactly the tables of its format.

    What others have added is left alone where it cannot run by itself: tables, views, plain indexes, full-text search.
    """
    if _number(connection, "application_id") != APPLICATION_ID:
        raise NotACassette(f"{name} is an SQLite file but not a cassette: give a file written by `replayproxy record`")
    version = _number(connection, "user_version")
    if version > FORMAT:
        raise NewerFormat(
            f"{name} has cassette format {version}, this replayproxy reads up to {FORMAT}: update replayproxy"
        )
    objects = _objects(connection)
    expected = _own_objects(version) if version in FORMATS else set()
    optional = FORMATS[version].optional if version in FORMATS else ()
    if not expected or not {thing for thing in expected if thing[1] not in optional} <= objects:
        raise Damaged(
            f"{name} says it has cassette format {version}, but its tables are others: restore it from a copy"
        )
    foreign = sorted(
        (kind, own_name) for kind, own_name, _ in objects - expected - _large_indexes() - _optional_tables()
    )
    _refuse_what_runs(
        connection, name, foreign, {table for kind, table, _ in expected | _optional_tables() if kind == "table"}
    )
    return Checked(FORMATS[version], tuple(foreign))


def _refuse_what_runs(connection: Executing, name: str, foreign: Iterable[tuple[str, str]], own: set[str]) -> None:
    """A view, a table and the index of a foreign table cost nobody anything until they are asked for.

    A trigger runs when we write. So does an index on one of our tables that computes (an expression, a condition) or
    forbids (UNIQUE): it would let recording fail.
    """
    for kind, thing in foreign:
        if kind == "trigger":
            raise Damaged(
                f"{name} has a trigger, {thing!r}, which would run by itself: remove it with DROP TRIGGER, or restore"
                " the file from a copy"
            )
        if kind != "index":
            continue
        (table,) = connection.execute("SELECT tbl_name FROM main.sqlite_schema WHERE name = ?", (thing,)).fetchone()
        if table not in own:
            continue
        listed = connection.execute(
            f"SELECT \"unique\", partial FROM pragma_index_list('{table}', 'main') WHERE name = ?", (thing,)
        )
        unique, partial = listed.fetchone()
        computed = connection.execute(
            "SELECT count(*) FROM pragma_index_xinfo(?, 'main') WHERE cid = -2", (thing,)
        ).fetchone()
        if unique or partial or computed[0]:
            raise Damaged(
                f"{name} has an index, {thing!r}, on its table {table} that is unique or computes something, so that"
                " recording might fail: remove it with DROP INDEX, or restore the file from a copy"
            )


def _number(connection: Executing, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


@cache
def _own_objects(number: int) -> set[tuple[str, str, str]]:
    """As SQLite itself spells them."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(FORMATS[number].schema)
        return _objects(connection)


@cache
def _large_indexes() -> frozenset[tuple[str, str, str]]:
    """What `large_indexes` adds to a file, as SQLite spells it."""
    return frozenset(("index", name, sql) for name, sql in large_indexes.INDEXES.items())


@cache
def _optional_tables() -> frozenset[tuple[str, str, str]]:
    """What `optional_tables` adds to a file."""
    return frozenset((kind, name, _bare(sql)) for kind, name, sql in optional_tables.objects())


def _objects(connection: Executing) -> set[tuple[str, str, str]]:
    rows = connection.execute("SELECT type, name, sql FROM main.sqlite_schema")
    return {(kind, name, _bare(str(sql or ""))) for kind, name, sql in rows}  # bytes, where it is damaged


def _bare(sql: str) -> str:
    """Without comments and white space: they may be improved without a new format."""
    return " ".join(re.sub(r"--[^\n]*", "", sql).split())
