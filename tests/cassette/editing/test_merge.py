"""Several cassettes as one: everything is there, in the order in which a replay of all of them would play it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from replayproxy.cassette.checking.verify import verify
from replayproxy.cassette.editing.merge import merge
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.store import CassetteStore
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.core.redaction import Redactor
from replayproxy.errors import CassetteError, SettingsError
from replayproxy.model import Ending, Exchange, RecordingRef, Request
from replayproxy.ports import RecordingStore
from tests.recordings import MATCHER, asked, exchange, keep, pieces, record, said, samples

SEA, SUN = asked("sea"), asked("sun")


def tape(path: Path, *answers: tuple[Request, bytes], at: int = 0) -> Path:
    """A cassette with these answers, recorded one after the other."""
    return record(path, [exchange(request, said([body]), at + place) for place, (request, body) in enumerate(answers)])


def played(shelf: RecordingStore, request: Request) -> list[bytes]:
    """All answers to a request, in their order."""
    key = MATCHER.key(request)

    async def read_all() -> list[bytes]:
        return [(await shelf.read(RecordingRef(key, number))).body for number in range(shelf.count(key))]

    return asyncio.run(read_all())


def test_it_plays_what_all_of_them_would_play(tmp_path: Path) -> None:
    """Equal requests in the order in which they were asked, whatever part they are on and whichever is named first."""
    one = tape(tmp_path / "one", (SEA, b"1"), (SUN, b"2"), (SEA, b"3"))
    two = tape(tmp_path / "two", (SEA, b"4"), (asked("moon"), b"5"), at=10)
    merged = merge(tmp_path / "all", [two, one])
    assert (merged.exchanges, merged.again) == (5, 0)
    assert verify(tmp_path / "all") == (5, [])
    with CassetteReader(two) as first, CassetteReader(one) as second, CassetteReader(tmp_path / "all") as whole:
        for request in (SEA, SUN, asked("moon")):
            assert sorted(played(whole, request)) == sorted(played(CassetteStore([first, second]), request))
        assert played(whole, SEA) == [b"1", b"3", b"4"]
        assert [part["cassette"] for part in whole.meta["merged"]] == ["two", "one"]


def test_everything_comes_back(tmp_path: Path) -> None:
    """Broken ones, legs, odd bytes: as they were."""
    half = len(samples()) // 2
    one, two = record(tmp_path / "one", samples()[:half]), record(tmp_path / "two", samples()[half:])
    merge(tmp_path / "all", [one, two])

    def everything(*paths: Path) -> list[Exchange]:
        found = []
        for path in paths:
            with CassetteReader(path) as cassette:
                found += [cassette.exchange(row["number"]) for row in cassette.rows("state = 'done'")]
        return sorted(found, key=lambda item: (item.recorded_at, item.request.body, item.response.body))

    assert everything(tmp_path / "all") == everything(one, two)


def test_what_is_on_two_of_them_is_there_once(tmp_path: Path) -> None:
    """A shard that began as a copy; merging again changes nothing."""
    one = tape(tmp_path / "one", (SEA, b"1"))
    two = tape(tmp_path / "two", (SEA, b"1"), (SUN, b"2"))
    merged = merge(one, [one, two])
    assert (merged.exchanges, merged.again, merged.conflicts) == (2, 1, ())
    again = merge(one, [one, two])
    assert (again.exchanges, again.again) == (2, 2)
    with CassetteReader(one) as whole:
        assert played(whole, SEA) == [b"1"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_different_answers_are_told(tmp_path: Path) -> None:
    """And kept. That one part has two answers is no conflict, nor that both have the same."""
    one = tape(tmp_path / "one", (SEA, b"1"), (SUN, b"2"))
    two = tape(tmp_path / "two", (SEA, b"other"), (SUN, b"2"), (asked("moon"), b"a"), (asked("moon"), b"b"), at=10)
    merged = merge(tmp_path / "all", [one, two])
    [conflict] = merged.conflicts
    assert (conflict.method, conflict.path) == ("POST", SEA.path)
    assert [part for part, _ in conflict.answers] == [str(one), str(two)]
    with CassetteReader(one) as first, CassetteReader(two) as second:
        assert all(part.find(short_id) for part, (_, short_id) in zip((first, second), conflict.answers, strict=True))


def test_rules_must_be_the_same(tmp_path: Path) -> None:
    """A key means nothing under other rules; both are named."""
    one = tape(tmp_path / "one", (SEA, b"1"))
    two = record(tmp_path / "two", [exchange(SEA, said([b"2"]))], rules=MatchRules(profile="exact"))
    with pytest.raises(SettingsError, match=r"--match exact.*--match default"):
        merge(tmp_path / "all", [one, two])
    assert not (tmp_path / "all").exists()


def test_what_one_part_masks_is_masked_on_all(tmp_path: Path) -> None:
    """The rules of all of them, before anything is written."""
    one = tape(tmp_path / "one", (asked("hush, Wolpertinger"), b'{"a":"Wolpertinger"}'))
    two = tmp_path / "two"
    keeper = CassetteWriter(two, Matcher(MatchRules(), Redactor(b"another salt", ("re:Wolpertinger",))))
    keep(keeper, pieces(exchange(SUN, said([b"2"])), 1, key=False))
    keeper.seal()
    merge(tmp_path / "all", [one, two])
    assert verify(tmp_path / "all") == (2, [])
    with CassetteReader(tmp_path / "all") as whole:
        for row in whole.rows():
            kept = whole.exchange(row["number"])
            assert b"Wolpertinger" not in kept.request.body + kept.response.body


def test_a_file_in_the_way_stays(tmp_path: Path) -> None:
    """Unless it is merged too; and nothing is left behind where something fails."""
    one = tape(tmp_path / "one", (SEA, b"1"))
    other = tape(tmp_path / "other", (SUN, b"2"))
    before = other.read_bytes()
    with pytest.raises(CassetteError, match="is there already"):
        merge(other, [one])
    (tmp_path / "none").write_bytes(b"no cassette")
    with pytest.raises(CassetteError, match="none"):
        merge(tmp_path / "all", [one, tmp_path / "none"])
    with pytest.raises(SettingsError, match="nothing to merge"):
        merge(tmp_path / "all", [])
    assert other.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["none", "one", "other"]


def test_broken_answers_stay_broken(tmp_path: Path) -> None:
    """Kept, marked, and never played."""
    broken = replace(said([b"half"]), ending=Ending.UPSTREAM_CUT)
    one = record(tmp_path / "one", [exchange(SEA, broken)])
    merge(tmp_path / "all", [one, tape(tmp_path / "two", (SEA, b"whole"))])
    with CassetteReader(tmp_path / "all") as whole:
        assert (played(whole, SEA), whole.count_broken(MATCHER.key(SEA))) == ([b"whole"], 1)
