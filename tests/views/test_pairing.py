"""Which exchange meets which: by key and occurrence, by what is left, and by what a driver noted."""

from __future__ import annotations

import pytest

from replayproxy.model import Request
from replayproxy.views.pairing import (
    KeyedRow,
    PairedRow,
    Pairing,
    Source,
    join_again,
    pair_by_key,
    pair_by_source,
    source_of,
)


def row(number: int) -> PairedRow:
    """A row of which nothing counts but its number."""
    return PairedRow(
        number, f"{number:08x}", "POST /", None, 200, "complete", True, 0.1, 0.1, 1.0, starved=False, stalled=False
    )


def keyed(keys: str) -> list[KeyedRow]:
    """One row per letter, which is its key."""
    return [KeyedRow(key, row(number)) for number, key in enumerate(keys)]


@pytest.mark.parametrize(
    ("first", "second", "pairs", "missing", "extra"),
    [
        ("", "", [], [], []),
        ("ab", "ba", [(0, 1), (1, 0)], [], []),
        ("aab", "aba", [(0, 0), (1, 2), (2, 1)], [], []),
        ("aaa", "a", [(0, 0)], [1, 2], []),
        ("a", "aaa", [(0, 0)], [], [1, 2]),
        ("ab", "cd", [], [0, 1], [0, 1]),
    ],
)
def test_the_nth_meets_the_nth(
    first: str, second: str, pairs: list[tuple[int, int]], missing: list[int], extra: list[int]
) -> None:
    """In whatever order the keys came."""
    found = pair_by_key(keyed(first), keyed(second))
    assert [(one.number, other.number) for one, other in found.pairs] == pairs
    assert [one.number for one in found.missing] == missing
    assert [one.number for one in found.extra] == extra


def test_what_is_left_is_joined_by_another_key() -> None:
    """Such as one without the masks of secrets."""
    pairing = pair_by_key(keyed("axb"), keyed("ayb"))
    again = join_again(pairing, lambda _: "same", lambda _: "same")
    assert [(one.number, other.number) for one, other in again.pairs] == [(0, 0), (1, 1), (2, 2)]
    assert (again.missing, again.extra) == ((), ())
    assert join_again(Pairing(()), lambda _: "x", lambda _: "x") == Pairing(())


@pytest.mark.parametrize(
    ("value", "source"),
    [
        ("0a1b2c3d", Source("0a1b2c3d", 0)),
        ("0a1b2c3d4e5f6071;loop=3", Source("0a1b2c3d4e5f6071", 3)),
        (" 0a1b2c3d ; loop=1 ", Source("0a1b2c3d", 1)),
        ("0a1b", None),
        ("0a1b2c3d; drop table", None),
        ("", None),
    ],
)
def test_a_driver_notes_the_source(value: str, source: Source | None) -> None:
    """In a header field, whatever its case."""
    assert source_of(Request("POST", "/", (("X-Replayproxy-Source", value),))) == source
    assert source_of(Request("POST", "/")) is None


def test_pairs_by_source() -> None:
    """Loops meet the same exchange again; what is not noted, and ids that several have, are left to the keys."""
    by_id = {"aaaaaaaa": [row(0)], "bbbbbbbb": [row(1)], "cccccccc": [row(2), row(3)]}
    noted = [
        (Source("aaaaaaaa11112222", 0), row(10)),
        (Source("aaaaaaaa", 1), row(11)),
        (None, row(12)),
        (Source("cccccccc", 0), row(13)),
        (Source("dddddddd", 0), row(14)),
    ]
    found, others = pair_by_source(by_id, noted)
    assert [(one.number, other.number) for one, other in found.pairs] == [(0, 10), (0, 11)]
    assert [one.number for one in found.missing] == [1, 2, 3]
    assert [one.number for one in others] == [12, 13, 14]
