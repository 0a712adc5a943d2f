"""Sends the requests of a pair's legs: reaches a server first, and keeps what it answered as a leg of its call."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

from replayproxy.errors import UpstreamError, UpstreamTimeout, UpstreamUnreachable
from replayproxy.model import End, Ending, Leg, Request
from replayproxy.net.pair_call import PairCall, ServerRefused
from replayproxy.net.pair_servers import PooledServer, ServerPool
from replayproxy.net.relay import Relay
from replayproxy.net.response_collector import ResponseCollector
from replayproxy.ports import Clock


class LegSender:
    """Sends to servers of a pair, on this clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def reachable(self, servers: ServerPool, working: ExitStack) -> PooledServer:
        """A server that takes a connection, with one request more. Raises `UpstreamUnreachable`."""
        refused: set[PooledServer] = set()
        while True:
            server = working.enter_context(servers.working(await servers.next(refused)))
            try:
                await self.reach(servers, server)
                return server
            except ServerRefused as refusal:
                working.close()
                servers.leave_out(server, refusal.error)
                refused.add(server)

    async def reach(self, servers: ServerPool, server: PooledServer) -> None:
        """Have a connection to a server, so that the next request is sent at once. Raises `ServerRefused`."""
        try:
            await server.source.prepare()
        except UpstreamError as error:
            raise ServerRefused(servers, server, error) from error

    async def send(
        self,
        servers: ServerPool,
        server: PooledServer,
        call: PairCall,
        request: Request,
        listener: ResponseCollector | Relay,
    ) -> None:
        """Ask one server, and keep its answer as a leg, however it ends. Raises `ServerRefused`, `UpstreamError`."""
        await self.reach(servers, server)
        began = self._clock.now()
        started = began - call.started
        collector = listener.begin(started)
        ending = Ending.COMPLETE
        try:
            await server.source.play(request, listener)
        except UpstreamUnreachable as error:
            # The connection that `_reach` made had ended when the request was to be sent: a server that is killed
            # leaves connections that were never accepted. It has not been asked.
            ending = Ending.UPSTREAM_CUT
            raise ServerRefused(servers, server, error) from error
        except UpstreamError as error:
            ending = Ending.TIMEOUT if isinstance(error, UpstreamTimeout) else Ending.UPSTREAM_CUT
            raise type(error)(f"the {servers.role} server failed: {error}") from error
        except asyncio.CancelledError:
            ending = Ending.CLIENT_LEFT
            raise
        finally:
            leg_response = collector.broken(End(self._clock.now() - began, ending))
            call.legs.append(Leg(servers.role, server.source.url, request, leg_response, started))
