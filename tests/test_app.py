"""Tests of `app`: what a start makes, a stop removes; a start that fails leaves nothing."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from replayproxy.app import App
from replayproxy.core.policy import Mode
from replayproxy.errors import SettingsError
from replayproxy.model import Ending
from replayproxy.net.http_server import free_socket
from replayproxy.settings import Listen, Settings
from tests import recordings, wire
from tests.apps import endings, recording, replaying, run, running
from tests.doubles.upstreams import STREAM, Hang, Send, chunk, event, scripted
from tests.unused_ports import unused_port

QUIET = Listen(port=0, admin_port=None)


def test_an_app_leaves_the_interpreter_alone(tmp_path: Path) -> None:
    """It may be a guest in somebody's process: a test's, for one. `lifetime` has a process of its own."""
    before = gc.get_threshold(), gc.get_freeze_count(), sys.getswitchinterval()
    cassette = recordings.record(tmp_path / "any.cassette", [])

    async def start() -> None:
        async with running(Settings(Mode.REPLAY, (cassette,))):
            assert (gc.get_threshold(), gc.get_freeze_count(), sys.getswitchinterval()) == before

    run(start())


def test_own_files_are_removed_and_others_stay(tmp_path: Path) -> None:
    """The ready file says where it listens and who it is; one that somebody else has put in its place is not ours."""
    cassette = recordings.record(tmp_path / "any.cassette", [])
    ready, socket, other = (tmp_path / name for name in ("ready.json", "socket", "other"))
    settings = replaying(cassette, listen=replace(QUIET, ready_file=ready, uds=socket))

    async def serve(*, replaced: bool) -> None:
        app = App(settings)
        addresses = await app.start()
        assert json.loads(ready.read_bytes()) == {"url": addresses.url, "admin_url": None, "pid": os.getpid()}
        if replaced:
            other.write_text("{}")
            other.replace(ready)
        await app.stop()
        assert (ready.exists(), socket.exists()) == (replaced, False)

    for replaced in (False, True):
        run(serve(replaced=replaced))


def test_a_stale_ready_file_is_removed_before_the_start(tmp_path: Path) -> None:
    """A killed proxy has left it; any other JSON stays."""
    cassette = recordings.record(tmp_path / "any.cassette", [])
    ready = tmp_path / "ready.json"
    for text, stays in (('{"url": "", "admin_url": null, "pid": 1}', False), ('{"other": 1}', True)):
        ready.write_text(text)
        App(replaying(cassette, listen=replace(QUIET, ready_file=ready))).parts.close()
        assert ready.exists() == stays


def test_a_start_that_fails_leaves_no_file(tmp_path: Path) -> None:
    """Neither a cassette nor a ready file, and the list of what was recorded is empty."""
    cassette, ready = tmp_path / "new.cassette", tmp_path / "ready.json"

    async def fail() -> None:
        taken = free_socket("127.0.0.1", 0)
        listen = replace(QUIET, port=taken.getsockname()[1], ready_file=ready)
        app = App(recording(cassette, "http://127.0.0.1:9", listen=listen))
        assert app.control.recorded_files == [cassette]
        with pytest.raises(SettingsError, match="cannot listen on"):
            await app.start()
        await app.give_up()
        taken.close()
        assert app.control.recorded_files == []

    run(fail())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_proxy_is_not_its_own_upstream(tmp_path: Path, host: str) -> None:
    """Each request would come back to it for ever."""

    async def start() -> None:
        port = unused_port()
        app = App(recording(tmp_path / "a", f"http://{host}:{port}", listen=replace(QUIET, port=port)))
        with pytest.raises(SettingsError, match="is this proxy itself"):
            await app.start()
        await app.give_up()

    run(start())


def test_a_stop_gives_up_answers_when_hurried(tmp_path: Path) -> None:
    """`hurry` ends the draining, however long it may take; the answer in flight is marked."""
    cassette = tmp_path / "any.cassette"

    async def stop() -> None:
        async with scripted(Send(STREAM + chunk(event(1))), Hang()) as server:
            async with running(recording(cassette, server.url), drain=60.0) as proxy:
                async with wire.connect(proxy.url) as client:
                    client.send(wire.post("/v1/chat/completions", {"stream": True}))
                    await client.head()
                    proxy.app.hurry()
                    await asyncio.wait_for(proxy.app.stop(), 30)

    run(stop())
    assert endings(cassette) == [Ending.PROXY_STOPPED]


def test_a_lame_duck_answers_while_it_is_not_ready(tmp_path: Path) -> None:
    """Load balancers see 503 at /ready before connections are refused; who hurries does not wait for them."""
    cassette = recordings.record(tmp_path / "any.cassette", [])

    async def serve() -> None:
        app = App(replaying(cassette, listen=replace(QUIET, lame_duck=3600.0)))
        addresses = await app.start()
        stopping = asyncio.create_task(app.stop())
        await asyncio.sleep(0)
        assert app.control.reasons_not_ready() == ["draining"]
        assert (await wire.ask(addresses.url, recordings.asked("a"))).status == 404  # a miss, and not a refusal
        assert not stopping.done()
        app.hurry()
        await asyncio.wait_for(stopping, 60)

    run(serve())
