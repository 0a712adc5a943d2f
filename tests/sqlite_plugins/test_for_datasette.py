"""Tests of the plugin of datasette, through datasette's own ASGI client: its pages show chats and chunk times."""

from __future__ import annotations

import asyncio
import warnings
from pathlib import Path
from typing import Any

import pytest

from tests.cli.tapes import chat, writing

with warnings.catch_warnings():  # what datasette imports is not ours to mend
    warnings.simplefilter("ignore")
    datasette = pytest.importorskip("datasette.app")

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A chat that tries to be a script, and another one."""
    path = tmp_path / "a.cassette"
    with writing(path) as keep:
        keep(chat("<script>alert(1)</script>", at=[100, 120, 150], started=0), chat("again", started=1000))
    return path


def got(path: Path, *addresses: str) -> list[Any]:
    """The answers to these requests, in one event loop."""

    async def ask() -> list[Any]:
        server = datasette.Datasette([str(path)])
        return [await server.client.get(address) for address in addresses]

    return asyncio.run(ask())


def test_a_cassette_has_queries_by_name(path: Path) -> None:
    """On its page."""
    (page,) = got(path, "/a")
    assert page.status_code == 200
    for name in ("exchanges", "messages", "chunks", "legs"):
        assert f'href="/a/{name}"' in page.text


def test_prompts_and_answers_can_be_read(path: Path) -> None:
    """In the browser, escaped; and as JSON."""
    page, data = got(path, "/a/messages", "/a/exchanges.json?_shape=array")
    assert "Hi there!" in page.text
    assert "<script>alert(1)" not in page.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
    assert [(row["prompt"], row["answer"]) for row in data.json()] == [
        ("again", "Hi there!"),
        ("<script>alert(1)</script>", "Hi there!"),
    ]


def test_chunk_times_by_the_first_digits_of_an_id(path: Path) -> None:
    """In seconds since the request was complete."""
    (listed,) = got(path, "/a/exchanges.json?_shape=array")
    short = next(row["id"] for row in listed.json() if "script" in row["prompt"])
    (chunks,) = got(path, f"/a/chunks.json?_shape=array&id={short[:5]}")
    assert [row["at_s"] for row in chunks.json()] == pytest.approx([0.1, 0.12, 0.15, 0.151])
    assert {row["id"] for row in chunks.json()} == {short}


def test_another_database_has_no_queries(tmp_path: Path) -> None:
    """Of ours."""
    import sqlite3
    from contextlib import closing

    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as connection, connection:
        connection.execute("CREATE TABLE b (c)")
    page, missing = got(other, "/other", "/other/messages.json")
    assert page.status_code == 200
    assert "chunks" not in page.text
    assert missing.status_code == 404
