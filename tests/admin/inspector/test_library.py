"""Cassettes by name, in threads, with a bounded time for each question."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from replayproxy.admin.inspector.library import CassetteLibrary, NoSuchCassette, TookTooLong
from replayproxy.cassette.browse import CassetteBrowser
from replayproxy.errors import Damaged, NotACassette
from replayproxy.views.port import ExchangeFilter
from tests.apps import run
from tests.cli.commands import tape
from tests.cli.tapes import chat, writing
from tests.recordings import chats, record

ENDLESS = "(WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t) > 0"


def count(browser: CassetteBrowser) -> int:
    """How many exchanges there are."""
    return browser.count()


def test_names_are_file_names(tmp_path: Path) -> None:
    """Two of one name get a number; the same file twice is there once."""
    paths = [tmp_path / "a.cassette", tmp_path / "sub" / "a.cassette", tmp_path / "a.cassette"]
    library = CassetteLibrary(lambda: paths)
    assert library.names() == {"a.cassette": paths[0], "a.cassette~2": paths[1]}
    assert library.name_of(str(paths[1])) == "a.cassette~2"
    assert library.name_of("elsewhere") is None
    library.close()


def test_a_question_is_answered_in_a_thread(tmp_path: Path) -> None:
    """Not in the loop's, which serves others meanwhile."""
    path = tape(tmp_path / "a.cassette", "x", "y")

    async def dialogue() -> None:
        library = CassetteLibrary(lambda: [path])
        assert await library.ask("a.cassette", count) == 2
        assert await library.ask("a.cassette", lambda _: threading.current_thread()) is not threading.current_thread()
        with pytest.raises(NoSuchCassette, match=r"b\.cassette"):
            await library.ask("b.cassette", count)
        library.close()

    run(dialogue())


def test_a_cassette_that_is_recorded_is_read_as_it_is_now(tmp_path: Path) -> None:
    """And nothing of it is held between two questions: its recorder can seal it."""
    path, log = tmp_path / "a.cassette", tmp_path / "a.cassette-wal"

    async def dialogue() -> None:
        library = CassetteLibrary(lambda: [path])
        with writing(path) as keep:
            keep(chat("one"))
            assert await library.ask("a.cassette", count) == 1
            keep(chat("two"))
            assert await library.ask("a.cassette", count) == 2
        assert not log.exists()
        assert await library.ask("a.cassette", count) == 2
        library.close()

    run(dialogue())


def test_a_replaced_cassette_is_opened_anew(tmp_path: Path) -> None:
    """Another file under its name has other exchanges."""
    path = record(tmp_path / "a.cassette", chats(1))
    other = record(tmp_path / "b.cassette", chats(3))

    async def dialogue() -> None:
        library = CassetteLibrary(lambda: [path])
        assert await library.ask("a.cassette", count) == 1
        shutil.move(other, path)
        assert await library.ask("a.cassette", count) == 3
        path.unlink()
        with pytest.raises(NotACassette, match="cannot be opened"):
            await library.ask("a.cassette", count)
        library.close()

    run(dialogue())


def test_a_question_without_end_is_interrupted(tmp_path: Path) -> None:
    """With a sentence, and the thread is free for the next one."""
    path = tape(tmp_path / "a.cassette", "x")

    async def dialogue() -> None:
        library = CassetteLibrary(lambda: [path], patience=0.2)
        for _ in range(6):  # more than there are threads
            with pytest.raises(TookTooLong, match=r"longer than 0\.2 s"):
                await library.ask("a.cassette", lambda browser: list(browser.rows(ExchangeFilter(ENDLESS))))
        patient = CassetteLibrary(lambda: [path])
        assert await patient.ask("a.cassette", count) == 1
        for opened in (library, patient):
            opened.close()

    run(dialogue())


def test_damage_is_said(tmp_path: Path) -> None:
    """As the error that it is."""
    path = tmp_path / "a.cassette"
    path.write_bytes(tape(tmp_path / "b.cassette", "x").read_bytes()[:5000])

    async def dialogue() -> None:
        library = CassetteLibrary(lambda: [path])
        with pytest.raises((Damaged, NotACassette)):
            await library.ask("a.cassette", count)
        library.close()

    run(dialogue())
