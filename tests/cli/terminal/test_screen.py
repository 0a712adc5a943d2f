"""Tests of `cli/screen`: what a terminal gets, and what a pipe."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from replayproxy.cli.terminal.screen import Screen, Span
from tests.cli.tapes import Read, Watch, chat, on_terminal, writing

VERBS = ("ls", "show", "stats", "info")
CONTROL = re.compile(r"\x1b\[[0-9;]*m")
"""Colours: all that we ever send."""


def test_a_real_terminal(mixed: Path) -> None:
    """Through the console script and a pty: the same as the terminal that the tests below pretend to be."""
    code, said = on_terminal(100, "ls", mixed)
    assert code == 0
    assert CONTROL.search(said)
    assert len(plain(said).splitlines()[0]) <= 100


def plain(text: str) -> str:
    """Without colours."""
    return CONTROL.sub("", text)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("width", [80, 120, 200])
def test_no_line_is_wider_than_the_terminal(watch: Watch, mixed: Path, verb: str, width: int) -> None:
    """A table that wraps cannot be read. (Sentences below it may, between words.)"""
    code, said = watch(width, verb, mixed)
    assert code == 0
    for line in plain(said).splitlines():
        if not line.startswith(("None of", str(mixed), "Next:", "8 exchanges")):  # they name a long path
            assert len(line) <= width, line


@pytest.mark.parametrize("verb", VERBS)
def test_a_terminal_has_colours_and_a_pipe_has_none(read: Read, watch: Watch, mixed: Path, verb: str) -> None:
    """The words are the same kind of thing; only a terminal is told how to show them."""
    assert CONTROL.search(watch(120, verb, mixed)[1])
    assert "\x1b" not in read(verb, mixed).out


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
@pytest.mark.parametrize("verb", VERBS)
def test_colours_can_be_refused(watch: Watch, mixed: Path, verb: str, variables: dict[str, str]) -> None:
    """NO_COLOR (no-color.org) and TERM=dumb: no escape sequence at all."""
    assert "\x1b" not in watch(120, verb, mixed, **variables)[1]


def test_what_broke_is_red_and_what_is_not_over_yellow(watch: Watch, mixed: Path) -> None:
    """Beside its words, for colour alone says nothing to some."""
    said = watch(160, "ls", mixed)[1]
    assert "\x1b[1;31mclient_left" in said
    assert "\x1b[33min flight" in said
    assert "\x1b[31m400" in said


def test_a_style_ends_with_its_words(watch: Watch, mixed: Path) -> None:
    """A dim head does not make its line dim."""
    said = watch(160, "show", mixed)[1]
    assert "\x1b[2mrequest    \x1b[0m1\u2009842 tokens in" in said


@pytest.mark.parametrize("verb", VERBS)
def test_a_terminal_gets_no_escapes_of_strangers(watch: Watch, tmp_path: Path, verb: str) -> None:
    """Clipboards, titles, cursors, answers: nothing but our own colours, whatever was recorded."""
    evil = "\x1b]52;c;ZWNobyBoaQ==\x07\x1b[2J\x1b]0;title\x1b\\\x9b31m\u202e\r"
    path = tmp_path / "evil.cassette"
    with writing(path) as keep:
        keep(chat(evil, words=[evil, evil], model=evil, stop=evil))
    for flags in ((), ("--no-trunc",)):
        said = watch(120, verb, path, *flags)[1]
        assert not set(plain(said)) & set("\x1b\x07\x9b\u202e\r"), flags
        assert "\\u202e" in plain(said), flags


def test_a_span_is_made_visible_wherever_it_is_printed() -> None:
    """No caller can forget."""
    stream = io.StringIO()
    screen = Screen(stream)
    screen.line("a\x1b[2J", Span("b\n", "red"))
    screen.entry("head\x07", "c\x9b")
    screen.prose("d\u202e")
    screen.text("e\x1b\n\tf")
    assert stream.getvalue() == "a\\x1b[2Jb\\n\nhead\\x07   c\\x9b\nd\\u202e\ne\\x1b\n\tf\n"


def test_a_long_head_ends_before_what_belongs_to_it() -> None:
    """With a space, where a name is as long as the indent."""
    stream = io.StringIO()
    Screen(stream).entry("provenances", "two")
    assert stream.getvalue() == "provenances two\n"


def test_the_width_can_be_told(watch: Watch, mixed: Path) -> None:
    """COLUMNS wins, as everywhere."""
    said = plain(watch(200, "ls", mixed, COLUMNS="80")[1])
    assert "No room for" in said


def test_nothing_is_cut_with_no_trunc(watch: Watch, mixed: Path) -> None:
    """The lines wrap as the terminal likes; whole dates, all columns."""
    said = plain(watch(80, "ls", mixed, "--no-trunc")[1])
    assert "CHUNK p50" in said
    assert "2026-11-18 11:06:40.000" in said
    assert "…" not in said
