"""A listening socket, and everybody who wants in.

uvloop's own servers accept one connection a turn of the loop. Of 16 clients that come together, each with a recording
to unpack in the turn it is heard, the last one would be heard 16 ms late, and its answer would be as late for ever.
Here all who wait are let in at once. Knows nothing of what they say.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable

log = logging.getLogger("replayproxy.server")

BACKLOG = 4096
"""Connections that may wait at the door."""

FULL_SECONDS = 1.0
"""How long the door stays shut when the process has no file descriptors left."""


class Acceptor:
    """Open until `close`. `listening` listens already, and is closed with the door."""

    def __init__(
        self,
        listening: socket.socket,
        protocol: Callable[[], asyncio.BaseProtocol],
        *,
        tls: ssl.SSLContext | None = None,
        patience: float = 60.0,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        """`patience` is seconds for a TLS handshake; `failed` is called for each one that fails."""
        self._loop = asyncio.get_running_loop()
        self._listening = listening
        self._protocol = protocol
        self._tls = tls
        self._patience = None if tls is None else patience
        self._failed = failed
        self._entering: set[asyncio.Task[object]] = set()
        self._shut: asyncio.TimerHandle | None = None
        listening.setblocking(False)
        self._open()

    def close(self) -> None:
        """Accept no more connections. May be called again."""
        if self._shut is not None:
            self._shut.cancel()
        if self._listening.fileno() >= 0:
            self._loop.remove_reader(self._listening)
            self._listening.close()

    def _open(self) -> None:
        self._shut = None
        self._loop.add_reader(self._listening, self._let_in)

    def _let_in(self) -> None:
        for _ in range(BACKLOG):
            try:
                connection, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue  # left while it waited
            except OSError as error:
                log.error("no more connections for a second: %s", error)  # EMFILE and the like
                self._loop.remove_reader(self._listening)
                self._shut = self._loop.call_later(FULL_SECONDS, self._open)
                return
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            entering = self._loop.create_task(self._enter(connection))
            self._entering.add(entering)
            entering.add_done_callback(self._entering.discard)

    async def _enter(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._protocol, connection, ssl=self._tls, ssl_handshake_timeout=self._patience
            )
        except OSError:  # no TLS, or left at once: there is no client to answer
            connection.close()
            if self._tls is not None:
                self._failed()
