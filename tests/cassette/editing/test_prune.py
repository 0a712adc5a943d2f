"""Taking recordings off a cassette: what is left is whole, in order, and was never half there."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from replayproxy.cassette.checking.verify import verify
from replayproxy.cassette.database import Lock
from replayproxy.cassette.editing.prune import Pruned, prune
from replayproxy.cassette.reader import CassetteReader
from replayproxy.errors import CassetteError, Locked
from replayproxy.model import Exchange
from tests.cli.tapes import answer, asked, chat, in_flight, pair, writing


def recorded(path: Path) -> Path:
    """Numbers 1 to 6: a a b a, an error on another path, a pair."""
    with writing(path) as keep:
        keep(*(chat(prompt, started=1000 * number) for number, prompt in enumerate("aaba")))
        keep(answer(asked("x", path="/v1/completions", model="other"), b"{}", status=500))
        keep(pair(chat("pair", words=["word "] * 20)))
    return path


def exchanges(path: Path) -> list[tuple[str, int | None, Exchange]]:
    """Short id, occurrence, and all there is."""
    with CassetteReader(path) as opened:
        rows = list(opened.rows(order="number"))
        return [(row["id"], row["occurrence"], opened.exchange(row["number"])) for row in rows]


@pytest.mark.parametrize(
    ("gone", "places"),
    [
        ([1], [0, 0, 1, 0, 0]),
        ([2], [0, 0, 1, 0, 0]),
        ([1, 2], [0, 0, 0, 0]),
        ([3], [0, 1, 2, 0, 0]),
        ([5, 6], [0, 1, 0, 2]),
        ([1, 2, 3, 4, 5, 6], []),
        ([], [0, 1, 0, 2, 0, 0]),
        ([99], [0, 1, 0, 2, 0, 0]),
    ],
)
def test_what_is_left_is_as_it_was_and_numbered_from_0(tmp_path: Path, gone: list[int], places: list[int]) -> None:
    """Same ids, same requests, answers and legs; occurrences without a gap; and `verify` finds nothing."""
    path = recorded(tmp_path / "a.cassette")
    before = exchanges(path)
    done = prune(path, gone)
    left = [one for number, one in enumerate(before, 1) if number not in gone]
    after = exchanges(path)
    assert [(shown, exchange) for shown, _, exchange in after] == [(name, whole) for name, _, whole in left]
    assert [occurrence for _, occurrence, _ in after] == places
    assert (done.deleted, done.kept) == (6 - len(left), len(left))
    assert verify(path) == (len(left), [])


def test_nothing_of_what_is_gone_is_left_in_the_file(tmp_path: Path) -> None:
    """No payload, no leg, no name, no free page."""
    path = recorded(tmp_path / "a.cassette")
    prune(path, [5, 6])
    with closing(sqlite3.connect(path)) as opened:
        counts = [
            opened.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608  names of ours
            for table in ("payload", "answer", "leg", "endpoint")
        ]
        assert counts == [4, 4, 0, 1]
        assert opened.execute("SELECT path FROM endpoint").fetchall() == [("/v1/chat/completions",)]
        assert opened.execute("PRAGMA freelist_count").fetchone() == (0,)
    assert b"/v1/completions" not in path.read_bytes()


def test_the_file_is_replaced_in_one_step_and_keeps_its_mode(tmp_path: Path) -> None:
    """Who has it open reads on; nothing is left beside it; a symbolic link stays one."""
    path = recorded(tmp_path / "a.cassette")
    path.chmod(0o640)
    link = tmp_path / "link.cassette"
    link.symlink_to(path)
    with CassetteReader(path) as reader:
        assert prune(link, [1]).kept == 5
        assert len(list(reader.rows())) == 6
        assert reader.exchange(1).request.body
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.cassette", "link.cassette"]


def test_out_leaves_the_cassette_as_it_is(tmp_path: Path) -> None:
    """And is never written over something."""
    path, out = recorded(tmp_path / "a.cassette"), tmp_path / "b.cassette"
    before = path.read_bytes()
    done = prune(path, [1], out)
    assert done == Pruned(1, 5, len(before), out.stat().st_size)
    assert path.read_bytes() == before
    assert len(exchanges(out)) == 5
    with pytest.raises(CassetteError, match="is there already"):
        prune(path, [1], out)


def test_what_a_killed_recorder_left_is_sealed_first(tmp_path: Path) -> None:
    """Its log would otherwise be taken for that of the new file."""
    path = tmp_path / "a.cassette"
    log = Path(f"{path}-wal")
    with writing(tmp_path / "live.cassette") as keep:
        keep(*(chat(prompt, started=1000 * number) for number, prompt in enumerate("aaba")))
        keep(in_flight(chat("still", started=9000)), chat("c", started=8000))
        for name in ("", "-wal"):
            shutil.copy(tmp_path / f"live.cassette{name}", f"{path}{name}")
    assert log.stat().st_size > 0
    with CassetteReader(path) as reader:
        assert next(iter(reader.rows()))
        with pytest.raises(CassetteError, match="close it there first"):
            prune(path, [1])
    assert prune(path, [1]).kept == 5
    assert not log.exists()
    assert verify(path) == (5, [])


def test_nobody_prunes_what_is_being_recorded(tmp_path: Path) -> None:
    """The recorder's lock holds."""
    path = recorded(tmp_path / "a.cassette")
    lock = Lock(path)
    try:
        with pytest.raises(Locked):
            prune(path, [1])
    finally:
        lock.release()
    assert len(exchanges(path)) == 6


def test_a_cassette_that_is_pruned_is_recorded_further(tmp_path: Path) -> None:
    """The next equal request is the next occurrence."""
    path = recorded(tmp_path / "a.cassette")
    prune(path, [1])
    with writing(path) as keep:
        keep(chat("a", started=9000))
    assert [occurrence for _, occurrence, _ in exchanges(path)] == [0, 0, 1, 0, 0, 2]
    assert verify(path) == (6, [])
