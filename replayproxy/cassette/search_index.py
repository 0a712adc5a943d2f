"""A full-text index of prompts and answers, kept beside a cassette as `NAME.search` and never in it.

    finished exchanges that are not indexed ──▶ messages as text ──▶ FTS5 table ──▶ rows with a snippet

It is made when somebody searches, brought up to date by every search, and made anew where the cassette has been
rewritten. It can be removed at any time. Where nothing may be written beside the cassette it is made in memory.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from replayproxy.cassette import database
from replayproxy.cassette.queries import typed
from replayproxy.cassette.reader import CassetteReader
from replayproxy.errors import CassetteError, Damaged, SettingsError
from replayproxy.views import conversation
from replayproxy.views.conversation import ChatMessage

APPLICATION_ID = 0x5250_5331
"""`RPS1`: an index of this layout; one with another number is not ours."""

BATCH = 500
"""Exchanges of one transaction: what is there after Ctrl-C is whole."""

BEGIN, END, CUT = "\x02", "\x03", "…"
"""Around what was found, in a snippet; recorded text cannot hold them (`_text_of`)."""

WORDS = 16
"""Words of a snippet."""

_SCHEMA = f"""
CREATE VIRTUAL TABLE found USING fts5 (prompt, answer, digest UNINDEXED, tokenize = 'unicode61 remove_diacritics 2');
CREATE TABLE progress (complete_to INTEGER NOT NULL);
INSERT INTO progress VALUES (-9223372036854775808);
PRAGMA application_id = {APPLICATION_ID};
"""

_WORD = re.compile(r'"[^"]*"|\S+')


@dataclass(frozen=True, slots=True)
class Hit:
    """An exchange in which all words were found: its number, and where in which of its texts."""

    number: int
    digest: bytes
    prompt: str
    answer: str


class SearchIndex:
    """The index of one cassette. A context manager. Raises `CassetteError`."""

    def __init__(self, cassette: CassetteReader) -> None:
        self._cassette = cassette
        self.path: Path | None = Path(f"{cassette.path}.search")
        self._connection = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _open(self) -> sqlite3.Connection:
        assert self.path is not None
        self._refuse_stranger(self.path)
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            connection = sqlite3.connect(self.path, isolation_level=None)
        except OSError:
            self.path = None
            connection = sqlite3.connect(":memory:", isolation_level=None)
        try:
            with database.translated(str(self.path)):
                for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "busy_timeout = 10000"):
                    connection.execute(f"PRAGMA {pragma}")
                if not connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone():
                    connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        except BaseException:
            connection.close()
            raise
        return connection

    @staticmethod
    def _refuse_stranger(path: Path) -> None:
        """Another file of this name is somebody's: it is neither read nor written."""
        with suppress(FileNotFoundError):
            if path.stat().st_size == 0:
                return
            with path.open("rb") as file:
                head = file.read(72)
            if head[:16] != b"SQLite format 3\0" or int.from_bytes(head[68:72], "big") != APPLICATION_ID:
                raise CassetteError(
                    f"{path} is there and is not a search index of replayproxy: move it, for the index has this name"
                )

    # Keeping it

    def update(self, watch: Callable[[str, int, int], None]) -> int:
        """Index what has been recorded since the last time; all of it where the cassette is another one by now.

        `watch` is called with what was done, how many, of how many. Returns how many exchanges were added.
        """
        with database.translated(str(self.path or self._cassette.path)):
            if not self._is_of_this_cassette():
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.execute("DELETE FROM found")
                self._connection.execute("UPDATE progress SET complete_to = -9223372036854775808")
                self._connection.execute("COMMIT")
            (complete_to,) = self._connection.execute("SELECT complete_to FROM progress").fetchone()
            there = {
                row for (row,) in self._connection.execute("SELECT rowid FROM found WHERE rowid > ?", (complete_to,))
            }
            finished = self._cassette.all("SELECT id FROM exchange WHERE id > ? AND state = 1 ORDER BY id", complete_to)
            missing = [number for (number,) in finished if number not in there]
            for first in range(0, len(missing), BATCH):
                self._add(missing[first : first + BATCH])
                watch("exchanges indexed", min(first + BATCH, len(missing)), len(missing))
            (in_flight,) = self._cassette.one("SELECT min(id) FROM exchange WHERE state = 0")
            (last,) = self._cassette.one("SELECT max(id) FROM exchange")
            reached = last if in_flight is None else in_flight - 1
            if reached is not None and reached > complete_to:
                self._connection.execute("UPDATE progress SET complete_to = ?", (reached,))
        return len(missing)

    def _is_of_this_cassette(self) -> bool:
        """Whether the exchanges at both ends, and their number, are those that were indexed.

        Exchanges that were replaced in between are noticed when they are found (`find`).
        """
        first, last, indexed = self._connection.execute("SELECT min(rowid), max(rowid), count(*) FROM found").fetchone()
        if first is None:
            return True
        (there,) = self._cassette.one(
            "SELECT count(*) FROM exchange WHERE state = 1 AND id BETWEEN ? AND ?", first, last
        )
        if there < indexed:
            return False
        return all(self._digest_of(number) == self._indexed_digest(number) for number in (first, last))

    def _indexed_digest(self, number: int) -> object:
        return self._connection.execute("SELECT digest FROM found WHERE rowid = ?", (number,)).fetchone()[0]

    def _digest_of(self, number: int) -> bytes | None:
        found = self._cassette.all("SELECT digest FROM exchange WHERE id = ?", number)
        return typed(found[0], bytes)[0] if found else None

    def _add(self, numbers: list[int]) -> None:
        rows = []
        for number in numbers:
            try:
                exchange = self._cassette.exchange(number)
            except Damaged:  # `verify` says what is wrong with it; the others can be searched
                continue
            prompt = _text_of(conversation.request_messages(exchange.request))
            answer = _text_of(conversation.answer_messages(exchange.response))
            rows.append((number, prompt, answer, self._digest_of(number), number))
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            insert = "INSERT INTO found (rowid, prompt, answer, digest) SELECT ?, ?, ?, ?"
            insert += " WHERE NOT EXISTS (SELECT 1 FROM found WHERE rowid = ?)"  # another search may have been first
            self._connection.executemany(insert, rows)
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise

    # Asking it

    def find(self, text: str) -> Iterator[Hit]:
        """The exchanges that have all words of a text, the best first. What the cassette has no more is left out.

        Raises `SettingsError` for a text without a word.
        """
        snippets = ", ".join(f"snippet(found, {column}, '{BEGIN}', '{END}', '{CUT}', {WORDS})" for column in (0, 1))
        sql = f"SELECT rowid, digest, {snippets} FROM found WHERE found MATCH ? ORDER BY rank"
        with database.translated(str(self.path or self._cassette.path)):
            for row in self._connection.execute(sql, (query_of(text),)):
                number, digest, prompt, answer = typed(row, int, bytes, str, str)
                if self._digest_of(number) == digest:
                    yield Hit(number, digest, prompt, answer)


def query_of(text: str) -> str:
    """A query of FTS5 for what a person types: all words, phrases in quotes, `word*` for what begins so."""
    parts = []
    for found in _WORD.findall(text):
        word, is_prefix = (found[:-1], True) if found.endswith("*") and len(found) > 1 else (found, False)
        word = word.strip('"').replace('"', "")
        if any(character.isalnum() for character in word):
            parts.append(f'"{word}"' + ("*" if is_prefix else ""))
    if not parts:
        raise SettingsError(f"{text!r} has no word to search for: letters and digits are what is indexed")
    return " ".join(parts)


def _text_of(messages: tuple[ChatMessage, ...]) -> str:
    """All texts of messages: content, reasoning, names and arguments of tools, results."""
    parts = [part for message in messages for part in message.parts]
    text = "\n".join(f"{part.name} {part.text}" if part.name else part.text for part in parts)
    return text.replace(BEGIN, " ").replace(END, " ").replace("\0", " ")
