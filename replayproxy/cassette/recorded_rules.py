"""The rules by which a cassette was recorded, in its table `meta`: one set per file, that of its first recorder."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import orjson

import replayproxy
from replayproxy.cassette.queries import typed
from replayproxy.core.identity.rules import Matcher
from replayproxy.errors import Damaged, SettingsError


def write_meta(connection: sqlite3.Connection, name: str, value: object) -> None:
    """Write one row of `meta`, in JSON."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, orjson.dumps(value).decode()))


def settle(connection: sqlite3.Connection, path: Path, matcher: Matcher) -> None:
    """Write these rules into a cassette that has none. Raises `SettingsError` if it has others."""
    if not check(connection, path, matcher):
        connection.execute("BEGIN IMMEDIATE")  # all of it or nothing, whenever the power fails
        write_meta(connection, "match", matcher.rules.document())
        write_meta(connection, "creator", f"replayproxy {replayproxy.__version__}")
        if (redaction := _redaction(matcher)) is not None:
            write_meta(connection, "redaction", redaction)
        connection.execute("COMMIT")


def check(connection: sqlite3.Connection, path: Path, matcher: Matcher) -> bool:
    """Return whether a cassette has rules. Raises `SettingsError` if they differ, `Damaged` if they cannot be read."""
    stored = connection.execute("SELECT value FROM meta WHERE name = 'match'").fetchone()
    if stored is None:
        return False
    (rules,) = typed(stored, str)
    try:
        is_same = orjson.loads(rules) == matcher.rules.document()
    except orjson.JSONDecodeError as error:
        raise Damaged(f"{path} does not say by which match rules it was recorded: {error}") from error
    if not is_same:
        raise SettingsError(
            f"{path} was recorded with other match rules ({rules}): use those, or record to another file"
        )
    _check_redaction(connection, path, matcher)
    return True


def _redaction(matcher: Matcher) -> dict[str, object] | None:
    redactor = matcher.redactor
    return None if redactor is None else {"salt": redactor.salt.hex(), "rules": list(redactor.rules)}


def _check_redaction(connection: sqlite3.Connection, path: Path, matcher: Matcher) -> None:
    """A cassette has one salt with one set of redaction rules, because its keys are made of what these leave."""
    stored = connection.execute("SELECT value FROM meta WHERE name = 'redaction'").fetchone()
    try:
        redaction = None if stored is None else orjson.loads(typed(stored, str)[0])
    except orjson.JSONDecodeError as error:
        raise Damaged(f"{path} does not say how its secrets were masked: {error}") from error
    if redaction != _redaction(matcher):
        how = "before secrets were masked" if stored is None else "with other redaction rules"
        raise SettingsError(
            f"{path} was recorded {how}: run `replayproxy redact {path}` with the rules it shall have,"
            " or record to another file"
        )
