"""Every verb on damaged files: a sentence and an exit code, never a traceback.

The damage is drawn from a seed: values that no column should hold, put there past SQLite's own checks, and bytes. More
of it than `make test` has time for:

    REPLAYPROXY_FUZZ=2000 python -m pytest tests/cli/test_damaged_files.py
"""

from __future__ import annotations

import importlib
import io
import os
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import click
import pytest

from replayproxy.errors import ReplayProxyError
from tests.recordings import record, samples

FILES = int(os.environ.get("REPLAYPROXY_FUZZ", "24"))
VALUES: list[object] = [
    *(None, -1, 0, 2**63 - 1, -(2**63), 2**40, 3.5e300, float("inf"), "", "x" * 5000, "1", "{}", "null", "\x1b[31m"),
    *(b"", b"\xff" * 20, b"[]", b"\xed\xa0\x80"),
]
PROGRAM = importlib.import_module("replayproxy.cli.main")


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


def put(path: Path, table: str, column: str, value: object, *, as_text: bool) -> None:
    """Put a value where it does not belong: for that, the table is neither STRICT nor NOT NULL for a moment."""
    with closing(opened(path)) as connection, connection:
        (sql,) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
        loose = sql.replace("STRICT, WITHOUT ROWID", "WITHOUT ROWID").replace(") STRICT", ")").replace("NOT NULL", "")
        connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = ?", (loose, table))
    with closing(opened(path)) as connection, connection:
        new = "CAST(? AS TEXT)" if as_text else "?"
        with suppress(sqlite3.Error):  # some cannot be put there at all
            connection.execute(f"UPDATE {table} SET {column} = {new}", (value,))  # noqa: S608  names of our own schema
        connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = ?", (sql, table))


def harm(path: Path, seed: int) -> str:
    """Damage a file. Gives how."""
    chance = random.Random(seed)
    if chance.random() < 0.7:
        table, column = chance.choice(columns(path))
        value = chance.choice(VALUES)
        put(path, table, column, value, as_text=isinstance(value, bytes) and chance.random() < 0.5)
        return f"{table}.{column} = {value!r:.40}"
    content = bytearray(path.read_bytes())
    start, size = chance.randrange(len(content) - 512), chance.choice([1, 4, 64, 512])
    content[start : start + size] = chance.randbytes(size)
    path.write_bytes(content)
    return f"{size} bytes from {start}"


def verbs(path: Path, sound: Path) -> Iterator[list[str]]:
    """What is done with it; the last ones change it."""
    folder = path.parent
    for words in ("ls", "ls --json", "stats", "info", "verify", "verify --secrets", "verify --self-match"):
        verb, *flags = words.split()
        yield [verb, str(path), *flags]
    yield from (["show", str(path), prefix] for prefix in "0123456789abcdef")
    yield ["merge", str(folder / "merged"), str(path), str(sound)]
    yield ["join", str(folder / "joined"), "--prefill", str(path), "--decode", str(sound)]
    yield ["prune", str(path), "--where", "status = 200", "--dry-run"]
    yield ["redact", str(path)]


def called(arguments: list[str]) -> str | None:
    """Call the program. Gives what escaped that the console script would show as an internal error."""
    with redirect_stdout(io.TextIOWrapper(io.BytesIO(), "utf-8")):
        with redirect_stderr(io.TextIOWrapper(io.BytesIO(), "utf-8")):
            try:
                PROGRAM.replayproxy.main(args=arguments, prog_name="replayproxy", standalone_mode=False)
            except (ReplayProxyError, click.ClickException, click.exceptions.Exit):
                return None
            except Exception as error:  # noqa: BLE001  whatever it is, it is what this is looking for
                return f"{arguments[0]}: {error!r:.100}"
    return None


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some twenty exchanges of all kinds."""
    for command in PROGRAM.commands():
        PROGRAM.replayproxy.add_command(command)
    return record(tmp_path_factory.mktemp("sound") / "sound.cassette", samples())


def found(folder: Path, sound: Path, damaged: Path) -> list[str]:
    """What escapes from any verb."""
    kept = folder / "kept"
    shutil.copy(damaged, kept)
    escaped = []
    for arguments in verbs(damaged, sound):
        if arguments[0] in ("prune", "redact"):
            shutil.copy(kept, damaged)
        if (what := called(arguments)) is not None:
            escaped.append(what)
    return escaped


def test_no_verb_breaks_on_a_damaged_file(tmp_path: Path, sound: Path) -> None:
    """Each file gets its seed's damage, and each verb is run on it."""
    escaped: dict[str, list[str]] = {}
    for seed in range(FILES):
        folder = tmp_path / str(seed)
        folder.mkdir()
        damaged = folder / "a.cassette"
        shutil.copy(sound, damaged)
        how = harm(damaged, seed)
        if what := found(folder, sound, damaged):
            escaped[f"seed {seed}: {how}"] = what
        shutil.rmtree(folder)
    assert escaped == {}


@pytest.mark.parametrize("value", [None, 2**40, -1, "text", 1.5, b"x"], ids=str)
def test_no_verb_breaks_on_an_endpoint_that_is_not_there(tmp_path: Path, sound: Path, value: object) -> None:
    """`show` found an id whose row the view does not have: a StopIteration."""
    damaged = tmp_path / "a.cassette"
    shutil.copy(sound, damaged)
    put(damaged, "exchange", "endpoint", value, as_text=False)
    assert found(tmp_path, sound, damaged) == []
