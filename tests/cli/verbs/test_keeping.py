"""Tests of `replayproxy compact`; those of `join`, `merge` and `migrate` are beside what they call."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.tapes import Read, chat, writing


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Half of it was deleted."""
    path = tmp_path / "a.cassette"
    with writing(path) as keep:
        keep(*(chat(os.urandom(300).hex(), started=n) for n in range(60)))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE x_waste (content BLOB)")
        connection.execute("INSERT INTO x_waste VALUES (zeroblob(200000))")
        connection.commit()
        connection.execute("DROP TABLE x_waste")
        connection.commit()
    return path


def test_sizes_before_and_after(read: Read, path: Path) -> None:
    """And a sentence where there is nothing left to gain."""
    before = path.stat().st_size
    ran = read("compact", path)
    assert (ran.code, ran.out) == (0, "")
    assert "60 exchanges verified, " in ran.err
    assert " less)" in ran.err
    assert path.stat().st_size < before
    again = read("compact", path)
    assert (again.code, "as small as it gets" in again.err) == (0, True)


def test_another_file(read: Read, path: Path, tmp_path: Path) -> None:
    """With -o; a file that is there is refused."""
    before, out = path.read_bytes(), tmp_path / "b.cassette"
    assert read("compact", path, "-o", out).code == 0
    assert path.read_bytes() == before
    assert read("verify", out).code == 0
    assert read("compact", path, "-o", out).code == 2
