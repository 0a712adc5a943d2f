"""The transport half of a connection to a server: which way bytes flow now, and since when the server has been silent.

Knows nothing of requests and answers.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from typing import cast


class UpstreamTransport(asyncio.Protocol):
    """A protocol over one transport, until that is lost."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._paused = False
        self._last_received_at = 0
        """When the server was heard last, or it was last its turn to wait: ns on the clock `now`."""

    # Sending

    def write(self, data: bytes) -> None:
        """Send bytes; nothing where the connection has ended."""
        if self._transport is not None and not self._transport.is_closing():
            self._last_received_at = self._now()  # while we still speak, the server need not
            self._transport.write(data)

    async def writable(self) -> None:
        """Wait until the server takes more."""
        await self._writable.wait()

    @property
    def _unsent_bytes(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    # Receiving

    @property
    def is_connected(self) -> bool:
        """Whether the server has neither hung up nor sent anything, as far as the kernel knows.

        The loop hears of it only in its next turn. One poll(2), 2 us. A server that is killed under load would else get
        one request more on each idle connection.
        """
        if self._transport is None or self._transport.is_closing():
            return False
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not poll.poll(0)

    def _pause(self) -> None:
        self._paused = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def _resume(self) -> None:
        self._paused = False
        self._last_received_at = self._now()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()
