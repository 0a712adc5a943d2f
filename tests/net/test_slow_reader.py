"""A client that reads nothing does not slow a server down as long as less than 256 KiB wait for it in the proxy."""

from __future__ import annotations

import asyncio
from pathlib import Path

from replayproxy.model import Ending
from replayproxy.net.response_writer import BUFFERED
from tests.apps import exchanges, recording, run, running
from tests.doubles.upstreams import END, STREAM, chunk, event
from tests.wire import connect, post

PERIOD = 0.005
FILLED = event(0) + b": " + b"x" * 2000 + b"\n\n"


def test_a_reader_that_rests_does_not_slow_the_server_down(tmp_path: Path) -> None:
    """100 events, 5 ms apart: recorded within the time in which they were sent, and nothing was stalled."""
    count = BUFFERED // len(FILLED) - 1
    sent: list[float] = []
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readline():
            await reader.readuntil(b"\r\n\r\n")
            loop = asyncio.get_running_loop()
            writer.write(STREAM)
            for _ in range(count):
                await asyncio.sleep(PERIOD)
                sent.append(loop.time())
                writer.write(chunk(FILLED))
                await writer.drain()
            writer.write(chunk(b"data: [DONE]\n\n") + END)
            await writer.drain()
            done.set()
        writer.close()

    async def dialogue() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with (
                running(recording(tmp_path / "a.cassette", url)) as proxy,
                connect(proxy.url, limit=1, receive_buffer=2048) as connection,
            ):
                connection.send(post("/v1/chat/completions", b"{}"))
                await asyncio.wait_for(done.wait(), 60)  # before the client has read a byte of it
                await connection.head()
                async for _ in connection.frames():
                    pass
                assert connection.whole

    run(dialogue())
    [exchange] = exchanges(tmp_path / "a.cassette")
    assert (exchange.response.ending, exchange.stalled) == (Ending.COMPLETE, 0)
    times = exchange.response.timeline.chunks
    assert (times[count - 1] - times[0]) / 1e9 < (sent[-1] - sent[0]) + 0.5
