"""Tests of `api/appending`: exchanges that are written one by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from replayproxy.api.appending import CassetteAppender, create
from replayproxy.cassette.database import is_recorded
from replayproxy.cassette.reader import CassetteReader
from replayproxy.errors import CassetteError, Locked
from replayproxy.model import Exchange, Request, Response, Timeline


def exchange(number: int) -> Exchange:
    """A short one."""
    answer = Response(200, (("content-type", "text/plain"),), b"ok", (2,), Timeline(1, (2,), 3))
    return Exchange(Request("GET", f"/{number}"), answer, number)


def count(path: Path) -> int:
    """How many exchanges there are."""
    with CassetteReader(path) as cassette:
        return int(cassette.one("SELECT count(*) FROM exchange")[0])


def test_each_is_there_before_the_end(tmp_path: Path) -> None:
    """Whoever reads meanwhile finds it; the file is whole when the lock is given back."""
    path = tmp_path / "new.cassette"
    create(path, None, ())
    appender = CassetteAppender(path)
    for number in (1, 2):
        appender.add(exchange(number))
        assert count(path) == number
    assert is_recorded(path)
    with pytest.raises(Locked):
        CassetteAppender(path)
    appender.seal()
    assert not is_recorded(path)
    assert [file.name for file in tmp_path.iterdir()] == ["new.cassette"]
    assert count(path) == 2


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the next one can be."""
    path = tmp_path / "new.cassette"
    create(path, None, ())
    appender = CassetteAppender(path)
    with monkeypatch.context() as broken:
        broken.setattr(
            "replayproxy.cassette.writer.CassetteWriter.commit", lambda _: (_ for _ in ()).throw(CassetteError("full"))
        )
        with pytest.raises(CassetteError, match="full"):
            appender.add(exchange(1))
    appender.add(exchange(2))
    appender.seal()
    assert count(path) == 1


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    """No traceback of the operating system's."""
    with pytest.raises(CassetteError, match="cannot be created"):
        create(tmp_path / "missing" / "new.cassette", None, ())
