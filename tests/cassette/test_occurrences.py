"""Which recording answers the n-th request of a key: by its own rules, by others, and while somebody records."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from replayproxy.cassette import large_indexes
from replayproxy.cassette.checking.verify import verify
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.errors import CassetteError, Damaged
from replayproxy.model import Ending, Exchange, RecordingRef
from replayproxy.ports import ExchangePart
from tests.recordings import (
    MATCHER,
    asked,
    bodies,
    exchange,
    keep,
    pieces,
    record,
    record_answers,
    said,
    samples,
)

SEA, SUN = asked("sea"), asked("sun")


def test_what_stands_on_a_shelf(tmp_path: Path) -> None:
    """By key, in order; what had broken is counted apart and not given out; what is not there is not there."""
    path = record_answers(tmp_path / "a", (SEA, b"1"), (SUN, b"2"), (SEA, b"half", Ending.UPSTREAM_CUT), (SEA, b"3"))
    with CassetteReader(path) as shelf:
        assert (shelf.count(MATCHER.key(SEA)), shelf.count_broken(MATCHER.key(SEA))) == (2, 1)
        assert (shelf.count(MATCHER.key(asked("x"))), shelf.count_broken(MATCHER.key(asked("x")))) == (0, 0)
        assert (bodies(shelf, SEA), bodies(shelf, SUN)) == ([b"1", b"3"], [b"2"])
        with pytest.raises(Damaged, match="has no recording 2 of rp1:"):
            asyncio.run(shelf.read(RecordingRef(MATCHER.key(SEA), 2)))


def test_a_cassette_that_is_recorded_on_is_counted_anew(tmp_path: Path) -> None:
    """What was counted on a sealed one is remembered; while somebody has it open to record, also before the first."""
    path = record_answers(tmp_path / "a", (SEA, b"1"))
    key = MATCHER.key(SEA)
    with CassetteReader(path) as sealed:
        assert [sealed.count(key), sealed.count(key)] == [1, 1]
    keeper = CassetteWriter(path, MATCHER)
    with CassetteReader(path) as shelf:
        assert shelf.count(key) == 1
        keep(keeper, pieces(exchange(SEA, said([b"2"])), 1))
        assert (shelf.count(key), bodies(shelf, SEA)) == (2, [b"1", b"2"])
    keeper.close()


def test_recordings_are_found_by_other_rules_than_their_own(tmp_path: Path) -> None:
    """Keys are derived again, in memory: lists that were two become one, in the order of recording; the file stays."""
    requests = [asked("sea", seed=1), asked("sea", seed=2), asked("sea", seed=1), asked("sun", seed=1)]
    path = record_answers(
        tmp_path / "a",
        *((request, b"%d" % number) for number, request in enumerate(requests)),
        (asked("sea", seed=3), b"half", Ending.UPSTREAM_CUT),
    )
    before = path.read_bytes()
    other = Matcher(MatchRules(ignore=("$.seed",)))
    with CassetteReader(path) as shelf:
        assert bodies(shelf, asked("sea", seed=1)) == [b"0", b"2"]
        shelf.use_rules(other)
        key = other.key(asked("sea", seed=99))
        assert (bodies(shelf, key), shelf.count_broken(key)) == ([b"0", b"1", b"2"], 1)
        assert bodies(shelf, other.key(SUN)) == [b"3"]
        assert shelf.count(MATCHER.key(asked("sea", seed=1))) == 0
        shelf.use_rules(MATCHER)
        assert bodies(shelf, asked("sea", seed=1)) == [b"0", b"2"]
        with pytest.raises(CassetteError):
            shelf.all("DELETE FROM exchange")
    assert path.read_bytes() == before


BROKEN = [
    (SEA, b"1"),
    (SEA, b"half", Ending.UPSTREAM_CUT),
    (SEA, b"2"),
    (SUN, b"gone", Ending.CLIENT_LEFT),
]


@pytest.mark.parametrize("rules", [None, MatchRules(ignore=("$.seed",))])
def test_what_had_broken_is_played_to_who_allows_it(tmp_path: Path, rules: MatchRules | None) -> None:
    """`--allow-incomplete`: in the order of asking, also by other rules; never what has no head."""
    headless = exchange(SUN, said([], status=0, headers=(), ending=Ending.TIMEOUT), 9)
    path = record_answers(tmp_path / "a", *BROKEN)  # type: ignore[arg-type]  # tuples of either kind
    record(path, [headless])
    with CassetteReader(path, allow_incomplete=True) as shelf:
        matcher = MATCHER if rules is None else Matcher(rules)
        if rules is not None:
            shelf.use_rules(matcher)
        sea, sun = matcher.key(SEA), matcher.key(SUN)
        assert (bodies(shelf, sea), bodies(shelf, sun)) == ([b"1", b"half", b"2"], [b"gone"])
        assert (shelf.count_broken(sea), shelf.count_broken(sun)) == (0, 1)
        assert asyncio.run(shelf.read(RecordingRef(sea, 1))).ending is Ending.UPSTREAM_CUT


def test_an_index_that_points_elsewhere_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row at the end of a look-up must be the one that was looked up: its key and number are compared."""
    monkeypatch.setattr(large_indexes, "FEW", 0)
    path = record(tmp_path / "a.cassette", samples())
    sun = MATCHER.key(samples()[2].request)
    with CassetteReader(path) as cassette:
        page = cassette.one(
            "SELECT (rootpage - 1) * page_size FROM sqlite_schema, pragma_page_size WHERE name = 'exchange_place'"
        )[0]
    content = bytearray(path.read_bytes())
    entry = bytes.fromhex(sun.partition(":")[2]) + b"\x03"  # the key, occurrence 0 (no byte of its own), exchange 3
    content[content.index(entry, page) + 16] = 5
    path.write_bytes(content)
    with CassetteReader(path) as shelf, pytest.raises(Damaged, match="takes recording 5 for another one"):
        asyncio.run(shelf.read(RecordingRef(sun, 0)))


def test_a_place_keeps_its_meaning_while_it_is_recorded_on(tmp_path: Path) -> None:
    """Who asked first may end last, and moves the others up in the file: a reader at work gives nothing twice for it,
    and one that comes later finds the order of asking."""
    path = tmp_path / "a.cassette"
    first, second, third = (exchange(SEA, said([b"%d" % n]), n) for n in range(3))
    keeper = CassetteWriter(path, MATCHER)

    def end(item: Exchange, tape: int) -> None:
        keeper.begin()
        keeper.keep(ExchangePart.of(tape, item))
        keeper.commit()

    end(second, 2)
    with CassetteReader(path) as shelf:
        assert bodies(shelf, SEA) == [b"1"]
        end(first, 1)
        assert bodies(shelf, SEA) == [b"1", b"0"]
        end(third, 3)
        assert bodies(shelf, SEA) == [b"1", b"0", b"2"]
        assert [place.occurrence for place, *_ in shelf.playable()] == [0, 1, 2]
    with CassetteReader(path) as later:
        assert bodies(later, SEA) == [b"0", b"1", b"2"]
    keeper.seal()
    assert verify(path) == (3, [])
