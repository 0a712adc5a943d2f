"""Rotation: recording goes on onto a new cassette, and no stream notices."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from replayproxy.cassette.checking.verify import verify
from replayproxy.cassette.reader import CassetteReader
from replayproxy.model import Ending, Request
from replayproxy.proxy import recorder
from tests import wire
from tests.apps import Running, exchanges, recording, replaying, run, running
from tests.cli.commands import tape
from tests.doubles.upstreams import END, STREAM, Send, Until, chunk, event, scripted

CHAT = wire.post("/v1/chat/completions", {"model": "m", "messages": [], "stream": True})


async def rotated(proxy: Running) -> tuple[int, dict[str, Any]]:
    """As `ctl rotate` asks for it."""
    assert proxy.admin_url is not None
    answer = await wire.ask(proxy.admin_url, Request("POST", "/rotate"))
    return answer.status, orjson.loads(answer.body)


def test_a_stream_in_flight_goes_on_onto_the_new_cassette(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole, as it came; what had ended stays on the old one, which is sealed while the proxy runs."""
    monkeypatch.setattr(recorder, "FLUSH_NANOSECONDS", 20_000_000)
    first = tmp_path / "chat.cassette"

    async def dialogue() -> tuple[wire.Answer, list[bytes], list[Path]]:
        go = asyncio.Event()
        script = (Send(STREAM), Send(chunk(event(1))), Until(go), Send(chunk(event(2))), Send(END))
        async with scripted(*script, again=True) as server, running(recording(first, server.url), admin=True) as proxy:
            go.set()
            before = await wire.ask(proxy.url, CHAT)
            go.clear()
            async with wire.connect(proxy.url) as client:
                client.send(CHAT)
                await client.head()
                while not open_rows(first):  # its first piece is on the disk
                    await asyncio.sleep(0.01)
                status, said = await rotated(proxy)
                assert (status, said["sealed"]) == (200, str(first))
                assert not Path(f"{first}-wal").exists()
                assert verify(first) == (1, [])
                go.set()
                during = [frame.data async for frame in client.frames()]
            return before, during, [first, Path(said["recording"])]

    before, during, (old, new) = run(dialogue())
    assert b"".join(during) == before.body
    for path in (old, new):
        assert verify(path) == (1, [])
        [exchange] = exchanges(path)
        assert (exchange.response.ending, exchange.response.body) == (Ending.COMPLETE, before.body)
        assert exchange.request.body == CHAT.body
    assert exchanges(new)[0].response.cuts == exchanges(old)[0].response.cuts == tuple(map(len, (event(1), event(2))))


def open_rows(path: Path) -> int:
    """Streams in flight on a cassette."""
    with CassetteReader(path) as cassette:
        return int(cassette.one("SELECT count(*) FROM segment")[0])


def test_many_turns_lose_nothing(tmp_path: Path) -> None:
    """Twenty answers, a new cassette after every fourth: each is on one of them, once; both names are told."""
    first = tmp_path / "chat.cassette"

    async def dialogue() -> list[str]:
        script = (Send(STREAM), Send(chunk(event(1))), Send(END))
        names = [str(first)]
        async with scripted(*script, again=True) as server, running(recording(first, server.url), admin=True) as proxy:
            for number in range(20):
                assert (await wire.ask(proxy.url, CHAT)).whole
                if number % 4 == 3:
                    status, said = await rotated(proxy)
                    assert (status, said["sealed"]) == (200, names[-1])
                    names.append(said["recording"])
        return names

    names = run(dialogue())
    assert len(set(names)) == 6
    assert [verify(Path(name)) for name in names] == [(4, [])] * 5 + [(0, [])]
    assert {Path(name).parent for name in names} == {tmp_path}


def test_what_cannot_be_rotated_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in the way: 409, and recording goes on where it was. A proxy that plays has nothing to rotate."""
    first = tmp_path / "chat.cassette"
    (tmp_path / "folder").mkdir()

    async def dialogue() -> None:
        script = (Send(STREAM), Send(END))
        async with scripted(*script, again=True) as server, running(recording(first, server.url), admin=True) as proxy:
            assert proxy.app.parts.recording is not None
            turn = proxy.app.parts.recording.writer_thread.rotate
            monkeypatch.setattr(
                proxy.app.parts.recording.writer_thread, "rotate", lambda path: turn(tmp_path / "folder")
            )
            status, said = await rotated(proxy)
            assert (status, "folder is there already" in said["error"]) == (409, True)
            assert (await wire.ask(proxy.url, CHAT)).whole
        async with running(replaying(tape(tmp_path / "b.cassette", "a")), admin=True) as proxy:
            assert proxy.admin_url is not None
            assert (await wire.ask(proxy.admin_url, Request("POST", "/rotate"))).status == 404

    run(dialogue())
    assert verify(first) == (1, [])
