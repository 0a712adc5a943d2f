"""Several servers of one kind: which one is next, and which one is out.

The least busy first; among equally busy ones the one that has waited longest. A server that refuses a connection is
left out for a second and must be reached again before it gets a request.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

from replayproxy.core.pd import PairServer
from replayproxy.errors import UpstreamError, UpstreamUnreachable
from replayproxy.net.upstream import HttpUpstream
from replayproxy.ports import Clock

OUT = 1_000_000_000
"""Nanoseconds a server is left out before it is probed."""


@dataclass(eq=False)
class PooledServer:
    """One server and what we know of it."""

    source: HttpUpstream
    pair_server: PairServer
    busy: int = 0
    turn: int = 0
    """When it was asked last, in requests of its kind."""
    out_since: int | None = field(default=None)


class ServerPool:
    """All prefill servers, or all decode servers."""

    def __init__(self, role: str, servers: Sequence[PooledServer], clock: Clock) -> None:
        self.role = role
        self.servers = servers
        self._clock = clock
        self._turns = count(1)
        self._trouble = ""

    async def next(self, but: Collection[PooledServer] = (), *, patient: bool = True) -> PooledServer:
        """The least busy server that can be reached, `but` these. Raises `UpstreamUnreachable` when there is none.

        While all are out, one may be back: who is `patient` tries, and that takes seconds where a machine is off.
        """
        candidates = [server for server in self.servers if server not in but]
        candidates.sort(key=lambda server: (server.busy, server.turn))
        for server in candidates:
            if server.out_since is None:
                return server
        for server in candidates:
            if patient and await self._is_back(server):
                return server
        urls = ", ".join(server.source.url for server in self.servers)
        raise UpstreamUnreachable(f"no {self.role} server answers ({urls}): start one. Of the last: {self._trouble}")

    @property
    def some_are_out(self) -> bool:
        """Whether there is something to probe."""
        return any(server.out_since is not None for server in self.servers)

    async def probe(self) -> None:
        """Ask those that have been out for long enough whether they are back."""
        for server in self.servers:
            if server.out_since is not None and self._clock.now() - server.out_since >= OUT:
                await self._is_back(server)

    async def reach(self) -> None:
        """Try all of them, and leave out those that are not there. Raises `UpstreamError` when there is none."""
        for server in self.servers:
            await self._is_back(server)
        await self.next()

    async def _is_back(self, server: PooledServer) -> bool:
        try:
            await server.source.reach()
        except UpstreamError as error:
            self.leave_out(server, error)
            return False
        server.out_since = None
        return True

    def leave_out(self, server: PooledServer, error: UpstreamError) -> None:
        """It refused a connection."""
        server.out_since = self._clock.now()
        self._trouble = str(error)

    @contextmanager
    def working(self, server: PooledServer) -> Iterator[PooledServer]:
        """The server has one request more while the block runs. Enter it in the turn of the loop that chose it."""
        server.busy += 1
        server.turn = next(self._turns)
        try:
            yield server
        finally:
            server.busy -= 1

    def close(self) -> None:
        """Close what is idle."""
        for server in self.servers:
            server.source.close()
