"""A recorder that is not scheduled while a stream runs knows it, and its cassette says so."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from replayproxy.proxy.starvation import PERIOD
from tests import wire
from tests.apps import exchanges, recording, run, running
from tests.doubles.upstreams import DONE, END, STREAM, Send, Until, chunk, event, scripted

STOPPED = 0.12
"""Seconds for which the process is not run, as the loop sees it: it blocks."""


def test_the_largest_delay_is_on_the_cassette(tmp_path: Path) -> None:
    """Of the answer that ran meanwhile, and of no other one."""
    cassette = tmp_path / "starved.cassette"

    async def dialogue() -> None:
        go = asyncio.Event()
        script = (Send(STREAM + chunk(event(1))), Until(go), Send(chunk(DONE) + END))
        async with scripted(*script, again=True) as server, running(recording(cassette, server.url)) as proxy:
            async with wire.connect(proxy.url) as client:
                client.send(wire.post("/v1/chat/completions", {"stream": True, "n": 1}))
                await client.head()
                await asyncio.sleep(0.03)  # the timer runs
                time.sleep(STOPPED)
                await asyncio.sleep(0)
                go.set()
                async for _ in client.frames():
                    pass
            assert (await wire.ask(proxy.url, wire.post("/v1/chat/completions", {"stream": True, "n": 2}))).whole

    run(dialogue())
    first, second = exchanges(cassette)
    assert first.starved >= STOPPED * 1e9 - PERIOD - 1_000_000
    assert second.starved < first.starved
