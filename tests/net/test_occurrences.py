"""Equal requests that are in flight at once: their recordings are played in the order of asking, not of ending.

A server of our own holds each answer until the test lets it go, so that every order of ends can be had. Real sockets on
both sides.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import permutations
from pathlib import Path

import pytest

from replayproxy.cassette.editing.merge import merge
from replayproxy.core.policy import Mode
from replayproxy.core.sequence import AtEnd
from replayproxy.model import Request
from replayproxy.settings import Replaying, Settings
from tests import wire
from tests.apps import recording, replaying, run, running
from tests.doubles.upstreams import STREAM, answer, chunk
from tests.recordings import asked

QUESTION = asked("the same", stream=True)
WHOLE, CUT = "whole", "cut"


class Held:
    """A server whose answers hold their number by arrival. Each ends when `release` is called with it."""

    def __init__(self, *, streams: bool) -> None:
        self.url = ""
        self._streams = streams
        self._released: list[asyncio.Future[str]] = []
        self._ended: list[asyncio.Event] = []
        self._arrived = asyncio.Condition()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        number = len(self._released)
        released: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        ended = asyncio.Event()
        self._released.append(released)
        self._ended.append(ended)
        if self._streams:
            writer.write(STREAM + chunk(b"data: begin %d\n\n" % number))
        async with self._arrived:
            self._arrived.notify_all()
        how = await released
        if self._streams:
            done = chunk(b"data: end %d\n\n" % number) + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
            writer.write(done if how == WHOLE else chunk(b"data: en"))
        elif how == WHOLE:
            writer.write(answer("200 OK", b'{"n": %d}' % number, b"Connection: close"))
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + b'{"n": %d' % number)
        await writer.drain()
        writer.close()
        ended.set()

    async def arrived(self, count: int) -> None:
        """Wait until so many requests are here."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self._released) >= count)

    def release(self, number: int, how: str = WHOLE) -> None:
        """Let an answer end."""
        self._released[number].set_result(how)


@asynccontextmanager
async def held(*, streams: bool) -> AsyncIterator[Held]:
    """Such a server on a free port."""
    server = Held(streams=streams)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()


async def ask_all(
    url: str, server: Held, order: Sequence[int], how: Sequence[str], question: Request = QUESTION
) -> list[bytes]:
    """Ask one after the other, without an answer yet; let them end in this order. Gives the bodies by asking."""
    first = len(server._released)
    asking = []
    for number in range(len(order)):
        asking.append(asyncio.create_task(wire.ask(url, question)))
        await server.arrived(first + number + 1)
    for number in order:
        server.release(first + number, how[number])
        await asking[number]  # ended for the client, too, before the next one ends
    return [task.result().body for task in asking]


async def replay_all(cassette: Path, count: int, **more: object) -> list[bytes]:
    """The bodies that as many equal requests get, one after the other."""
    settings = replaying(cassette, replaying=Replaying(at_end=AtEnd.REFUSE, **more))  # type: ignore[arg-type]  # a bool
    async with running(settings) as proxy:
        return [(await wire.ask(proxy.url, QUESTION)).body for _ in range(count)]


@pytest.mark.parametrize("streams", [False, True], ids=["lengths", "streams"])
@pytest.mark.parametrize("mode", [Mode.RECORD, Mode.AUTO])
@pytest.mark.parametrize("order", [(3, 2, 1, 0), (1, 2, 3, 0), (2, 0, 3, 1), (0, 1, 2, 3)], ids=str)
def test_four_at_once_come_back_in_the_order_of_asking(
    tmp_path: Path, mode: Mode, order: tuple[int, ...], *, streams: bool
) -> None:
    """Whichever ends first; the first one asked may end last."""
    cassette = tmp_path / "a.cassette"

    async def story() -> None:
        async with held(streams=streams) as server:
            async with running(Settings(mode, (cassette,), server.url)) as proxy:
                live = await ask_all(proxy.url, server, order, [WHOLE] * 4)
        assert [b"%d" % number in body for number, body in enumerate(live)] == [True] * 4
        assert await replay_all(cassette, 4) == live

    run(story())


@pytest.mark.parametrize("broken", [(0,), (1,), (2,), (0, 2), (1, 2)], ids=str)
@pytest.mark.parametrize("order", [*permutations(range(3))], ids=str)
def test_broken_ones_keep_their_place_among_whole_ones(
    tmp_path: Path, broken: tuple[int, ...], order: tuple[int, ...]
) -> None:
    """With --allow-incomplete all come as they were asked for; without it the whole ones, in their order."""
    cassette = tmp_path / "a.cassette"
    how = [CUT if number in broken else WHOLE for number in range(3)]

    async def story() -> None:
        async with held(streams=True) as server, running(recording(cassette, server.url)) as proxy:
            live = await ask_all(proxy.url, server, order, how)
        assert [b"[DONE]" in body for body in live] == [kind == WHOLE for kind in how]
        assert await replay_all(cassette, 3, allow_incomplete=True) == live
        whole = [body for body, kind in zip(live, how, strict=True) if kind == WHOLE]
        assert await replay_all(cassette, len(whole)) == whole

    run(story())


def test_a_second_recording_stands_behind_the_first(tmp_path: Path) -> None:
    """Onto the same file, each of them with ends in reverse."""
    cassette = tmp_path / "a.cassette"

    async def story() -> None:
        live: list[bytes] = []
        for _ in range(2):
            async with held(streams=True) as server:
                server._released.extend(asyncio.get_running_loop().create_future() for _ in live)  # other numbers
                async with running(recording(cassette, server.url)) as proxy:
                    live += await ask_all(proxy.url, server, (1, 0), [WHOLE] * 2)
        assert len(set(live)) == 4
        assert await replay_all(cassette, 4) == live

    run(story())


@pytest.mark.parametrize("turned", [False, True], ids=["in their order", "the other way round"])
@pytest.mark.parametrize("how", [[WHOLE] * 4, [CUT, WHOLE, WHOLE, WHOLE], [WHOLE, CUT, CUT, WHOLE]], ids=str)
def test_merge_goes_by_the_time_of_asking(tmp_path: Path, how: list[str], *, turned: bool) -> None:
    """Two recorders in front of one server, asked in turn; which file is named first does not matter."""
    first, second, whole = tmp_path / "1.cassette", tmp_path / "2.cassette", tmp_path / "m.cassette"

    async def story() -> None:
        async with held(streams=True) as server:
            async with running(recording(first, server.url)) as one, running(recording(second, server.url)) as other:
                asking = []
                for number in range(4):
                    url = (one.url, other.url)[number % 2]
                    asking.append(asyncio.create_task(wire.ask(url, QUESTION)))
                    await server.arrived(number + 1)
                for number in (3, 1, 2, 0):
                    server.release(number, how[number])
                    await asking[number]
        live = [task.result().body for task in asking]
        merge(whole, [second, first] if turned else [first, second])
        assert await replay_all(whole, 4, allow_incomplete=True) == live
        sound = [body for body, kind in zip(live, how, strict=True) if kind == WHOLE]
        assert await replay_all(whole, len(sound)) == sound

    run(story())
