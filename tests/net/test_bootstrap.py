"""Which engines a bootstrap server names, how long it is believed, and what is said when it names none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from replayproxy.core.pd import PrefillFailed
from replayproxy.errors import UpstreamUnreachable
from replayproxy.net.bootstrap import BELIEVED, Bootstrap
from tests.apps import run
from tests.doubles.fakes import ManualClock
from tests.doubles.pair_http import House, Visit

TWO = b'{"1":{"engine_id":"b","worker_addr":{}},"0":{"engine_id":"a","worker_addr":{}}}'


@dataclass
class Desk:
    """A bootstrap server that says what the test wants, and who asks it."""

    said: bytes
    status: int = 200
    asked: list[str] = field(default_factory=list)

    async def answer(self, visit: Visit) -> None:
        """Say it."""
        self.asked.append(f"{visit.method} {visit.target}")
        visit.whole(self.status, self.said)


@asynccontextmanager
async def asking(desk: Desk, clock: ManualClock) -> AsyncIterator[Bootstrap]:
    """The desk, and who asks it."""
    house = House(desk.answer)
    await house.open()
    bootstrap = Bootstrap(house.url, clock)
    try:
        yield bootstrap
    finally:
        bootstrap.close()
        house.shut()


def test_ranks_take_turns_and_are_asked_for_once() -> None:
    """Data parallel engines in their order; who asks while an answer is awaited waits for the same one."""

    async def dialogue() -> None:
        desk = Desk(TWO)
        async with asking(desk, ManualClock()) as bootstrap:
            said = await asyncio.gather(*(bootstrap.engine() for _ in range(4)))
        assert sorted(said) == [("0", "a"), ("0", "a"), ("1", "b"), ("1", "b")]
        assert desk.asked == ["GET /query"]

    run(dialogue())


def test_an_engine_is_believed_for_some_seconds_or_until_it_is_forgotten() -> None:
    """A server that was started anew has other engines."""

    async def dialogue() -> None:
        desk, clock = Desk(TWO), ManualClock()
        async with asking(desk, clock) as bootstrap:
            await bootstrap.engine()
            desk.said = b'{"0":{"engine_id":"new"}}'
            clock.move(BELIEVED)
            assert (await bootstrap.engine())[1] != "new"
            clock.move(1)
            assert await bootstrap.engine() == ("0", "new")
            desk.said = TWO
            bootstrap.forget()
            assert (await bootstrap.engine())[1] in "ab"
        assert len(desk.asked) == 3

    run(dialogue())


GARBLED: list[tuple[str, int, bytes]] = [
    ("not ready", 503, b'{"detail":"not ready"}'),
    ("an error", 404, b'{"error":{"message":"no","code":404}}'),
    ("no JSON", 200, b"<html>"),
    ("a list", 200, b"[]"),
    ("nobody", 200, b"{}"),
    ("no id", 200, b'{"0":{}}'),
    ("no entry", 200, b'{"0":null}'),
    ("no rank", 200, b'{"zero":{"engine_id":"a"}}'),
]


@pytest.mark.parametrize(("status", "said"), [row[1:] for row in GARBLED], ids=[row[0] for row in GARBLED])
def test_a_desk_that_names_no_engine_is_a_failed_prefill(status: int, said: bytes) -> None:
    """Its sentence says what to start or to correct; and it is asked again the next time."""

    async def dialogue() -> None:
        desk = Desk(said, status)
        async with asking(desk, ManualClock()) as bootstrap:
            for _ in range(2):
                with pytest.raises(PrefillFailed, match=r"does not say which engines.*--bootstrap-port"):
                    await bootstrap.engine()
            desk.said, desk.status = TWO, 200
            assert await bootstrap.engine()

    run(dialogue())


def test_a_desk_that_is_not_there_has_not_been_asked() -> None:
    """That is a refused connection, whose prefill server is left out."""

    async def dialogue() -> None:
        house = House(Desk(b"").answer)
        await house.open()
        house.shut()
        bootstrap = Bootstrap(house.url, ManualClock())
        with pytest.raises(UpstreamUnreachable, match="--bootstrap-port says where"):
            await bootstrap.engine()
        bootstrap.close()

    run(dialogue())
