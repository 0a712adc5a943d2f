"""Tests of `cassette/sql_functions`: what SQL sees of an exchange, and that nothing damaged looks whole."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from replayproxy.cassette.sql_functions import VIEWS, SqlFunctions, install_on, is_cassette
from replayproxy.errors import Damaged
from replayproxy.model import Request
from tests.cli.tapes import JSON, answer, asked, chat, in_flight, pair, writing

GOLDEN = sorted((Path(__file__).parents[2] / "cassettes").glob("*.cassette"))

FUNCTION = {"name": "weather", "arguments": '{"city":"Oslo"}'}

CALLS = {
    "role": "assistant",
    "reasoning_content": "It wants the weather.",
    "content": None,
    "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}
    ],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A chat, an answer with a tool call, an upload, a pair, a stream in flight."""
    path = tmp_path / "a.cassette"
    body = orjson.dumps({"choices": [{"index": 0, "message": CALLS, "finish_reason": "tool_calls"}]})
    upload = Request("POST", "/v1/audio", JSON, bytes(range(256)))
    with writing(path, sealed=False) as keep:
        keep(
            chat("hello", at=[100, 120, 150], started=0),
            answer(asked("weather?"), body, started=1000),
            answer(upload, b"\x00\xff", started=2000),
            pair(chat("pair", started=3000)),
            in_flight(chat("still", started=4000)),
        )
    return path


@contextmanager
def installed(connection: sqlite3.Connection) -> Iterator[SqlFunctions]:
    """Our functions on a connection; they read on connections of their own, which are closed behind it."""
    functions = install_on(connection)
    assert functions is not None
    try:
        yield functions
    finally:
        functions.close()


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    """As another program has it: read-only, and with functions of ours."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        with installed(connection):
            yield connection


def rows(connection: sqlite3.Connection, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """What a query gives."""
    return connection.execute(sql, values).fetchall()


def test_prompts_and_answers(connection: sqlite3.Connection) -> None:
    """As text; nothing where a body is none, and no row is missing."""
    found = rows(
        connection, "SELECT rp_prompt(number), rp_text(number) FROM v_exchange WHERE number < 4 ORDER BY number"
    )
    assert found[0] == ("hello", "Hi there!")
    assert found[1][0] == "weather?"
    assert "weather" in found[1][1]
    assert found[2] == (None, "")


def test_bodies_and_headers(connection: sqlite3.Connection) -> None:
    """Bodies as they were, where they are text; headers as JSON."""
    ((request, response, headers, other),) = rows(
        connection,
        "SELECT rp_request(1), rp_response(1), rp_headers(1, 'response'), rp_headers(1, 'neither')",
    )
    assert json.loads(request)["messages"] == [{"role": "user", "content": "hello"}]
    assert response.endswith("data: [DONE]\n\n")
    assert ["Content-Type", "text/event-stream"] in json.loads(headers)
    assert other is None
    assert rows(connection, "SELECT rp_request(3), rp_response(3), rp_text(NULL), rp_text('x')") == [
        (None, None, None, None)
    ]


def test_messages(connection: sqlite3.Connection) -> None:
    """One row each, with reasoning and tool calls apart from the text."""
    found = rows(connection, "SELECT side, role, text, reasoning, tool_calls, finish FROM v_message WHERE exchange = 2")
    assert found[0] == ("request", "user", "weather?", None, None, None)
    side, role, text, reasoning, calls, finish = found[1]
    assert (side, role, text, reasoning, finish) == ("answer", "assistant", "", "It wants the weather.", "tool_calls")
    assert json.loads(calls) == [{"id": "call_1", "name": "weather", "arguments": '{"city":"Oslo"}'}]


def test_chunks(connection: sqlite3.Connection) -> None:
    """With their times, gaps and texts, in their order; a stream in flight has none yet."""
    found = rows(connection, "SELECT chunk, at_s, gap_s, text FROM v_chunk WHERE exchange = 1")
    assert found == [
        (1, pytest.approx(0.1), None, "Hi"),
        (2, pytest.approx(0.12), pytest.approx(0.02), " there"),
        (3, pytest.approx(0.15), pytest.approx(0.03), "!"),
        (4, pytest.approx(0.151), pytest.approx(0.001), None),
    ]
    assert rows(connection, "SELECT DISTINCT exchange FROM v_chunk ORDER BY 1") == [(1,), (2,), (3,), (4,)]


def test_legs(connection: sqlite3.Connection) -> None:
    """Of a pair, both."""
    found = rows(connection, "SELECT exchange, leg, role, ending FROM v_leg")
    assert found == [(4, 1, "prefill", "complete"), (4, 2, "decode", "complete")]


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.stem)
@pytest.mark.parametrize("view", VIEWS)
def test_every_format_has_the_views(golden: Path, view: str) -> None:
    """They give as many exchanges as v_exchange, for a message and a chunk are in each finished one that has a body."""
    with closing(sqlite3.connect(f"file:{golden}?mode=ro", uri=True)) as connection, installed(connection):
        found = rows(connection, f"SELECT count(DISTINCT exchange) FROM {view}")[0][0]  # noqa: S608 (a name of ours)
        (there,) = rows(connection, "SELECT count(*) FROM v_exchange WHERE state = 'done'")[0]
        assert found <= there
        assert found > 0 or view == "v_leg"


def test_an_installation_changes_no_file(path: Path) -> None:
    """Views are temporary."""
    before = path.read_bytes()
    with closing(sqlite3.connect(path)) as connection, installed(connection):
        assert rows(connection, "SELECT count(*) FROM v_message")[0][0] > 0
    assert path.read_bytes() == before


def test_other_databases_are_left_alone(tmp_path: Path) -> None:
    """In memory, and files that are no cassettes; a connection gets nothing then."""
    with closing(sqlite3.connect(":memory:")) as memory, closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE a (b)")
        for connection in (memory, other):
            assert install_on(connection) is None
            assert not is_cassette(connection)
            with pytest.raises(sqlite3.OperationalError, match="no such function"):
                connection.execute("SELECT rp_text(1)")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # sqlite_utils wants it shown
def test_what_is_damaged_has_no_value(path: Path) -> None:
    """An error in SQL, whose reason the caller can ask for."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE exchange SET digest = x'0011223344556677' WHERE id = 1")
    with closing(sqlite3.connect(path)) as connection, installed(connection) as functions:
        with pytest.raises(sqlite3.OperationalError, match="raised exception"):
            rows(connection, "SELECT rp_text(1)")
        assert isinstance(functions.error, Damaged)
        assert rows(connection, "SELECT rp_prompt(2)") == [("weather?",)]


def test_text_that_is_no_text(tmp_path: Path) -> None:
    """A lone surrogate in JSON does not end the query."""
    path = tmp_path / "b.cassette"
    with writing(path) as keep:
        part = chat("x")
        body = b'{"messages": [{"role": "user", "content": "a\\ud800b"}]}'
        keep(replace(part, request=replace(part.request, body=body)))
    with closing(sqlite3.connect(path)) as connection, installed(connection):
        assert rows(connection, "SELECT text FROM v_message WHERE side = 'request'") == []
        assert rows(connection, "SELECT rp_request(1)") == [(body.decode(),)]
