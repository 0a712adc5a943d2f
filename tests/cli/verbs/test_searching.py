"""Tests of `replayproxy search`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.tapes import Read, Watch, chat, writing


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Three chats, one of which would move the cursor."""
    path = tmp_path / "a.cassette"
    with writing(path) as keep:
        keep(
            chat("one apple", words=["Red", " apples"], at=[1, 2], started=0),
            chat("two pears", words=["\x1b[2J", "green pears"], at=[1, 2], model="other", started=1000),
            chat("nothing", words=["no apple here"], at=[1], started=2000),
        )
    return path


def test_a_list(read: Read, path: Path) -> None:
    """Each with its prompt, and with the answer where the words are in it; escapes are visible."""
    ran = read("search", path, "apple")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert [line for line in lines if line.startswith("  prompt")] == ["  prompt  one apple", "  prompt  nothing"]
    assert "  answer  no apple here" in lines
    assert "2 exchanges with 'apple'" in ran.err
    assert "\\x1b[2Jgreen pears" in read("search", path, "pears").out


def test_data(read: Read, path: Path) -> None:
    """With the row's fields, and snippets without marks."""
    rows = json.loads(read("search", path, "appl*", "--json").out)
    assert {row["number"] for row in rows} == {1, 3}
    assert all("\x02" not in row["prompt"] + row["answer"] for row in rows)


def test_a_filter_and_a_limit(read: Read, path: Path) -> None:
    """As in ls."""
    early = read("search", path, "apple", "--until", "2026-11-18T11:06:41", "--json")
    assert [row["number"] for row in json.loads(early.out)] == [1]
    assert len(json.loads(read("search", path, "apple", "-n", "1", "--json").out)) == 1
    assert read("search", path, "pears", "--where", "model = 'tiny'").code == 1


def test_nothing_found(read: Read, path: Path) -> None:
    """Exit code 1, as grep."""
    ran = read("search", path, "banana")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == f"No exchange with 'banana' in {path}.\n"


def test_mistakes(read: Read, path: Path) -> None:
    """Before the index is made."""
    ran = read("search", path, "!!")
    assert (ran.code, "no word to search for" in ran.err) == (2, True)
    assert not path.with_name("a.cassette.search").exists()


def test_a_terminal_marks_what_was_found(watch: Watch, path: Path) -> None:
    """In colour, and nothing else of the text is changed."""
    code, text = watch(80, "search", path, "apple")
    assert code == 0
    assert "\x1b[1;33mapple\x1b[0m" in text
