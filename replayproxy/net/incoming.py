"""A request on its way in: its head is here, its body arrives. Knows no socket; `http_connection` feeds it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from replayproxy.net.body import BodyReader, ChunkedReader, LengthReader
from replayproxy.net.framing import Framing, RequestHead

UPLOAD_BUFFER = 256 * 1024
"""Bytes of a body that wait for the handler; beyond it the socket is not read."""


class Incoming:
    """A request whose head is here. Its body may still be arriving."""

    def __init__(self, head: RequestHead, taken: Callable[[], None], go_on: Callable[[], None]) -> None:
        """`taken` is called when there is room for more of the body, `go_on` when the client shall begin to send it."""
        self.head = head
        self._taken = taken
        self._go_on = go_on
        self.reader: BodyReader | None = None
        if head.framing is not Framing.NONE:
            self.reader = ChunkedReader() if head.framing is Framing.CHUNKED else LengthReader(head.length)
        self.unanswered = head.expects_continue
        """The client waits for 100 before it sends its body."""
        self.waiting = bytearray()
        self.unwanted = False
        self.size = 0
        """Bytes of the body that are here or were."""
        self._arrived: asyncio.Future[None] | None = None

    @property
    def whole(self) -> bool:
        """Whether the last byte of the body is here."""
        return self.reader is None or self.reader.done

    @property
    def has_more(self) -> bool:
        """Whether bytes that were fed wait for another turn of the loop: then `feed` nothing."""
        return self.reader is not None and self.reader.has_more

    def feed(self, data: bytes) -> bytes:
        """Take the body's bytes; gives those behind its end. Raises `ClientError`."""
        assert self.reader is not None
        body, rest = self.reader.feed(data)
        self.unanswered = False  # it did not wait
        self.size += len(body)
        if not self.unwanted:
            self.waiting += body
        if self._arrived is not None and not self._arrived.done() and (body or self.reader.done):
            self._arrived.set_result(None)
        return rest

    def take(self) -> bytes:
        """All that waits."""
        body = bytes(self.waiting)
        self.waiting.clear()
        self._taken()
        return body

    def discard(self) -> None:
        """Drop the rest of the body."""
        self.unwanted = True
        self.waiting.clear()

    async def upload(self) -> AsyncIterator[bytes]:
        """The body as it comes. Asks for it first, where the client may wait to be asked."""
        self.unanswered = False
        if self.head.expects_continue:
            self._go_on()
        while True:
            if self.waiting:
                yield self.take()
            elif self.whole:
                return
            else:
                self._arrived = asyncio.get_running_loop().create_future()
                await self._arrived
