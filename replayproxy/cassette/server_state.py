"""The table of what the recorded server published of its own state: pages of metrics, messages about its KV cache.

    ServerState ──▶ masked ──▶ zstd, against an earlier page of the same server ──▶ a row of server_state ──▶ back

Only a recording that asks for this makes the table, so the format stays what it is: a program that does not know the
table reads everything else. A page differs little from the one before it: a page of 60 KB takes 300 bytes to 2 KB.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import msgpack
import zstandard

from replayproxy.cassette.coding import untrusted
from replayproxy.cassette.optional_tables import SERVER_STATE, has_server_state
from replayproxy.cassette.queries import typed
from replayproxy.core.server_state import MOST_MESSAGE, MOST_PAGE, KvMessage, KvMessages, ScrapedPage, ServerState
from replayproxy.errors import Damaged
from replayproxy.model import Response, Timeline

if TYPE_CHECKING:
    from typing import Any

    from replayproxy.core.redaction import Redactor

METRICS, KV_EVENTS = "metrics", "kv_events"

PAGES_PER_BASE = 60
"""Pages until one is stored whole again: it is the dictionary of those that follow. More are further away from it."""

MOST_MESSAGES = 16 * 1024 * 1024
"""Bytes of the messages of one row."""

MOST_IN_A_ROW = 10_000
"""Messages of one row."""

_PLAIN: untrusted.Kind = "plain"
_FIELDS = (_PLAIN,) * (4 * MOST_IN_A_ROW)
_LEVEL = 3
_WINDOW = 8 * 1024 * 1024


class StateReading(Protocol):
    """What reads rows: a `CassetteReader`."""

    def all(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Return all rows of a query. Raises `CassetteError`."""
        ...


# Writing


class StateRows:
    """Writes into one cassette, within the transactions of its writer."""

    def __init__(self, connection: sqlite3.Connection, redactor: Redactor | None) -> None:
        self._connection = connection
        self._redactor = redactor
        self._has_table = False
        self._bases: dict[str, tuple[int, bytes, int]] = {}
        """By server: when the page was read that is the dictionary now, its text, and how many pages have used it."""
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True, write_content_size=True)

    def forget(self) -> None:
        """A transaction was rolled back: what it had written is not there."""
        self._has_table = False
        self._bases.clear()

    def add(self, state: ServerState) -> None:
        """Write a row; what is there already stays. Raises `CassetteError` where the table cannot be made."""
        if not self._has_table:
            if not has_server_state(self._connection):
                self._connection.execute(SERVER_STATE)
            self._has_table = True
        kind = METRICS if isinstance(state, ScrapedPage) else KV_EVENTS
        server = masked(state.server.encode(), self._redactor).decode("utf-8", "replace")
        there = "SELECT 1 FROM server_state WHERE kind = ? AND at = ? AND server = ?"
        if self._connection.execute(there, (kind, state.at, server)).fetchone() is not None:
            return  # from a part of a merge that is a copy of another one; later pages may need the one that is there
        if isinstance(state, ScrapedPage):
            base, content = self._packed_page(state)
        else:
            base, content = None, self._packed_messages(state)
        row = (kind, state.at, server, base, content)
        self._connection.execute("INSERT INTO server_state VALUES (?, ?, ?, ?, ?)", row)

    def _packed_page(self, page: ScrapedPage) -> tuple[int | None, bytes]:
        """When the page was read against which it is compressed, if it is, and the frame."""
        text = masked(page.text, self._redactor)
        at, base, uses = self._bases.get(page.server, (0, b"", PAGES_PER_BASE))
        if uses >= PAGES_PER_BASE or at >= page.at:
            self._bases[page.server] = (page.at, text, 0)
            return None, self._compressor.compress(text)
        self._bases[page.server] = (at, base, uses + 1)
        dictionary = zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        compressor = zstandard.ZstdCompressor(
            level=_LEVEL, dict_data=dictionary, write_checksum=True, write_content_size=True
        )
        return at, compressor.compress(text)

    def _packed_messages(self, state: KvMessages) -> bytes:
        fields: list[object] = []
        for at, topic, sequence, payload in state.messages:
            fields += (at - state.at, masked(topic, self._redactor), sequence, masked_payload(payload, self._redactor))
        return self._compressor.compress(msgpack.packb(fields))


def masked(content: bytes, redactor: Redactor | None) -> bytes:
    """The same without the secrets that can be seen in it, and of the same length: what is binary stays readable."""
    if redactor is None or not content:
        return content
    from replayproxy.core.redaction.credentials import NONE

    whole = Response(200, (), content, (len(content),), Timeline(0, (0,), 0))
    return redactor.response(whole, NONE).body


def masked_payload(payload: bytes, redactor: Redactor | None) -> bytes:
    """A message without the secrets in its texts. The byte before a text is its length and may look like a letter, so
    that a key is not found in the message as a whole."""
    if redactor is None:
        return payload
    try:
        value = msgpack.unpackb(payload, strict_map_key=False)
    except (ValueError, msgpack.exceptions.UnpackException):
        return masked(payload, redactor)
    for text in sorted(set(_texts(value)), key=len, reverse=True):
        plain = text.encode("utf-8", "surrogateescape")
        if (without := masked(plain, redactor)) != plain:
            payload = payload.replace(plain, without)
    return payload


def _texts(value: object) -> Iterator[str]:
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str(text):
                yield text
            case list(parts):
                waiting += (part for part in parts if not isinstance(part, int))
            case dict(entries):
                waiting += (*entries.keys(), *entries.values())


# Reading


class StoredState:
    """Reads from one cassette. Each method raises `CassetteError`, and is called in the thread that may read."""

    def __init__(self, cassette: StateReading) -> None:
        self._cassette = cassette
        found = cassette.all("SELECT sql FROM main.sqlite_schema WHERE type = 'table' AND name = 'server_state'")
        self.is_there = any(str(sql) == SERVER_STATE for (sql,) in found)
        """Whether there is the table, as we make it."""

    def counts(self) -> dict[tuple[str, str], int]:
        """How many rows there are, by kind and server."""
        if not self.is_there:
            return {}
        rows = self._cassette.all("SELECT kind, server, count(*) FROM server_state GROUP BY 1, 2 ORDER BY 1, 2")
        return {(kind, server): count for kind, server, count in (typed(row, str, str, int) for row in rows)}

    def page_at(self, server: str, moment: int) -> bytes | None:
        """The page of a server as it was at a moment: the last one read until then, else the first one."""
        if not self.is_there:
            return None
        columns = "SELECT at, base, content FROM server_state WHERE kind = 'metrics' AND server = ?"
        rows = self._cassette.all(f"{columns} AND at <= ? ORDER BY at DESC LIMIT 1", server, moment)
        rows = rows or self._cassette.all(f"{columns} ORDER BY at LIMIT 1", server)
        return self._page(server, *typed(rows[0], int, int | None, bytes)) if rows else None

    def messages_from(self, at: int, server: str, limit: int) -> list[KvMessages]:
        """At most so many rows of messages behind this one (`at`, `server`), in the order of their times."""
        if not self.is_there:
            return []
        rows = self._cassette.all(
            "SELECT at, server, content FROM server_state WHERE kind = 'kv_events' AND (at, server) > (?, ?)"
            " ORDER BY at, server LIMIT ?",
            *(at, server, limit),
        )
        return [_messages(*typed(row, int, str, bytes)) for row in rows]

    def everything(self) -> Iterator[ServerState]:
        """All of it, unpacked one by one."""
        if not self.is_there:
            return
        for row in self._cassette.all("SELECT kind, at, server FROM server_state ORDER BY kind, at, server"):
            kind, at, server = typed(row, str, int, str)
            stored = self._cassette.all(
                "SELECT base, content FROM server_state WHERE kind = ? AND at = ? AND server = ?", kind, at, server
            )
            base, content = typed(stored[0], int | None, bytes)
            if kind == METRICS:
                yield ScrapedPage(server, at, self._page(server, at, base, content))
            else:
                yield _messages(at, server, content)

    def _page(self, server: str, at: int, base: int | None, content: bytes) -> bytes:
        if base is None:
            return _expanded(content, MOST_PAGE, f"the metrics of {server}")
        rows = self._cassette.all(
            "SELECT content FROM server_state WHERE kind = 'metrics' AND at = ? AND server = ? AND base IS NULL",
            *(base, server),
        )
        if not rows or base >= at:
            raise Damaged(f"the metrics of {server} refer to a page that is not there: restore the cassette")
        whole = _expanded(typed(rows[0], bytes)[0], MOST_PAGE, f"the metrics of {server}")
        return _expanded(content, MOST_PAGE, f"the metrics of {server}", whole)


def _messages(at: int, server: str, content: bytes) -> KvMessages:
    what = f"the events of {server}"
    plain = _expanded(content, MOST_MESSAGES, what)
    untrusted.steps_of(plain, *_FIELDS)  # nothing nested, before objects are made of it
    fields = untrusted.array(plain, *range(4, 4 * MOST_IN_A_ROW + 1, 4))
    messages = []
    for start in range(0, len(fields), 4):
        gap, topic, sequence, payload = fields[start : start + 4]
        if type(gap) is not int or not all(isinstance(one, bytes) for one in (topic, sequence, payload)):
            raise Damaged(f"{what} have the wrong shape: restore the cassette")
        messages.append(KvMessage(at + gap, topic, sequence, payload))
    return KvMessages(server, messages)


def _expanded(content: bytes, most: int, what: str, base: bytes | None = None) -> bytes:
    """A frame unpacked, if it says that it is no longer than `most`."""
    try:
        size = zstandard.frame_content_size(content)
        if not 0 <= size <= most:
            raise Damaged(f"{what} are longer than any that is recorded: restore the cassette")
        if not size:
            return b""
        dictionary = None
        if base is not None:
            dictionary = zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        return zstandard.ZstdDecompressor(dict_data=dictionary, max_window_size=_WINDOW).decompress(content)
    except zstandard.ZstdError as error:
        raise Damaged(f"{what} cannot be unpacked ({error}): restore the cassette") from error


def problems_of(cassette: StateReading) -> Iterator[str]:
    """What does not hold of the stored state; nothing where all of it can be read."""
    stored = StoredState(cassette)
    try:
        for state in stored.everything():
            if isinstance(state, KvMessages) and any(len(one.payload) > MOST_MESSAGE for one in state.messages):
                yield f"an event of {state.server} is longer than any that is recorded"
    except Damaged as error:
        yield str(error)


def copy(cassette: StateReading, connection: sqlite3.Connection, redactor: Redactor | None) -> None:
    """Write all state of a cassette into another one, in a transaction of the caller, masked by `redactor`."""
    rows = StateRows(connection, redactor)
    for state in StoredState(cassette).everything():
        rows.add(state)
