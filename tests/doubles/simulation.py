"""A simulator on a clock that takes no time, and a client that keeps what it gets."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import orjson

from replayproxy.core.dialects.sse import events_of
from replayproxy.model import Chunk, End, Head, Leg, Request, Response
from replayproxy.simulator.generation import TextSettings
from replayproxy.simulator.latency import Latency
from replayproxy.simulator.options import Simulation
from replayproxy.simulator.sequence import EngineSequence
from replayproxy.simulator.simulator import Simulator
from tests.doubles.virtual_clock import VirtualClock

MS = 1_000_000


@dataclass
class Answered:
    """A client, and what it got. Times are in ms since the request."""

    status: int = 0
    fields: dict[str, str] = field(default_factory=dict)
    chunks: list[tuple[float, bytes]] = field(default_factory=list)
    ended: float | None = None

    wants_whole = False
    congested = False

    async def head(self, head: Head) -> None:
        """Keep it."""
        self.status, self.fields = head.status, {name.lower(): value for name, value in head.headers}

    def chunk(self, chunk: Chunk) -> None:
        """Keep it."""
        self.chunks.append((chunk.at / MS, chunk.data))

    def burst(self, response: Response) -> None:
        """Keep all of it."""
        self.chunks += [(chunk.at / MS, chunk.data) for chunk in response.chunks()]

    async def end(self, end: End) -> None:
        """Keep when."""
        self.ended = end.at / MS

    def leg(self, leg: Leg) -> None:
        """No pair here."""

    async def ready(self) -> None:
        """Never waits."""

    @property
    def body(self) -> bytes:
        """All bytes."""
        return b"".join([data for _, data in self.chunks])

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return orjson.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The data of each event of a stream, as JSON, without `[DONE]`."""
        return [orjson.loads(event.data) for event in events_of([self.body]) if event.data != "[DONE]"]

    @property
    def names(self) -> list[str]:
        """The name of each event."""
        return [event.event for event in events_of([self.body])]

    @property
    def error(self) -> tuple[int, str]:
        """Status and message of an error."""
        return self.status, self.json["error"]["message"]


def simulator(
    clock: VirtualClock | None = None, latency: Latency | None = None, text: TextSettings | None = None, **options: Any
) -> Simulator:
    """A simulator of the model `tiny`."""
    simulation = Simulation(
        **{"model": "tiny", "latency": latency or Latency(), "text": text or TextSettings(), **options}
    )
    return Simulator(simulation, clock or VirtualClock())


def request(path: str, body: Any = None, **headers: str) -> Request:
    """POST with a JSON body; GET without one."""
    fields = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    if body is None:
        return Request("GET", path, fields)
    return Request("POST", path, fields, body if isinstance(body, bytes) else orjson.dumps(body))


def ask(
    path: str, body: Any = None, *, method: str | None = None, of: Simulator | None = None, **options: Any
) -> Answered:
    """What a simulator answers, one of its own unless `of` is given."""
    clock = VirtualClock()
    server = of or simulator(clock, **options)
    asked = request(path, body)
    if method is not None:
        asked = Request(method, path, (), asked.body)
    return asyncio.run(clock.run(answered(server, asked)))


async def answered(server: Simulator, asked: Request, at: int | None = None) -> Answered:
    """What a simulator answers."""
    client = Answered()
    await server.play(asked, client, None, at)
    return client


def together(server: Simulator, clock: VirtualClock, asked: list[tuple[float, Request]]) -> list[Answered]:
    """What it answers to requests that come at these times, in ms."""

    async def one(at: float, what: Request) -> Answered:
        await clock.sleep_until(round(at * MS))
        return await answered(server, what)

    async def everyone() -> list[Answered]:
        return await asyncio.gather(*[one(at, what) for at, what in asked])

    return asyncio.run(clock.run(everyone()))


def chat(content: str = "Hello.", **more: Any) -> dict[str, Any]:
    """The body of a chat request."""
    return {"model": "tiny", "messages": [{"role": "user", "content": content}], **more}


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}, "days": {"type": "integer"}},
            "required": ["city", "days"],
        },
    },
}
"""A tool."""


class EventLog:
    """An `EngineListener` that writes down what it is told, with times in ms."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def _note(self, event: str, sequence: EngineSequence, at: int) -> None:
        self.lines.append(f"{at / MS:g} {sequence.request_id}{sequence.index} {event}")

    def accepted(self, sequence: EngineSequence, at: int) -> None:
        """Note it."""
        self._note("accepted", sequence, at)

    def queued(self, sequence: EngineSequence, at: int) -> None:
        """Note it."""
        self._note("queued", sequence, at)

    def started(self, sequence: EngineSequence, at: int) -> None:
        """Note it."""
        self._note("started", sequence, at)

    def first_token(self, sequence: EngineSequence, at: int) -> None:
        """Note it."""
        self._note("first", sequence, at)

    def token(self, sequence: EngineSequence, at: int, gap: int) -> None:
        """Note it."""
        self._note(f"token +{gap / MS:g}", sequence, at)

    def finished(self, sequence: EngineSequence, at: int) -> None:
        """Note it."""
        self._note(f"finished {sequence.finish_reason}", sequence, at)

    def failed(self, sequence: EngineSequence, at: int) -> None:
        """Note it."""
        self._note(f"failed {sequence.finish_reason}", sequence, at)

    def rejected(self, sequence: EngineSequence, at: int) -> None:
        """Note it."""
        self._note("rejected", sequence, at)
