"""A new file takes the place of another in one step, or leaves no trace."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

from replayproxy.cassette.editing.replace import fold, replacing
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.errors import CassetteError
from tests.recordings import MATCHER, asked, exchange, keep, pieces, read, said


def names(folder: Path) -> list[str]:
    """What lies there."""
    return sorted(path.name for path in folder.iterdir())


def test_what_was_written_is_there_and_who_reads_reads_on(tmp_path: Path) -> None:
    """Under the old name; through a link, where it leads to; the old file lives as long as its readers."""
    target, link = tmp_path / "a", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    with target.open("rb") as reader:
        with replacing(link) as fresh:
            fresh.write_bytes(b"new")
            assert target.read_bytes() == b"old"
        assert reader.read() == b"old"
    assert (target.read_bytes(), link.is_symlink(), names(tmp_path)) == (b"new", True, ["a", "link"])


@pytest.mark.parametrize("tail", [".part", ".part-wal", ".part-journal", ".PID.part"])
@pytest.mark.parametrize("end", ["well", "badly"])
def test_what_lies_beside_it_is_somebody_elses(tmp_path: Path, tail: str, end: str) -> None:
    """`a.cassette.part` was removed as what an earlier run had left."""
    target, own = tmp_path / "a", tmp_path / f"a{tail.replace('PID', str(os.getpid()))}"
    target.write_bytes(b"old")
    own.write_bytes(b"mine")
    with suppress(CassetteError), replacing(target) as fresh:
        fresh.write_bytes(b"new")
        if end == "badly":
            raise CassetteError("no")
    assert (own.read_bytes(), names(tmp_path)) == (b"mine", ["a", own.name])
    assert target.read_bytes() == (b"new" if end == "well" else b"old")


def test_a_failure_leaves_the_old_one(tmp_path: Path) -> None:
    """And nothing beside it."""
    target = tmp_path / "a"
    target.write_bytes(b"old")

    def fail() -> None:
        with replacing(target) as fresh:
            assert names(tmp_path) == ["a"]
            fresh.write_bytes(b"half")
            raise CassetteError("no")

    with pytest.raises(CassetteError, match="no"):
        fail()
    assert (target.read_bytes(), names(tmp_path)) == (b"old", ["a"])


def test_what_cannot_be_replaced_says_so(tmp_path: Path) -> None:
    """A folder in the way."""
    (tmp_path / "a").mkdir()
    with pytest.raises(CassetteError, match="cannot be written"), replacing(tmp_path / "a") as fresh:
        fresh.write_bytes(b"new")
    assert names(tmp_path) == ["a"]


def test_a_log_is_folded_in(tmp_path: Path) -> None:
    """What a recorder that died has left belongs to the file; a sealed one stays byte for byte."""
    path = tmp_path / "a"
    keeper = CassetteWriter(path, MATCHER)
    keep(keeper, pieces(exchange(asked("x"), said([b"1"])), 1))
    sealed, log = path.read_bytes(), Path(f"{path}-wal").read_bytes()
    keeper.close()
    path.write_bytes(sealed)
    Path(f"{path}-wal").write_bytes(log)
    fold(path)
    assert names(tmp_path) == ["a"]
    assert [one.response.body for one in read(path)] == [b"1"]
    folded = path.read_bytes()
    fold(path)
    assert path.read_bytes() == folded
