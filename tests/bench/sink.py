"""A server that takes any upload and throws it away. A process by itself; prints its port.

It answers with a short JSON body when the request is whole; one of /long gets `LONG` bytes, as fast as they are taken.
"""

from __future__ import annotations

import asyncio
from typing import cast

import httptools
import uvloop

LONG = 8 * 1024 * 1024
SHORT_ANSWER = b'{"object":"list","data":[{"id":"tiny","object":"model"}]}'
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"


class Sink(asyncio.Protocol):
    """A connection: one request after the other."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes came."""
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        """httptools: the target, or a part of it."""
        self._url += url

    def on_message_complete(self) -> None:
        """httptools: a request is whole."""
        body = b'{"text":"%b"}' % (b"a" * (LONG - 11)) if self._url.startswith(b"/long") else SHORT_ANSWER
        self._url = b""
        self._transport.write(HEAD % len(body) + body)


async def main() -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
