"""Which of several servers is next, and what becomes of one that refuses connections."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from replayproxy.core.pd import PairServer
from replayproxy.errors import UpstreamUnreachable
from replayproxy.net.pair_servers import OUT, PooledServer, ServerPool
from replayproxy.net.upstream import HttpUpstream
from tests.doubles.fakes import ManualClock


class There(HttpUpstream):
    """A server that is reached, or not, as the test says."""

    def __init__(self, name: str, clock: ManualClock) -> None:
        super().__init__(f"http://{name}:1", clock)
        self.up = True
        self.reached = 0

    async def reach(self) -> None:
        """Be there."""
        self.reached += 1
        if not self.up:
            raise UpstreamUnreachable(f"nobody answers at {self.url}")


class House:
    """Three servers and a clock."""

    def __init__(self, *names: str) -> None:
        self.clock = ManualClock()
        self.there = [There(name, self.clock) for name in names or ("a", "b", "c")]
        servers = [PooledServer(source, PairServer(source.url, source.address.host)) for source in self.there]
        self.servers = ServerPool("decode", servers, self.clock)
        self.held: list[ExitStack] = []
        """What is under way: closing one ends the request."""

    def next(self, but: str = "", *, patient: bool = True) -> str:
        """The name of the next one, which then has a request more."""
        refused = [server for server in self.servers.servers if server.pair_server.host in but]
        server = asyncio.run(self.servers.next(refused, patient=patient))
        self.held.append(ExitStack())
        self.held[-1].enter_context(self.servers.working(server))
        return server.pair_server.host

    def leave_out(self, *names: str) -> None:
        """These refuse connections."""
        for server, source in zip(self.servers.servers, self.there, strict=True):
            if server.pair_server.host in names:
                source.up = False
                self.servers.leave_out(server, UpstreamUnreachable("refused"))


def test_equally_busy_servers_take_turns() -> None:
    """In their order, again and again; whether or not they have finished what they were asked."""
    house = House()
    assert [house.next() for _ in range(7)] == ["a", "b", "c", "a", "b", "c", "a"]
    other = House()
    said = []
    for _ in range(7):
        said.append(other.next())
        other.held[-1].close()
    assert said == ["a", "b", "c", "a", "b", "c", "a"]


def test_the_least_busy_is_next() -> None:
    """Who has finished gets the next one, also out of turn."""
    house = House()
    assert [house.next() for _ in range(3)] == ["a", "b", "c"]
    house.held[1].close()
    assert [house.next(), house.next()] == ["b", "a"]


def test_a_server_that_is_back_is_not_flooded() -> None:
    """What it has missed is not made up for: it takes its turn among the equally busy."""
    house = House()
    house.leave_out("c")
    for _ in range(20):
        house.next()
        house.held[-1].close()
    house.there[2].up = True
    house.clock.move(OUT)
    asyncio.run(house.servers.probe())
    said = []
    for _ in range(6):
        said.append(house.next())
        house.held[-1].close()
    assert sorted(said) == ["a", "a", "b", "b", "c", "c"]


def test_a_server_that_refuses_is_left_out_until_it_is_reached_again() -> None:
    """It is not asked, is probed no sooner than after a second, and needs to be there then."""
    house = House()
    house.leave_out("b")
    assert [house.next() for _ in range(4)] == ["a", "c", "a", "c"]
    asyncio.run(house.servers.probe())
    assert (house.there[1].reached, house.servers.some_are_out) == (0, True)
    house.clock.move(OUT)
    asyncio.run(house.servers.probe())
    assert (house.there[1].reached, house.servers.some_are_out) == (1, True)
    house.there[1].up = True
    asyncio.run(house.servers.probe())
    assert house.there[1].reached == 1, "again only after a second"
    house.clock.move(OUT)
    asyncio.run(house.servers.probe())
    assert (house.there[1].reached, house.servers.some_are_out) == (2, False)
    assert house.next() == "b"


def test_when_all_are_out_a_request_tries_them_at_once() -> None:
    """One may be back; a request is not lost for the sake of a second."""
    house = House()
    house.leave_out("a", "b", "c")
    house.there[2].up = True
    assert house.next() == "c"


def test_who_can_do_without_does_not_wait_for_servers_that_are_out() -> None:
    """A machine that is off does not refuse: each try lasts until a connection's patience ends."""
    house = House()
    house.leave_out("a", "b", "c")
    with pytest.raises(UpstreamUnreachable):
        house.next(patient=False)
    assert [source.reached for source in house.there] == [0, 0, 0]


def test_when_nobody_is_there_the_error_names_them_all_and_the_last_trouble() -> None:
    """And the kind that is missing."""
    house = House("a", "b")
    house.leave_out("a", "b")
    with pytest.raises(
        UpstreamUnreachable, match=r"no decode server answers \(http://a:1, http://b:1\).*at http://b:1"
    ):
        house.next()


def test_a_server_that_this_request_has_met_is_not_met_again() -> None:
    """Not even when it is the only one."""
    house = House("a", "b")
    assert [house.next(but="a"), house.next(but="a")] == ["b", "b"]
    with pytest.raises(UpstreamUnreachable):
        house.next(but="ab")


def test_one_of_a_kind_is_enough_to_begin() -> None:
    """`reach` fails only when there is none; those that are not there are left out, and probed."""
    house = House("a", "b")
    house.there[0].up = False
    asyncio.run(house.servers.reach())
    assert house.servers.some_are_out
    assert [house.next(), house.next()] == ["b", "b"]
    house.there[1].up = False
    with pytest.raises(UpstreamUnreachable):
        asyncio.run(house.servers.reach())
