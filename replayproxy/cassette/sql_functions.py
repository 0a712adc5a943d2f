"""What SQL sees of a cassette beside its rows: functions that unpack an exchange, and views that stand on them.

    SELECT rp_prompt(number), rp_text(number) FROM v_exchange          SELECT * FROM v_message WHERE id = '7f3a1c02'

The views are temporary: they belong to a connection and not to the file, which stays as it is. Each function takes an
exchange's number and unpacks it once for all columns of a row; what is damaged is an error and never a wrong value.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from replayproxy.cassette import schema
from replayproxy.cassette.reader import CassetteReader
from replayproxy.core.coding import body_of, decoded, decoded_chunks
from replayproxy.core.dialects.facts import text_of
from replayproxy.errors import CassetteError
from replayproxy.model import Exchange
from replayproxy.views import body, conversation
from replayproxy.views.conversation import ChatMessage

_ENDING = (
    "CASE leg.ending WHEN 0 THEN 'complete' WHEN 1 THEN 'upstream_cut' WHEN 2 THEN 'client_left' WHEN 3 THEN 'timeout'"
    " WHEN 4 THEN 'proxy_stopped' WHEN 5 THEN 'proxy_crashed' END"
)

_ID = "lower(hex(substr(exchange.digest, 1, 4)))"

VIEWS = {
    "v_message": f"""
SELECT exchange.id AS exchange, {_ID} AS id, message.key AS position, message.value ->> 'side' AS side,
    message.value ->> 'choice' AS choice, message.value ->> 'role' AS role, message.value ->> 'text' AS text,
    message.value ->> 'reasoning' AS reasoning, nullif(message.value -> 'tool_calls', 'null') AS tool_calls,
    message.value ->> 'finish' AS finish
FROM exchange JOIN json_each(rp_messages(exchange.id)) AS message WHERE exchange.state = 1""",
    "v_chunk": f"""
SELECT exchange.id AS exchange, {_ID} AS id, chunk.key + 1 AS chunk, chunk.value ->> 'at_s' AS at_s,
    chunk.value ->> 'gap_s' AS gap_s, chunk.value ->> 'bytes' AS bytes, chunk.value ->> 'text' AS text,
    chunk.value ->> 'data' AS data
FROM exchange JOIN json_each(rp_chunks(exchange.id)) AS chunk WHERE exchange.state = 1""",
    "v_leg": f"""
SELECT exchange.id AS exchange, {_ID} AS id, leg.leg, leg.role, leg.upstream, leg.method, leg.path, leg.status,
    {_ENDING} AS ending, leg.started_us / 1e6 AS started_s, leg.head_us / 1e6 AS head_s, leg.total_us / 1e6 AS total_s
FROM leg JOIN exchange ON exchange.id = leg.exchange""",
}
"""Temporary views, by name. `v_exchange` stands in the file."""


class SqlFunctions:
    """The functions of one connection. `error` is what the last one that failed has raised."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader: CassetteReader | None = None
        self._last: tuple[int, Exchange] | None = None
        self.error: CassetteError | None = None

    def install(self, connection: sqlite3.Connection) -> None:
        """Make the functions and the views, on a connection that may be read-only."""
        one: dict[str, Callable[[Exchange], str | None]] = {
            "rp_request": lambda exchange: body.as_text(body_of(exchange.request)),
            "rp_response": lambda exchange: body.as_text(decoded(exchange.response)),
            "rp_prompt": _prompt,
            "rp_text": lambda exchange: text_of(exchange.response),
            "rp_messages": _messages,
            "rp_chunks": _chunks,
        }
        for name, function in one.items():
            connection.create_function(name, 1, self._guarded(function), deterministic=True)
        connection.create_function("rp_headers", 2, self._headers, deterministic=True)
        for name, select in VIEWS.items():
            connection.execute(f"CREATE TEMP VIEW IF NOT EXISTS {name} AS {select}")

    def close(self) -> None:
        """Let go of the file."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _guarded(self, function: Callable[[Exchange], str | None]) -> Callable[[object], str | None]:
        def called(number: object) -> str | None:
            exchange = self._exchange(number)
            return None if exchange is None else function(exchange)

        return called

    def _headers(self, number: object, side: object) -> str | None:
        exchange = self._exchange(number)
        if exchange is None or side not in ("request", "response"):
            return None
        fields = exchange.request.headers if side == "request" else exchange.response.headers
        return orjson.dumps([[name, value] for name, value in fields]).decode()

    def _exchange(self, number: object) -> Exchange | None:
        """The exchange of this number, unpacked and checked; None for what is no number."""
        if type(number) is not int:
            return None
        if self._last is None or self._last[0] != number:
            try:
                if self._reader is None:
                    self._reader = CassetteReader(self._path)
                self._last = number, self._reader.exchange(number)
            except CassetteError as error:
                self.error = error
                raise
        return self._last[1]


def is_cassette(connection: sqlite3.Connection) -> bool:
    """Whether the main database of a connection of somebody else says that it is one, of a format that can be read."""
    (application,) = connection.execute("PRAGMA main.application_id").fetchone()
    (number,) = connection.execute("PRAGMA main.user_version").fetchone()
    return application == schema.APPLICATION_ID and number in schema.FORMATS


def install_on(connection: sqlite3.Connection) -> SqlFunctions | None:
    """Give somebody else's connection the functions and views, if its main database is a cassette in a file.

    Raises `CassetteError` where the file says that it is one, and is not.
    """
    path = next((file for _, name, file in connection.execute("PRAGMA database_list") if name == "main"), "")
    if not path or not is_cassette(connection):
        return None
    schema.prepare(connection, schema.check(connection, path).format)
    functions = SqlFunctions(Path(path))
    functions.install(connection)
    return functions


# What the functions say


def _prompt(exchange: Exchange) -> str | None:
    """The text of the last message that the client sent."""
    messages = conversation.request_messages(exchange.request)
    return messages[-1].text if messages else None


def _messages(exchange: Exchange) -> str:
    sides = (
        ("request", conversation.request_messages(exchange.request)),
        ("answer", conversation.answer_messages(exchange.response)),
    )
    return orjson.dumps([_message(side, message) for side, messages in sides for message in messages]).decode()


def _message(side: str, message: ChatMessage) -> dict[str, Any]:
    """One message: its text with results and images in their order, reasoning and tool calls apart."""
    calls = [part for part in message.parts if part.kind == conversation.TOOL_CALL]
    reasoning = "".join(part.text for part in message.parts if part.kind == conversation.REASONING)
    others = (conversation.TOOL_CALL, conversation.REASONING)
    return {
        "side": side,
        "choice": message.choice,
        "role": message.role,
        "text": "".join(part.text for part in message.parts if part.kind not in others),
        "reasoning": reasoning or None,
        "tool_calls": [{"id": call.id, "name": call.name, "arguments": call.text} for call in calls] or None,
        "finish": message.finish or None,
    }


def _chunks(exchange: Exchange) -> str:
    response, before, rows = exchange.response, None, []
    chunks = zip(response.chunks(), decoded_chunks(response), body.text_of_chunks(response), strict=True)
    for chunk, data, text in chunks:
        rows.append(
            {
                "at_s": chunk.at / 1e9,
                "gap_s": None if before is None else (chunk.at - before) / 1e9,
                "bytes": len(chunk.data),
                "text": None if text is None else text,
                "data": data.decode("utf-8", "replace"),
            }
        )
        before = chunk.at
    return orjson.dumps(rows).decode()
