"""JSONPath expressions of users and cassettes: what costs more than the document's size is refused."""

from __future__ import annotations

from typing import Any

import pytest

from replayproxy.core.paths import Path
from replayproxy.core.patterns import Refused

DOCUMENT: dict[str, Any] = {"a": [{"b": "one-1", "c": 1}, {"b": "two", "c": 2}], "d": {"b": "three-3"}}


@pytest.mark.parametrize(
    ("source", "values"),
    [
        ("$.a[0].b", ["one-1"]),
        ("$..b", ["three-3", "one-1", "two"]),
        ("$.a[?@.c > 1].b", ["two"]),
        ("$.a[?match(@.b, '[a-z]+-[0-9]')].c", [1]),
        ("$.a[?search(@.b, 'w')].c", [2]),
        ("$.a[?search(@.b, '(?=w)')].c", []),
        ("$.a[?@.c == $.a[1].c].b", ["two"]),
    ],
)
def test_paths_select(source: str, values: list[Any]) -> None:
    """As RFC 9535 says; a regular expression that is refused matches nothing."""
    assert sorted(map(str, (match.value for match in Path(source).matches(DOCUMENT)))) == sorted(map(str, values))


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("$..*..*..*", "descends more than 2 times"),
        ("$..a[?@..b].c..d", "descends more than 2 times"),
        ("$[*,*][*,*][*,*][*,*][*,*]", "over and over"),
        ("$[?count(@[*,*][*,*][*,*][*,*][*,*]) > 1]", "over and over"),
        ("$[?count($..*) > 1]", "searches the whole document"),
        ("$[?count($[*]) > 1]", "searches the whole document"),
        ("$" + ".a" * 500, "longer than 1000"),
        ("$.[", "is not a JSONPath"),
        ("$.a | $.b", "is not a JSONPath"),
    ],
)
def test_what_multiplies_work_is_refused(source: str, reason: str) -> None:
    """With what to write instead."""
    with pytest.raises(Refused, match=reason):
        Path(source)


def test_a_filter_does_not_hang_on_its_pattern() -> None:
    """Neither one of the expression nor one of the document."""
    document = [{"a": "a" * 50_000 + "!", "p": "(a+)+b"}]
    assert not list(Path("$[?match(@.a, '(a+)+b')]").matches(document))
    assert not list(Path("$[?search(@.a, @.p)]").matches(document))
