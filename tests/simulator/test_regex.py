"""Texts drawn of a regular expression match it, by Python's own engine."""

from __future__ import annotations

import random
import re

import pytest

from replayproxy.simulator.language import BadLanguage
from replayproxy.simulator.regex import read_regex

EXPRESSIONS = [
    "",
    "abc",
    r"\d{3}-\d{4}",
    r"[A-Z][a-z]+( [A-Z][a-z]+)*",
    r"(yes|no|maybe)",
    r"(?:\+\d{1,3} )?\(\d{3}\) \d{3}",
    r"\w+@\w+\.com\n",
    r"^(?P<year>19|20)\d\d$",
    r"[^a-z\s]{5,}",
    r"a{,3}b?c*?d+?",
    r"[\]\-^]+[]a]",
    r"\x41\u00e9\t\D\W\S",
    r".{10}",
    r"a{b}|{}|x{2",
    r"((a|b)+c){2,3}|",
    r"[\d.,]+ (USD|EUR|€)",
    r"(?<name>x)-",
]


@pytest.mark.parametrize("source", EXPRESSIONS)
def test_every_text_matches(source: str) -> None:
    """All of it, from beginning to end."""
    language = read_regex(source)
    pattern = re.compile(source.replace("(?<name>", "(?P<name>"))
    for seed in range(40):
        text = language.text(random.Random(seed))
        assert pattern.fullmatch(text), text


BAD = [
    ("(", "ends in the middle"),
    (")", "has '\\)' at character 1"),
    ("[a", "ends in the middle"),
    ("[z-a]", "its end before its beginning"),
    ("*a", "has '\\*' at character 1"),
    ("a**", "has '\\*' at character 3"),
    (r"(a)\1", "which structured outputs do not follow"),
    (r"\bword\b", "which structured outputs do not follow"),
    ("(?=a)", "has a group"),
    ("(?<!a)b", "has a group"),
    ("(?i)a", "has a group"),
    (r"\q", "which the simulator does not know"),
    (r"\xZZ", "that is no character"),
    ("a{2000}", "2000 times"),
    ("a{9999999999}", "more than a billion"),
    ("(" * 60, "more than 50 brackets"),
    ("a" * 20_001, "has 20001 characters"),
    ("\\", "ends in the middle"),
]


@pytest.mark.parametrize(("source", "words"), BAD, ids=[source[:12] for source, _ in BAD])
def test_what_is_refused(source: str, words: str) -> None:
    """With what is wrong, and never by a traceback."""
    with pytest.raises(BadLanguage, match=words):
        read_regex(source)
