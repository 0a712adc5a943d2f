"""Regular expressions of users and cassettes: RE2 in Python's spelling, bounded; what is refused gets a sentence."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replayproxy.core import patterns
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.core.patterns import Pattern, Refused, TextPattern
from replayproxy.core.redaction import Redactor
from replayproxy.errors import SettingsError
from replayproxy.model import Request

REFUSED = {
    "(?=x)y": "looks around",
    "y(?!x)": "looks around",
    "(?<=x)y": "looks around",
    "(?<!x)y": "looks around",
    r"(a)\1": "refers back",
    "(?P<n>a)(?P=n)": "refers back",
    "a++": "possessive",
    "(?>a)b": "possessive",
    "(?x)a b": "comments",
    "(?#c)a": "comments",
    "a{1001}": "repeats too often",
    "((a{100}){100}){100}": "repeats too often",
    "a{700}": "makes 704 instructions",
    "a" * 1001: "longer than 1000",
    "(": "is not a regular expression",
    "*": "is not a regular expression",
}


@pytest.mark.parametrize("kind", [Pattern, TextPattern])
@pytest.mark.parametrize("source", list(REFUSED))
def test_what_cannot_be_linear_is_refused_with_a_reason(kind: type[Pattern | TextPattern], source: str) -> None:
    """And what is too large, or no pattern."""
    with pytest.raises(Refused, match=REFUSED[source]):
        kind(source)


SAME = [
    r"\d+", r"\w+", r"\s+", r"\D+", r"\W+", r"\S+", r"[\d.]+", r"[\w-]+", r"[^\s]+", r"a{,2}", r"[]a]+", r"[^]a]+",
    r"\u00e9+", r"é|ß", r"(?i)ABC", r"x\Z", r"\Aa", r"[\[a]+", r"a|ab", r"(?s).+", r"a*?b", r"(?P<name>a)b", r"\.",
]  # fmt: skip


@pytest.mark.parametrize("source", SAME)
@given(text=st.text(st.sampled_from("aAbBcC01x é٣ß\u2003\n.-[]_,;\U0001f600"), max_size=30))
def test_text_matches_as_in_python(source: str, text: str) -> None:
    """Where nothing is refused, `re` finds the same, also beyond ASCII."""
    expected = [found.span() for found in re.finditer(source, text) if found[0]]
    assert list(TextPattern(source).spans(text)) == expected


@pytest.mark.parametrize("source", [r"\d+", r"\w+", r"[^\s]+", r"cust-[0-9]{2,}", r"\x00+|\xff", r"(?s)a.c", "é"])
@given(
    text=st.lists(st.sampled_from([b"a", b"cust-123", b"\0", b"\xff", "é".encode(), b" ", b"\n", b"c"]), max_size=12)
)
def test_bytes_match_as_in_python(source: str, text: list[bytes]) -> None:
    """Whatever bytes they are."""
    body = b"".join(text)
    expected = [found.span() for found in re.finditer(source.encode(), body) if found[0]]
    assert list(Pattern(source).spans(body)) == expected


def test_long_matches_and_far_ones_are_found() -> None:
    """Beyond the window that is searched first, and whatever stands at its border."""
    far, long = b" " * 5000 + b"cust-123456", b"{" + b"x" * 5000 + b"}"
    assert list(Pattern("cust-[0-9]{6}").spans(far)) == [(5000, 5011)]
    assert list(Pattern(r"\{x+\}").spans(long + b" " + long)) == [(0, 5002), (5003, 10005)]
    for size in range(1015, 1030):
        assert list(Pattern("cust-[0-9]+").spans(b" " * size + b"cust-123456 ")) == [(size, size + 11)]


def test_a_window_keeps_what_stands_beside_it() -> None:
    """A word goes on behind a window, and began before it."""
    assert list(Pattern(r"\bfoo\b").spans(b"xfoox", 1, 4)) == []
    assert list(Pattern("^a").spans(b"aa")) == [(0, 1)]


def test_the_number_of_matches_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the last one everything is one match: it is masked, or one placeholder."""
    monkeypatch.setattr(patterns, "MOST_MATCHES", 3)
    assert list(Pattern("a").spans(b"aabaab")) == [(0, 1), (1, 2), (3, 6)]


class CountingEngine:
    """An engine that counts the bytes it is given to look at."""

    looked = 0

    def __init__(self, plain: Any) -> None:
        self._plain = plain

    def search(self, text: bytes, start: int, stop: int) -> object:
        """As the engine does."""
        CountingEngine.looked += stop - start
        return self._plain.search(text, start, stop)


@pytest.mark.parametrize(
    ("source", "unit"),
    [("(q+)+z", b"q"), ("q+z|q", b"q"), ("(a|a)*$", b"a"), ("[^~]+~|.", b"ab"), (r"(\w+\s?)+!", b"word ")],
)
def test_all_matches_cost_work_in_proportion(source: str, unit: bytes) -> None:
    """Bytes that the engine looks at, at n and 2n: three times the text, and a window for each match."""
    for size in (20_000, 40_000):
        CountingEngine.looked = 0
        compiled = CountingEngine(Pattern(source)._compiled)
        text = unit * (size // len(unit))
        found = list(patterns._spans(compiled, text, 0, len(text)))
        assert CountingEngine.looked <= 3 * size + patterns.WINDOW * len(found)


@pytest.mark.parametrize("rule", ["re:(?=x)y", r"re:(x)\1", "re:x{900}", "$..*..*..*", "$[?match(@.a, 'b')]..*..*..*"])
def test_a_rule_of_a_user_is_refused_with_its_flag(rule: str) -> None:
    """As a mistake in the settings."""
    with pytest.raises(SettingsError, match=r"^--redact "):
        Redactor(b"salt", [rule])


@pytest.mark.parametrize(
    "document",
    [
        {"normalise": ["x=(?=a)b"]},
        {"normalise": [r"x=(a)\1"]},
        {"normalise": ["x=a{999}"]},
        {"ignore": ["$..*..*..*"]},
        {"ignore": ["$.["]},
        {"ignore": ["$.a"] * 300},
        {"headers": ["authorization"]},
    ],
)
def test_rules_of_a_cassette_that_cannot_be_applied_are_damage(document: dict[str, list[str]]) -> None:
    """They come from a stranger, and the first request would meet them."""
    whole = {"profile": "default", "ignore": [], "tag": "rp1", **document}
    with pytest.raises(ValueError, match=r"--match|more than"):
        MatchRules.of(whole)


@pytest.mark.parametrize("rule", ["x=(a+)+$", "x=(a|a)*b", r"x=(\w+\s?)+!", "x=(.*a){20}b"])
def test_normalisers_that_stopped_the_proxy_are_applied(rule: str) -> None:
    """To 100 kB made against them; a backtracking engine would not come back."""
    body = b'{"prompt":"' + b"a" * 100_000 + b'!"}'
    assert Matcher(MatchRules(normalise=(rule,))).key(Request("POST", "/v1/completions", (), body)).startswith("rp1:")


def test_a_redaction_rule_that_stopped_the_proxy_is_applied() -> None:
    """`(q+)+z` on many q, and on what it means."""
    redactor = Redactor(b"0123456789abcdef", ["re:(q+)+z"])
    body = b'{"m":"' + b"q" * 100_000 + b'"}'
    assert redactor.request(Request("POST", "/", (), body)).body == body
    assert b"qqqqz" not in redactor.request(Request("POST", "/", (), b'{"m":"qqqqz"}')).body
