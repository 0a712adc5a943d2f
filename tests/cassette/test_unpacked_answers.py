"""An unpacked answer is kept for the next request, within bounds, and unpacked once for all who need it at a time."""

from __future__ import annotations

import asyncio
import gc
import weakref
from pathlib import Path

import pytest

from replayproxy.cassette import reader as module
from replayproxy.cassette import unpacked_answers as answers
from replayproxy.cassette.coding.times import as_read
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.stored_exchanges import StoredExchanges
from replayproxy.errors import Damaged
from replayproxy.model import RecordingRef, Request, Response
from tests.recordings import (
    MATCHER,
    asked,
    exchange,
    record,
    record_answers,
    said,
    samples,
)


def test_an_answer_is_read_once_and_remembered(tmp_path: Path) -> None:
    """The same value again, as long as there is room; a huge one only for as long as somebody has it."""
    long = exchange(asked("long"), said([b"x" * (module.LONG + 1)]))
    huge = exchange(asked("huge"), said([b"y" * (answers.MOST_BYTES // 4 + 1)]))
    with CassetteReader(record(tmp_path / "a", [samples()[0], long, huge])) as shelf:

        async def twice(request: Request) -> tuple[Response, Response]:
            place = RecordingRef(MATCHER.key(request), 0)
            return await shelf.read(place), await shelf.read(place)

        for item, kept in ((samples()[0], True), (long, True), (huge, False)):
            first, again = asyncio.run(twice(item.request))
            assert first == as_read(item.response)
            assert first is again
            assert (RecordingRef(MATCHER.key(item.request), 0) in shelf._answers._cached) is kept


@pytest.mark.parametrize("size", [module.LONG + 1, answers.MOST_BYTES // 4 + 1], ids=["long", "huge"])
def test_a_long_answer_that_many_are_sent_is_held_once(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unpacked once for all who want it at the same time, also where the first of them leaves; then given back."""
    long = exchange(asked("long"), said([b"x" * size]))
    unpacked: list[int] = []
    read = StoredExchanges.whole_with_legs

    def counting(exchanges: StoredExchanges, number: int) -> tuple[Request, Response]:
        unpacked.append(number)
        return read(exchanges, number)

    monkeypatch.setattr(StoredExchanges, "whole_with_legs", counting)
    with CassetteReader(record(tmp_path / "a", [samples()[0], long])) as shelf:
        place = RecordingRef(MATCHER.key(long.request), 0)

        async def many() -> tuple[int, weakref.ref[Response]]:
            reading = [asyncio.create_task(shelf.read(place)) for _ in range(20)]
            await asyncio.sleep(0)
            reading[0].cancel()
            read = await asyncio.gather(*reading[1:])
            read.append(await shelf.read(place))
            return len({id(each) for each in read}), weakref.ref(read[0])

        held, answer = asyncio.run(many())
        assert (held, len(unpacked)) == (1, 1)
        shelf._answers._cached.clear()
        gc.collect()
        assert answer() is None


def test_a_damaged_long_answer_is_said_to_all_who_want_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is tried again by who comes later."""
    long = exchange(asked("long"), said([b"x" * (module.LONG + 1)]))
    tried: list[int] = []

    def damaged(_exchanges: StoredExchanges, number: int) -> tuple[Request, Response]:
        tried.append(number)
        raise Damaged("it is damaged")

    monkeypatch.setattr(StoredExchanges, "whole_with_legs", damaged)
    with CassetteReader(record(tmp_path / "a", [long])) as shelf:
        place = RecordingRef(MATCHER.key(long.request), 0)

        async def many() -> list[Response | BaseException]:
            return await asyncio.gather(*(shelf.read(place) for _ in range(3)), return_exceptions=True)

        assert [str(error) for error in asyncio.run(many())] == ["it is damaged"] * 3
        assert len(tried) == 1
        asyncio.run(many())
        assert len(tried) == 2


def test_what_is_remembered_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was asked for longest ago goes first."""
    monkeypatch.setattr(answers, "MOST_BYTES", 10_000)
    path = record_answers(tmp_path / "a", *((asked(str(number)), b"%04d" % number * 300) for number in range(9)))
    with CassetteReader(path) as shelf:
        places = [RecordingRef(MATCHER.key(asked(str(number))), 0) for number in range(9)]

        async def walk() -> None:
            for place in [*places, places[5], places[0]]:
                await shelf.read(place)

        asyncio.run(walk())
        assert list(shelf._answers._cached) == [places[number] for number in (7, 8, 5, 0)]
        assert shelf._answers.size == sum(2 * len(each.body) for each in shelf._answers._cached.values()) <= 10_000
