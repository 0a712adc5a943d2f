"""Every recording finds itself, by its own rules and by others; what answers for one another is told."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from replayproxy.cassette.checking.self_match import SelfMatch, self_match
from replayproxy.core.identity.rules import MatchRules
from tests.recordings import asked, exchange, record, said, samples


def test_everything_finds_itself(tmp_path: Path) -> None:
    """Whatever was recorded and can be played."""
    path = record(tmp_path / "a", samples())
    for rules in (None, MatchRules(), MatchRules("exact"), MatchRules(normalise=("date", "uuid"))):
        found = self_match(path, rules)
        assert found.recordings > 10
        assert found.lost == ()


COLLIDING: list[tuple[MatchRules | None, list[tuple[str, ...]]]] = [
    (None, [("$.user",)]),
    (MatchRules("exact"), []),
    (MatchRules(ignore=("$.messages",)), [("$.user", "$.messages[0].content")]),
    (MatchRules(normalise=("date",)), [("$.user",), ("$.messages[0].content",)]),
]


@pytest.mark.parametrize(("rules", "places"), COLLIDING)
def test_different_requests_with_one_key_are_told(
    tmp_path: Path, rules: MatchRules | None, places: list[tuple[str, ...]]
) -> None:
    """With the places that the rules make of no account. Equal requests collide with nobody."""
    asking = [asked("x", user="a"), asked("x", user="b"), asked("2026-11-17"), asked("2026-11-20"), asked("2026-11-20")]
    path = record(tmp_path / "a", [exchange(one, said([b"%d" % place]), place) for place, one in enumerate(asking)])
    found = self_match(path, rules)
    assert (found.recordings, found.lost) == (5, ())
    assert sorted(collision.places for collision in found.collisions) == sorted(places)


def test_what_does_not_find_itself_is_told(tmp_path: Path) -> None:
    """A key that is not its request's."""
    path = record(tmp_path / "a", [exchange(asked("x"), said([b"1"])), exchange(asked("y"), said([b"2"]), 1)])
    whole = self_match(path)
    assert whole == SelfMatch(2, (), ())
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE exchange SET key = zeroblob(16) WHERE id = 1")
    found = self_match(path)
    assert (found.recordings, len(found.lost)) == (2, 1)
