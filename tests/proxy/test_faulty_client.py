"""A source plays to a client in whose answer a fault happens: what the client gets, and when."""

from __future__ import annotations

import asyncio

import pytest

from replayproxy.core.faults.delivery import Delivery
from replayproxy.core.faults.grammar import parse_fault
from replayproxy.core.timing import Pace
from replayproxy.model import Headers, Request
from replayproxy.proxy.counters import Counters
from replayproxy.proxy.faulty_client import QUEUED, FaultyClient
from replayproxy.proxy.player import Player
from tests.apps import run
from tests.doubles.fakes import JSON, MILLISECOND, SSE, FakeSource, answer
from tests.doubles.fault_client import ConnectionDouble, SharedClock

ANSWER = answer(*((at * MILLISECOND, b"%c " % letter) for at, letter in zip((10, 20, 30, 40), b"abcd", strict=True)))


def gets(text: str, *, speed: float | None = 1.0, headers: Headers = SSE) -> list[str]:
    """What the client gets of `ANSWER` with this fault."""

    async def play() -> list[str]:
        clock = SharedClock()
        client = ConnectionDouble(clock)
        faulty = FaultyClient(client, Delivery(parse_fault(text), ""), clock)
        response = answer(*((chunk.at, chunk.data) for chunk in ANSWER.chunks()), headers=headers)
        playing = asyncio.ensure_future(Player(clock, Pace(speed), Counters()).play_response(response, faulty, 0))
        over = asyncio.ensure_future(faulty.over.wait())
        await asyncio.wait((playing, over), return_when=asyncio.FIRST_COMPLETED)
        if faulty.over.is_set():
            playing.cancel()
            await faulty.break_off()
        over.cancel()
        return client.log

    return run(play())


@pytest.mark.parametrize(
    ("text", "paced", "at_once"),
    [
        ("cut@2", "10 200|10 a|20 b|30 cut", "0 200|0 a b|0 cut"),
        ("cut@0", "10 200|10 cut", "0 200|0 cut"),
        ("cut@4", "10 200|10 a|20 b|30 c|40 d|40 cut", "0 200|0 a b c d|0 cut"),
        ("cut@9", "10 200|10 a|20 b|30 c|40 d|40 end", "0 200|0 a b c d|0 end"),
        ("cut-clean@1", "10 200|10 a|20 end", "0 200|0 a|0 end"),
        ("reset@3", "10 200|10 a|20 b|30 c|40 reset", "0 200|0 a b c|0 reset"),
        (
            "stall@2,for=1s",
            "10 200|10 a|20 b|1030 c|1040 d|1040 end",
            "0 200|0 a b|1000 c|1000 d|1000 end",
        ),
        ("stall@4,for=1s", "10 200|10 a|20 b|30 c|40 d|1040 end", "0 200|0 a b c d|1000 end"),
        ("garbage@3", "10 200|10 a|20 b|30 c|40 \xff|40 end", "0 200|0 a b c|0 \xff|0 end"),
    ],
)
def test_a_fault_happens_after_its_chunks(text: str, paced: str, at_once: str) -> None:
    """At the recorded times, and where the whole recording comes at once; the pace goes on behind a pause."""

    def cleaned(log: list[str]) -> str:
        lines = (line if not line.partition(" ")[2].startswith("\xff") else f"{line.split()[0]} \xff" for line in log)
        return "|".join(lines)

    assert cleaned(gets(text)).removesuffix("|") == cleaned(paced.split("|"))
    assert cleaned(gets(text, speed=None)) == cleaned(at_once.split("|"))


def test_an_explanation_of_ours_is_not_broken() -> None:
    """A miss would be hidden from the person who has to look for it."""
    miss = (*JSON, ("X-Replayproxy-Miss", "m-0001"))
    assert gets("cut@0", headers=miss) == ["10 200", "10 a", "20 b", "30 c", "40 d", "40 end"]


def test_a_source_that_sends_much_waits_during_a_pause() -> None:
    """What waits is bounded: a live server is slowed down."""

    async def play() -> None:
        clock = SharedClock()
        client = ConnectionDouble(clock)
        faulty = FaultyClient(client, Delivery(parse_fault("stall@0,for=1s"), ""), clock)
        big = answer(*((MILLISECOND * at, b"x" * (QUEUED // 2 + 1)) for at in range(6)))
        source = FakeSource([], clock, [big])
        most = 0
        playing = asyncio.ensure_future(source.play(Request("GET", "/"), faulty))
        while not playing.done():
            await asyncio.sleep(0)
            most = max(most, faulty.queued_bytes)
        assert client.log[-1].endswith("end")
        assert len(client.log) == 8
        assert QUEUED < most <= 2 * QUEUED

    run(play())


def test_a_client_that_leaves_ends_what_waits() -> None:
    """No task is left behind."""

    async def play() -> None:
        clock = SharedClock()
        client = ConnectionDouble(clock)
        faulty = FaultyClient(client, Delivery(parse_fault("stall@0"), ""), clock)
        await Player(clock, Pace(None), Counters()).play_response(answer(), faulty, 0)
        before = asyncio.all_tasks()
        faulty = FaultyClient(client, Delivery(parse_fault("stall@0"), ""), clock)
        faulty.burst(ANSWER)
        assert len(asyncio.all_tasks() - before) == 1
        assert faulty.is_paused
        await faulty.close()
        assert asyncio.all_tasks() == before

    run(play())
