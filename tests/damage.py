"""Damage to a cassette, of any kind, from a seed: values, rows, stored frames, pages, headers, a log of somebody else.

Knows SQLite and the tables; reads no cassette by the package's own code.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import msgpack
import zstandard

from replayproxy.cassette.writer import CassetteWriter
from tests.recordings import MATCHER, keep, pieces, samples

VALUES: list[object] = [
    *(None, -1, 0, 2**63 - 1, -(2**63), 2**40, 3.5e300, float("inf"), "", "x" * 5000, "1", "{}", "null", "\x1b[31m"),
    *(b"", b"\xff" * 20, b"[]", b"\xed\xa0\x80", b"a\0b", "a\0b"),
]

MAGIC = b"\x28\xb5\x2f\xfd"


def columns(path: Path) -> list[tuple[str, str]]:
    """All columns of all tables."""
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
        return [
            (table, row[1])
            for (table,) in tables.fetchall()
            for row in connection.execute(f"PRAGMA table_info({table})")
        ]


def opened(path: Path) -> sqlite3.Connection:
    """A connection that lets everything pass."""
    connection = sqlite3.connect(path)
    for pragma in ("ignore_check_constraints = ON", "foreign_keys = OFF", "writable_schema = ON"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def change(path: Path, table: str, *statements: tuple[str, tuple[object, ...]]) -> None:
    """Run statements while the table is neither STRICT nor NOT NULL. Some cannot be run all the same."""
    with closing(opened(path)) as connection, connection:
        (sql,) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
        loose = sql.replace("STRICT, WITHOUT ROWID", "WITHOUT ROWID").replace(") STRICT", ")").replace("NOT NULL", "")
        connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = ?", (loose, table))
    with closing(opened(path)) as connection, connection:
        for statement, values in statements:
            with suppress(sqlite3.Error):
                connection.execute(statement, values)
        connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = ?", (sql, table))


def put(path: Path, table: str, column: str, value: object, *, as_text: bool, where: str = "1") -> None:
    """Put a value where it does not belong."""
    new = "CAST(? AS TEXT)" if as_text else "?"
    change(path, table, (f"UPDATE {table} SET {column} = {new} WHERE {where}", (value,)))  # noqa: S608  our own names


def _value(path: Path, chance: random.Random) -> str:
    """One value, in all rows of its table or in one of them."""
    table, column = chance.choice(columns(path))
    value = chance.choice(VALUES)
    as_text = isinstance(value, bytes) and chance.random() < 0.5
    key = {"meta": "name", "payload": "exchange", "answer": "exchange", "leg": "exchange", "segment": "exchange"}
    name = key.get(table, "rowid")
    row = f"SELECT {name} FROM {table} LIMIT 1 OFFSET {chance.randrange(20)}"  # noqa: S608  our own names
    where = "1" if chance.random() < 0.5 else f"{name} = ({row})"
    put(path, table, column, value, as_text=as_text, where=where)
    return f"{table}.{column} = {value!r:.40}{' as text' if as_text else ''} where {where}"


def _bytes(path: Path, chance: random.Random) -> str:
    """Some bytes of the file."""
    content = bytearray(path.read_bytes())
    start, size = chance.randrange(len(content) - 512), chance.choice([1, 1, 4, 64, 512])
    content[start : start + size] = chance.randbytes(size)
    path.write_bytes(content)
    return f"{size} bytes from {start}"


def _row(path: Path, chance: random.Random) -> str:
    """A row that is not there, or that is there twice."""
    tables = sorted({table for table, _ in columns(path)})
    table = chance.choice(tables)
    with closing(opened(path)) as connection, connection:
        names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        rows = connection.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608  our own names
    if not rows:
        return f"{table} is empty"
    row = chance.choice(rows)
    if chance.random() < 0.6:
        change(path, table, (f"DELETE FROM {table} WHERE {names[0]} = ?", (row[0],)))  # noqa: S608  our own names
        return f"{table} without {row[0]}"
    other = [*row]
    other[0] = chance.choice(rows)[0] if chance.random() < 0.5 else chance.choice([0, -1, 999, 2**62])
    marks = ", ".join("?" * len(other))
    change(path, table, (f"INSERT OR REPLACE INTO {table} VALUES ({marks})", tuple(other)))  # noqa: S608  our own names
    return f"{table}: the row {row[0]} stands as {other[0]} too"


def _wrong(value: Any, chance: random.Random) -> Any:
    """The same with something in it that is of another kind."""
    if isinstance(value, list) and value and chance.random() < 0.8:
        at = chance.randrange(len(value))
        return [*value[:at], _wrong(value[at], chance), *value[at + 1 :]]
    return chance.choice(
        [None, -1, 2**63, True, 1.5, "", "\u20ac", b"", b"\xff", [], [[]], [None], {}, {"a": 1}, [1] * 70, ["a", "b"]]
    )


def _frame(path: Path, chance: random.Random) -> str:
    """A stored frame that is sound for zstd, and holds msgpack of another shape."""
    table, column, rows = chance.choice(
        [
            ("payload", "request", "SELECT exchange, request FROM payload"),
            ("answer", "answer", "SELECT exchange, answer FROM answer"),
            ("leg", "request", "SELECT exchange, request FROM leg"),
            ("segment", "heard", "SELECT exchange, heard FROM segment"),
            ("dictionary", "content", "SELECT id, content FROM dictionary"),
            ("payload", "times", "SELECT exchange, times FROM payload"),
        ]
    )
    with closing(sqlite3.connect(path)) as connection:
        stored = connection.execute(rows).fetchall()
        dictionaries = connection.execute("SELECT content FROM dictionary WHERE kind != 'vocabulary'").fetchall()
    if not stored:
        return f"{table} is empty"
    number, content = chance.choice(stored)
    if column == "times":
        changed = bytes(chance.choice([b"", chance.randbytes(3), content + b"\xff\xff", content[:-1]]))
    else:
        before = b"\0" if column == "answer" else b""
        plain = _plain(content[len(before) :], [one for (one,) in dictionaries])
        new = msgpack.packb(_wrong(plain, chance)) if chance.random() < 0.8 else chance.randbytes(20)
        changed = before + zstandard.compress(new)[4:]
    name = "id" if table == "dictionary" else "exchange"
    change(path, table, (f"UPDATE {table} SET {column} = ? WHERE {name} = ?", (changed, number)))  # noqa: S608  our own names
    return f"{table}.{column} of {number} holds {changed!r:.60}"


def _plain(frame: bytes, dictionaries: list[bytes]) -> Any:
    """What it holds, or something of that kind."""
    for dictionary in (None, *dictionaries):
        with suppress(zstandard.ZstdError, ValueError, msgpack.UnpackException):
            known = None
            if dictionary is not None:
                known = zstandard.ZstdCompressionDict(zstandard.decompress(MAGIC + dictionary))
            return msgpack.unpackb(zstandard.ZstdDecompressor(dict_data=known).decompress(MAGIC + frame), raw=False)
    return [[["a", "b"]], 1, [0, 1, 2], b"x"]


def _cut_off(path: Path, chance: random.Random) -> str:
    """The file ends at a page, or within one, or holds more."""
    content = path.read_bytes()
    size = int.from_bytes(content[16:18], "big")
    at = size * chance.randrange(len(content) // size) + chance.choice([0, 0, 1, size // 2])
    path.write_bytes(content[:at] if chance.random() < 0.8 else content + chance.randbytes(at))
    return f"cut at {at} of {len(content)}"


def _log(path: Path, chance: random.Random) -> str:
    """A log, or a journal, that belongs to another file or to none."""
    tail = chance.choice(["-wal", "-wal", "-journal", "-shm"])
    beside = Path(f"{path}{tail}")
    if tail == "-wal" and chance.random() < 0.7:
        other = path.with_name("other.db")
        with closing(sqlite3.connect(other)) as connection:
            connection.execute("PRAGMA page_size = 512")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE t (a)")
            connection.execute("INSERT INTO t VALUES (1)")
            connection.commit()
            shutil.copy(f"{other}-wal", beside)
        if chance.random() < 0.5:  # and the file says that it has one
            content = bytearray(path.read_bytes())
            content[18:20] = b"\2\2"
            path.write_bytes(content)
        other.unlink()
    else:
        beside.write_bytes(chance.choice([b"", b"\0" * 600, chance.randbytes(4096), path.read_bytes()[:4096]]))
    return f"{tail} of {beside.stat().st_size} bytes"


def _header(path: Path, chance: random.Random) -> str:
    """A number in SQLite's header, which says what the file is."""
    content = bytearray(path.read_bytes())
    start, size = chance.choice([(0, 16), (16, 2), (18, 1), (19, 1), (24, 4), (28, 4), (32, 4), (40, 4), (44, 4)])
    if chance.random() < 0.5:
        start, size = chance.choice([(56, 4), (60, 4), (60, 4), (68, 4), (92, 4), (96, 4)])
    new = chance.choice([b"\0" * size, b"\xff" * size, (1).to_bytes(size, "big"), (3).to_bytes(size, "big")])
    content[start : start + size] = new
    path.write_bytes(content)
    return f"header {start} = {new.hex()}"


def _nothing(path: Path, chance: random.Random) -> str:
    """No byte, or only a few, or other ones."""
    content = path.read_bytes()
    new = chance.choice([b"", b"S", content[:16], content[:100], b"\0" * len(content), b"{}\n"])
    path.write_bytes(new)
    return f"{len(new)} bytes in all"


KINDS: list[Callable[[Path, random.Random], str]] = [
    *(_value, _value, _value, _bytes, _bytes, _row, _frame, _frame, _cut_off, _log, _header, _nothing)
]


def died(path: Path) -> Path:
    """A cassette with streams in flight, as a recorder leaves it that dies after a checkpoint."""
    keeper = CassetteWriter(path, MATCHER)
    for tape, item in enumerate(samples()[:4], 1):
        whole = pieces(item, tape, [3, 5])
        keep(keeper, whole[:-1] if len(whole) > 1 else whole)
    keeper.checkpoint()
    content = path.read_bytes()
    keeper.close()
    path.write_bytes(content[:18] + b"\1\1" + content[20:])  # as it is without a log
    return path


def harm(path: Path, seed: int) -> str:
    """Damage a file. Gives how."""
    chance = random.Random(seed)
    kind = chance.choice(KINDS)
    try:
        return f"{kind.__name__.strip('_')}: {kind(path, chance)}"
    except sqlite3.Error as error:  # an earlier damage of the same file
        return f"{kind.__name__.strip('_')}: {error}"
