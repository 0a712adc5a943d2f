"""Tests of `cli/visible`: what a cassette holds moves nobody's cursor."""

from __future__ import annotations

import json
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayproxy.core.visible import visible, visible_json, visible_lines

TABLE = [
    ("plain", "plain"),
    ("\x1b[31mred", r"\x1b[31mred"),
    ("\x1b]52;c;ZWNobyBoaQ==\x07", r"\x1b]52;c;ZWNobyBoaQ==\x07"),  # sets the clipboard
    ("\x9b31m", r"\x9b31m"),  # the same in one C1 byte
    ("a\nb\tc\rd", r"a\nb\tc\rd"),
    ("\x00\x7f", r"\x00\x7f"),
    ("user\u202etxt.exe", r"user\u202etxt.exe"),  # reads backwards
    ("\u2066\u2069\u200e\u200b\ufeff", r"\u2066\u2069\u200e\u200b\ufeff"),
    ("line\u2028end", r"line\u2028end"),
    ("\U000e0041", r"\U000e0041"),  # a letter that nobody sees
    ("\ud800", r"\ud800"),
    ("né 你好 👩\u200d🚀", "né 你好 👩\u200d🚀"),
]


@pytest.mark.parametrize(("text", "shown"), TABLE)
def test_controls_become_escapes(text: str, shown: str) -> None:
    """And nothing else changes."""
    assert visible(text) == shown


def test_lines_stay_lines() -> None:
    """In text of several lines, line feeds and tabs are layout."""
    assert visible_lines("a\n\tb\r\n\x1b[2J") == "a\n\tb\\r\n\\x1b[2J"


@given(st.text(alphabet=st.characters(categories=["Cc", "Cf", "Zl", "Zp", "Lu", "Mn"])))
def test_no_control_is_left(text: str) -> None:
    """Of any category that could move a cursor or hide a word; only joiners and soft hyphens stay."""
    left = {character for character in visible(text) if unicodedata.category(character) in ("Cc", "Zl", "Zp")}
    assert left == set()
    assert not re.search("[\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]", visible(text))


@given(st.recursive(st.text() | st.integers() | st.none(), lambda inner: st.dictionaries(st.text(), inner)))
def test_json_keeps_its_value(value: object) -> None:
    """Spelled with escapes, it is the same document."""
    document = visible_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(document) == value
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", document)
