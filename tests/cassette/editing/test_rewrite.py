"""Tests of `cassette/editing/rewrite`: a file is replaced as a whole, after it was proved, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from replayproxy.cassette.checking.verify import Problem
from replayproxy.cassette.database import Lock
from replayproxy.cassette.editing import rewrite
from replayproxy.cassette.editing.replace import copy_into
from replayproxy.cassette.editing.rewrite import (
    finished_exchanges,
    new_cassette,
    prove,
    refuse_existing,
    rewriting,
    sealed_at_end,
    write_all,
)
from replayproxy.cassette.reader import CassetteReader
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.errors import CassetteError, Locked
from replayproxy.model import Exchange
from tests.doubles.fakes import EPOCH, MILLISECOND, answer
from tests.recordings import asked

MATCHER = Matcher(MatchRules())


def exchanges(count: int) -> list[Exchange]:
    """So many different ones, a second apart."""
    return [
        Exchange(
            asked(f"prompt {number}"), answer((MILLISECOND, b"answer %d" % number)), EPOCH + number * 1_000_000_000
        )
        for number in range(count)
    ]


def cassette(path: Path, count: int = 3) -> Path:
    """A cassette with so many exchanges."""
    with new_cassette(path, MATCHER) as writer:
        write_all(writer, exchanges(count))
    return path


def contents(path: Path) -> list[Exchange]:
    """Its exchanges."""
    with CassetteReader(path) as reader:
        return list(finished_exchanges(reader))


@pytest.mark.parametrize("batch", [1, 2, 256])
def test_all_exchanges_are_written_in_their_order(tmp_path: Path, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many share a transaction; none is a cassette too."""
    monkeypatch.setattr(rewrite, "BATCH", batch)
    assert contents(cassette(tmp_path / "a.cassette")) == exchanges(3)
    assert contents(cassette(tmp_path / "empty.cassette", 0)) == []


def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    """The error names it and what may be done."""
    path = cassette(tmp_path / "a.cassette")
    refuse_existing(None)
    refuse_existing(tmp_path / "b.cassette")
    with pytest.raises(CassetteError, match=r"a\.cassette is there already: name another file, or remove it$"):
        refuse_existing(path)
    with pytest.raises(CassetteError, match=r"name another file, remove it, or merge it too$"):
        refuse_existing(path, "merge it too")
    with pytest.raises(CassetteError, match="is there already"), rewriting(path, path):
        pass


def test_a_rewritten_cassette_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    """Nobody can record on the old one meanwhile, and nothing but the cassette is left in the folder."""
    path = cassette(tmp_path / "a.cassette")
    with rewriting(path) as fresh, sealed_at_end(fresh, MATCHER) as writer:
        with pytest.raises(Locked):
            Lock(path)
        write_all(writer, exchanges(5))
        assert contents(path) == exchanges(3)
    assert contents(path) == exchanges(5)
    Lock(path).release()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("target", ["the same", "another"])
def test_after_an_error_everything_is_as_it_was(tmp_path: Path, target: str) -> None:
    """Whichever file was to be written, and whatever ended the block."""
    path = cassette(tmp_path / "a.cassette")
    before = path.read_bytes()
    out = None if target == "the same" else tmp_path / "b.cassette"

    def interrupted_copy() -> None:
        with rewriting(path, out) as fresh:
            copy_into(path, fresh)
            raise KeyboardInterrupt

    def interrupted_writer() -> None:
        with new_cassette(out or path, MATCHER) as writer:
            write_all(writer, exchanges(1))
            raise KeyboardInterrupt

    for interrupted in (interrupted_copy, interrupted_writer):
        with pytest.raises(KeyboardInterrupt):
            interrupted()
    Lock(path).release()
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (before, [path])


def test_what_was_written_is_proved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A problem, or what `check` finds, is an error; what the recorded server did against HTTP is none."""
    path = cassette(tmp_path / "a.cassette")
    assert prove(path) == 3
    with pytest.raises(CassetteError, match=r"\(3 are there\), so no file was changed: run `replayproxy verify`"):
        prove(path, lambda number: f"{number} are there")
    problems = [Problem("id", "its answer must not be sent", is_recorded=True)]
    monkeypatch.setattr(rewrite, "verify", lambda *_, **__: (3, problems))
    assert prove(path) == 3
    problems.append(Problem("id", "its digest is another one"))
    with pytest.raises(CassetteError, match="its digest is another one"):
        cassette(tmp_path / "b.cassette")
    assert list(tmp_path.iterdir()) == [path]
