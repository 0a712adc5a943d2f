"""Tests of `cassette/condition`: text that is not one condition by itself is found before SQLite sees it."""

from __future__ import annotations

import pytest

from replayproxy.cassette.condition import fault_in

GOOD = [
    "status = 200",
    "status = 200 -- to the end",
    "model <> ';)''--' AND (status = 200)",
    'model = ":x" /* :y ; ) */',
    "[a column] = `another`",
    "(((1)))",
]

BAD = [
    ("", "it is empty"),
    (" -- nothing\n/* at all */", "it is empty"),
    ("1;", "leave the ; away"),
    ("1) OR (1", "a ) too many: ') OR (1'"),
    ("((1)", "a ( is not closed: '((1)'"),
    ("model = 'a", 'the quote that begins at "\'a" is not closed'),
    ("1 /* all", "the comment that begins at '/* all' is not closed"),
    ("status = ?", "? has no name"),
    ("status = ?1", "?1 has no name"),
    ("status = :s", ":s has no value: give it with -p s VALUE"),
    ("a" * 40 + ")", "a ) too many: ')'"),
]


@pytest.mark.parametrize("text", GOOD)
def test_a_condition_has_no_fault(text: str) -> None:
    """Whatever stands in its strings, names and comments."""
    assert fault_in(text) is None


@pytest.mark.parametrize(("text", "phrase"), BAD)
def test_a_fault_is_named(text: str, phrase: str) -> None:
    """With the words in which it was written."""
    fault = fault_in(text)
    assert fault is not None
    assert phrase in fault


def test_names_and_values_belong_together() -> None:
    """Each name has a value and each value a name."""
    assert fault_in("status = :s OR status = @t OR status = $u", frozenset("stu")) is None
    assert fault_in("status = :s", frozenset("st")) == "-p t has no :t in it to bind"
