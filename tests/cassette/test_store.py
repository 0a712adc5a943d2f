"""Several cassettes answer as one, and a long answer delays no other."""

from __future__ import annotations

import asyncio
import threading
from itertools import pairwise
from pathlib import Path

import pytest

from replayproxy.cassette import reader as module
from replayproxy.cassette.coding.times import as_read
from replayproxy.cassette.reader import CassetteReader
from replayproxy.cassette.store import CassetteStore
from replayproxy.cassette.stored_exchanges import StoredExchanges
from replayproxy.errors import Damaged
from replayproxy.model import Ending, RecordingRef, Request, Response
from tests.doubles.fakes import turns
from tests.recordings import (
    MATCHER,
    asked,
    bodies,
    chats,
    exchange,
    record,
    record_answers,
    said,
    story,
    streamed,
)

SEA, SUN = asked("sea"), asked("sun")


def test_several_cassettes_are_one_shelf(tmp_path: Path) -> None:
    """Equal requests walk through the first one's recordings, then the next one's."""
    first = record_answers(tmp_path / "a", (SEA, b"1"), (SEA, b"2"), (SUN, b"half", Ending.UPSTREAM_CUT))
    second = record_answers(tmp_path / "b", (SUN, b"3"), (SUN, b"half", Ending.UPSTREAM_CUT))
    third = record_answers(tmp_path / "c", (SEA, b"4"))
    with CassetteReader(first) as a, CassetteReader(second) as b, CassetteReader(third) as c:
        shelf = CassetteStore([a, b, c])
        assert (bodies(shelf, SEA), bodies(shelf, SUN), bodies(shelf, asked("x"))) == ([b"1", b"2", b"4"], [b"3"], [])
        assert (shelf.count_broken(MATCHER.key(SUN)), shelf.count_broken(MATCHER.key(SEA))) == (2, 0)
        with pytest.raises(Damaged, match="there is no recording 3 of rp1:"):
            asyncio.run(shelf.read(RecordingRef(MATCHER.key(SEA), 3)))


@pytest.mark.parametrize("allow_incomplete", [False, True])
def test_a_recording_is_found_by_its_hand_over(tmp_path: Path, allow_incomplete: bool) -> None:
    """Among those of its key, on whichever cassette; a ticket makes no other key, and a broken one is not given."""

    def presenting(ticket: str, content: str = "sea") -> Request:
        return asked(content, kv_transfer_params={"transfer_id": ticket})

    first = record_answers(tmp_path / "a", (presenting("t0"), b"0"), (presenting("t1"), b"1"), (presenting("s"), b"s"))
    second = record_answers(
        tmp_path / "b",
        *((presenting("t2"), b"2"), (presenting("t3"), b"half", Ending.UPSTREAM_CUT), (presenting("t0", "x"), b"x")),
    )
    key = MATCHER.key(presenting("any"))
    with (
        CassetteReader(first, allow_incomplete=allow_incomplete) as a,
        CassetteReader(second, allow_incomplete=allow_incomplete) as b,
    ):
        shelf = CassetteStore([a, b])
        wanted = ("t0", "t1", "t2", "t3", "none")
        found = [shelf.with_transfer(key, ticket) for ticket in wanted]
        assert found == [0, 1, 3, 4 if allow_incomplete else None, None]


@pytest.mark.parametrize("in_turn", [False, True])
def test_between_two_readings_the_loop_has_a_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_turn: bool
) -> None:
    """Where times count, requests are heard when they come; else as many as can be are read."""
    log: list[str] = []

    whole = StoredExchanges.whole

    def logged(exchanges: StoredExchanges, number: int) -> tuple[Request, Response]:
        log.append("read")
        return whole(exchanges, number)

    monkeypatch.setattr(StoredExchanges, "whole", logged)

    async def tick() -> None:
        while True:
            log.append("turn")
            await asyncio.sleep(0)

    async def story() -> None:
        ticking = asyncio.create_task(tick())
        await asyncio.gather(*(shelf.read(RecordingRef(MATCHER.key(item.request), 0)) for item in kept))
        ticking.cancel()

    kept = chats(5)
    with CassetteReader(record(tmp_path / "a.cassette", kept)) as cassette:
        shelf = CassetteStore([cassette], in_turn=in_turn)
        asyncio.run(story())
    assert log.count("read") == 5
    assert any(pair == ("read", "read") for pair in pairwise(log)) == (not in_turn)


@pytest.mark.parametrize("in_turn", [False, True])
def test_a_long_answer_delays_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_turn: bool) -> None:
    """It is unpacked in a thread, and nobody waits for that."""
    long = exchange(asked("long"), said(streamed(story(60, 1))))
    short = exchange(asked("short"), said(streamed(story(2, 2))))
    monkeypatch.setattr(module, "LONG", len(long.response.body) - 1)
    over = threading.Event()

    whole = StoredExchanges.whole

    def slow_in_a_thread(exchanges: StoredExchanges, number: int) -> tuple[Request, Response]:
        if threading.current_thread() is not threading.main_thread():
            assert over.wait(30)
        return whole(exchanges, number)

    monkeypatch.setattr(StoredExchanges, "whole", slow_in_a_thread)

    async def story_of_two() -> None:
        reading = asyncio.create_task(shelf.read(RecordingRef(MATCHER.key(long.request), 0)))
        try:
            await turns()
            read = await asyncio.wait_for(shelf.read(RecordingRef(MATCHER.key(short.request), 0)), 10)
            assert read == as_read(short.response)
            assert not reading.done()
        finally:
            over.set()
        assert await reading == as_read(long.response)

    with CassetteReader(record(tmp_path / "a.cassette", [long, short])) as cassette:
        shelf = CassetteStore([cassette], in_turn=in_turn)
        asyncio.run(story_of_two())
