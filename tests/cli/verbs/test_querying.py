"""Tests of `replayproxy sql`: tables for people, data for programs, mistakes as sentences."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from tests.cli.tapes import Read, Watch, chat, writing


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two chats, one of which would move the cursor."""
    path = tmp_path / "a.cassette"
    with writing(path) as keep:
        keep(chat("hello", started=0), chat("two", words=["\x1b[2J", "b"], at=[5, 9], started=1000))
    return path


def test_a_table(read: Read, path: Path) -> None:
    """The number of rows is said on stderr; nothing recorded reaches the terminal as it is."""
    ran = read("sql", path, "select rp_prompt(number) as prompt, rp_text(number) as text from v_exchange")
    assert (ran.code, ran.err) == (0, "2 rows\n")
    assert ran.out.splitlines() == ["prompt  text", "hello   Hi there!", "two     \\x1b[2Jb"]


def test_data(read: Read, path: Path) -> None:
    """Numbers stay numbers, and bytes are written as sqlite-utils does."""
    ran = read("sql", path, "select number, x'00ff' as b, null as n from v_exchange limit 1", "--json")
    assert json.loads(ran.out) == [{"number": 1, "b": {"$base64": True, "encoded": "AP8="}, "n": None}]
    assert read("sql", path, "select 1 as a, 'x,y' as b", "--csv").out == 'a,b\n1,"x,y"\n'


def test_values_are_bound(read: Read, path: Path) -> None:
    """By -p, as in ls."""
    ran = read("sql", path, "select number from v_exchange where number = :n", "-p", "n", "2", "--nl")
    assert ran.out == '{"number":2}\n'


def test_a_statement_from_stdin(read: Read, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a minus sign for the query."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("select count(*) as n from v_exchange\n"))
    assert read("sql", path, "-", "--nl").out == '{"n":2}\n'


def test_a_terminal_gets_lines_that_fit(watch: Watch, path: Path) -> None:
    """Long texts are cut."""
    code, text = watch(
        60, "sql", path, "select rp_request(number) as request, rp_response(number) from v_exchange", NO_COLOR="1"
    )
    assert code == 0
    assert max(map(len, text.splitlines())) <= 60


@pytest.mark.parametrize(
    ("query", "sentence"), [("", "is empty"), ("select nope", "no such column: nope"), ("\udcff", "UTF-8")]
)
def test_mistakes(read: Read, path: Path, query: str, sentence: str) -> None:
    """Exit code 2 and a sentence."""
    ran = read("sql", path, query)
    assert (ran.code, ran.out) == (2, "")
    assert sentence in ran.err


def test_a_statement_without_rows(read: Read, path: Path) -> None:
    """Is no error."""
    ran = read("sql", path, "select 1 where 0")
    assert (ran.code, ran.err) == (0, "0 rows\n")
