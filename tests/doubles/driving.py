"""What tests of `drive` are given: recorded turns in one line, a live server and a reader on a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from replayproxy.drive.changes import RequestChanges
from replayproxy.drive.driver import FIRST, DriveLimits, Driver
from replayproxy.drive.plan import DrivePlan, PlanOptions, plan_of
from replayproxy.drive.recorded import RecordedTurn, thread_of
from replayproxy.errors import UpstreamError
from replayproxy.model import Chunk, End, Head, Request, Response
from replayproxy.ports import Clock, Listener
from tests.doubles.fakes import JSON, SSE, answer
from tests.doubles.virtual_clock import VirtualClock

MS = 1_000_000
CHAT = "/v1/chat/completions"


def turn(number: int, at: int = 0, took: int = 100, **more: Any) -> RecordedTurn:
    """A recorded exchange; `at` and `took` in ms."""
    return RecordedTurn(number, f"{number:08x}", at * MS, took * MS, **more)


def chat_request(*messages: str | Mapping[str, Any], path: str = CHAT, **more: Any) -> Request:
    """A chat; texts are messages of user and assistant in turn."""
    roles = ("user", "assistant")
    listed = [
        {"role": roles[place % 2], "content": one} if isinstance(one, str) else one
        for place, one in enumerate(messages)
    ]
    body = {"model": "tiny", "messages": listed, "stream": True, **more}
    return Request("POST", path, (("Content-Type", "application/json"),), orjson.dumps(body))


def streamed_text(text: str, *, at: int = 10, gap: int = 5, usage: tuple[int, int] | None = None) -> Response:
    """A chat that is streamed, one event per word; times in ms."""
    events: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}]
    events += [{"choices": [{"index": 0, "delta": {"content": word}}]} for word in text.split(" ")]
    events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    if usage is not None:
        events.append({"choices": [], "usage": {"prompt_tokens": usage[0], "completion_tokens": usage[1]}})
    lines = [b"data: " + orjson.dumps(event) + b"\n\n" for event in events] + [b"data: [DONE]\n\n"]
    return answer(*(((at + gap * place) * MS, line) for place, line in enumerate(lines)), headers=SSE)


def message_answer(message: Mapping[str, Any], *, took: int = 10) -> Response:
    """A chat that is not streamed."""
    body = orjson.dumps({"id": "1", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})
    return answer((took * MS, body), headers=JSON)


def threaded(number: int, request: Request, response: Response, at: int, took: int = 100) -> RecordedTurn:
    """A recorded exchange with what it says about its conversation."""
    return turn(number, at, took, thread=thread_of(request, response))


@dataclass
class FakeTarget:
    """A live server: `answers` in the order of requests, the last one again; it takes `delay` ms to write a request."""

    clock: Clock
    answers: list[Response | UpstreamError]
    delay: int = 0
    received: list[tuple[int, Request]] = field(default_factory=list)
    """When each request came, in ms of the clock."""
    opened: int = 0

    async def send(self, request: Request, listener: Listener, on_sent: Callable[[int], None]) -> None:
        """Play the next answer."""
        script = self.answers[min(len(self.received), len(self.answers) - 1)]
        self.received.append((self.clock.now() // MS, request))
        await self.clock.sleep_until(self.clock.now() + self.delay * MS)
        started = self.clock.now()
        if isinstance(script, UpstreamError):
            raise script
        on_sent(started)
        await self.clock.sleep_until(started + script.timeline.head)
        await listener.head(Head(script.timeline.head, script.status, script.headers))
        for chunk in script.chunks():
            await self.clock.sleep_until(started + chunk.at)
            listener.chunk(Chunk(chunk.at, chunk.data))
        await self.clock.sleep_until(started + script.timeline.end)
        await listener.end(End(script.timeline.end, script.ending))

    async def open_connections(self, count: int) -> None:
        """Note how many are wanted."""
        self.opened = max(self.opened, count)


@dataclass
class FakeReader:
    """Requests of a recording by number."""

    requests: Mapping[int, Request] = field(default_factory=dict)

    async def request(self, number: int) -> Request:
        """The one of this number, or a chat that names it."""
        return self.requests.get(number) or chat_request(f"question {number}")


@dataclass
class Drove:
    """A run that has ended."""

    driver: Driver
    target: FakeTarget
    clock: VirtualClock
    plan: DrivePlan

    @property
    def sent(self) -> list[tuple[int, int | None]]:
        """The number of each recorded request, and when it was sent: ms since the origin of the plan."""
        return [
            (one.planned.turn.number, None if one.dispatched is None else one.dispatched // MS)
            for one in self.driver.results
        ]

    @property
    def outcomes(self) -> list[str]:
        """What became of each request."""
        return [one.outcome.value for one in self.driver.results]


async def drove(
    turns: list[RecordedTurn],
    *answers: Response | UpstreamError,
    options: PlanOptions | None = None,
    limits: DriveLimits | None = None,
    changes: RequestChanges | None = None,
    requests: Mapping[int, Request] | None = None,
    delay: int = 0,
    stop_at: int | None = None,
    cancel_at: int | None = None,
) -> Drove:
    """Drive these turns to the end, on a virtual clock. `stop_at` and `cancel_at`: ms since the origin of the plan."""
    clock = VirtualClock()
    target = FakeTarget(clock, list(answers) or [streamed_text("hello there")], delay)
    plan = plan_of(turns, options or PlanOptions())
    driver = Driver(
        plan,
        changes or RequestChanges("r"),
        limits or DriveLimits(),
        clock=clock,
        target=target,
        reader=FakeReader(requests or {}),
    )

    async def interrupted() -> None:
        if stop_at is not None:
            await clock.sleep_until(FIRST + stop_at * MS)
            driver.stop()
        if cancel_at is not None:
            await clock.sleep_until(FIRST + cancel_at * MS)
            driver.cancel()

    async def whole() -> None:
        ending = asyncio.create_task(interrupted())
        await driver.run()
        ending.cancel()

    await clock.run(whole())
    return Drove(driver, target, clock, plan)
