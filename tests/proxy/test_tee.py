"""Tests of `proxy/tee`: each listener gets the whole answer, in one stated order."""

from __future__ import annotations

import asyncio

from replayproxy.model import Chunk, End, Ending, Head, Leg, Request
from replayproxy.proxy.tee import Tee
from tests.doubles.fakes import JSON, HearingListener, ManualClock, answer


class NamedListener(HearingListener):
    """Notes its name before what it is given. It may be congested, and may want a short answer whole."""

    def __init__(self, log: list[str], name: str, *, congested: bool = False, wants_whole: bool = False) -> None:
        super().__init__([], ManualClock())
        self.shared, self.name = log, name
        self.is_congested = congested
        self.wants_whole = wants_whole

    @property
    def congested(self) -> bool:
        """As the test says."""
        return self.is_congested

    def leg(self, leg: Leg) -> None:
        """Noted too."""
        self._note("leg")

    async def ready(self) -> None:
        """Noted, and from now on free."""
        self._note("waits")
        self.is_congested = False

    def _note(self, what: str) -> None:
        self.shared.append(f"{self.name}: {what}")


def test_the_order_of_listeners() -> None:
    """Chunks and legs go to the client first; head and end to the client last, so that its leaving changes nothing."""
    log: list[str] = []
    tee = Tee(*(NamedListener(log, name) for name in ("client", "recorder", "log")))

    async def play() -> None:
        await tee.head(Head(0, 200, JSON))
        tee.chunk(Chunk(0, b"one"))
        tee.burst(answer((1, b"two")))
        tee.leg(Leg("prefill", "http://p", Request("POST", "/"), answer(), 0))
        await tee.end(End(0, Ending.COMPLETE))

    asyncio.run(play())
    order = [line.partition(":")[0] for line in log]
    assert order == ["recorder", "log", "client", *["client", "recorder", "log"] * 3, "recorder", "log", "client"]


def test_a_source_waits_for_each_congested_listener() -> None:
    """The tee is congested while one of them is."""
    log: list[str] = []
    client, recorder = NamedListener(log, "client"), NamedListener(log, "recorder", congested=True)
    tee = Tee(client, recorder)
    before = tee.congested
    asyncio.run(tee.ready())
    assert (before, tee.congested, log) == (True, False, ["client: waits", "recorder: waits"])


def test_the_client_has_its_answer_before_a_full_recorder_is_waited_for() -> None:
    """With `--on-full block` the wait for the last part comes after the client's end."""
    log: list[str] = []
    tee = Tee(NamedListener(log, "client"), NamedListener(log, "recorder", congested=True))
    asyncio.run(tee.end(End(0, Ending.COMPLETE)))
    assert log == [
        "recorder: hears the end: COMPLETE",
        "client: hears the end: COMPLETE",
        "recorder: waits",
    ]


def test_a_short_answer_is_read_to_its_end_if_one_listener_wants_it_whole() -> None:
    """A recorder does; a client and an access log do not."""
    log: list[str] = []
    wants = [
        Tee(NamedListener(log, "client"), NamedListener(log, "other", wants_whole=whole)).wants_whole
        for whole in (False, True)
    ]
    assert wants == [False, True]
