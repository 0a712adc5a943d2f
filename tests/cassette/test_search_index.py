"""Tests of `cassette/search_index`: what is found, how the index is kept, and whose files it leaves alone."""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.search_index import SearchIndex, query_of
from replayproxy.errors import CassetteError, SettingsError
from tests.cli.tapes import answer, asked, chat, in_flight, writing


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Three chats."""
    path = tmp_path / "a.cassette"
    with writing(path) as keep:
        keep(
            chat("How is the café in Oslo?", words=["Lovely", " and", " warm"], at=[1, 2, 3], started=0),
            chat("the invoice", words=["Refund", " policy", " applies"], at=[1, 2, 3], started=1000),
            answer(asked("policy of the refund"), b'{"choices": [{"message": {"content": "none"}}]}', started=2000),
        )
    return path


def found(path: Path, text: str) -> set[int]:
    """The numbers of the exchanges with these words, after an update."""
    with CassetteReader(path) as cassette, SearchIndex(cassette) as index:
        index.update(lambda *_: None)
        return {hit.number for hit in index.find(text)}


SEARCHES = [
    ("oslo", {1}),
    ("CAFE", {1}),
    ("refund policy", {2, 3}),
    ('"refund policy"', {2}),
    ("refu*", {2, 3}),
    ("refu", set()),
    ("invoice applies", {2}),
    ("oslo invoice", set()),
    ("prompt : x", set()),
    ('lovely "', {1}),
    ("NEAR(lovely)", set()),
]


@pytest.mark.parametrize(("text", "expected"), SEARCHES)
def test_what_is_found(path: Path, text: str, expected: set[int]) -> None:
    """All words, in prompts and answers, whatever their case and accents; nothing that is typed is an operator."""
    assert found(path, text) == expected


@pytest.mark.parametrize("text", ["", "  ", "!!", '"', "*"])
def test_a_text_without_a_word(text: str) -> None:
    """Is a mistake that is named."""
    with pytest.raises(SettingsError, match="no word to search for"):
        query_of(text)


def test_the_index_is_a_file_of_its_own(path: Path) -> None:
    """For its owner alone; the cassette is as it was."""
    before = path.read_bytes()
    found(path, "oslo")
    index = path.with_name("a.cassette.search")
    assert stat.S_IMODE(index.stat().st_mode) == 0o600
    assert path.read_bytes() == before


def test_only_what_is_new_is_indexed(path: Path) -> None:
    """By the next search, and nothing twice."""
    with CassetteReader(path) as cassette, SearchIndex(cassette) as index:
        assert index.update(lambda *_: None) == 3
        assert index.update(lambda *_: None) == 0
    with writing(path) as keep:
        keep(chat("another oslo", started=3000))
    with CassetteReader(path) as cassette, SearchIndex(cassette) as index:
        seen: list[tuple[str, int, int]] = []
        assert index.update(lambda *call: seen.append(call)) == 1
        assert seen == [("exchanges indexed", 1, 1)]
        assert {hit.number for hit in index.find("oslo")} == {1, 4}


def test_what_ends_late_is_indexed_too(tmp_path: Path) -> None:
    """A stream that was in flight has a lower number than what has ended since."""
    path = tmp_path / "b.cassette"
    with writing(path, sealed=False) as keep:
        keep(in_flight(chat("slow words")), chat("quick words", started=10))
        assert found(path, "words") == {2}
        late = chat("slow words", words=["late"], at=[900])
        keep(late)
    assert 2 in found(path, "words")
    assert found(path, "late") != set()


def test_a_rewritten_cassette_is_indexed_anew(path: Path, tmp_path: Path) -> None:
    """Another file may have taken the name."""
    assert found(path, "oslo") == {1}
    path.unlink()
    with writing(path) as keep:
        keep(*(chat(f"number {number} bergen", started=number) for number in range(5)))
    assert found(path, "oslo") == set()
    assert found(path, "bergen") == {1, 2, 3, 4, 5}


def test_what_was_deleted_is_not_found(path: Path) -> None:
    """Though the index had it."""
    assert found(path, "refund") == {2, 3}
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("DELETE FROM exchange WHERE id = 2")
    connection.close()
    assert found(path, "refund") == {3}


def test_a_damaged_exchange_hides_no_other(path: Path) -> None:
    """It is left out; `verify` names it."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE exchange SET digest = x'0011223344556677' WHERE id = 2")
    connection.close()
    assert found(path, "refund") == {3}


@pytest.mark.parametrize("content", [b"my notes", b"SQLite format 3\0" + b"\0" * 100])
def test_a_file_of_somebody_else_is_left_alone(path: Path, content: bytes) -> None:
    """A sentence, and not a byte is changed."""
    index = path.with_name("a.cassette.search")
    index.write_bytes(content)
    with CassetteReader(path) as cassette, pytest.raises(CassetteError, match="is not a search index"):
        SearchIndex(cassette)
    assert index.read_bytes() == content


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(path: Path) -> None:
    """Is searched all the same."""
    path.parent.chmod(0o500)
    try:
        assert found(path, "oslo") == {1}
    finally:
        path.parent.chmod(0o700)


def test_an_index_in_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file cannot be made."""

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    with CassetteReader(path) as cassette:
        monkeypatch.setattr("replayproxy.cassette.search_index.os.open", refuse)
        with SearchIndex(cassette) as index:
            assert index.path is None
            index.update(lambda *_: None)
            assert [hit.number for hit in index.find("oslo")] == [1]


def test_an_interrupted_update_leaves_whole_parts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C between two of them; the next search goes on from there."""
    monkeypatch.setattr("replayproxy.cassette.search_index.BATCH", 1)

    def press(_what: str, done: int, _of: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with CassetteReader(path) as cassette:
        with SearchIndex(cassette) as index, pytest.raises(KeyboardInterrupt):
            index.update(press)
        with SearchIndex(cassette) as index:
            assert index.update(lambda *_: None) == 1
            assert len(list(index.find("o* OR policy"))) <= 3


def test_marks_come_from_the_index_alone(tmp_path: Path) -> None:
    """Recorded text cannot pretend to be a hit."""
    path = tmp_path / "c.cassette"
    with writing(path) as keep:
        keep(chat("\x02fake\x03 word"))
    with CassetteReader(path) as cassette, SearchIndex(cassette) as index:
        index.update(lambda *_: None)
        (hit,) = index.find("word")
    assert hit.prompt.count("\x02") == hit.prompt.count("\x03") == 1
    assert "\x02word\x03" in hit.prompt
