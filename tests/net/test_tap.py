"""A recorder in front of each server of somebody else's pair: the two cassettes become one, and each can be replayed
to a router that is not ours.

    client ──▶ router ──▶ recorder ──▶ prefill
                     └──▶ recorder ──▶ decode
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import orjson
import pytest

from replayproxy.cassette.checking.verify import verify
from replayproxy.cassette.editing.join import Joined, join
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.core.pd import PROTOCOLS
from replayproxy.model import Ending, Request
from tests import fuzz, wire
from tests.apps import exchanges, pairing, recording, replaying, run, running
from tests.doubles.pair_double import Pair, pair
from tests.doubles.pair_model import CHAT
from tests.pair_questions import ENDPOINTS, answer_to, ask, said

EACH = [*((next(iter(PROTOCOLS)), path) for path in ENDPOINTS), *((each, CHAT) for each in list(PROTOCOLS)[1:])]
KINDS = EACH if fuzz.CASES is None else list(product(PROTOCOLS, ENDPOINTS))
"""Each protocol, and each endpoint, which have nothing to do with one another; `make fuzz` tries all with all."""

STREAMED = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@dataclass(frozen=True)
class Taps:
    """The cassettes of the two recorders, and what the router kept for itself."""

    prefill: Path
    decode: Path
    router: Path

    @classmethod
    def in_(cls, folder: Path) -> Taps:
        """New ones."""
        return cls(folder / "prefill.cassette", folder / "decode.cassette", folder / "router.cassette")


@asynccontextmanager
async def routed(router: Path, double: Pair, prefill: str, decode: str) -> AsyncIterator[str]:
    """Somebody else's router, in front of these two servers; it is played by our own."""
    async with running(pairing(router, double, pair={"prefill": (prefill,), "decode": (decode,)})) as proxy:
        yield proxy.url


@asynccontextmanager
async def tapped(taps: Taps, double: Pair) -> AsyncIterator[str]:
    """The whole way, down to the servers."""
    async with (
        running(recording(taps.prefill, double.prefill.url)) as prefill,
        running(recording(taps.decode, double.decode.url)) as decode,
        routed(taps.router, double, prefill.url, decode.url) as url,
    ):
        yield url


@STREAMED
@pytest.mark.parametrize(("protocol", "path"), KINDS)
def test_two_cassettes_become_one_that_replays_as_the_pair_answered(
    tmp_path: Path, protocol: str, path: str, stream: bool
) -> None:
    """One exchange a request, with both legs as the servers heard and answered them, whatever came in between."""
    taps, joined = Taps.in_(tmp_path), tmp_path / "joined.cassette"
    requests = [ask(path, f"question {number % 3}", stream=stream) for number in range(4)]

    async def record() -> tuple[Pair, list[wire.Answer]]:
        async with pair(protocol) as double, tapped(taps, double) as url:
            answers = await asyncio.gather(*(wire.ask(url, request) for request in requests))
            await wire.ask(url, wire.get("/v1/models"))
        return double, answers

    async def replay() -> list[wire.Answer]:
        async with running(replaying(joined)) as proxy:
            return [await wire.ask(proxy.url, request) for request in requests]

    double, live = run(record())
    assert [said(answer.body) for answer in live] == [answer_to(request) for request in requests]
    assert join(joined, taps.prefill, taps.decode) == Joined(pairs=4, alone=1, left=0)
    assert verify(joined) == (5, [])

    pairs = [exchange for exchange in exchanges(joined) if exchange.legs]
    key = Matcher(MatchRules()).key
    assert sorted(key(exchange.request) for exchange in pairs) == sorted(key(request) for request in requests)
    for role, server in (("prefill", double.prefill), ("decode", double.decode)):
        legs = [next(leg for leg in exchange.legs if leg.role == role) for exchange in pairs]
        heard = sorted(visit.body for visit in server.asked if visit.method == "POST")
        assert sorted(leg.request.body for leg in legs) == heard
        assert all(leg.response.ending is Ending.COMPLETE for leg in legs)
    for exchange in pairs:
        prefill, decode = exchange.legs
        assert exchange.response.body == decode.response.body
        assert exchange.response.cuts == decode.response.cuts
        assert min(prefill.started, decode.started) == 0
        ended = decode.started + decode.response.timeline.end
        assert abs(exchange.response.timeline.end - ended) <= 11_000  # a cassette's grain is 10 us
    assert {exchange.response.body for exchange in pairs} == {answer.body for answer in live}

    again = run(replay())
    assert sorted((answer.body, answer.cuts) for answer in again) == sorted(
        (exchange.response.body, exchange.response.cuts) for exchange in pairs
    )
    assert [said(answer.body) for answer in again] == [answer_to(request) for request in requests]


@STREAMED
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_tapped_cassettes_replay_to_a_router_that_is_not_ours(tmp_path: Path, protocol: str, stream: bool) -> None:
    """Both servers are gone; the router notices nothing, and its clients get the recorded answers."""
    taps = Taps.in_(tmp_path)
    requests = [ask(CHAT, f"question {number}", stream=stream) for number in range(6)]

    async def dialogue() -> tuple[list[wire.Answer], list[wire.Answer]]:
        async with pair(protocol) as double:
            async with tapped(taps, double) as url:
                live = await asyncio.gather(*(wire.ask(url, request) for request in requests))
            async with (
                running(replaying(taps.prefill)) as prefill,
                running(replaying(taps.decode)) as decode,
                routed(tmp_path / "again.cassette", double, prefill.url, decode.url) as url,
            ):
                heard = len(double.prefill.asked) + len(double.decode.asked)
                again = await asyncio.gather(*(wire.ask(url, request) for request in reversed(requests)))
                assert len(double.prefill.asked) + len(double.decode.asked) == heard
        return live, again[::-1]

    live, again = run(dialogue())
    assert [answer.status for answer in live] == [200] * 6
    assert [(answer.status, answer.body, answer.cuts) for answer in again] == [
        (answer.status, answer.body, answer.cuts) for answer in live
    ]


def ticket_of(answer: wire.Answer) -> Any:
    """What a prefill hands out."""
    return orjson.loads(answer.body)["kv_transfer_params"]


def prefill_of(request: Request) -> Request:
    """What a router asks a prefill."""
    keys = {"do_remote_decode": True, "do_remote_prefill": False}
    body = orjson.loads(request.body) | {"max_tokens": 1, "stream": False, "kv_transfer_params": keys}
    return wire.post(CHAT, body)


def decode_of(request: Request, ticket: Any) -> Request:
    """What a router asks a decode."""
    return wire.post(CHAT, orjson.loads(request.body) | {"kv_transfer_params": ticket})


def test_a_ticket_handed_out_by_a_replay_gets_what_was_decoded_from_it(tmp_path: Path) -> None:
    """Equal requests, decoded in another order than they were prefilled in: the ticket decides, not the turn."""
    taps = Taps.in_(tmp_path)
    request = ask(CHAT, "the same for all", stream=True)

    async def record() -> dict[str, bytes]:
        """Three prefills, and their decodes from the last to the first."""
        async with (
            pair("nixl") as double,
            running(recording(taps.prefill, double.prefill.url)) as prefill,
            running(recording(taps.decode, double.decode.url)) as decode,
        ):
            tickets = [ticket_of(await wire.ask(prefill.url, prefill_of(request))) for _ in range(3)]
            answers = {}
            for ticket in reversed(tickets):
                answer = await wire.ask(decode.url, decode_of(request, ticket))
                answers[orjson.dumps(ticket).decode()] = answer.body
        return answers

    async def replay() -> dict[str, bytes]:
        async with running(replaying(taps.prefill)) as prefill, running(replaying(taps.decode)) as decode:
            answers = {}
            for _ in range(3):
                ticket = ticket_of(await wire.ask(prefill.url, prefill_of(request)))
                answers[orjson.dumps(ticket).decode()] = (await wire.ask(decode.url, decode_of(request, ticket))).body
        return answers

    recorded = run(record())
    assert len(set(recorded.values())) == len(recorded) == 3
    assert run(replay()) == recorded


def test_what_has_lost_its_other_half_is_counted(tmp_path: Path) -> None:
    """A prefill nobody decoded is left out; a decode nobody prefilled stays as it is; a file in the way stays."""
    taps, joined = Taps.in_(tmp_path), tmp_path / "joined.cassette"
    request = ask(CHAT, "half")

    async def record() -> None:
        async with (
            pair("nixl") as double,
            running(recording(taps.prefill, double.prefill.url)) as prefill,
            running(recording(taps.decode, double.decode.url)) as decode,
        ):
            await wire.ask(prefill.url, prefill_of(request))
            await wire.ask(decode.url, request)

    run(record())
    assert join(joined, taps.prefill, taps.decode) == Joined(pairs=0, alone=1, left=1)
    [exchange] = exchanges(joined)
    assert (exchange.request.body, exchange.legs) == (request.body, ())
