"""Sending a leg: a server is reached before it is asked, and whatever becomes of its answer is a leg of the call."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from replayproxy.core.pd import PairServer
from replayproxy.errors import UpstreamError, UpstreamGarbled, UpstreamTimeout, UpstreamUnreachable
from replayproxy.model import End, Ending, Head, Request
from replayproxy.net.leg_maker import Place
from replayproxy.net.leg_sender import LegSender
from replayproxy.net.pair_call import PairCall, ServerRefused
from replayproxy.net.pair_servers import PooledServer, ServerPool
from replayproxy.net.response_collector import ResponseCollector
from replayproxy.net.upstream import HttpUpstream
from replayproxy.ports import Listener, Upload
from tests.doubles.fakes import JSON, HearingListener, ManualClock

REQUEST = Request("POST", "/v1/x")


class Scripted(HttpUpstream):
    """A server that is reached and answers as the test says."""

    def __init__(self, name: str, clock: ManualClock, fails: BaseException | None = None, reached: bool = True) -> None:
        super().__init__(f"http://{name}:1", clock)
        self._fails = fails
        self._reached = reached

    async def prepare(self) -> None:
        """Be there, or not."""
        if not self._reached:
            raise UpstreamUnreachable(f"nobody answers at {self.url}")

    async def play(
        self, request: Request, listener: Listener, upload: Upload | None = None, received_at: int | None = None
    ) -> None:
        """Say a head, and then what the script says."""
        if isinstance(self._fails, UpstreamUnreachable):
            raise self._fails
        await listener.head(Head(1, 200, JSON))
        if self._fails is not None:
            raise self._fails
        await listener.end(End(2, Ending.COMPLETE))


def pool(clock: ManualClock, *servers: Scripted) -> ServerPool:
    """Decode servers."""
    return ServerPool("decode", [PooledServer(one, PairServer(one.url, one.address.host)) for one in servers], clock)


@pytest.mark.parametrize(
    ("fails", "raised", "ending"),
    [
        (None, None, Ending.COMPLETE),
        (UpstreamUnreachable("gone"), ServerRefused, Ending.UPSTREAM_CUT),
        (UpstreamTimeout("silent"), UpstreamTimeout, Ending.TIMEOUT),
        (UpstreamGarbled("noise"), UpstreamGarbled, Ending.UPSTREAM_CUT),
        (asyncio.CancelledError(), asyncio.CancelledError, Ending.CLIENT_LEFT),
    ],
)
def test_a_leg_is_kept_however_it_ends(
    fails: BaseException | None, raised: type[BaseException] | None, ending: Ending
) -> None:
    """Failures name the kind of server; one that was not asked may be replaced by another."""
    clock = ManualClock(100)
    call = PairCall(REQUEST, {}, Place.LOOP, HearingListener([], clock), 40, "id", [])
    servers = pool(clock, Scripted("a", clock, fails))

    async def send() -> None:
        await LegSender(clock).send(servers, servers.servers[0], call, REQUEST, ResponseCollector())

    if raised is None:
        asyncio.run(send())
    else:
        with pytest.raises(raised) as caught:
            asyncio.run(send())
        assert not isinstance(caught.value, UpstreamError) or "the decode server failed" in str(caught.value)
    (leg,) = call.legs
    assert (leg.role, leg.upstream, leg.started, leg.response.ending) == ("decode", "http://a:1", 60, ending)


def test_a_server_that_takes_a_connection_is_found() -> None:
    """Those that refuse are left out; where all do, the error says so."""
    clock = ManualClock(100)

    async def found(*reached: bool) -> str:
        servers = pool(clock, *(Scripted(name, clock, reached=up) for name, up in zip("ab", reached, strict=True)))
        with ExitStack() as working:
            return (await LegSender(clock).reachable(servers, working)).source.url

    assert asyncio.run(found(False, True)) == "http://b:1"
    with pytest.raises(UpstreamError):
        asyncio.run(found(False, False))
