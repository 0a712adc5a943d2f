"""Several servers of one kind: which one is next, and which one is out.

The least busy first; among equally busy ones the one that served least. A server that refuses a connection is left out
for a second and must be reached again before it gets a request.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from replayproxy.core.pd import Party
from replayproxy.errors import UpstreamError, UpstreamUnreachable
from replayproxy.net.upstream import HttpUpstream
from replayproxy.ports import Clock

OUT = 1_000_000_000
"""Nanoseconds a server is left out before it is probed."""


@dataclass(eq=False)
class Server:
    """One server and what we know of it."""

    source: HttpUpstream
    party: Party
    busy: int = 0
    served: int = 0
    out_since: int | None = field(default=None)


class Servers:
    """All prefill servers, or all decode servers."""

    def __init__(self, role: str, servers: Sequence[Server], clock: Clock) -> None:
        self.role = role
        self.servers = servers
        self._clock = clock

    async def next(self, but: Collection[Server] = ()) -> Server:
        """The least busy server that can be reached, `but` these. Raises `UpstreamUnreachable` when there is none."""
        candidates = [server for server in self.servers if server not in but]
        candidates.sort(key=lambda server: (server.busy, server.served))
        for server in candidates:
            if server.out_since is None:
                return server
        for server in candidates:  # all of them are out: probe those that have been out for long enough
            if await self._is_back(server):
                return server
        urls = ", ".join(server.source.url for server in self.servers)
        raise UpstreamUnreachable(f"no {self.role} server answers ({urls}): start one")

    @property
    def some_are_out(self) -> bool:
        """Whether there is something to probe."""
        return any(server.out_since is not None for server in self.servers)

    async def probe(self) -> None:
        """Ask those that are out whether they are back."""
        for server in self.servers:
            if server.out_since is not None and self._clock.now() - server.out_since >= OUT:
                await self._is_back(server)

    async def _is_back(self, server: Server) -> bool:
        try:
            await server.source.reach()
        except UpstreamError:
            server.out_since = self._clock.now()
            return False
        server.out_since = None
        return True

    def leave_out(self, server: Server) -> None:
        """It refused a connection."""
        server.out_since = self._clock.now()

    @contextmanager
    def working(self, server: Server) -> Iterator[Server]:
        """The server has one request more while the block runs."""
        server.busy += 1
        server.served += 1
        try:
            yield server
        finally:
            server.busy -= 1

    def close(self) -> None:
        """Close what is idle."""
        for server in self.servers:
            server.source.close()
