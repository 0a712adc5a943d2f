"""An exchange is what was written, or an error."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from replayproxy.cassette import reader as module
from replayproxy.cassette.coding.times import as_read
from replayproxy.cassette.reader import CassetteReader
from replayproxy.errors import CassetteError
from replayproxy.model import RecordingRef, Response
from tests.recordings import (
    MATCHER,
    asked,
    exchange,
    execute,
    record,
    said,
    samples,
    story,
    streamed,
)

INSTEAD = [
    (
        "UPDATE answer SET answer = (SELECT answer FROM answer WHERE exchange = 5) WHERE exchange = 1",
        "an answer of another",
    ),
    ("UPDATE exchange SET digest = x'0000000000000000' WHERE id = 1", "a digest that does not hold"),
    ("UPDATE exchange SET ending = 1, occurrence = NULL WHERE id = 1; UPDATE exchange SET status = 500", "a row"),
    ("DELETE FROM payload WHERE exchange = 1", "no payload"),
    ("DELETE FROM answer WHERE exchange = 1", "no answer"),
    ("UPDATE exchange SET key = zeroblob(16) WHERE id = 1", "another key"),
]


@pytest.mark.parametrize(("sql", "what"), INSTEAD)
def test_never_somebody_elses_answer(tmp_path: Path, sql: str, what: str) -> None:
    """A place gives the answer that was recorded there, or an error, or nothing."""
    path = record(tmp_path / "a.cassette", samples())
    execute(f"PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF; {sql}")(path)
    first = as_read(samples()[0].response)
    sea = MATCHER.key(samples()[0].request)
    others = [as_read(item.response) for item in samples() if MATCHER.key(item.request) == sea]
    with CassetteReader(path) as shelf:
        for number in range(shelf.count(sea)):
            try:
                found = asyncio.run(shelf.read(RecordingRef(sea, number)))
            except CassetteError:
                continue
            assert found in others
            assert found != first


def test_a_long_body_is_what_was_recorded(tmp_path: Path) -> None:
    """Longer than what is unpacked in the loop's own thread, streamed, with thousands of chunks."""
    item = exchange(asked("long"), said(streamed(story(5000, 3), 3)))
    with CassetteReader(record(tmp_path / "a.cassette", [item])) as shelf:
        assert len(item.response.body) > module.LONG
        assert asyncio.run(shelf.read(RecordingRef(MATCHER.key(item.request), 0))) == as_read(item.response)
        assert next(shelf.rows())["chunks"] == len(item.response.cuts)


def test_two_streams_unpack_in_threads_at_once(tmp_path: Path) -> None:
    """The codec is one a thread, so they take turns."""
    items = [replace(exchange(asked(str(n)), said([b"%d" % n * 300_000])), scope=str(n)) for n in range(8)]
    with CassetteReader(record(tmp_path / "a.cassette", items)) as shelf:

        async def all_at_once() -> list[Response]:
            return await asyncio.gather(*(shelf.read(RecordingRef(MATCHER.key(item.request), 0)) for item in items))

        assert asyncio.run(all_at_once()) == [as_read(item.response) for item in items]
