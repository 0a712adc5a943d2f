"""Between the data port and the proxy: which answers break, what clients did, and what the run remembers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from replayproxy.core.faults.choice import FailureInjection, FaultChooser
from replayproxy.core.faults.grammar import parse_fault
from replayproxy.core.faults.rate_limits import RateLimits
from replayproxy.core.identity.rules import Matcher, MatchRules
from replayproxy.core.redaction import Redactor
from replayproxy.core.sequence import AtEnd, Playhead
from replayproxy.core.timing import Pace
from replayproxy.errors import ClientError
from replayproxy.model import Headers, Key, Request, Response
from replayproxy.ports import Listener, Upload
from replayproxy.proxy.aside import InThread
from replayproxy.proxy.counters import Counters
from replayproxy.proxy.fault_injector import FaultInjector, FaultSettings
from replayproxy.proxy.player import Player
from replayproxy.proxy.request_log import RequestLog
from replayproxy.proxy.run_state import RunState
from tests.apps import run
from tests.doubles.fakes import MILLISECOND, SECOND, answer
from tests.doubles.fault_client import ConnectionDouble, SharedClock

CHAT = "/v1/chat/completions"


def event(text: str) -> bytes:
    """One token of a chat."""
    return b'data: {"choices":[{"delta":{"content":"%s"}}]}\n\n' % text.encode()


STORY = answer(*((at * MILLISECOND, event(text)) for at, text in ((1, "Once upon "), (2, "a time, "), (3, "the end."))))


class UndoneState(RunState):
    """Remembers which positions were taken back."""

    def __init__(self, playhead: Playhead, counters: Counters, request_log: RequestLog) -> None:
        super().__init__(playhead, counters, request_log=request_log)
        self.undone: list[tuple[str, Key]] = []

    def undo_position(self, scope: str, key: Key) -> None:
        """Remember it."""
        self.undone.append((scope, key))


@dataclass
class Bench:
    """A proxy that plays `STORY` to every request, behind an injector."""

    faults: Sequence[str] = ()
    injection: FailureInjection = FailureInjection()  # noqa: RUF009  a frozen value
    limits: RateLimits = field(default_factory=RateLimits)
    by_header: bool = False
    model: str | None = None
    story: Response = STORY
    played: int = 0

    def __post_init__(self) -> None:
        self.clock = SharedClock()
        self.counters = Counters()
        self.request_log = RequestLog()
        self.state = UndoneState(Playhead(AtEnd.REFUSE), self.counters, request_log=self.request_log)
        self.player = Player(self.clock, Pace(1.0), self.counters)
        chooser = FaultChooser([parse_fault(text) for text in self.faults], self.injection)
        self.injector = FaultInjector(
            FaultSettings(chooser, by_header=self.by_header, limits=self.limits, model=self.model),
            self._answer,
            clock=self.clock,
            matcher=Matcher(MatchRules(), Redactor(b"0123456789abcdef")),
            worker=InThread(),
            state=self.state,
        )

    async def _answer(self, request: Request, client: Listener, upload: Upload | None, since: int | None) -> None:
        self.played += 1
        self.sent = request
        await self.player.play_response(self.story, client, self.clock.now() if since is None else since)

    async def ask(
        self, body: bytes = b'{"model":"m"}', *, target: str = CHAT, headers: Headers = (), leave: float | None = None
    ) -> ConnectionDouble:
        """A request, whose client leaves after so many seconds."""
        client = ConnectionDouble(self.clock)
        asking = asyncio.ensure_future(self.injector.answer(Request("POST", target, headers, body), client, None, None))
        if leave is not None:
            await self.clock.sleep_until(self.clock.now() + round(leave * SECOND))
            asking.cancel()
        await asyncio.wait((asking,))
        if not asking.cancelled():
            await asking
        return client

    async def wait(self, seconds: float) -> None:
        """Time passes."""
        await self.clock.sleep_until(self.clock.now() + round(seconds * SECOND))

    @property
    def outcomes(self) -> list[str]:
        """What the clients did, fault by fault."""
        return [f"{one.id} {one.fault} {one.outcome.value}" for one in self.injector.log.client_faults()]


def test_a_status_is_answered_without_the_source() -> None:
    """The recording stays for the repetition, which comes when it was told to."""

    async def dialogue() -> None:
        bench = Bench(["status=429,retry-after=2,first=1"])
        refused = await bench.ask()
        assert (refused.log[0], refused.headers["retry-after"], bench.played) == ("0 429", "2", 0)
        await bench.wait(2)
        assert (await bench.ask()).whole
        assert bench.outcomes == ["f-0001 status=429,retry-after=2,first=1 recovered"]
        assert bench.counters.faults == {"status": 1}
        assert [call.outcome for call in bench.request_log.calls] == ["fault"]

    run(dialogue())


@pytest.mark.parametrize(
    ("waits", "outcome"),
    [
        ([0.5], "retried_early"),
        ([2], "recovered"),
        ([], "gave_up"),
        ([0.2, 0.2, 0.2, 0.2], "storm"),
    ],
)
def test_the_verdict_follows_from_the_repetitions(waits: list[float], outcome: str) -> None:
    """Each after so many seconds."""

    async def dialogue() -> None:
        bench = Bench([f"status=429,retry-after=2,first={max(1, len(waits))}"])
        await bench.ask()
        for seconds in waits:
            await bench.wait(seconds)
            await bench.ask()
        assert bench.outcomes[0].endswith(f" {outcome}")

    run(dialogue())


def test_an_error_is_no_recovery() -> None:
    """Of a client whose repetition is answered by an error it is not known that it got what it wanted."""

    async def dialogue() -> None:
        bench = Bench(["status=503,first=1"], story=answer((1 * MILLISECOND, b"{}"), status=500))
        await bench.ask()
        await bench.wait(1)
        assert (await bench.ask()).whole
        assert [outcome.rpartition(" ")[2] for outcome in bench.outcomes] == ["gave_up"]

    run(dialogue())


def test_a_broken_answer_gives_its_recording_back() -> None:
    """And the source stops playing; the repetition gets the same recording, whole."""

    async def dialogue() -> None:
        bench = Bench(["cut@1,first=1"])
        assert (await bench.ask()).log == ["1 200", f"1 {event('Once upon ').decode().strip()}", "2 cut"]
        assert len(bench.state.undone) == 1
        await bench.wait(1)
        assert (await bench.ask()).whole
        assert bench.outcomes == ["f-0001 cut@1,first=1 recovered"]
        assert len(bench.state.undone) == 1

    run(dialogue())


def test_a_beginning_that_stands_in_a_later_request_was_taken_for_whole() -> None:
    """The next turn of the chat contains it as what the assistant wrote."""

    async def dialogue() -> None:
        bench = Bench(["cut-clean@2"])
        assert (await bench.ask()).whole
        await bench.ask(b'{"messages":[{"role":"assistant","content":"Once upon a time,"}]}', target="/v1/messages")
        assert bench.outcomes[0] == "f-0001 cut-clean@2 accepted_truncated"

    run(dialogue())


@pytest.mark.parametrize(
    ("fault", "leave", "outcome", "back"),
    [
        ("stall@1,for=5s", None, "no_read_timeout", 0),
        ("stall@1,for=5s", 2, "gave_up", 1),
        ("slow-start,for=20s", None, "waited", 0),
        ("slow-start,for=20s", 3, "gave_up", 0),
    ],
)
def test_a_pause_shows_whether_a_client_has_a_read_timeout(
    fault: str, leave: float | None, outcome: str, back: int
) -> None:
    """One that leaves during it has; a source that was not asked yet has used no recording."""

    async def dialogue() -> None:
        bench = Bench([fault])
        client = await bench.ask(leave=leave)
        assert client.whole is (leave is None)
        assert bench.outcomes == [f"f-0001 {fault} {outcome}"]
        assert len(bench.state.undone) == back
        assert bench.counters.lateness_max < 0.001

    run(dialogue())


@pytest.mark.parametrize("fault", ["stall@1,for=5s,first=1", "slow-start,for=5s,first=1"])
def test_a_client_that_asks_again_before_its_end_is_seen_continues(fault: str) -> None:
    """The new connection may be read before the end of the old one: the request waits for that, and not long."""

    async def dialogue() -> None:
        bench = Bench([fault])
        leaving = asyncio.ensure_future(bench.ask(leave=1))
        await bench.wait(0.98)
        assert (await bench.ask()).whole
        assert bench.outcomes == [f"f-0001 {fault} recovered"]
        await leaving
        parallel = Bench([fault])
        first = asyncio.ensure_future(parallel.ask())
        await parallel.wait(0.5)
        assert (await parallel.ask()).whole
        assert parallel.clock.now() < SECOND
        assert (await first).whole
        assert [one.retries for one in parallel.injector.log.client_faults()] == [0]

    run(dialogue())


def test_a_slow_start_shifts_the_whole_answer() -> None:
    """Its times count from the end of the pause."""

    async def dialogue() -> None:
        client = await Bench(["slow-start,for=2s"]).ask()
        assert [line.partition(" ")[0] for line in client.log] == ["2001", "2001", "2002", "2003", "2003"]

    run(dialogue())


def test_parallel_clients_are_told_apart() -> None:
    """Three equal requests at once are no repetitions of one another; each of their repetitions continues one."""

    async def dialogue() -> None:
        bench = Bench(["status=503,first=3"])
        await asyncio.gather(*(bench.ask() for _ in range(3)))
        assert [one.retries for one in bench.injector.log.client_faults()] == [0, 0, 0]
        await bench.wait(1)
        await asyncio.gather(*(bench.ask() for _ in range(2)))
        assert [line.split()[-1] for line in bench.outcomes] == ["recovered", "recovered", "gave_up"]

    run(dialogue())


def test_a_reset_before_the_head_asks_nobody() -> None:
    """The connection is reset, and nothing was sent."""

    async def dialogue() -> None:
        bench = Bench(["reset@0"])
        assert (await bench.ask()).log == ["0 reset"]
        assert bench.played == 0

    run(dialogue())


HEADER = "X-Replayproxy-Fail"


def test_a_header_breaks_its_own_request() -> None:
    """Where it is allowed; the source does not see it. Else there is one warning, and no fault."""

    async def dialogue() -> None:
        bench = Bench(by_header=True)
        client = await bench.ask(headers=((HEADER, "cut@1"), ("a", "b")))
        assert client.log[-1].endswith("cut")
        assert bench.sent.headers == (("a", "b"),)
        assert (await bench.ask(b"{}")).whole
        assert (await Bench().ask(headers=((HEADER, "cut@1"),))).whole

    run(dialogue())


@pytest.mark.parametrize(
    ("text", "hint"), [("cutt@1", "did you mean cut?"), ("cut@1,first=1", "leave first, every, path and model away")]
)
def test_a_header_that_is_no_fault_is_refused(text: str, hint: str) -> None:
    """With the sentence that the command line would print."""
    bench = Bench(by_header=True)
    with pytest.raises(ClientError, match=hint.replace("?", "[?]")):
        run(bench.ask(headers=((HEADER, text),)))


def test_limits_refuse_and_tell() -> None:
    """What is left stands in every answer; a refusal is a fault whose client is judged."""

    async def dialogue() -> None:
        bench = Bench(limits=RateLimits(rpm=2), model="base")
        first = await bench.ask()
        assert first.headers["x-ratelimit-remaining-requests"] == "1"
        await bench.ask(b'{"b":1}')
        refused = await bench.ask(b'{"c":1}')
        assert refused.headers["retry-after"] == "30"
        assert "for base on requests" in refused.log[1]
        assert (await bench.ask(target="/health")).whole
        await bench.wait(30)
        assert (await bench.ask(b'{"c":1}')).whole
        assert bench.outcomes == ["f-0001 --rpm 2 recovered"]

    run(dialogue())


@pytest.mark.parametrize(("model", "named"), [("base", "base"), (None, "asked-for")])
def test_a_named_failure_names_the_model(model: str | None, named: str) -> None:
    """The served one in a simulator; in a replay that of the request."""

    async def dialogue() -> None:
        bench = Bench(injection=FailureInjection(100, ("model_not_found",)), model=model)
        client = await bench.ask(b'{"model":"asked-for"}')
        assert client.log[0] == "0 404"
        assert f"The model '{named}-nonexistent' does not exist" in client.log[1]

    run(dialogue())


def test_scopes_are_apart() -> None:
    """A request of one test is no repetition of another's, and a reset forgets what waits."""

    async def dialogue() -> None:
        bench = Bench(["status=503,first=1"])
        await bench.ask(target=f"/t/a{CHAT}")
        await bench.ask(target=f"/t/b{CHAT}")
        await bench.wait(1)
        await bench.ask(target=f"/t/b{CHAT}")
        log = bench.injector.log
        assert [one.outcome for one in log.client_faults({"a"})] == ["gave_up"]
        assert [one.outcome for one in log.client_faults({"b"})] == ["recovered"]
        bench.injector.reset("a")
        await bench.ask(target=f"/t/a{CHAT}")
        assert [one.retries for one in log.client_faults({"a"})] == [0, 0]
        bench.injector.reset(counts=True)
        assert log.client_faults() == []

    run(dialogue())


def test_secrets_stay_out_of_the_result() -> None:
    """A scope or a path may hold the key of the request."""

    async def dialogue() -> None:
        bench = Bench(["status=503,path=/*"])
        key = "sk-proj-abcdefghijklmnopqrstuvwxyz012345"
        await bench.ask(target=f"/t/{key}/v1/{key}", headers=(("Authorization", f"Bearer {key}"),))
        assert key not in repr(bench.injector.log.client_faults())

    run(dialogue())


def test_what_the_proxy_cuts_off_is_not_judged() -> None:
    """A run that ends during a pause says nothing about the client."""

    async def dialogue() -> None:
        bench = Bench(["stall@1,for=60s"])
        bench.injector.stopping = True
        await bench.ask(leave=1)
        assert bench.outcomes == ["f-0001 stall@1,for=60s unfinished"]

    run(dialogue())
