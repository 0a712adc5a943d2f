"""What a relay passes on, when, and with which times."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from replayproxy.model import Chunk, End, Ending, Head
from replayproxy.net.relay import Relay
from tests.doubles.fakes import JSON, HearingListener, ManualClock

HEAD = Head(5, 200, JSON)


def told(story: Callable[[Relay, list[str]], Awaitable[None]], *, held: bool) -> tuple[list[str], Relay]:
    """What the client behind a relay hears, as a list."""

    async def tell() -> tuple[list[str], Relay]:
        log: list[str] = []
        relay = Relay(HearingListener(log, ManualClock()), held=held)
        await story(relay, log)
        return [line.removeprefix("0 client ") for line in log], relay

    return asyncio.run(tell())


async def _whole(relay: Relay, log: list[str]) -> None:
    relay.begin(100)
    await relay.head(HEAD)
    log.append("…")
    relay.chunk(Chunk(7, b"a"))
    relay.chunk(Chunk(8, b"b"))
    await relay.end(End(9, Ending.COMPLETE))
    log.append("over")
    await relay.finish()


def test_everything_is_passed_on_at_once_but_the_end() -> None:
    """That is for `finish`: by then everything about the legs is known."""
    log, relay = told(_whole, held=False)
    assert log == ["hears 200", "…", "hears a", "hears b", "over", "hears the end: COMPLETE"]
    assert relay.collector.response.body == b"ab"


def test_times_are_the_clients() -> None:
    """The leg's own ones stay with the leg."""

    async def tell() -> None:
        client = HearingListener([], ManualClock())
        relay = Relay(client)
        await _whole(relay, [])
        assert client.heard == [
            Head(105, 200, JSON),
            Chunk(107, b"a"),
            Chunk(108, b"b"),
            End(109, Ending.COMPLETE),
        ]
        assert relay.collector.response.timeline.chunks == (7, 8)

    asyncio.run(tell())


def test_what_is_held_back_comes_in_one_piece() -> None:
    """Head and chunks, in their order, when it is let go; then the rest as it comes."""

    async def story(relay: Relay, log: list[str]) -> None:
        relay.begin(0)
        await relay.head(HEAD)
        assert not relay.spoke.done()
        relay.chunk(Chunk(7, b"a"))
        assert relay.spoke.done()
        relay.chunk(Chunk(8, b"b"))
        log.append("…")
        await relay.let_go()
        log.append("free")
        relay.chunk(Chunk(9, b"c"))

    assert told(story, held=True)[0] == ["…", "hears 200", "hears a", "hears b", "free", "hears c"]


def test_let_go_before_anything_was_said() -> None:
    """Then nothing is held back any more."""

    async def story(relay: Relay, log: list[str]) -> None:
        await relay.let_go()
        await _whole(relay, log)

    assert told(story, held=True)[0] == told(_whole, held=False)[0]


@pytest.mark.parametrize(
    ("held", "chunks", "ending", "broken"),
    [
        (True, 0, Ending.UPSTREAM_CUT, Ending.UPSTREAM_CUT),
        (True, 0, Ending.TIMEOUT, Ending.TIMEOUT),
        (True, 0, Ending.COMPLETE, None),
        (True, 1, Ending.UPSTREAM_CUT, None),
        (False, 0, Ending.UPSTREAM_CUT, None),
    ],
)
def test_an_answer_that_broke_before_anybody_heard_of_it(
    held: bool, chunks: int, ending: Ending, broken: Ending | None
) -> None:
    """Only that can still become an error with a status of its own."""

    async def story(relay: Relay, _: list[str]) -> None:
        relay.begin(0)
        await relay.head(HEAD)
        for _number in range(chunks):
            relay.chunk(Chunk(7, b"a"))
        await relay.end(End(9, ending))

    assert told(story, held=held)[1].broken_off is broken


def test_the_end_does_not_overtake_the_head() -> None:
    """Also when the client's socket makes the head wait."""

    async def tell() -> list[str]:
        log: list[str] = []
        client = SlowHead(log, ManualClock())
        relay = Relay(client, held=True)
        relay.begin(0)
        await relay.head(HEAD)
        relay.chunk(Chunk(7, b"a"))
        passing = asyncio.create_task(relay.let_go())
        await asyncio.sleep(0)
        await relay.end(End(9, Ending.COMPLETE))
        finishing = asyncio.create_task(relay.finish())
        await asyncio.sleep(0)
        client.gate.set()
        await asyncio.gather(passing, finishing)
        return [line.removeprefix("0 client ") for line in log]

    assert asyncio.run(tell()) == ["hears 200", "hears a", "hears the end: COMPLETE"]


class SlowHead(HearingListener):
    """A client that takes its time."""

    def __init__(self, log: list[str], clock: ManualClock) -> None:
        super().__init__(log, clock)
        self.gate = asyncio.Event()

    async def head(self, head: Head) -> None:
        """Not before the gate is open."""
        await self.gate.wait()
        await super().head(head)
