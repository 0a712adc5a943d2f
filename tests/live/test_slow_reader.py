"""A slow reader does not stretch what is recorded: a chunk's time is that of the read from the server's socket.

The 2 ms are measured against a server that writes down when it sends each chunk, on the same clock; a real vLLM would
add its own unevenness, and is asked the coarser question.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import monotonic_ns

from replayproxy.core.stats import percentile
from replayproxy.model import Ending
from replayproxy.net.clock import SystemClock
from replayproxy.ports import Clock
from tests.apps import exchanges, run
from tests.doubles.upstreams import DONE, END, STREAM, chunk, event
from tests.live.conftest import Figures
from tests.live.matrix import chat
from tests.live.server import RealVllm
from tests.processes import recording
from tests.wire import connect

A_CHUNK = 0.030
"""Seconds that the slow reader takes."""

CHUNKS, PERIOD = 200, 5_000_000
"""What the punctual server sends: a chunk each 5 ms, six times faster than the reader takes them."""

SLOW = 0.8 * CHUNKS * A_CHUNK
"""Seconds: who needs longer was slow. (Timers have a grain, and vLLM puts two tokens into a chunk now and then.)"""

OFF = 2.0
"""Milliseconds at the 99th percentile."""

ATTEMPTS = 3


class Punctual:
    """A server that sends on time and remembers when it did. One stream a connection."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.sent: list[int] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request. A recorder that starts connects without one, to see whether anybody is there."""
        if await reader.readline():
            await reader.readuntil(b"\r\n\r\n")
            await self._stream(writer)
        writer.close()

    async def _stream(self, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM)
        began = self._clock.now()
        for number in range(CHUNKS):
            await self._clock.sleep_until(began + (number + 1) * PERIOD)
            self.sent.append(self._clock.now())
            writer.write(chunk(event(number)))
        writer.write(chunk(DONE) + END)
        await writer.drain()


@dataclass(frozen=True)
class Stretch:
    """How far recorded times are from those of the sender, in ms, after the constant part is taken off."""

    errors: list[float]
    stalled: int
    read_s: float

    @property
    def p99(self) -> float:
        """How far all but one in a hundred are at most."""
        return percentile(sorted(map(abs, self.errors)), 99)

    def __str__(self) -> str:
        return (
            f"{CHUNKS} chunks sent within {CHUNKS * PERIOD / 1e9:.1f} s and read within {self.read_s:.1f} s"
            f" are recorded within {self.p99:.2f} ms of their sending at p99 (<= {OFF:g})"
        )


async def read_slowly(url: str, pause: float = A_CHUNK) -> float:
    """Take a chunk every 30 ms, with hardly any room for more: the rest waits in the proxy. Gives the seconds."""
    started = monotonic_ns()
    async with connect(url, limit=1, receive_buffer=2048) as connection:
        connection.send(chat("Slowly.", stream=True, max_tokens=CHUNKS, ignore_eos=True))
        await connection.head()
        async for _ in connection.frames():
            await asyncio.sleep(pause)
        assert connection.whole
    return (monotonic_ns() - started) / 1e9


async def stretched(cassette: Path) -> Stretch:
    """Record one stream of the punctual server, read slowly."""
    clock = SystemClock()
    server = Punctual(clock)
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        with recording(cassette, f"http://127.0.0.1:{port}") as proxy:
            read_s = await read_slowly(proxy.url)
    clock.close()
    (exchange,) = exchanges(cassette)
    assert exchange.response.ending is Ending.COMPLETE
    heard = exchange.response.timeline.chunks[:CHUNKS]
    off = [(at - sent) / 1e6 for at, sent in zip(heard, server.sent, strict=True)]
    constant = median(off)  # the two zeros: when the request was complete, and when the clock was
    return Stretch([error - constant for error in off], exchange.stalled, read_s)


def test_a_slow_reader_does_not_change_recorded_times(tmp_path: Path, figures: Figures) -> None:
    """A reader that takes 30 ms a chunk of a stream with a chunk each 5 ms: recorded times are within 2 ms of the
    sender's at p99, and nothing was stalled. Measured up to three times, because others use the machine too."""
    for attempt in range(ATTEMPTS):
        stretch = run(stretched(tmp_path / f"{attempt}.cassette"))
        figures.append(f"slow reader: {stretch}")
        assert stretch.read_s > SLOW, "the reader was not slow"
        assert stretch.stalled == 0
        if stretch.p99 <= OFF:
            return
    raise AssertionError(f"recorded times are further off than {OFF:g} ms: {figures[-ATTEMPTS:]}")


def test_a_slow_reader_does_not_slow_vllm_down(vllm: RealVllm, tmp_path: Path, figures: Figures) -> None:
    """The recorded stream of a real vLLM takes the time that vLLM took, not the time that the reader took.

    How long vLLM takes by itself depends on the machine, so a reader that does not wait measures it just before.
    """
    for attempt in range(ATTEMPTS):
        cassette = tmp_path / f"slow-{attempt}.cassette"
        with recording(cassette, vllm.url) as proxy:
            vllm_s = run(read_slowly(vllm.url, pause=0))
            read_s = run(read_slowly(proxy.url))
        (exchange,) = exchanges(cassette)
        recorded_s = exchange.response.timeline.end / 1e9
        figures.append(
            f"slow reader: vLLM's stream takes {vllm_s:.1f} s; read within {read_s:.1f} s,"
            f" recorded as {recorded_s:.1f} s"
        )
        assert exchange.response.ending is Ending.COMPLETE
        assert exchange.stalled == 0
        assert read_s > SLOW
        if recorded_s - vllm_s < (read_s - vllm_s) / 3:
            return
    raise AssertionError(f"the recorded stream takes as long as its reader: {figures[-ATTEMPTS:]}")
