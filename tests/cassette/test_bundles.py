"""Payloads in bundles are those that were there before, whoever reads them; and what is deleted is nowhere left."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from replayproxy.cassette import bundles, database, packing
from replayproxy.cassette.checking.verify import verify
from replayproxy.cassette.editing.merge import merge
from replayproxy.cassette.editing.prune import prune
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.errors import CassetteError, Damaged
from replayproxy.model import Exchange
from tests.recordings import MATCHER, chats, keep, pieces

CHATS = 60


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Chats in bundles."""
    path = tmp_path / "a.cassette"
    keeper = CassetteWriter(path, MATCHER)
    keep(keeper, [piece for tape, item in enumerate(chats(CHATS)) for piece in pieces(item, tape)])
    keeper.seal()
    change(path, bundles.gather)
    return path


def change(path: Path, how: object) -> None:
    """Do something to an opened file."""
    assert callable(how)
    with closing(sqlite3.connect(path)) as opened, opened:
        opened.execute("PRAGMA foreign_keys = ON")
        how(opened)


def execute(path: Path, sql: str) -> None:
    """Run statements on a sealed file."""
    with closing(sqlite3.connect(path)) as opened:
        opened.executescript(sql)


def counts(path: Path) -> list[int]:
    """How many rows there are of payloads, answers, places in bundles, bundles."""
    with closing(sqlite3.connect(path)) as opened:
        sql = (
            "SELECT (SELECT count(*) FROM payload), (SELECT count(*) FROM answer), (SELECT count(*) FROM bundled),"
            " (SELECT count(*) FROM bundle)"
        )
        return list(opened.execute(sql).fetchone())


def all_of(path: Path) -> list[Exchange]:
    """Every exchange."""
    with CassetteReader(path) as cassette:
        return [cassette.exchange(number) for (number,) in cassette.all("SELECT id FROM exchange ORDER BY id")]


def test_what_is_read_is_the_same(path: Path) -> None:
    """Exchanges, times alone, sizes; and the other way round."""
    gathered = all_of(path)
    assert counts(path) == [0, 0, CHATS, 1]
    assert verify(path) == (CHATS, [])
    with CassetteReader(path) as cassette:
        timelines, sizes = list(cassette.timelines()), [cassette.stored_sizes(number) for number in (1, CHATS)]
    change(path, bundles.scatter)
    assert counts(path) == [CHATS, CHATS, 0, 0]
    assert all_of(path) == gathered
    with CassetteReader(path) as cassette:
        assert list(cassette.timelines()) == timelines
        assert [cassette.stored_sizes(number) for number in (1, CHATS)] == sizes


def test_a_large_file_is_sealed_in_bundles(tmp_path: Path) -> None:
    """Smaller than in rows by a tenth; a small one is not, whose pages are small."""
    keeper = CassetteWriter(tmp_path / "large.cassette", MATCHER)
    keep(keeper, [piece for tape, item in enumerate(chats(400)) for piece in pieces(item, tape)])
    keeper.seal()
    large = keeper.path.stat().st_size
    assert counts(keeper.path)[:3] == [0, 0, 400]
    assert verify(keeper.path) == (400, [])
    change(keeper.path, bundles.scatter)
    with closing(sqlite3.connect(keeper.path, isolation_level=None)) as opened:
        opened.execute("PRAGMA page_size = 4096")
        opened.execute("VACUUM")
    assert large < 0.9 * keeper.path.stat().st_size


def test_recording_goes_on_beside_bundles(path: Path) -> None:
    """What comes has rows of its own, and bundles when the file is sealed; what was there stays readable."""
    before = all_of(path)
    keeper = CassetteWriter(path, MATCHER)
    more = chats(CHATS + 40)[CHATS:]
    keep(keeper, [piece for tape, item in enumerate(more) for piece in pieces(item, tape)])
    assert all_of(path)[:CHATS] == before
    keeper.seal()
    assert all_of(path)[:CHATS] == before
    assert verify(path) == (CHATS + 40, [])


def test_training_again_leaves_nothing_that_needs_old_dictionaries(path: Path) -> None:
    """Those are deleted at sealing: what stood in bundles is packed again first."""
    before = all_of(path)
    keeper = CassetteWriter(path, MATCHER)
    more = chats(3 * CHATS)[CHATS:]
    keep(keeper, [piece for tape, item in enumerate(more) for piece in pieces(item, tape)])
    keeper.seal()
    assert all_of(path)[:CHATS] == before
    assert verify(path) == (3 * CHATS, [])


def test_what_is_deleted_is_nowhere_left(path: Path) -> None:
    """No byte of its request, of its times and of its answer."""
    with CassetteReader(path) as cassette:
        packed = bundles.find(cassette.one, 7)
    assert packed is not None
    assert max(packed, key=len) in path.read_bytes()
    prune(path, [7])
    assert len(all_of(path)) == CHATS - 1
    assert verify(path) == (CHATS - 1, [])
    content = path.read_bytes()
    assert not any(part in content for part in packed if len(part) > 20)


def test_merging_reads_bundles(path: Path, tmp_path: Path) -> None:
    """Into a file that has none, or some of its own."""
    merge(tmp_path / "b.cassette", [path])
    assert all_of(tmp_path / "b.cassette") == all_of(path)


def test_few_payloads_stay_where_they_are(tmp_path: Path) -> None:
    """And open streams, and long payloads."""
    keeper = CassetteWriter(tmp_path / "a.cassette", MATCHER)
    keep(keeper, [piece for tape, item in enumerate(chats(bundles.FEWEST - 1)) for piece in pieces(item, tape)])
    keeper.seal()
    change(keeper.path, bundles.gather)
    assert counts(keeper.path)[2:] == [0, 0]


def test_bundles_are_filled_and_long_payloads_left_out(path: Path) -> None:
    """Each ends with the payload that fills it."""
    change(path, bundles.scatter)
    execute(
        path,
        "UPDATE answer SET answer = randomblob(3000); UPDATE answer SET answer = randomblob(9000) WHERE exchange = 5;",
    )
    change(path, bundles.gather)
    assert counts(path)[:3] == [1, 1, CHATS - 1]
    with closing(sqlite3.connect(path)) as opened:
        sizes = [size for (size,) in opened.execute("SELECT length(content) FROM bundle ORDER BY id")]
    assert len(sizes) > 5
    assert all(bundles.BUNDLE <= size < bundles.BUNDLE + bundles.LONGEST for size in sizes[:-1])


DAMAGE: dict[str, tuple[str, str]] = {
    "no place": ("DELETE FROM bundled WHERE exchange = 1", "no such recording"),
    "no bundle": ("PRAGMA foreign_keys = OFF; DELETE FROM bundle", "a row of bundled refers to a row of bundle"),
    "behind the end": ("UPDATE bundled SET start = 99999 WHERE exchange = 1", "behind its end"),
    "before the beginning": ("UPDATE bundled SET start = -1 WHERE exchange = 1", "stands where there is nothing"),
    "a size below zero": ("UPDATE bundled SET times = -1 WHERE exchange = 1", "stands where there is nothing"),
    "beyond every number": ("UPDATE bundled SET answer = 1 << 62 WHERE exchange = 1", "stands where there is nothing"),
    "another's": ("UPDATE bundled SET start = start + 1 WHERE exchange = 1", "recording 1"),
    "noise": ("UPDATE bundle SET content = randomblob(length(content))", ""),
    "a bundle too long": ("UPDATE bundle SET content = CAST(content || zeroblob(99999) AS BLOB)", "behind its end"),
    "two payloads": ("INSERT INTO payload VALUES (1, x'00', x'00')", "two payloads"),
}


@pytest.mark.parametrize(("sql", "what"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_bundles_are_found(path: Path, sql: str, what: str) -> None:
    """By `verify`, and by whoever reads: nothing but `CassetteError`, and no wrong bytes."""
    right = all_of(path)
    execute(path, sql)
    _, problems = verify(path)
    assert problems
    assert any(what in problem.what for problem in problems) or what == "recording 1"
    with CassetteReader(path) as cassette:
        for number in range(1, CHATS + 1):
            try:
                assert cassette.exchange(number) == right[number - 1]
            except CassetteError:
                continue


def test_the_same_bytes_for_many_exchanges_are_refused(path: Path) -> None:
    """One payload that thousands of rows refer to would be unpacked thousands of times, and the file stay small."""
    execute(
        path,
        "UPDATE bundled SET (start, request, times, answer) ="
        " (SELECT 0, 0, 0, length(content) FROM bundle WHERE id = bundle)",
    )
    _, problems = verify(path)
    assert any("again and again" in problem.what for problem in problems)


def test_a_damaged_bundle_is_not_scattered(path: Path) -> None:
    """The recorder says so, and the file stays as it was."""
    execute(path, "UPDATE bundled SET start = 99999 WHERE exchange = 1")
    with pytest.raises(Damaged), closing(database.write(path, full=False)) as opened:
        bundles.scatter(opened)


def test_what_cannot_be_gathered_stays(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it or nothing."""
    change(path, bundles.scatter)
    monkeypatch.setattr(packing, "ALWAYS_SMALL", 0)

    def broken(opened: sqlite3.Connection) -> None:
        opened.execute("DELETE FROM answer")
        raise sqlite3.OperationalError("disk full")

    monkeypatch.setattr(bundles, "gather", broken)
    with closing(sqlite3.connect(path, isolation_level=None)) as opened, pytest.raises(sqlite3.OperationalError):
        packing.pack(opened)
    assert counts(path) == [CHATS, CHATS, 0, 0]
