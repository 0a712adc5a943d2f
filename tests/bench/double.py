"""A double for vLLM: answers chats with paced events, each in an HTTP chunk of its own. A process by itself.

    python -m tests.bench.double RATE         events per second and stream; 0: all at once. Prints its port.

A stream's first event comes one period after its request, the others every period; streams keep the phase they came
with. A timerfd wakes it, because the event loop's own timers would gather a millisecond's events into one burst, and
bursts cost a proxy less.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from typing import cast

import httptools
import uvloop

from replayproxy.net.clock import SystemClock
from tests.bench.conversation import asked

HEAD = (
    b"HTTP/1.1 200 OK\r\ndate: Fri, 20 Nov 2026 13:17:21 GMT\r\nserver: uvicorn\r\n"
    b"content-type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
)


class Pacer:
    """Says when each stream's next event is due. All have the same period, so that a queue is always in order."""

    def __init__(self, rate: float) -> None:
        self.period = round(1e9 / rate) if rate else 0
        self._clock = SystemClock()
        self._due: deque[tuple[int, Stream]] = deque()
        self._something = asyncio.Event()

    def start(self, stream: Stream) -> None:
        """This stream begins one period from now."""
        self._due.append((self._clock.now() + self.period, stream))
        self._something.set()

    async def run(self) -> None:
        """Send what is due, for ever."""
        while True:
            if not self._due:
                self._something.clear()
                await self._something.wait()
            due, stream = self._due.popleft()
            await self._clock.sleep_until(due)
            if stream.send_next():
                self._due.append((due + self.period, stream))


class Stream(asyncio.Protocol):
    """A connection: one chat after the other."""

    def __init__(self, pacer: Pacer) -> None:
        self._pacer = pacer
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""
        self._events: deque[bytes] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: connected."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes came."""
        self._parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        """httptools: more of the request's body."""
        self._body += data

    def on_message_complete(self) -> None:
        """httptools: a request is whole."""
        events = asked(self._body).events
        self._body = b""
        self._transport.write(HEAD)
        self._events.extend(b"%x\r\n%b\r\n" % (len(event), event) for event in events)
        if self._pacer.period:
            self._pacer.start(self)
        else:
            while self.send_next():
                pass

    def send_next(self) -> bool:
        """One event; after the finish reason `[DONE]` comes at once. False: that was the last, or nobody listens."""
        if self._transport.is_closing():
            return False
        self._transport.write(self._events.popleft())
        if len(self._events) > 1:
            return True
        self._transport.write(self._events.popleft())
        self._transport.write(b"0\r\n\r\n")
        return False


async def main(rate: float) -> None:
    """Serve until killed."""
    pacer = Pacer(rate)
    server = await asyncio.get_running_loop().create_server(lambda: Stream(pacer), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await pacer.run()


if __name__ == "__main__":
    uvloop.run(main(float(sys.argv[1])))
