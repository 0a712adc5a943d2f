"""What becomes of one request to a pair: its legs come before its end, and a failure of the prefill is passed on."""

from __future__ import annotations

import asyncio

import pytest

from replayproxy.errors import UpstreamError, UpstreamGarbled, UpstreamTimeout
from replayproxy.model import Chunk, End, Ending, Head, Leg, Request, Response
from replayproxy.net.leg_maker import Place
from replayproxy.net.pair_call import MOST_LEGS, PairCall
from replayproxy.net.relay import Relay
from tests.doubles.fakes import JSON, HearingListener, ManualClock, answer


def call_of(log: list[str], *legs: Leg) -> PairCall:
    """A call with these legs behind it, begun at time 5."""
    return PairCall(Request("POST", "/v1/x"), {}, Place.LOOP, HearingListener(log, ManualClock()), 5, "id", list(legs))


def leg(role: str = "decode") -> Leg:
    """One that is over."""
    return Leg(role, "http://d:1", Request("POST", "/v1/x"), answer((1, b"{}")))


def test_legs_are_told_once_and_no_more_than_a_cassette_holds() -> None:
    """The last ones of them."""
    log: list[str] = []
    call = call_of(log, leg("prefill"), *(leg() for _ in range(MOST_LEGS)))
    call.tell_legs()
    call.tell_legs()
    assert len(log) == MOST_LEGS
    assert not any("prefill" in line for line in log)


@pytest.mark.parametrize(
    ("ending", "kind"), [(Ending.TIMEOUT, UpstreamTimeout), (Ending.UPSTREAM_CUT, UpstreamGarbled)]
)
def test_a_decode_that_broke_off_before_its_first_chunk_is_an_error(ending: Ending, kind: type[UpstreamError]) -> None:
    """The client, which has not seen a head, gets that; else it gets the end, behind the legs."""

    async def dialogue() -> list[str]:
        log: list[str] = []
        call = call_of(log, leg())
        relay = Relay(call.listener, held=True)
        await relay.head(Head(1, 200, JSON))
        await relay.end(End(2, ending))
        with pytest.raises(kind):
            await call.finish(relay)
        assert log == []
        relay = Relay(call.listener)
        await relay.head(Head(1, 200, JSON))
        relay.chunk(Chunk(1, b"{}"))
        await relay.end(End(2, Ending.COMPLETE))
        await call.finish(relay)
        return log

    log = asyncio.run(dialogue())
    assert len(log) == 4
    assert "leg" in log[2]


def test_where_the_client_leaves_an_end_that_was_read_is_told() -> None:
    """And that it left goes on."""

    async def dialogue(over: bool) -> list[str]:
        log: list[str] = []
        call = call_of(log)
        relay = Relay(call.listener)
        await relay.head(Head(1, 403, JSON))
        if over:
            await relay.end(End(2, Ending.COMPLETE))
        with pytest.raises(asyncio.CancelledError):
            async with call.finishing(relay):
                raise asyncio.CancelledError
        return log

    assert len(asyncio.run(dialogue(True))) == len(asyncio.run(dialogue(False))) + 1


def test_a_failed_prefill_is_answered_with_what_it_said() -> None:
    """Its status and its body, at this time since the client's request, without fields of its connection."""
    log: list[str] = []
    failure = Response(429, (("connection", "close"), *JSON), b"{}", (2,), answer((1, b"{}")).timeline)
    asyncio.run(call_of(log).play_failure(failure, 12))
    assert "429" in log[0]
    assert "connection" not in log[0]
    assert "{}" in log[1]
