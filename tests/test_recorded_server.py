"""A replay has the state of the recorded server: its metrics and its KV events at their moments, held at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import zmq
import zmq.asyncio

from replayproxy.api.options import settings_of
from replayproxy.cassette.store import CassetteStore
from replayproxy.cassette.writer import CassetteWriter
from replayproxy.core.policy import Mode
from replayproxy.core.server_state import SCRAPED, KvMessage, KvMessages, ScrapedPage
from replayproxy.model import RecordingRef
from replayproxy.recorded_server import RecordedServer
from tests.cli.tapes import DAY, MS, chat, writing
from tests.doubles.fakes import ManualClock, turns
from tests.recordings import MATCHER

DECODE, PREFILL = "http://decode:8000", "http://a-prefill:8000"
END = b"\xff" * 8


def page(at: int, server: str = DECODE) -> ScrapedPage:
    """Read so many ms after the first chat began."""
    return ScrapedPage(server, DAY + at * MS, b"vllm:at %d of %s\n" % (at, server.encode()))


def event(at: int) -> KvMessages:
    """Published so many ms after the first chat began; `at` is its number."""
    return KvMessages("tcp://a:1", [KvMessage(DAY + at * MS, b"kv@pod", at.to_bytes(8, "big"), b"batch %d" % at)])


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Two chats, at 0 and 1000 ms; each takes 141 ms. Metrics of two servers, and three events."""
    path = tmp_path / "a.cassette"
    with writing(path) as keep:
        keep(chat("first"), chat("second", started=1000))
    writer = CassetteWriter(path, MATCHER)
    writer.begin()
    for state in (page(-50), page(100), page(900), page(5000), page(100, PREFILL), event(50), event(1050), event(9000)):
        writer.keep_state(state)
    writer.note(SCRAPED, [DECODE, PREFILL])
    writer.commit()
    writer.seal()
    return path


class Replayed:
    """A replay of these cassettes."""

    def __init__(self, *paths: Path, **options: Any) -> None:
        self.clock = ManualClock()
        self.store = CassetteStore().open(paths)
        self.server = RecordedServer(settings_of(Mode.REPLAY, paths, options), self.store, self.clock)
        self.places = [place for _, place, *_ in self.store.playable()]

    def run(self, talk: Callable[[Replayed], Awaitable[None]]) -> None:
        """Start it, talk, close it."""

        async def all_of_it() -> None:
            self.server.start()
            try:
                await talk(self)
            finally:
                await self.server.close()

        try:
            asyncio.run(all_of_it())
        finally:
            self.store.close()

    async def play(self, number: int, *, fails: bool = False) -> None:
        """Play a recording; it takes no time."""
        place: RecordingRef = self.places[number]
        with self.server.playing(place, await self.store.read(place)):
            if fails:
                raise ConnectionError

    async def at(self) -> str:
        """The page now."""
        return (await self.server.page() or b"nothing").decode().strip()


def test_metrics_follow_the_replay_clock(recorded: Path) -> None:
    """From the first chat that is played, twice as fast, and held at the end."""

    async def talk(replayed: Replayed) -> None:
        seen = [await replayed.at()]
        await replayed.play(0)
        seen.append(await replayed.at())
        for passed in (60, 400, 9_000):
            replayed.clock.move(passed * MS)
            seen.append(await replayed.at())
        replayed.server.reset()
        seen.append(await replayed.at())
        assert seen == [f"vllm:at {at} of {DECODE}" for at in (-50, -50, 100, 900, 5000, -50)]

    Replayed(recorded, speed=2).run(talk)


def test_at_max_metrics_follow_what_has_been_played(recorded: Path) -> None:
    """The last recording brings the state to its end."""

    async def talk(replayed: Replayed) -> None:
        seen = [await replayed.at()]
        for number in (0, 1, 0):
            await replayed.play(number)
            replayed.clock.move(10_000 * MS)
            seen.append(await replayed.at())
        assert seen == [f"vllm:at {at} of {DECODE}" for at in (-50, 100, 5000, 5000)]

    Replayed(recorded).run(talk)


def test_a_cassette_without_metrics_has_none(tmp_path: Path) -> None:
    """Nothing is made up."""
    path = tmp_path / "a.cassette"
    with writing(path) as keep:
        keep(chat("first"))

    async def talk(replayed: Replayed) -> None:
        await replayed.play(0)
        assert await replayed.at() == "nothing"
        assert replayed.server.endpoints == ()

    Replayed(path).run(talk)


def test_metrics_are_computed_from_what_is_played(recorded: Path) -> None:
    """Under the model's name; an answer that breaks off is aborted."""

    async def talk(replayed: Replayed) -> None:
        await replayed.play(0)
        with pytest.raises(ConnectionError):
            await replayed.play(1, fails=True)
        lines = (await replayed.at()).splitlines()
        assert 'vllm:generation_tokens_total{engine="0",model_name="tiny"} 3.0' in lines
        assert 'vllm:request_success_total{engine="0",finished_reason="stop",model_name="tiny"} 1.0' in lines
        assert 'vllm:request_success_total{engine="0",finished_reason="abort",model_name="tiny"} 1.0' in lines
        assert 'vllm:num_requests_running{engine="0",model_name="tiny"} 0.0' in lines

    Replayed(recorded, server_metrics="computed").run(talk)


def test_events_are_published_at_their_moments_and_again(recorded: Path) -> None:
    """Byte for byte, under their own topic; a subscriber that missed some gets them from a number on."""

    async def talk(replayed: Replayed) -> None:
        context = zmq.asyncio.Context()
        subscriber, asker = context.socket(zmq.SUB), context.socket(zmq.DEALER)
        published, again = replayed.server.endpoints
        subscriber.connect(published)
        subscriber.subscribe(b"")
        asker.connect(again)

        async def kept() -> list[bytes]:
            await asker.send_multipart([b"", bytes(8)])
            found: list[bytes] = []
            while (frames := await asyncio.wait_for(asker.recv_multipart(), 10))[2] != END:
                assert frames[1] == b"kv@pod"
                found.append(frames[3])
            return found

        try:
            await turns()
            seen = [await kept()]
            for number, events in ((0, 1), (1, 3)):
                await replayed.play(number)
                while len(found := await kept()) < events:
                    await turns()
                seen.append(found)
            assert seen == [[], [b"batch 50"], [b"batch 50", b"batch 1050", b"batch 9000"]]
            topic, *_ = await asyncio.wait_for(subscriber.recv_multipart(), 10)
            assert topic == b"kv@pod"
        finally:
            for socket in (subscriber, asker):
                socket.close(linger=0)
            context.term()

    Replayed(recorded, zmq_endpoint="tcp://127.0.0.1:*", kv_events_replay_endpoint="tcp://127.0.0.1:*").run(talk)


def test_the_meta_entry_says_which_server_is_first(recorded: Path) -> None:
    """The one that gets `/metrics` while it is recorded: the decode server of a pair."""
    assert orjson.loads(orjson.dumps([DECODE, PREFILL]))[0] == DECODE
    store = CassetteStore().open([recorded])
    try:
        assert store.cassettes[0].meta[SCRAPED] == [DECODE, PREFILL]
    finally:
        store.close()
