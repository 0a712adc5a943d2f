"""Payloads in bundles are those that were there before, whoever reads them; and what is deleted is nowhere left."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import msgpack
import pytest

from replayproxy.cassette import bundles, database, packing
from replayproxy.cassette.budget import FEW_STEPS, STEPS, Budget, Share
from replayproxy.cassette.checking.verify import verify
from replayproxy.cassette.coding import codec
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
    """Run statements on a sealed file. `layout` and `zeros` make what stands there."""
    with closing(sqlite3.connect(path)) as opened:
        opened.create_function("layout", 1, lambda text: codec.squeezed(msgpack.packb(json.loads(text))))
        opened.create_function("zeros", 1, lambda size: codec.squeezed(bytes(size)))
        opened.executescript(sql)


def counts(path: Path) -> list[int]:
    """How many rows there are of payloads, of answers, of bundles; how many exchanges are in bundles."""
    with closing(sqlite3.connect(path)) as opened:
        sql = "SELECT (SELECT count(*) FROM payload), (SELECT count(*) FROM answer), (SELECT count(*) FROM bundle)"
        rows = list(opened.execute(sql).fetchone())
    with CassetteReader(path) as cassette:
        return [*rows, sum(len(bundle.numbers) for bundle in cassette.bundles())]


def all_of(path: Path) -> list[Exchange]:
    """Every exchange."""
    with CassetteReader(path) as cassette:
        return [cassette.exchange(number) for (number,) in cassette.all("SELECT id FROM exchange ORDER BY id")]


def test_what_is_read_is_the_same(path: Path) -> None:
    """Exchanges, times alone, sizes; and the other way round."""
    gathered = all_of(path)
    assert counts(path) == [0, 0, 1, CHATS]
    assert verify(path) == (CHATS, [])
    with CassetteReader(path) as cassette:
        timelines = list(cassette.timelines())
        sizes = [cassette.stored_sizes(number) for number in range(1, CHATS + 1)]
    change(path, bundles.scatter)
    assert counts(path) == [CHATS, CHATS, 0, 0]
    assert all_of(path) == gathered
    with CassetteReader(path) as cassette:
        assert list(cassette.timelines()) == timelines
        alone = [cassette.stored_sizes(number) for number in range(1, CHATS + 1)]
    assert sum(map(sum, sizes)) < 0.6 * sum(map(sum, alone))
    assert [times for _, _, times in sizes] == [times for _, _, times in alone]


def test_a_large_file_is_sealed_in_bundles(tmp_path: Path) -> None:
    """Smaller than in rows by a tenth; a small one is not, whose pages are small."""
    keeper = CassetteWriter(tmp_path / "large.cassette", MATCHER)
    keep(keeper, [piece for tape, item in enumerate(chats(400)) for piece in pieces(item, tape)])
    keeper.seal()
    large = keeper.path.stat().st_size
    assert counts(keeper.path) == [0, 0, 1, 400]
    assert verify(keeper.path) == (400, [])
    change(keeper.path, bundles.scatter)
    with closing(sqlite3.connect(keeper.path, isolation_level=None)) as opened:
        opened.execute("PRAGMA page_size = 4096")
        opened.execute("VACUUM")
    assert large < 0.6 * keeper.path.stat().st_size


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
    with closing(sqlite3.connect(path)) as opened:
        columns = opened.execute("SELECT requests, codes, answers FROM bundle").fetchone()
    assert all(column[-40:] in path.read_bytes() for column in columns)
    prune(path, [7])
    assert len(all_of(path)) == CHATS - 1
    assert verify(path) == (CHATS - 1, [])
    content = path.read_bytes()
    assert not any(column[-40:] in content for column in columns if column)


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


def test_bundles_are_filled_and_long_payloads_left_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each ends with the payload that fills it."""
    before = all_of(path)
    with CassetteReader(path) as cassette:
        longest = [max(map(len, bundle.plain(number))) for bundle in cassette.bundles() for number in bundle.numbers]
    change(path, bundles.scatter)
    monkeypatch.setattr(bundles, "LONGEST_PLAIN", max(longest) - 1)
    monkeypatch.setattr(bundles, "BUNDLE", 4096)
    change(path, bundles.gather)
    payloads, _, found, bundled = counts(path)
    assert payloads + bundled == CHATS
    assert payloads > 0
    assert found > 4
    assert all_of(path) == before
    assert verify(path) == (CHATS, [])


def test_a_bundle_holds_so_many_exchanges(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a reader keeps so many bundles; whichever it reads, in whatever order, it finds."""
    before = all_of(path)
    change(path, bundles.scatter)
    monkeypatch.setattr(bundles, "MOST", 7)
    change(path, bundles.gather)
    assert counts(path) == [0, 0, -(-CHATS // 7), CHATS]
    assert all_of(path) == before
    with CassetteReader(path) as cassette:
        assert [cassette.exchange(number) for number in range(CHATS, 0, -1)] == before[::-1]


def test_dictionaries_that_nothing_needs_are_gone(path: Path, tmp_path: Path) -> None:
    """Those of zstd; never the one with the highest number, which would be given again."""
    kinds = "SELECT kind FROM dictionary ORDER BY id"
    with closing(sqlite3.connect(path)) as opened:
        assert {kind for (kind,) in opened.execute(kinds)} <= {"vocabulary", "gaps"}
    keeper = CassetteWriter(tmp_path / "few.cassette", MATCHER)
    keep(keeper, [piece for tape, item in enumerate(chats(bundles.FEWEST + 1)) for piece in pieces(item, tape)])
    keeper.seal()
    execute(keeper.path, "DELETE FROM dictionary WHERE kind NOT IN ('request', 'answer')")
    with closing(sqlite3.connect(keeper.path)) as opened:
        before = opened.execute(kinds).fetchall()
        opened.execute("UPDATE exchange SET state = 1")
        opened.execute(bundles._NEEDLESS)
        assert opened.execute(kinds).fetchall() == before


DAMAGE: dict[str, tuple[str, str]] = {
    "no bundle": ("DELETE FROM bundle", ""),
    "another first": ("UPDATE bundle SET id = 2", "not there"),
    "not all columns": ("UPDATE bundle SET layout = layout('[[0], [1], [1], [1]]')", "wrong shape"),
    "columns of other lengths": ("UPDATE bundle SET layout = layout('[[0], [1, 1], [1], [1], [1]]')", "wrong shape"),
    "a size below zero": ("UPDATE bundle SET layout = layout('[[0], [-1], [1], [1], [1]]')", "wrong shape"),
    "beyond its end": (
        "UPDATE bundle SET layout = layout('[[0], [9999], [9999], [9999], [9999], [1, 1], null]')",
        "does not cover",
    ),
    "nothing in it": ("UPDATE bundle SET layout = layout('[[], [], [], [], []]')", "do not ascend"),
    "twice the same": (
        "UPDATE bundle SET layout = layout('[[0, 0], [1, 1], [1, 1], [1, 1], [1, 1]]')",
        "do not ascend",
    ),
    "noise": ("UPDATE bundle SET times = randomblob(length(times))", ""),
    "noise in frames": ("UPDATE bundle SET requests = randomblob(length(requests))", ""),
    "columns exchanged": ("UPDATE bundle SET (requests, answers) = (answers, requests)", "does not cover"),
    "too long": ("UPDATE bundle SET codes = CAST(codes || zeroblob(9999999) AS BLOB)", "longer than any"),
    "too much": ("UPDATE bundle SET answers = zeros(9999999)", "cannot be read"),
    "two payloads": ("INSERT INTO payload VALUES (1, x'00', x'00')", "another payload"),
}


@pytest.mark.parametrize(("sql", "what"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_bundles_are_found(path: Path, sql: str, what: str) -> None:
    """By `verify`, and by whoever reads: nothing but `CassetteError`, and no wrong bytes."""
    right = all_of(path)
    execute(path, sql)
    _, problems = verify(path)
    assert problems
    assert any(what in problem.what for problem in problems)
    with CassetteReader(path) as cassette:
        for number in range(1, CHATS + 1):
            try:
                assert cassette.exchange(number) == right[number - 1]
            except CassetteError:
                continue


def test_the_budget_counts_what_an_exchange_has_of_a_bundle(path: Path) -> None:
    """Thousands of equal answers are nothing in a bundle, and take as long to read as if each stood alone."""
    with CassetteReader(path) as cassette:
        packed = [cassette._exchanges._bundled(number) for number in range(1, CHATS + 1)]
        sizes = [cassette.stored_sizes(number) for number in range(1, CHATS + 1)]
    requests = [part.request for part in packed if isinstance(part.request, Share)]
    answers = [part.answer for part in packed if isinstance(part.answer, Share)]
    assert [(one.stored, other.stored) for one, other in zip(requests, answers, strict=True)] == [s[:2] for s in sizes]
    assert sum(request.stored for request in requests) < 0.5 * sum(map(len, requests))
    budget, steps = Budget("a.cassette", 0), len(requests[0]) + FEW_STEPS

    def work() -> None:
        for row in range(STEPS // steps + 2):
            budget.work(row, requests[0], steps, "parts")

    with pytest.raises(Damaged, match="far longer to read"):
        work()


def test_a_damaged_bundle_is_not_scattered(path: Path) -> None:
    """The recorder says so, and the file stays as it was."""
    execute(path, "UPDATE bundle SET times = x'00'")
    with pytest.raises(Damaged), closing(database.write(path, full=False)) as opened:
        bundles.scatter(opened)


def test_what_cannot_be_gathered_stays(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it or nothing."""
    change(path, bundles.scatter)
    monkeypatch.setattr(packing, "ALWAYS_SMALL", 0)

    def broken(opened: sqlite3.Connection, *, thorough: bool) -> None:
        assert thorough
        opened.execute("DELETE FROM answer")
        raise sqlite3.OperationalError("disk full")

    monkeypatch.setattr(bundles, "gather", broken)
    with closing(sqlite3.connect(path, isolation_level=None)) as opened, pytest.raises(sqlite3.OperationalError):
        packing.pack(opened)
    assert counts(path) == [CHATS, CHATS, 0, 0]
