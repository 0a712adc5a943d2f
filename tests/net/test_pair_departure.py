"""A client that leaves frees both servers of a pair within 250 ms, at whatever moment; what was said is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from replayproxy.core.pd import PROTOCOLS
from replayproxy.model import Ending
from replayproxy.net import lingering
from replayproxy.net.pair import PairUpstream
from replayproxy.net.upstream import HttpUpstream
from tests import wire
from tests.apps import Running, exchanges, pairing, run, running
from tests.doubles.pair_double import Hang, Pair, pair
from tests.doubles.pair_faults import SayLater
from tests.doubles.pair_model import CHAT
from tests.pair_questions import ask

CONCURRENT = ("transfer-id", "bootstrap-room")
SECONDS = 10.0
"""At once, on a busy machine: a lease ends after 30."""

Prepare = Callable[[Pair], None]
Moment = Callable[[Pair, wire.Connection], Any]


def _hold_prefill(double: Pair) -> None:
    double.prefill.gate.clear()


def _hold_decode(double: Pair) -> None:
    double.decode.gate.clear()


def _stall_decode(double: Pair) -> None:
    double.decode.fault = Hang(3)


async def _prefill_works(double: Pair, _: wire.Connection) -> None:
    both = 2 if double.protocol in CONCURRENT else 1
    await double.until(lambda: sum(server.working for server in double.servers) == both)


async def _decode_works(double: Pair, _: wire.Connection) -> None:
    await double.until(lambda: double.decode.working == 1)


async def _decode_speaks(double: Pair, client: wire.Connection) -> None:
    await client.head()
    frames = client.frames()
    for _ in range(3):
        await anext(frames)


MOMENTS: list[tuple[str, Prepare, Moment]] = [
    ("before prefill answers", _hold_prefill, _prefill_works),
    ("before decode answers", _hold_decode, _decode_works),
    ("while decode answers", _stall_decode, _decode_speaks),
]


async def left(double: Pair, client: wire.Connection, how: str) -> float:
    """Leave, and see how many seconds it takes until both servers are idle."""
    clock = asyncio.get_running_loop()
    began = clock.time()
    client.close() if how == "closes" else client.reset()
    await double.until(lambda: double.idle)
    return clock.time() - began


@pytest.mark.parametrize("how", ["closes", "resets"])
@pytest.mark.parametrize(("prepare", "moment"), [row[1:] for row in MOMENTS], ids=[row[0] for row in MOMENTS])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_client_that_leaves_frees_both(
    tmp_path: Path, protocol: str, prepare: Prepare, moment: Moment, how: str
) -> None:
    """Neither works for nobody, and no block stays pinned; the exchange is CLIENT_LEFT, with its legs."""
    cassette = tmp_path / "left.cassette"

    async def dialogue() -> Pair:
        async with pair(protocol) as double, running(pairing(cassette, double)) as proxy:
            prepare(double)
            async with wire.connect(proxy.url) as client:
                client.send(ask(CHAT, "never mind", stream=True))
                await moment(double, client)
                assert await left(double, client, how) < SECONDS
            assert not double.counts["reused"]
        return double

    double = run(dialogue())
    [exchange] = exchanges(cassette)
    assert exchange.response.ending is Ending.CLIENT_LEFT
    legs = {leg.role: leg.response.ending for leg in exchange.legs}
    if prepare is _hold_prefill:
        assert double.prefill.counts["aborted"] == 1
        assert double.decode.counts["aborted"] == (1 if protocol in CONCURRENT else 0)
        asked = ("prefill", "decode") if protocol in CONCURRENT else ("prefill",)
        assert legs == dict.fromkeys(asked, Ending.CLIENT_LEFT)
    else:
        assert double.decode.counts["aborted"] == 1
        assert legs["decode"] is Ending.CLIENT_LEFT
        assert legs["prefill"] in (Ending.COMPLETE, Ending.CLIENT_LEFT)
        assert protocol in CONCURRENT or legs["prefill"] is Ending.COMPLETE
    if prepare is _stall_decode:
        assert exchange.response.status == 200
        assert len(exchange.response.cuts) == 3


class SlowToConnect(HttpUpstream):
    """A server that is reached, and the next time takes its time to accept a connection."""

    times = 0

    async def prepare(self) -> None:
        """The second time, for ever."""
        self.times += 1
        if self.times == 2:
            self.waiting.set()
            await asyncio.Event().wait()
        await super().prepare()

    def __init__(self, url: str, clock: Any) -> None:
        super().__init__(url, clock)
        self.waiting = asyncio.Event()


def slow_decode(proxy: Running, url: str) -> SlowToConnect:
    """Put it behind a running proxy."""
    upstream = proxy.app.parts.upstream
    assert isinstance(upstream, PairUpstream)
    slow = SlowToConnect(url, proxy.app.parts.clock)
    upstream._decode.servers[0].source = slow
    return slow


@pytest.mark.parametrize("how", ["closes", "resets"])
@pytest.mark.parametrize("protocol", ["nixl", "addr-id"])
def test_a_client_that_leaves_between_the_legs_leaves_nothing_pinned(tmp_path: Path, protocol: str, how: str) -> None:
    """What the prefill holds would stay for its lease: decode takes it over for one token, and throws it away."""
    cassette = tmp_path / "between.cassette"

    async def dialogue() -> Pair:
        async with pair(protocol) as double, running(pairing(cassette, double)) as proxy:
            slow = slow_decode(proxy, double.decode.url)
            async with wire.connect(proxy.url) as client:
                client.send(ask(CHAT, "never mind", stream=True, max_tokens=9))
                await slow.waiting.wait()
                assert double.table.pinned == 1
                assert await left(double, client, how) < SECONDS
        return double

    double = run(dialogue())
    assert (double.counts["read"], double.counts["reused"], double.counts["expired"]) == (1, 0, 0)
    [visit] = double.decode.asked
    assert orjson.loads(visit.body)["max_tokens"] == 1
    [exchange] = exchanges(cassette)
    assert exchange.response.ending is Ending.CLIENT_LEFT
    assert [(leg.role, leg.response.ending) for leg in exchange.legs] == [("prefill", Ending.COMPLETE)]


def test_a_plain_pair_has_nothing_to_give_back(tmp_path: Path) -> None:
    """Its store is freed by nobody: decode is not bothered."""

    async def dialogue() -> Pair:
        async with pair("plain") as double, running(pairing(tmp_path / "plain.cassette", double)) as proxy:
            slow = slow_decode(proxy, double.decode.url)
            async with wire.connect(proxy.url) as client:
                client.send(ask(CHAT, "never mind"))
                await slow.waiting.wait()
            follow = await wire.ask(proxy.url, ask(CHAT, "go on"))
            assert follow.status == 200
        return double

    assert len(run(dialogue()).decode.asked) == 1


def test_a_proxy_that_stops_says_so_of_the_legs_too(tmp_path: Path) -> None:
    """It was not the client who left."""
    cassette = tmp_path / "stopped.cassette"

    async def dialogue() -> None:
        async with pair("nixl") as double:
            double.decode.fault = Hang(3)
            async with running(pairing(cassette, double), drain=0) as proxy, wire.connect(proxy.url) as client:
                client.send(ask(CHAT, "wait", stream=True))
                await _decode_speaks(double, client)
                await proxy.app.stop(drain=0)
                await double.until(lambda: double.idle)

    run(dialogue())
    [exchange] = exchanges(cassette)
    assert exchange.response.ending is Ending.PROXY_STOPPED
    assert [leg.response.ending for leg in exchange.legs] == [Ending.COMPLETE, Ending.PROXY_STOPPED]


def test_a_prefill_that_outlasts_its_decode_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client has its whole answer; the prefill may finish, but not for long, and its leg is kept."""
    monkeypatch.setattr("replayproxy.net.pair.AFTERWARDS", 0.1)
    cassette = tmp_path / "outlasts.cassette"

    async def dialogue() -> None:
        async with (
            pair("transfer-id") as double,
            running(pairing(cassette, double)) as proxy,
            wire.connect(proxy.url) as client,
        ):
            double.prefill.fault = Hang(3)  # after the hand-over
            first = await client.ask(ask(CHAT, "first", stream=True))
            assert (first.status, first.whole, double.prefill.working) == (200, True, 1)
            double.prefill.fault = None
            assert (await client.ask(ask(CHAT, "second", stream=True))).whole
            assert double.idle

    run(dialogue())
    first, second = exchanges(cassette)
    assert {leg.role: leg.response.ending for leg in first.legs} == {
        "prefill": Ending.CLIENT_LEFT,
        "decode": Ending.COMPLETE,
    }
    assert {leg.response.ending for leg in second.legs} == {Ending.COMPLETE}


@pytest.mark.parametrize("how", ["closes", "resets"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_short_answer_of_decode_is_read_to_its_end_though_the_client_leaves_at_its_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str, how: str
) -> None:
    """A router that hangs up at each 403: what decode said is whole, and so is its leg."""
    monkeypatch.setattr(lingering, "SOON", 30.0)  # it ends in 0.1 s, later on a busy machine
    cassette = tmp_path / "left.cassette"
    fault = SayLater(0.1)

    async def dialogue() -> None:
        async with pair(protocol) as double, running(pairing(cassette, double)) as proxy:
            double.decode.fault = fault
            async with wire.connect(proxy.url) as client:
                client.send(ask(CHAT, "may I?"))
                assert (await client.head()).status == 403
                client.close() if how == "closes" else client.reset()
                while proxy.app.parts.state.counters.in_flight:
                    await asyncio.sleep(0.005)

    run(dialogue())
    [exchange] = exchanges(cassette)
    response = exchange.response
    assert (response.status, response.body, response.ending) == (403, fault.body, Ending.COMPLETE)
    legs = {leg.role: leg.response.ending for leg in exchange.legs}
    assert legs["decode"] is Ending.COMPLETE
    assert legs["prefill"] is Ending.COMPLETE or protocol in CONCURRENT  # there it may still be under way
