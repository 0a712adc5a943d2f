"""What is left of the limits stands in the head, once."""

from __future__ import annotations

from replayproxy.model import Chunk, End, Ending, Head
from replayproxy.proxy.limited_client import LimitedClient
from tests.apps import run
from tests.doubles.fakes import ManualClock
from tests.doubles.fault_client import ConnectionDouble


def test_recorded_fields_of_that_name_are_replaced() -> None:
    """A client must not read the limits of the day of the recording; everything else passes."""

    async def play() -> None:
        inner = ConnectionDouble(ManualClock())
        client = LimitedClient(inner, (("x-ratelimit-limit-requests", "3"),))
        await client.head(Head(0, 200, (("X-RateLimit-Limit-Requests", "500"), ("a", "b"))))
        client.chunk(Chunk(0, b"x"))
        await client.end(End(0, Ending.COMPLETE))
        assert inner.headers == {"x-ratelimit-limit-requests": "3", "a": "b"}
        assert inner.log == ["0 200", "0 x", "0 end"]
        assert (client.whole, client.congested, client.wants_whole) == (True, False, False)

    run(play())
